/** A certificate and its key from files, checked before anything else is done. */

import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { readWhole } from '../protocol/files.ts';
import type { Tls } from './listen.ts';

/** A certificate with its key, which belong together. */
export interface CheckedTls extends Tls {
  /** One sentence when clients will refuse it at `now`. */
  readonly warning: string | undefined;
}

/**
 * Reads a certificate chain and its key.
 * @param now - the time by which the certificate is to be valid
 * @throws Error with one sentence that names the file: it cannot be read, is no PEM of that kind, or the key is another one's
 */
export async function readTls(
  cert: string,
  key: string,
  now: Date = new Date(),
): Promise<CheckedTls> {
  const [chain, secret] = await Promise.all([readWhole(cert), readWhole(key)]);
  const first = certificateOf(cert, chain);
  if (!first.checkPrivateKey(keyOf(key, secret))) {
    throw new Error(`${key} is not the key of the first certificate in ${cert}`);
  }
  try {
    createSecureContext({ cert: Buffer.from(chain), key: Buffer.from(secret) });
  } catch (cause) {
    const { reason, message } = cause as Error & { reason?: string };
    throw new Error(`${cert}: TLS cannot use it: ${reason ?? message}`, { cause });
  }
  return { cert: chain, key: secret, warning: warningOf(cert, first, now) };
}

function certificateOf(path: string, pem: Uint8Array): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new Error(`${path} should hold a certificate in PEM: BEGIN CERTIFICATE and so on`, {
      cause,
    });
  }
}

function keyOf(path: string, pem: Uint8Array): KeyObject {
  try {
    return createPrivateKey(Buffer.from(pem));
  } catch (cause) {
    // BEGIN ENCRYPTED PRIVATE KEY, or Proc-Type: 4,ENCRYPTED.
    const what = Buffer.from(pem).includes('ENCRYPTED')
      ? 'holds a key with a passphrase: give it without, readable by this user alone'
      : 'should hold a private key in PEM: BEGIN PRIVATE KEY and so on';
    throw new Error(`${path} ${what}`, { cause });
  }
}

function warningOf(path: string, { validFrom, validTo }: X509Certificate, now: Date) {
  if (new Date(validTo) < now)
    return `the certificate in ${path} expired on ${validTo}: clients refuse it`;
  if (new Date(validFrom) > now) {
    return `the certificate in ${path} is valid from ${validFrom} on: clients refuse it until then`;
  }
  return undefined;
}
