/**
 * AES-128 on whole buffers, the same bits from two engines: OpenSSL (AES-NI) where the platform has node:crypto, the
 * bitsliced WASM kernel elsewhere (browsers). Neither looks tables up by secret values.
 *
 * FIPS-197 (AES), SP 800-38A (ECB and CTR as used here).
 */

import { kernels } from '../kernels/index.ts';

/** One implementation of AES-128. Engines differ in speed only. */
export interface AesEngine {
  readonly name: 'openssl' | 'wasm';
  /** {@link aesEncryptBlocks} by this engine. */
  encryptBlocks(key: Uint8Array, input: Uint8Array): Uint8Array;
  /** {@link aesCounterStream} by this engine. */
  counterStream(key: Uint8Array, firstBlock: number, out: Uint8Array): void;
  /** Encrypts `blocks` 16-byte blocks of kernel memory from `source` to `target`, independently; the two may be one. */
  encryptAt(key: Uint8Array, target: number, source: number, blocks: number): void;
}

/** OpenSSL, when this runtime is Node; found without an import so that bundles for browsers carry no Node module. */
const openssl = (
  globalThis as { process?: { getBuiltinModule?: (id: string) => unknown } }
).process?.getBuiltinModule?.('node:crypto') as typeof import('node:crypto') | undefined;

/** Bytes processed at a time, so that the pieces stay in cache and the arena always has room. LOCAL. */
const PIECE = 65536;

/** Bytes of the WASM kernel's round keys, and of the states it works on. */
const ROUND_KEY_BYTES = 11 * 128;
const STATE_BYTES = 8 * 128;

/** AES by node:crypto, where there is one. */
export const opensslAes: AesEngine | undefined =
  openssl === undefined ? undefined : opensslEngine(openssl);

function opensslEngine(crypto: typeof import('node:crypto')): AesEngine {
  // Without a call of final() there is no padding: update() alone encrypts whole blocks, all of them at once.
  const encrypt = (key: Uint8Array, input: Uint8Array): Uint8Array =>
    crypto.createCipheriv('aes-128-ecb', key, null).update(input);
  return {
    name: 'openssl',
    encryptBlocks(key, input) {
      checkKey(key);
      checkBlocks(input);
      return encrypt(key, input);
    },
    counterStream(key, firstBlock, out) {
      checkKey(key);
      checkCounter(firstBlock);
      const counter = new Uint8Array(16);
      new DataView(counter.buffer).setUint32(8, Math.floor(firstBlock / 0x1_0000_0000));
      new DataView(counter.buffer).setUint32(12, firstBlock >>> 0);
      const cipher = crypto.createCipheriv('aes-128-ctr', key, counter);
      // OpenSSL XORs the keystream onto what it is given: give it zeros.
      const zeros = new Uint8Array(Math.min(out.length, PIECE));
      for (let i = 0; i < out.length; i += PIECE) {
        out.set(cipher.update(zeros.subarray(0, out.length - i)), i);
      }
    },
    encryptAt(key, target, source, blocks) {
      checkKey(key);
      const { arena } = kernels();
      arena.u8(target, 16 * blocks).set(encrypt(key, arena.u8(source, 16 * blocks)));
    },
  };
}

/** AES by the bitsliced WASM kernel: constant time, runs anywhere. */
export const wasmAes: AesEngine = {
  name: 'wasm',
  encryptBlocks(key, input) {
    checkBlocks(input);
    const out = new Uint8Array(input.length);
    inPieces(key, input.length, (pointer, start, bytes, encrypt) => {
      const view = kernels().arena.u8(pointer, bytes);
      view.set(input.subarray(start, start + bytes));
      encrypt();
      out.set(view, start);
    });
    return out;
  },
  counterStream(key, firstBlock, out) {
    checkCounter(firstBlock);
    const { arena, aes } = kernels();
    inPieces(key, out.length, (pointer, start, bytes, encrypt) => {
      aes.counterBlocks(pointer, firstBlock + start / 16, Math.ceil(bytes / 16));
      encrypt();
      out.set(arena.u8(pointer, bytes), start);
    });
  },
  encryptAt(key, target, source, blocks) {
    checkKey(key);
    const { arena, aes } = kernels();
    arena.scope(() => {
      const state = arena.alloc(STATE_BYTES);
      aes.encryptBlocks(target, source, blocks, expandKey(key, state), state);
    });
  },
};

/** Round keys of `key` in fresh kernel memory. */
function expandKey(key: Uint8Array, state: number): number {
  const { arena, aes } = kernels();
  const roundKeys = arena.alloc(ROUND_KEY_BYTES);
  aes.expandKey(roundKeys, arena.put(key), state);
  return roundKeys;
}

/** Calls `work` for each piece of `length` bytes with kernel memory for it and the encryption of that memory. */
function inPieces(
  key: Uint8Array,
  length: number,
  work: (pointer: number, start: number, bytes: number, encrypt: () => void) => void,
): void {
  checkKey(key);
  const { arena, aes } = kernels();
  arena.scope(() => {
    const state = arena.alloc(STATE_BYTES);
    const roundKeys = expandKey(key, state);
    const piece = arena.alloc(Math.min(length, PIECE));
    for (let start = 0; start < length; start += PIECE) {
      const bytes = Math.min(PIECE, length - start);
      const blocks = Math.ceil(bytes / 16);
      work(piece, start, bytes, () => aes.encryptBlocks(piece, piece, blocks, roundKeys, state));
    }
  });
}

function checkKey(key: Uint8Array): void {
  if (key.length !== 16) throw new RangeError(`AES-128 key: expected 16 bytes, got ${key.length}`);
}

function checkBlocks(input: Uint8Array): void {
  if (input.length % 16 !== 0) {
    throw new RangeError(`AES blocks: expected a multiple of 16 bytes, got ${input.length}`);
  }
}

function checkCounter(firstBlock: number): void {
  if (!Number.isSafeInteger(firstBlock) || firstBlock < 0) {
    throw new RangeError(`AES counter: expected a non-negative safe integer, got ${firstBlock}`);
  }
}

/** The engine for whole buffers. */
export const defaultAes: AesEngine = opensslAes ?? wasmAes;

/** Blocks under one key from which OpenSSL's faster rounds outweigh setting it up. LOCAL, measured. */
const OPENSSL_BLOCKS = 64;

/** The engine that is fastest at `blocks` blocks under each key. */
export function fastestAes(blocks: number): AesEngine {
  return blocks < OPENSSL_BLOCKS ? wasmAes : defaultAes;
}

/**
 * Encrypts each 16-byte block of `input` under `key`, independently (ECB): the permutation itself, many blocks a call.
 * @returns fresh bytes, as many as `input`
 * @throws RangeError when the key is not 16 bytes or the input not whole blocks
 */
export function aesEncryptBlocks(key: Uint8Array, input: Uint8Array): Uint8Array {
  return defaultAes.encryptBlocks(key, input);
}

/**
 * Fills `out` with AES-128-CTR keystream: block i is AES_key(firstBlock + i) with the counter as a 128-bit big-endian
 * integer, the last block cut short if need be.
 * @param firstBlock - counter of the first block, a safe integer
 * @throws RangeError when the key is not 16 bytes or the counter not a safe integer
 */
export function aesCounterStream(key: Uint8Array, firstBlock: number, out: Uint8Array): void {
  defaultAes.counterStream(key, firstBlock, out);
}
