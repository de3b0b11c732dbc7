/**
 * Logits: the client learns the output without its f lowest bits. protocol/README, "Output".
 *
 *   client holds c                                server holds a (online)
 *
 *   online     <--- A = (a >> f) + 1 --------     modulo 2^(k-f)
 *              ((c >> f) + A) 2^f
 *
 * The two floors lose one unit on average, which the server adds back, as in a truncation of an activation. No sign is
 * needed: shares are modulo 2^k, so that their high parts are modulo 2^(k-f) and a carry out of k bits leaves that ring too.
 * With f = 0 nothing is lost and nothing added.
 *
 * Before: shares a, c of x, |x| + 2^f < 2^(k-1). After: the client knows y, a multiple of 2^f with |y - x| <= 2^f, without
 * bias (but 2^-f of a unit). Leakage: which multiple it is, which depends on the low bits of c and x.
 */

import { pack, packedBytes, signed, unpack } from '../ring/packing.ts';
import { roundingUnit } from './gadget.ts';

/** The public numbers: values of k bits, of which f are cut off. */
export interface LogitParams {
  readonly values: number;
  /** k. */
  readonly rangeBits: number;
  /** f, at most k - 2. */
  readonly shift: number;
}

export const logits = {
  /** Bytes of the server's message. */
  bytes: ({ values, rangeBits, shift }: LogitParams): number =>
    packedBytes(values, rangeBits - shift),

  /** Server: its message. */
  reveal({ rangeBits, shift }: LogitParams, a: Int32Array): Uint8Array {
    const unit = roundingUnit(shift);
    return pack(
      a.map((share) => (share >> shift) + unit),
      rangeBits - shift,
    );
  },

  /** Client: the logits. */
  join({ values, rangeBits, shift }: LogitParams, c: Int32Array, message: Uint8Array): Int32Array {
    const bits = rangeBits - shift;
    const parts = unpack(message, values, bits);
    return c.map((share, i) => signed((share >> shift) + parts[i]!, bits) << shift);
  },
};
