/**
 * The whole view of each party of a ReLU, by exhaustion, in rings of few bits; and that the gadget sends in rings of real
 * layers what the reference sends.
 */

import { describe, expect, it } from 'vitest';
import { choicePositions, comparisonCots } from '../../../protocol/compare/encoding.ts';
import { getBit } from '../../../protocol/gadgets/bits.ts';
import { bitBytes } from '../../../protocol/gadgets/gadget.ts';
import { RELU } from '../../../protocol/program/kinds.ts';
import { hashInstances, tweaksForInstances } from '../../../protocol/random/hash.ts';
import { deriveSeed, Prg, randomRing } from '../../../protocol/random/index.ts';
import { lowBits, packedBytes, signed, unpack } from '../../../protocol/ring/packing.ts';
import { isLong } from '../../support/long.ts';
import { readPads } from '../compare/reference.ts';
import { padsOf, sentWords } from '../compare/support.ts';
import { testSeed } from './lane.ts';
import { type Case, type Dealt, play, sourcesOf } from './lanes.ts';
import {
  type ClientRandomness,
  type Numbers,
  type ReluRun,
  runRelu,
  type ServerRandomness,
  widthsOf,
} from './relu-reference.ts';

const long = isLong('views');
const TIMEOUT = 1_800_000;

/** m bits compared, one cut off: k = m + 1, and v = o - m. */
const numbersOf = (m: number, outBits: number): Numbers => ({
  rangeBits: m + 1,
  dropBits: 0,
  shift: 1,
  outBits,
});

/** A number cut into its bits, from the lowest on; and how many were taken. */
class Cutter {
  taken = 0;
  #rest: number;

  constructor(value: number) {
    this.#rest = value;
  }

  take(bits: number): number {
    const part = this.#rest & ((1 << bits) - 1);
    this.#rest >>>= bits;
    this.taken += bits;
    return part;
  }
}

/** 1 where there is a carry, else 0: the bits of mu and d. */
const carriesOf = (numbers: Numbers): number => Math.min(1, widthsOf(numbers).carry);

/** All of the server's randomness out of one number, and how many of its bits that takes. */
function serverOf(numbers: Numbers, value: number): [ServerRandomness, number] {
  const { rangeBits, outBits } = numbers;
  const from = new Cutter(value);
  const pads = () => readPads(rangeBits - 2, (_, bits) => from.take(bits));
  const [zero, one] = [pads(), pads()];
  const [pi, mu] = [from.take(1), from.take(carriesOf(numbers))];
  const rhoPads = [from.take(outBits), from.take(outBits)] as const;
  return [{ zero, one, pi, mu, rhoPads }, from.taken];
}

/** Every value of the server's randomness. */
function allServers(numbers: Numbers): { servers: ServerRandomness[]; random: number } {
  const [, random] = serverOf(numbers, 0);
  const servers = Array.from({ length: 2 ** random }, (_, value) => serverOf(numbers, value)[0]);
  return { servers, random };
}

/**
 * The client's randomness out of one number, and how many of its bits that takes; the server knows one pad of each product
 * already: `known`.
 */
function clientOf(
  numbers: Numbers,
  value: number,
  { pi, mu }: ServerRandomness,
  known: number,
): [ClientRandomness, number] {
  const { outBits } = numbers;
  const { carry } = widthsOf(numbers);
  const [from, old] = [new Cutter(value), new Cutter(known)];
  const pair = (bits: number, choice: number): [number, number] => {
    const [mine, other] = [from.take(bits), old.take(bits)];
    return choice === 1 ? [mine, other] : [other, mine];
  };
  const own = {
    rho: from.take(1),
    mask: from.take(outBits),
    piPads: pair(outBits, pi),
    piCarryPads: pair(carry, pi),
    muPads: pair(carry, mu),
  };
  return [own, from.taken];
}

/** Words of few bits one behind the other, as one number. */
class View {
  value = 0;
  bits = 0;

  add(word: number, bits: number): this {
    this.value |= (word & ((1 << bits) - 1)) << this.bits;
    this.bits += bits;
    return this;
  }
}

