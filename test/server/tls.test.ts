/** Certificates and keys as operators give them. */

import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTls } from '../../server/tls.ts';
import { failureOf } from '../system/support.ts';
import { cert, key } from './certificate.ts';

let folder: string;
const at = (name: string) => join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-tls-'));
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const passphrase = {
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-128-cbc',
    passphrase: 'x',
  } as const;
  writeFileSync(at('cert'), cert);
  writeFileSync(at('key'), key);
  writeFileSync(at('other'), other.export({ type: 'pkcs8', format: 'pem' }));
  writeFileSync(at('locked'), other.export(passphrase));
  writeFileSync(at('cut'), cert.slice(0, 300));
  writeFileSync(at('empty'), '');
});

afterAll(() => rmSync(folder, { recursive: true }));

describe('a certificate and its key', () => {
  it('are read as they are', async () => {
    const { warning, ...tls } = await readTls(at('cert'), at('key'));
    expect(Buffer.from(tls.cert).toString()).toBe(cert);
    expect(Buffer.from(tls.key).toString()).toBe(key);
    expect(warning).toBeUndefined();
  });

  const noCertificate = ' should hold a certificate in PEM: BEGIN CERTIFICATE and so on';
  const noKey = ' should hold a private key in PEM: BEGIN PRIVATE KEY and so on';
  it.each([
    ['key', 'key', 'key', noCertificate],
    ['cut', 'key', 'cut', noCertificate],
    ['empty', 'key', 'empty', noCertificate],
    ['cert', 'cert', 'cert', noKey],
    ['cert', 'empty', 'empty', noKey],
    ['cert', 'none', 'none', ': there is no such file'],
    [
      'cert',
      'locked',
      'locked',
      ' holds a key with a passphrase: give it without, readable by this user alone',
    ],
  ])('that cannot be used are one sentence that names the file: %s, %s', async (...names) => {
    const [own, secret, named, sentence] = names;
    const { message } = await failureOf(readTls(at(own), at(secret)));
    expect(message).toBe(`${at(named)}${sentence}`);
  });

  it('that do not belong together name both', async () => {
    const { message } = await failureOf(readTls(at('cert'), at('other')));
    expect(message).toBe(`${at('other')} is not the key of the first certificate in ${at('cert')}`);
  });

  it('come with a warning where the time is past, or not yet come', async () => {
    const warned = async (now: string) =>
      (await readTls(at('cert'), at('key'), new Date(now))).warning;
    expect(await warned('2200-01-01')).toMatch(
      /cert expired on Oct 31 .* 2126 GMT: clients refuse/,
    );
    expect(await warned('2020-01-01')).toMatch(/cert is valid from Nov 24 .* 2026 GMT on: clients/);
  });
});
