/**
 * One-time pads from correlated OT: hashing breaks the correlation.
 *
 * With q and t = q ^ x Delta, H(q) and H(q ^ Delta) are two random pads of the sender, H(t) is the one of the receiver's
 * choice, and the other is out of its reach because Delta is. H is the re-keyed hash of `random/hash.ts`: correlation
 * robust, for n <= 1,024 instances a key. The tweaks must never repeat under one offset.
 */

import { kernels } from '../kernels/index.ts';
import { aesEncryptBlocks } from '../random/aes.ts';
import { hashInstances, INSTANCES_PER_KEY, type Tweaks, tweakKey } from '../random/hash.ts';

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
 * The first 32 bits of each of the sender's pads: of `senderPads(q, offset, tweaks)`.
 * @returns n words each; secret
 */
export function senderPadWords(
  q: Uint8Array,
  offset: Uint8Array,
  tweaks: Tweaks,
): { zero: Int32Array; one: Int32Array } {
  const [zero, one] = hashWords(q, tweaks, [NO_OFFSET, offset]) as [Int32Array, Int32Array];
  return { zero, one };
}

/**
 * The first 32 bits of each pad: of `hashInstances(blocks, tweaks)`.
 * @returns n words; secret
 */
export function padWords(blocks: Uint8Array, tweaks: Tweaks): Int32Array {
  return hashWords(blocks, tweaks, [NO_OFFSET])[0]!;
}

const NO_OFFSET = new Uint8Array(16);

/** For each offset the first words of the hashes of `blocks ^ offset`. A key encrypts for all offsets in one call. */
function hashWords(
  blocks: Uint8Array,
  { start, first }: Tweaks,
  offsets: readonly Uint8Array[],
): Int32Array[] {
  const { arena, bits } = kernels();
  const total = blocks.length / 16;
  const out = offsets.map(() => new Int32Array(total));
  arena.scope(() => {
    const most = Math.min(total, INSTANCES_PER_KEY);
    const plain = arena.alloc(16 * most);
    const inputs = arena.alloc(16 * most * offsets.length);
    const encrypted = arena.alloc(16 * most * offsets.length);
    const words = arena.alloc(4 * most * offsets.length);
    const shifts = offsets.map((offset) => arena.put(offset));
    // The orthomorphism is linear: it is applied once, and to each offset.
    for (const shift of shifts) bits.sigma(shift, shift, 1);
    for (let from = 0, tweak = first; from < total; from += most, tweak++) {
      const piece = blocks.subarray(16 * from, 16 * (from + most));
      const n = piece.length / 16;
      arena.u8(plain, piece.length).set(piece);
      bits.sigma(plain, plain, n);
      shifts.forEach((shift, i) => {
        bits.xorBlock(inputs + 16 * n * i, plain, shift, n);
      });
      const bytes = piece.length * offsets.length;
      const cipher = aesEncryptBlocks(tweakKey(start, tweak), arena.u8(inputs, bytes));
      arena.u8(encrypted, bytes).set(cipher);
      bits.xorFirstWords(words, encrypted, inputs, bytes / 16);
      out.forEach((array, i) => {
        array.set(arena.i32(words + 4 * n * i, n), from);
      });
    }
  });
  return out;
}