/** What the client holds and receives. */
function clientView(numbers: Numbers, run: ReluRun): View {
  const { rangeBits, outBits } = numbers;
  const n = rangeBits - 2;
  const { own, corrections, message } = run;
  const view = new View();
  for (let i = 0; i + 1 < n; i++) {
    view.add(own.column[i]!, i).add(own.share[i]!, i).add(own.weight[i]!, 1);
    view.add(corrections[i]!, i);
  }
  view.add(own.end, n);
  for (let i = 0; i + 2 < n; i++) view.add(message.columns[i]!, i + 1);
  view.add(message.end, Math.max(n, 1)).add(message.choice, n);
  return view.add(run.rhoPad, outBits).add(run.d, carriesOf(numbers)).add(run.masked, outBits);
}

/** What the server receives. */
function serverView(numbers: Numbers, run: ReluRun): View {
  const { outBits } = numbers;
  const { carry } = widthsOf(numbers);
  return new View()
    .add(run.product, outBits)
    .add(run.productCarry, carry)
    .add(run.signs, carry)
    .add(run.known, 1)
    .add(run.word, outBits);
}

/** Is y within one unit of ReLU(x) / 2^f, x = a + c, in its ring of o bits? Beyond the range nothing is said. */
function isRight({ rangeBits, shift, outBits }: Numbers, a: number, c: number, y: number): boolean {
  const x = signed(a + c, rangeBits);
  if (Math.abs(x) >= 2 ** (rangeBits - 1) - 1) return true;
  const exact = Math.max(x, 0) / 2 ** shift;
  return [Math.floor(exact), Math.ceil(exact), Math.ceil(exact - 1), Math.floor(exact + 1)].some(
    (value) => signed(y - value, outBits) === 0,
  );
}

type ServerFault = (own: ServerRandomness) => ServerRandomness;
type ClientFault = (own: ClientRandomness, c: number) => ClientRandomness;

const someClient = (rho: number): ClientRandomness => ({
  rho,
  mask: 3,
  piPads: [0, 5],
  piCarryPads: [1, 0],
  muPads: [0, 1],
});

describe("the client's view of a ReLU", () => {
  for (const [m, outBits, step] of [
    [1, 2, 1],
    [1, 4, 1],
    [2, 2, 3],
    [2, 3, 3],
    [2, 4, 3],
    [3, 4, 65],
  ] as const) {
    const every = long ? 1 : step;
    const of = every === 1 ? '' : ` (one triple in ${every}; all with SOTTO_LONG=views)`;
    it(
      `m = ${m}, o = ${outBits}: each view comes from one value of the server's randomness, whatever a, c and rho are${of}`,
      () => {
        const numbers = numbersOf(m, outBits);
        const { servers, random } = allServers(numbers);
        const seen = new Int32Array(2 ** random);
        let [repeated, wrong, bits] = [0, 0, 0];
        for (let fixed = 0, stamp = 1; fixed < 512; fixed += every, stamp++) {
          const [a, c, client] = [fixed & 15, (fixed >> 4) & 15, someClient(fixed >> 8)];
          for (const server of servers) {
            const run = runRelu(numbers, a, c, server, client);
            const view = clientView(numbers, run);
            if (seen[view.value] === stamp) repeated++;
            seen[view.value] = stamp;
            bits = view.bits;
            if (m < 3 && !isRight(numbers, a, c, run.y)) wrong++;
          }
        }
        expect({ bits, repeated, wrong }).toEqual({ bits: random, repeated: 0, wrong: 0 });
      },
      TIMEOUT,
    );
  }

  /** How many different distributions the view has over all a. */
  function distributions(m: number, fault: ServerFault): number {
    const numbers = numbersOf(m, 4);
    const { servers, random } = allServers(numbers);
    const found = new Set<string>();
    for (let a = 0; a < 16; a++) {
      const counts = new Uint16Array(2 ** random);
      for (const server of servers) {
        const run = runRelu(numbers, a, 7, fault(server), someClient(1));
        counts[clientView(numbers, run).value]!++;
      }
      found.add(Buffer.from(counts.buffer).toString('latin1'));
    }
    return found.size;
  }

  const faults: Record<string, ServerFault> = {
    'pi always 0': (own) => ({ ...own, pi: 0 }),
    'mu always 0': (own) => ({ ...own, mu: 0 }),
    'one bit for pi and mu': (own) => ({ ...own, mu: own.pi }),
    'mA always 0': (own) => ({ ...own, rhoPads: [own.rhoPads[0], own.rhoPads[0]] }),
    'mA without its highest bit': (own) => ({
      ...own,
      rhoPads: [own.rhoPads[0], (own.rhoPads[0] + (own.rhoPads[1] & 7)) & 15],
    }),
  };
  it('m = 1 and 2: its distribution does not depend on a', () => {
    expect([1, 2].map((m) => distributions(m, (own) => own))).toEqual([1, 1]);
  });
  for (const [title, fault] of Object.entries(faults)) {
    it(`m = 2: its distribution depends on a with this fault: ${title}`, () => {
      expect(distributions(2, fault)).toBeGreaterThan(1);
    });
  }
});

