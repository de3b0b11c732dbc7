/**
 * The re-keyed block hash of garbling and of oblivious-transfer pads: H_k(x) = AES_k(sigma(x)) xor sigma(x).
 *
 * Guo, Katz, Wang, Weng, Yu, "Better Concrete Security for Half-Gates Garbling", Crypto 2020: circular correlation
 * robust when AES is an ideal cipher, sigma a linear orthomorphism, and the key changes after a bounded number of blocks.
 *
 * Bits: sigma(xL || xR) = (xL xor xR) || xL with xL the bytes 0-7 of a block and xR the bytes 8-15. The key of tweak
 * number i is start xor i, i in bytes 0-7 as a little-endian integer; `start` is 16 random public bytes, fresh for each
 * use of an offset (a bundle, a session). A tweak number never repeats under one start.
 */

import { kernels } from '../kernels/index.ts';
import { aesEncryptBlocks } from './aes.ts';

/** Encrypts each 16-byte block of its second argument under its first: {@link aesEncryptBlocks} or one of its engines. */
export type BlockCipher = (key: Uint8Array, input: Uint8Array) => Uint8Array;

/**
 * Instances hashed under one key. One key used for n instances costs log2(n) + 1 bits of concrete security: 2^10 keeps
 * 117 of 128 bits. SECURITY.
 */
export const INSTANCES_PER_KEY = 1024;

/** Where a run of consecutive tweak numbers begins. */
export interface Tweaks {
  /** 16 random public bytes, fresh for each use of an offset. */
  readonly start: Uint8Array;
  /** The first tweak number of the run. */
  readonly first: number;
}

/** Tweak numbers that {@link hashInstances} uses up on `n` blocks. */
export function tweaksForInstances(n: number): number {
  return Math.ceil(n / INSTANCES_PER_KEY);
}

/** The AES key of tweak number `index`, an integer below 2^53. */
export function tweakKey(start: Uint8Array, index: number): Uint8Array {
  if (start.length !== 16)
    throw new RangeError(`tweak start: expected 16 bytes, got ${start.length}`);
  if (!Number.isSafeInteger(index) || index < 0) {
    throw new RangeError(`tweak number: expected a non-negative safe integer, got ${index}`);
  }
  const key = start.slice();
  const high = Math.floor(index / 0x1_0000_0000);
  for (let i = 0; i < 4; i++) {
    key[i]! ^= index >>> (8 * i);
    key[i + 4]! ^= high >>> (8 * i);
  }
  return key;
}

/**
 * H_key of each 16-byte block of `blocks`, independently.
 * @param cipher - another engine, for tests
 * @returns fresh bytes, as many as `blocks`
 * @throws RangeError when `blocks` is not whole blocks or the key not 16 bytes
 */
export function hashBlocks(
  blocks: Uint8Array,
  key: Uint8Array,
  cipher: BlockCipher = aesEncryptBlocks,
): Uint8Array {
  if (blocks.length % 16 !== 0) {
    throw new RangeError(`hash: expected a multiple of 16 bytes, got ${blocks.length}`);
  }
  const { arena, bits } = kernels();
  return arena.scope(() => {
    const x = arena.put(blocks);
    bits.sigma(x, x, blocks.length / 16);
    const encrypted = arena.put(cipher(key, arena.u8(x, blocks.length)));
    bits.xor(x, x, encrypted, blocks.length);
    return arena.u8(x, blocks.length).slice();
  });
}

/**
 * The hash of each block of `blocks`, one tweak for each {@link INSTANCES_PER_KEY} of them.
 * @param tweaks - the first of `tweaksForInstances(blocks.length / 16)` tweak numbers
 * @returns fresh bytes, as many as `blocks`
 */
export function hashInstances(
  blocks: Uint8Array,
  { start, first }: Tweaks,
  cipher: BlockCipher = aesEncryptBlocks,
): Uint8Array {
  const out = new Uint8Array(blocks.length);
  const step = 16 * INSTANCES_PER_KEY;
  for (let from = 0, tweak = first; from < blocks.length; from += step, tweak++) {
    const part = blocks.subarray(from, from + step);
    out.set(hashBlocks(part, tweakKey(start, tweak), cipher), from);
  }
  return out;
}
