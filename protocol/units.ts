/**
 * Sizes, rates and times as people write them, for every command that takes one. What cannot be read is a RangeError whose
 * message goes behind the value in a sentence: "It must be ...".
 */

/** Factors by prefix: decimal, and binary with an i. */
const PREFIXES: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
};

/** Milliseconds by unit. */
const TIMES: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1e3,
  sec: 1e3,
  min: 60e3,
  h: 3600e3,
  hour: 3600e3,
  d: 86_400e3,
  day: 86_400e3,
};

/** Units of time that stand behind a bare number where an option says so, and that rates count by. */
export type TimeUnit = 'ms' | 's' | 'min' | 'hour' | 'day';

const NUMBER = '(\\d+(?:\\.\\d+)?)\\s*';
const SIZE = new RegExp(`^${NUMBER}(|[kmgt]i?)b?$`, 'i');
const BITS = new RegExp(`^${NUMBER}(|[kmgt])(?:bits?|bits?/s|bps|b/s)$`, 'i');
const BYTES_A_SECOND = new RegExp(`^${NUMBER}(|[kmgtKMGT]i?)B(?:ps|/s)$`);
const TIME = new RegExp(`^${NUMBER}(ms|s|sec|min|h|hours?|d|days?|)$`, 'i');
const RATE = /^(.*\S)\s*\/\s*(s|sec|min|h|hour|d|day)$/i;

const factor = (prefix: string): number => PREFIXES[prefix.toLowerCase()]!;

/** Bytes of text such as `8MB`, `8 MiB` or `64k`; a bare number is one of bytes. A whole number from 1. */
export function bytesOf(text: string): number {
  const [, number, prefix = ''] = SIZE.exec(text.trim()) ?? [];
  const bytes = Math.round(Number(number) * factor(prefix));
  if (Number.isSafeInteger(bytes) && bytes >= 1) return bytes;
  throw new RangeError('It must be a size such as 64k, 8MB or 8MiB.');
}

/** Bits a second of text such as `100mbit`, `100Mbit/s` or `100Mbps`, or with a capital B of bytes, as `12MB/s`; above 0. */
export function bitsPerSecondOf(text: string): number {
  const trimmed = text.trim();
  // Before bits, where a b of any case is one.
  const [, bytes, of = ''] = BYTES_A_SECOND.exec(trimmed) ?? [];
  const [, number, prefix = ''] = BITS.exec(trimmed) ?? [];
  const bits =
    bytes === undefined ? Number(number) * factor(prefix) : 8 * Number(bytes) * factor(of);
  if (bits > 0 && bits < Number.POSITIVE_INFINITY) return bits;
  throw new RangeError('It must be a rate such as 800kbit, 100Mbit/s or 1Gbps.');
}

/**
 * Milliseconds of text such as `40ms`, `2s`, `5min` or `1h`.
 * @param bare - the unit of a number without one
 */
export function millisecondsOf(text: string, bare: TimeUnit): number {
  const [, number, unit = ''] = TIME.exec(text.trim()) ?? [];
  const ms = Number(number) * msOf(unit === '' ? bare : unit);
  if (Number.isFinite(ms)) return ms;
  throw new RangeError(
    `It must be a time such as 40ms, 2s or 5min; without a unit it is in ${bare}.`,
  );
}

/** Events a second of text such as `5/s`, `600/min` or `1000/day`; above 0. */
export function perSecondOf(text: string): number {
  const [count, ms] = ratioOf(text);
  const [, number] = /^(\d+(?:\.\d+)?)$/.exec(count) ?? [];
  if (Number(number) > 0) return Number(number) / (ms / 1000);
  throw new RangeError('It must be a rate such as 5/s, 600/min or 1000/day.');
}

/** How many a `unit`, of text such as `1000/day`: a whole number from 1. Others are not converted, for windows are counted. */
export function countPer(unit: TimeUnit): (text: string) => number {
  return (text) => {
    const [count, ms] = ratioOf(text);
    const most = Number(/^\d+$/.exec(count)?.[0]);
    if (ms === msOf(unit) && Number.isSafeInteger(most) && most >= 1) return most;
    throw new RangeError(`It must be a whole number a ${unit}, such as 1000/${unit}.`);
  };
}

/** Bytes a `unit`, of text such as `10GB/day`. */
export function bytesPer(unit: TimeUnit): (text: string) => number {
  return (text) => {
    const [size, ms] = ratioOf(text);
    try {
      if (ms === msOf(unit)) return bytesOf(size);
    } catch {
      // Told below.
    }
    throw new RangeError(`It must be a size a ${unit}, such as 500MB/${unit} or 10GiB/${unit}.`);
  };
}

const msOf = (unit: string): number => TIMES[unit.toLowerCase().replace(/(hour|day)s$/, '$1')]!;

/** What stands before the stroke, and the time behind it; neither is anything where there is none. */
function ratioOf(text: string): [what: string, ms: number] {
  const [, what = '', unit = ''] = RATE.exec(text.trim()) ?? [];
  return [what, unit === '' ? Number.NaN : msOf(unit)];
}