describe("the server's view of a ReLU", () => {
  /** Bits of the client's randomness. */
  function clientBits(numbers: Numbers): number {
    const [server] = serverOf(numbers, 0);
    return clientOf(numbers, 0, server, 0)[1];
  }

  it.each([2, 3, 4])(
    "m = 2, o = %i: each view comes from one value of the client's randomness, whatever a, c and its own randomness are (one pair of shares in 3; all with SOTTO_LONG=views)",
    (outBits) => {
      const numbers = numbersOf(2, outBits);
      const all = clientBits(numbers);
      const random = randomRing(new Prg(testSeed(230)), 512);
      const seen = new Int32Array(2 ** all);
      let [repeated, bits, stamp] = [0, 0, 0];
      for (let fixed = 0; fixed < 256; fixed += long ? 1 : 3) {
        stamp++;
        const [server] = serverOf(numbers, random[fixed]! & 0xfff);
        for (let value = 0; value < 2 ** all; value++) {
          const [client] = clientOf(numbers, value, server, random[256 + fixed]! & 0xff);
          const view = serverView(
            numbers,
            runRelu(numbers, fixed & 15, fixed >> 4, server, client),
          );
          if (seen[view.value] === stamp) repeated++;
          seen[view.value] = stamp;
          bits = view.bits;
        }
      }
      expect({ bits, repeated }).toEqual({ bits: all, repeated: 0 });
    },
  );

  /** How many different distributions the view has over all c. */
  function distributions(fault: ClientFault): number {
    const numbers = numbersOf(2, 3);
    const all = clientBits(numbers);
    const [server] = serverOf(numbers, 0b1001_0110_01_01);
    const found = new Set<string>();
    for (let c = 0; c < 16; c++) {
      const counts = new Uint16Array(2 ** all);
      for (let value = 0; value < 2 ** all; value++) {
        const client = fault(clientOf(numbers, value, server, 0b01_1001)[0], c);
        counts[serverView(numbers, runRelu(numbers, 6, c, server, client)).value]!++;
      }
      found.add(Buffer.from(counts.buffer).toString('latin1'));
    }
    return found.size;
  }

  const same = ([pad]: readonly [number, number]): [number, number] => [pad, pad];
  const faults: Record<string, ClientFault> = {
    'rho always 0': (own) => ({ ...own, rho: 0 }),
    "r' always 0": (own) => ({ ...own, mask: 0 }),
    "a bit of r' for rho": (own) => ({ ...own, rho: own.mask & 1 }),
    'equal pads of the product with pi': (own) => ({ ...own, piPads: same(own.piPads) }),
    'equal pads of its carry': (own) => ({ ...own, piCarryPads: same(own.piCarryPads) }),
    'equal pads of the product with mu': (own) => ({ ...own, muPads: same(own.muPads) }),
  };
  it('m = 2: its distribution does not depend on c', () => {
    expect(distributions((own) => own)).toBe(1);
  });
  for (const [title, fault] of Object.entries(faults)) {
    it(`m = 2: its distribution depends on c with this fault: ${title}`, () => {
      expect(distributions(fault)).toBeGreaterThan(1);
    });
  }
});

