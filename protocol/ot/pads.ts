/**
 * One-time pads from correlated OT: hashing breaks the correlation.
 *
 * With q and t = q ^ x Delta, H(q) and H(q ^ Delta) are two random pads of the sender, H(t) is the one of the receiver's
 * choice, and the other is out of its reach because Delta is. H is the re-keyed hash of `random/hash.ts`: correlation
 * robust, for n <= 1,024 instances a key. The tweaks must never repeat under one offset.
 */

import { kernels } from '../kernels/index.ts';
import { defaultAes } from '../random/aes.ts';
import { hashInstances, INSTANCES_PER_KEY, type Tweaks, tweakKey } from '../random/hash.ts';

/** Correlated OTs as their sender holds them: blocks q, offset, and hash tweaks for no other use under that offset. */
export interface SenderCots {
  readonly blocks: Uint8Array;
  readonly offset: Uint8Array;
  readonly tweaks: Tweaks;
}

/** Correlated OTs as their receiver holds them: blocks q xor choice * offset, and random choices (packed bits). */
export interface ReceiverCots {
  readonly blocks: Uint8Array;
  readonly choices: Uint8Array;
  readonly tweaks: Tweaks;
}

/**
 * Both pads of the sender. The receiver's is `hashInstances(t, tweaks)`.
 * @param q - n blocks
 * @param tweaks - `tweaksForInstances(n)` of them, the same as the receiver's
 * @returns n blocks each; secret
 */
export function senderPads(
  q: Uint8Array,
  offset: Uint8Array,
  tweaks: Tweaks,
): { zero: Uint8Array; one: Uint8Array } {
  const flipped = q.map((byte, i) => byte ^ offset[i & 15]!);
  return { zero: hashInstances(q, tweaks), one: hashInstances(flipped, tweaks) };
}

/**
 * The first 32-bit words of each of the sender's pads: of `senderPads(q, offset, tweaks)`.
 * @param words - how many, at most four
 * @returns for each word n numbers; secret
 */
export function senderPadWords(
  q: Uint8Array,
  offset: Uint8Array,
  tweaks: Tweaks,
  words = 1,
): { zero: Int32Array[]; one: Int32Array[] } {
  const pads = hashWords(q, tweaks, [NO_OFFSET, offset], words);
  return { zero: pads.slice(0, words), one: pads.slice(words) };
}

/**
 * The first 32-bit words of each pad: of `hashInstances(blocks, tweaks)`.
 * @param words - how many, at most four
 * @returns for each word n numbers; secret
 */
export function padWords(blocks: Uint8Array, tweaks: Tweaks, words = 1): Int32Array[] {
  return hashWords(blocks, tweaks, [NO_OFFSET], words);
}

/** The offset of the pad that belongs to the blocks themselves. */
export const NO_OFFSET: Uint8Array = new Uint8Array(16);

/** Hashes in kernel memory: block i is `encrypted[i] ^ inputs[i]`, those of the first offset first. Secret. */
export interface HashedBlocks {
  readonly inputs: number;
  readonly encrypted: number;
}

/**
 * Hashes at most {@link INSTANCES_PER_KEY} blocks under one tweak, for each offset those of `blocks ^ offset`, in kernel
 * memory of the caller's scope. A key encrypts for all offsets in one call.
 */
export function hashInArena(
  blocks: Uint8Array,
  key: Uint8Array,
  offsets: readonly Uint8Array[],
): HashedBlocks {
  const { arena, bits } = kernels();
  const n = blocks.length / 16;
  const all = n * offsets.length;
  const inputs = arena.alloc(16 * all);
  const encrypted = arena.alloc(16 * all);
  const plain = arena.put(blocks);
  const shifts = arena.alloc(16 * offsets.length);
  offsets.forEach((offset, i) => {
    arena.u8(shifts + 16 * i, 16).set(offset);
  });
  // The orthomorphism is linear: it is applied to the blocks once, and to each offset.
  bits.sigma(shifts, shifts, offsets.length);
  bits.hashInputs(inputs, plain, shifts, offsets.length, n);
  defaultAes.encryptAt(key, encrypted, inputs, all);
  return { inputs, encrypted };
}

/** For each offset the first words of all hashes. */
function hashWords(
  blocks: Uint8Array,
  { start, first }: Tweaks,
  offsets: readonly Uint8Array[],
  words: number,
): Int32Array[] {
  const { arena, bits } = kernels();
  const out = Array.from(
    { length: words * offsets.length },
    () => new Int32Array(blocks.length / 16),
  );
  const step = 16 * INSTANCES_PER_KEY;
  for (let from = 0, tweak = first; from < blocks.length; from += step, tweak++) {
    arena.scope(() => {
      const piece = blocks.subarray(from, from + step);
      const { inputs, encrypted } = hashInArena(piece, tweakKey(start, tweak), offsets);
      const n = piece.length / 16;
      const room = arena.alloc(4 * n);
      out.forEach((array, i) => {
        const word = i % words;
        const at = piece.length * ((i - word) / words);
        bits.xorWords(room, encrypted + at, inputs + at, word, n);
        array.set(arena.i32(room, n), from / 16);
      });
    });
  }
  return out;
}
