/** Why Node reaches no server, in sentences that say what to look at. */

const UNTRUSTED =
  'its certificate is of no authority that is trusted here: the option `ca` adds one';

/** By code of the system, of OpenSSL, of Node. */
const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'no server listens there',
  ENOTFOUND: 'there is no such host',
  EAI_AGAIN: 'there is no such host',
  EPROTO: 'no TLS comes about with what listens there: is it ws:// rather than wss://?',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet: is the clock of this machine right?',
  ERR_TLS_CERT_ALTNAME_INVALID:
    'its certificate is of another host than the one that was asked for',
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
};

/** @param error - of a socket or a request */
export function unreachedBecause({
  code = '',
  message = '',
}: Partial<Error & { code: string }> = {}): string {
  // Node 22 has a code for each error of OpenSSL.
  const reason = REASONS[code.replace(/^ERR_SSL_.*/, 'EPROTO')];
  if (reason !== undefined) return reason;
  const status = /^Unexpected server response: (\d+)$/.exec(message)?.[1];
  if (status === undefined) return message || code || 'the connection failed';
  const why = status.startsWith('5')
    ? 'a proxy that reaches no server'
    : 'a wrong path, or a proxy that does not let this through';
  return `it answered HTTP ${status} and opened no WebSocket: ${why}`;
}
