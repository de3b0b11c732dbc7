/**
 * The client's whole view of the comparison, by exhaustion: the reference, which sends bit for bit what the module sends
 * (encoding.test.ts), runs on every value of the server's randomness. The server receives nothing.
 */

import { describe, expect, it } from 'vitest';
import { isLong } from '../../support/long.ts';
import {
  choosePads,
  corrections,
  decode,
  encode,
  lawOf,
  type Pads,
  readPads,
} from './reference.ts';

const long = isLong('views');
const TIMEOUT = 1_800_000;

/** A fault of the construction: what it makes of the pads and of pi. */
type Fault = (zero: Pads, one: Pads, pi: number) => [Pads, Pads, number];

/** Appends numbers of few bits to one number. */
class View {
  value = 0;
  bits = 0;

  add(word: number, bits: number): void {
    this.value |= word << this.bits;
    this.bits += bits;
  }
}

/** Cuts a number into its bits, from the lowest on. */
function cutter(value: number): (bits: number) => number {
  let rest = value;
  return (bits) => {
    const part = rest & ((1 << bits) - 1);
    rest >>>= bits;
    return part;
  };
}

/** The server's random bits of a comparison: both pads of n OTs, and pi. */
const randomBitsOf = (n: number): number => {
  let bits = 2 * n + 1;
  for (let j = 1; j < n; j++) bits += 2 * (2 * j - 1);
  return bits;
};

/** What the client holds and receives when the server's random bits are `randomness`; and e. */
function viewOf(
  a: readonly number[],
  c: readonly number[],
  randomness: number,
  fault: Fault,
): { view: View; e: number; pi: number } {
  const n = a.length - 2;
  const take = cutter(randomness);
  const pads = () => readPads(n, (_, bits) => take(bits));
  const [zero, one, pi] = fault(pads(), pads(), take(1));
  const own = choosePads(zero, one, c);
  const corrected = corrections(zero, one);
  const message = encode(zero, one, a, pi);
  const view = new View();
  for (let j = 1; j < n; j++) {
    view.add(own.column[j - 1]!, j - 1);
    view.add(own.share[j - 1]!, j - 1);
    view.add(own.weight[j - 1]!, 1);
    view.add(corrected[j - 1]!, j - 1);
  }
  view.add(own.end, n);
  message.columns.forEach((column, i) => {
    view.add(column, i + 1);
  });
  view.add(message.end, Math.max(n, 1));
  view.add(message.choice, n);
  return { view, e: decode(own, c, corrected, message), pi };
}

const bitsOf = (word: number, m: number): number[] =>
  Array.from({ length: m + 1 }, (_, i) => (word >> (m - i)) & 1);

const none: Fault = (zero, one, pi) => [zero, one, pi];

/**
 * Every value of the server's randomness, for every pair of shares or for every `step`-th.
 * @returns the bits of the randomness and of a view; for how many pairs of shares some view arises twice, so that another
 * never does; and how many runs ended with a wrong e
 */
function exhaust(m: number, step: number) {
  const random = randomBitsOf(m - 1);
  const seen = new Int32Array(2 ** random);
  let [pairs, repeated, wrong, bits] = [0, 0, 0, 0];
  for (let both = 0; both < 4 ** (m + 1); both += step) {
    const [a, c] = [bitsOf(both >> (m + 1), m), bitsOf(both & (2 ** (m + 1) - 1), m)];
    pairs++;
    let twice = false;
    for (let randomness = 0; randomness < 2 ** random; randomness++) {
      const { view, e, pi } = viewOf(a, c, randomness, none);
      twice ||= seen[view.value] === pairs;
      seen[view.value] = pairs;
      bits = view.bits;
      if (e !== (pi ^ lawOf(a, c))) wrong++;
    }
    if (twice) repeated++;
  }
  return { random, bits, repeated, wrong };
}

/** How many different distributions the view has for one c: over all a, and over the a of each b. */
function distributions(m: number, c: readonly number[], fault: Fault) {
  const random = randomBitsOf(m - 1);
  const found: [Set<string>, Set<string>] = [new Set(), new Set()];
  for (let word = 0; word < 2 ** (m + 1); word++) {
    const a = bitsOf(word, m);
    const counts = new Uint16Array(2 ** random);
    for (let r = 0; r < 2 ** random; r++) counts[viewOf(a, c, r, fault).view.value]!++;
    found[lawOf(a, c)]!.add(Buffer.from(counts.buffer).toString('latin1'));
  }
  const all = new Set([...found[0], ...found[1]]).size;
  return { all, given: Math.max(found[0].size, found[1].size) };
}

describe("the client's view of a comparison", () => {
  for (const m of [1, 2, 3, 4]) {
    const step = m < 4 || long ? 1 : 61;
    const of = step === 1 ? '' : ` (one pair of shares in ${step}; all with SOTTO_LONG=views)`;
    it(
      `m = ${m}: each view comes from one value of the server's randomness, whatever a and c are${of}`,
      () => {
        const { random, ...rest } = exhaust(m, step);
        expect(rest).toEqual({ bits: random, repeated: 0, wrong: 0 });
      },
      TIMEOUT,
    );
  }

  // Each fault with a c for which it tells.
  const faults: { title: string; c: number[]; fault: Fault; onlyB?: boolean }[] = [
    {
      title: 'a pad bit that serves R and lambda',
      c: [0, 1, 0, 1, 0],
      fault: (zero, one, pi) => {
        const shared = (own: Pads): Pads => ({
          ...own,
          weight: [own.weight[0]!, own.column[1]! & 1],
        });
        return [shared(zero), shared(one), pi];
      },
    },
    {
      title: 'pad bits that serve R and its product with lambda',
      c: [0, 1, 0, 1, 0],
      fault: (zero, one, pi) => [
        { ...zero, share: zero.column },
        { ...one, share: one.column },
        pi,
      ],
    },
    {
      title: 'lambda always 0',
      c: [0, 1, 0, 1],
      fault: (zero, one, pi) => [zero, { ...one, weight: zero.weight }, pi],
    },
    {
      title: 'R always the unit matrix',
      c: [0, 1, 0, 1, 0],
      fault: (zero, one, pi) => [zero, { ...one, column: zero.column }, pi],
    },
    {
      title: 'both pads of the end alike',
      c: [0, 1, 0],
      fault: (zero, one, pi) => [zero, { ...one, end: zero.end }, pi],
    },
    { title: 'pi always 0', c: [0, 1], fault: (zero, one) => [zero, one, 0], onlyB: true },
    { title: 'pi always 0', c: [0, 1, 0, 1], fault: (zero, one) => [zero, one, 0], onlyB: true },
  ];
  for (const { title, c, fault, onlyB } of faults) {
    const m = c.length - 1;
    it(`m = ${m}: its distribution depends on a with this fault and not without it: ${title}`, () => {
      if (m < 4) expect(distributions(m, c, none).all).toBe(1);
      const { all, given } = distributions(m, c, fault);
      expect(all).toBeGreaterThan(1);
      // A constant pi gives away b and nothing else, all other faults more.
      if (onlyB === true) expect(given).toBe(1);
      else expect(given).toBeGreaterThan(1);
    });
  }
});
