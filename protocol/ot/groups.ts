/** How the 128 bits of an offset fall into the groups of SoftSpokenOT (softspoken.ts), of k bits each, and which k suits a link. */

/** The values of k that a session can choose. AGREEMENT. */
export const OT_KS = [4, 6, 8] as const;

/** Most bits of the offset that share a tree: the larger, the fewer bytes and the more work. AGREEMENT of a session. */
export type OtK = (typeof OT_KS)[number];

/** k for fast links, and where nothing is known of the link. */
export const DEFAULT_OT_K: OtK = 4;

/** Whether `k` is one of {@link OT_KS}. */
export function isOtK(k: number): k is OtK {
  return (OT_KS as readonly number[]).includes(k);
}

/** Links with fewer bits a second than these are worth a larger k. LOCAL, measured: protocol/DECISIONS.md. */
const SLOW_LINK = 100e6;
const VERY_SLOW_LINK = 10e6;

/**
 * The k that suits a link.
 * @param bitsPerSecond - of its slower direction; default: unlimited
 * @throws RangeError when that is not a positive number
 */
export function otKFor(bitsPerSecond: number = Number.POSITIVE_INFINITY): OtK {
  if (!(bitsPerSecond > 0)) {
    throw new RangeError(`bitsPerSecond: expected a positive number, got ${bitsPerSecond}`);
  }
  if (bitsPerSecond >= SLOW_LINK) return DEFAULT_OT_K;
  return bitsPerSecond >= VERY_SLOW_LINK ? 6 : 8;
}

/** Neighbouring groups of one width. */
export interface GroupRun {
  readonly groups: number;
  /** Bits of each group; its tree has 2^width leaves. */
  readonly width: number;
  /** Where it begins, counted in groups, in bits of the offset, and in leaves. */
  readonly group: number;
  readonly bit: number;
  readonly leaf: number;
}

/** How the 128 bits of the offset fall into groups, and their leaves in all. */
export interface OffsetGrouping {
  readonly groups: number;
  readonly leaves: number;
  readonly runs: readonly GroupRun[];
}

/**
 * Groups of k bits, then of k - 1, as few as hold 128 bits.
 * @throws RangeError when k is not supported
 */
export function groupingOf(k: OtK): OffsetGrouping {
  if (!isOtK(k))
    throw new RangeError(`SoftSpoken k: expected one of ${OT_KS.join(', ')}, got ${k}`);
  const groups = Math.ceil(128 / k);
  const wide = 128 - groups * (k - 1);
  const first = { groups: wide, width: k, group: 0, bit: 0, leaf: 0 };
  const rest = groups - wide;
  const second = { groups: rest, width: k - 1, group: wide, bit: wide * k, leaf: wide << k };
  const runs = rest === 0 ? [first] : [first, second];
  return { groups, leaves: (wide << k) + (rest << (k - 1)), runs };
}
