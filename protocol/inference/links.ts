/** The links between two parties that budgets and measurements call by name. */

/** A link. Both directions have the same rate, at the same time. */
export interface NamedLink {
  readonly name: string;
  /** There and back, ms. */
  readonly roundTripMs: number;
  readonly bitsPerSecond: number;
}

/** A machine's own loopback: both parties share its cores. */
export const LOOPBACK: NamedLink = { name: 'loopback', roundTripMs: 0.1, bitsPerSecond: 10e9 };

/** A phone's. */
export const MOBILE: NamedLink = { name: 'mobile', roundTripMs: 60, bitsPerSecond: 20e6 };

export const LINKS: readonly NamedLink[] = [
  LOOPBACK,
  { name: 'LAN', roundTripMs: 0.5, bitsPerSecond: 1e9 },
  { name: 'WAN', roundTripMs: 40, bitsPerSecond: 100e6 },
  MOBILE,
];
