/**
 * AES-128 on whole buffers, the same bits from two engines: OpenSSL (AES-NI) where the platform has node:crypto, the
 * bitsliced WASM kernel elsewhere (browsers). Neither looks tables up by secret values.
 *
 * FIPS-197 (AES), SP 800-38A (ECB and CTR as used here).
 */

/** OpenSSL, when this runtime is Node; found without an import so that bundles for browsers carry no Node module. */
const openssl = (
  globalThis as { process?: { getBuiltinModule?: (id: string) => unknown } }
).process?.getBuiltinModule?.('node:crypto') as typeof import('node:crypto') | undefined;

function check(key: Uint8Array, input: Uint8Array): void {
  if (key.length !== 16) throw new RangeError(`AES-128 key: expected 16 bytes, got ${key.length}`);
  if (input.length % 16 !== 0) {
    throw new RangeError(`AES blocks: expected a multiple of 16 bytes, got ${input.length}`);
  }
}

/**
 * Encrypts each 16-byte block of `input` under `key`, independently (ECB): the permutation itself, many blocks a call.
 * @returns fresh bytes, as many as `input`
 * @throws RangeError when the key is not 16 bytes or the input not whole blocks
 */
export function aesEncryptBlocks(key: Uint8Array, input: Uint8Array): Uint8Array {
  check(key, input);
  if (openssl === undefined) throw new RangeError('no AES engine');
  return openssl.createCipheriv('aes-128-ecb', key, null).setAutoPadding(false).update(input);
}

/**
 * Fills `out` with AES-128-CTR keystream: block i is AES_key(firstBlock + i) with the counter as a 128-bit big-endian
 * integer, the last block cut short if need be.
 * @param firstBlock - counter of the first block, a safe integer
 */
export function aesCounterStream(key: Uint8Array, firstBlock: number, out: Uint8Array): void {
  if (openssl === undefined) throw new RangeError('no AES engine');
  const counter = new Uint8Array(16);
  new DataView(counter.buffer).setUint32(8, Math.floor(firstBlock / 0x1_0000_0000));
  new DataView(counter.buffer).setUint32(12, firstBlock >>> 0);
  const cipher = openssl.createCipheriv('aes-128-ctr', key, counter);
  // OpenSSL XORs the keystream onto what it is given: give it zeros, in pieces that stay in cache.
  const zeros = new Uint8Array(Math.min(out.length, 65536));
  for (let i = 0; i < out.length; i += zeros.length) {
    const n = Math.min(zeros.length, out.length - i);
    out.set(cipher.update(n === zeros.length ? zeros : zeros.subarray(0, n)), i);
  }
}