describe('the encoded ReLU', () => {
  /** Both pads of every element in one OT, the zeros' first. */
  function pads({ blocks, offset, tweaks: { start, first } }: Dealt, ot: number, n: number) {
    const own = blocks.subarray(16 * n * ot, 16 * n * (ot + 1));
    const tweaks = { start, first: first + ot * tweaksForInstances(n) };
    const flipped = own.map((byte, i) => byte ^ offset[i & 15]!);
    return [own, flipped].map((part) => hashInstances(part, tweaks));
  }

  it.each([
    [30, 15, 9, 30],
    [30, 15, 9, 17],
    [29, 11, 15, 32],
    [17, 15, 16, 19],
    [2, 0, 1, 2],
    [24, 0, 0, 24],
    [24, 0, 0, 28],
    [31, 1, 30, 31],
    [12, 2, 14, 9],
  ])(
    'k = %i, t = %i, f = %i, o = %i: sends word for word what the reference sends',
    (rangeBits, dropBits, shift, outBits) => {
      const own: Case = {
        kind: RELU,
        params: { rangeBits, dropBits, shift, outBits, comparison: 'encoded' },
      };
      const numbers = { rangeBits, dropBits, shift, outBits };
      const { carry: carryBits } = widthsOf(numbers);
      const n = 1100;
      const random = new Prg(deriveSeed(testSeed(231), 'values', rangeBits));
      const [a, c] = [randomRing(random, n), randomRing(random, n)];
      const sources = sourcesOf(own, n, testSeed(232), 3);
      const { client, server, y } = play(own, a, c, sources);
      const nodes = choicePositions(own.params).length;
      const labels = Array.from({ length: nodes + 1 }, (_, ot) => pads(sources.labels, ot, n));
      const products = [0, 1]
        .slice(0, carryBits === 0 ? 1 : 2)
        .map((ot) => pads(sources.products, ot, n));
      const word = (hash: Uint8Array, i: number, at = 0) =>
        unpack(hash.subarray(16 * i + 4 * at, 16 * i + 4 * at + 4), 1, 32)[0]!;
      const low = 2 ** carryBits - 1;
      const runs = Array.from({ length: n }, (_, i) => {
        const [zero, one] = [0, 1].map((side) =>
          padsOf(
            nodes,
            labels.map((both) => both[side]!),
            i,
          ),
        );
        const rhoPads = labels[comparisonCots(own.params)]!.map((hash) => word(hash, i));
        const [pi, carry] = [0, 1].map((at) => products[0]!.map((hash) => word(hash, i, at)));
        const mu = carryBits === 0 ? [0, 0] : products[1]!.map((hash) => word(hash, i));
        type Two = [number, number];
        return runRelu(
          numbers,
          a[i]!,
          c[i]!,
          {
            zero: zero!,
            one: one!,
            pi: getBit(server.state['pi'] as Uint8Array, i),
            mu: carryBits === 0 ? 0 : getBit(server.state['mu'] as Uint8Array, i),
            rhoPads: rhoPads as Two,
          },
          {
            rho: getBit(client.state['rho'] as Uint8Array, i),
            mask: sources.mask[i]!,
            piPads: pi as Two,
            piCarryPads: carry!.map((pad) => pad & low) as Two,
            muPads: mu.map((pad) => pad & low) as Two,
          },
        );
      });
      const { corrections, result } = server;
      const { material, tables } = client;
      const wordBytes = packedBytes(n, outBits);
      const cut = wordBytes + (carryBits === 0 ? 0 : bitBytes(n));
      const wordsOf = (bytes: Uint8Array) => unpack(bytes.subarray(0, wordBytes), n, outBits);
      const bits = (packed: Uint8Array) => runs.map((_, i) => getBit(packed, i));
      const carries = (part: number) => {
        if (carryBits === 0) return runs.map(() => 0);
        const bytes = packedBytes(n, carryBits);
        const from = wordBytes + part * bytes;
        return unpack(corrections.subarray(from, from + bytes), n, carryBits);
      };
      const parts: Record<string, [ArrayLike<unknown>, (run: ReluRun) => unknown]> = {
        'products with pi': [wordsOf(corrections), (run) => run.product],
        'their carries': [carries(0), (run) => run.productCarry],
        'products with mu': [carries(1), (run) => run.signs],
        corrections: [sentWords(tables, nodes, n, 'corrections'), (run) => run.corrections],
        E: [wordsOf(material), (run) => run.masked],
        d: [
          carryBits === 0 ? runs.map(() => 0) : bits(material.subarray(wordBytes)),
          (run) => run.d,
        ],
        message: [
          sentWords(material.subarray(cut), nodes, n, 'message'),
          ({ message: { columns, end, choice } }) => [...columns, end, choice],
        ],
        result: [wordsOf(result), (run) => run.word],
        "e'": [bits(result.subarray(wordBytes)), (run) => run.known],
        y: [y.map((value) => value & lowBits(outBits)), (run) => run.y],
      };
      for (const [name, [sent, expected]] of Object.entries(parts)) {
        const other = runs.flatMap((run, i) => (`${sent[i]}` === `${expected(run)}` ? [] : [i]));
        expect(other, `elements whose ${name} differ`).toEqual([]);
      }
    },
  );
});
