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
 * The first 32 bits of each pad: of `hashInstances(blocks ^ offset, tweaks)`, made without writing out the blocks.
 * @param offset - 16 bytes XORed onto each block: none for H(q) and H(t), Delta for H(q ^ Delta)
 */
export function padWords(
  blocks: Uint8Array,
  { start, first }: Tweaks,
  offset: Uint8Array = NO_OFFSET,
): Int32Array {
  const { arena, bits } = kernels();
  const out = new Int32Array(blocks.length / 16);
  arena.scope(() => {
    const delta = arena.put(offset);
    const x = arena.alloc(16 * INSTANCES_PER_KEY);
    const encrypted = arena.alloc(16 * INSTANCES_PER_KEY);
    const words = arena.alloc(4 * INSTANCES_PER_KEY);
    for (let from = 0, tweak = first; from < out.length; from += INSTANCES_PER_KEY, tweak++) {
      const piece = blocks.subarray(16 * from, 16 * (from + INSTANCES_PER_KEY));
      const n = piece.length / 16;
      arena.u8(x, piece.length).set(piece);
      bits.xorBlock(x, x, delta, n);
      bits.sigma(x, x, n);
      const cipher = aesEncryptBlocks(tweakKey(start, tweak), arena.u8(x, piece.length));
      arena.u8(encrypted, piece.length).set(cipher);
      bits.xorFirstWords(words, encrypted, x, n);
      out.set(arena.i32(words, n), from);
    }
  });
  return out;
}

const NO_OFFSET = new Uint8Array(16);
