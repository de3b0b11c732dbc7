/**
 * One-time pads from correlated OT: hashing breaks the correlation.
 *
 * With q and t = q ^ x Delta, H(q) and H(q ^ Delta) are two random pads of the sender, H(t) is the one of the receiver's
 * choice, and the other is out of its reach because Delta is. H is the re-keyed hash of `random/hash.ts`: correlation
 * robust, for n <= 1,024 instances a key. The tweaks must never repeat under one offset.
 */

import { kernels } from '../kernels/index.ts';
import { hashInstances, type Tweaks } from '../random/hash.ts';

/**
 * Both pads of the sender. The receiver's is `hashInstances(t, tweaks)`.
 * @param q - n blocks
 * @param tweaks - `tweaksForInstances(n)` of them, the same as the receiver's
 * @returns n blocks each
 */
export function senderPads(
  q: Uint8Array,
  offset: Uint8Array,
  tweaks: Tweaks,
): { zero: Uint8Array; one: Uint8Array } {
  return { zero: hashInstances(q, tweaks), one: hashInstances(xorOffset(q, offset), tweaks) };
}

/** q ^ Delta, block by block. */
function xorOffset(q: Uint8Array, offset: Uint8Array): Uint8Array {
  const { arena, bits } = kernels();
  // In pieces, so that any number of blocks fits the arena.
  const out = new Uint8Array(q.length);
  for (let from = 0; from < q.length; from += PIECE_BYTES) {
    arena.scope(() => {
      const piece = q.subarray(from, from + PIECE_BYTES);
      const x = arena.put(piece);
      bits.xorBlock(x, x, arena.put(offset), piece.length / 16);
      out.set(arena.u8(x, piece.length), from);
    });
  }
  return out;
}

/** Bytes that {@link xorOffset} works on at once. LOCAL. */
const PIECE_BYTES = 1 << 20;
