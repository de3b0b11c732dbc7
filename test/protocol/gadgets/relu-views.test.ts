/**
 * The whole view of each party of a ReLU, by exhaustion, in a ring of four bits; and that the gadget sends in its ring of 32
 * bits what the reference sends.
 */

import { describe, expect, it } from 'vitest';
import { choicePositions, comparisonCots } from '../../../protocol/compare/encoding.ts';
import { getBit, wordsView } from '../../../protocol/gadgets/bits.ts';
import { bitBytes } from '../../../protocol/gadgets/gadget.ts';
import { RELU } from '../../../protocol/program/kinds.ts';
import { hashInstances, tweaksForInstances } from '../../../protocol/random/hash.ts';
import { deriveSeed, Prg, randomRing } from '../../../protocol/random/index.ts';
import { packedBytes, unpack } from '../../../protocol/ring/packing.ts';
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
} from './relu-reference.ts';

const long = process.env['SOTTO_LONG'] === '1';
const TIMEOUT = 1_800_000;

/** Four bits wide, m bits compared, one cut off. */
const numbersOf = (m: number): Numbers => ({ width: 4, rangeBits: m + 1, dropBits: 0, shift: 1 });

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

/** All of the server's randomness out of one number, and how many of its bits that takes. */
function serverOf({ width, rangeBits }: Numbers, value: number): [ServerRandomness, number] {
  const from = new Cutter(value);
  const pads = () => readPads(rangeBits - 2, (_, bits) => from.take(bits));
  const [zero, one] = [pads(), pads()];
  const [pi, mu] = [from.take(1), from.take(1)];
  const rhoPads = [from.take(width), from.take(width)] as const;
  return [{ zero, one, pi, mu, rhoPads }, from.taken];
}

/** Every value of the server's randomness. */
function allServers(numbers: Numbers): { servers: ServerRandomness[]; random: number } {
  const [, random] = serverOf(numbers, 0);
  const servers = Array.from({ length: 2 ** random }, (_, value) => serverOf(numbers, value)[0]);
  return { servers, random };
}

/** The client's randomness out of one number of 11 bits, where the server knows one pad of each product already: `known`. */
function clientOf(value: number, { pi, mu }: ServerRandomness, known: number): ClientRandomness {
  const [from, old] = [new Cutter(value), new Cutter(known)];
  const pair = (bits: number, choice: number): [number, number] => {
    const [mine, other] = [from.take(bits), old.take(bits)];
    return choice === 1 ? [mine, other] : [other, mine];
  };
  return {
    rho: from.take(1),
    mask: from.take(4),
    piPads: pair(4, pi),
    piCarryPads: pair(1, pi),
    muPads: pair(1, mu),
  };
}

const CLIENT_BITS = 11;

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
function clientView({ rangeBits }: Numbers, run: ReluRun): View {
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
  return view.add(run.rhoPad, 4).add(run.d, 1).add(run.masked, 4);
}

/** What the server receives. */
const serverView = (run: ReluRun): View =>
  new View()
    .add(run.product, 4)
    .add(run.productCarry, 1)
    .add(run.signs, 1)
    .add(run.known, 1)
    .add(run.word, 4);

/** Is y within one unit of what it stands for? Beyond the range nothing is said. */
function isRight({ rangeBits }: Numbers, a: number, c: number, y: number): boolean {
  const signed = (value: number) => (value << 28) >> 28;
  const x = signed(a + c);
  if (Math.abs(x) >= 2 ** (rangeBits - 1) - 1) return true;
  return Math.abs(signed(y) - Math.max(x, 0) / 2) <= 1;
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
  for (const [m, step] of [
    [1, 1],
    [2, 3],
    [3, 65],
  ] as const) {
    const every = long ? 1 : step;
    const of = every === 1 ? '' : ` (one triple in ${every}; all with SOTTO_LONG=1)`;
    it(
      `m = ${m}: each view comes from one value of the server's randomness, whatever a, c and rho are${of}`,
      () => {
        const numbers = numbersOf(m);
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
    const numbers = numbersOf(m);
    const { servers, random } = allServers(numbers);
    const found = new Set<string>();
    for (let a = 0; a < 16; a++) {
      const counts = new Uint16Array(2 ** random);
      for (const server of servers) {
        const run = runRelu(numbers, a, 5, fault(server), someClient(1));
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
    it(`m = 1: its distribution depends on a with this fault: ${title}`, () => {
      expect(distributions(1, fault)).toBeGreaterThan(1);
    });
  }
});

describe("the server's view of a ReLU", () => {
  it("m = 2: each view comes from one value of the client's randomness, whatever a, c and its own randomness are (one pair of shares in 3; all with SOTTO_LONG=1)", () => {
    const numbers = numbersOf(2);
    const random = randomRing(new Prg(testSeed(230)), 512);
    const seen = new Int32Array(2 ** CLIENT_BITS);
    let [repeated, bits, stamp] = [0, 0, 0];
    for (let fixed = 0; fixed < 256; fixed += long ? 1 : 3) {
      stamp++;
      const [server] = serverOf(numbers, random[fixed]! & 0xfff);
      for (let value = 0; value < 2 ** CLIENT_BITS; value++) {
        const client = clientOf(value, server, random[256 + fixed]! & 0x3f);
        const view = serverView(runRelu(numbers, fixed & 15, fixed >> 4, server, client));
        if (seen[view.value] === stamp) repeated++;
        seen[view.value] = stamp;
        bits = view.bits;
      }
    }
    expect({ bits, repeated }).toEqual({ bits: CLIENT_BITS, repeated: 0 });
  });

  /** How many different distributions the view has over all c. */
  function distributions(fault: ClientFault): number {
    const numbers = numbersOf(2);
    const [server] = serverOf(numbers, 0b1001_0110_01_01);
    const found = new Set<string>();
    for (let c = 0; c < 16; c++) {
      const counts = new Uint16Array(2 ** CLIENT_BITS);
      for (let value = 0; value < 2 ** CLIENT_BITS; value++) {
        const client = fault(clientOf(value, server, 0b01_1001), c);
        counts[serverView(runRelu(numbers, 6, c, server, client)).value]!++;
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
    [30, 15, 9],
    [29, 11, 15],
    [17, 15, 16],
    [2, 0, 1],
    [24, 0, 0],
    [31, 1, 30],
  ])(
    'k = %i, t = %i, f = %i: sends word for word what the reference sends',
    (rangeBits, dropBits, shift) => {
      const own: Case = {
        kind: RELU,
        params: { rangeBits, dropBits, shift, comparison: 'encoded' },
      };
      const numbers = { width: 32, rangeBits, dropBits, shift };
      const n = 1100;
      const random = new Prg(deriveSeed(testSeed(231), 'values', rangeBits));
      const [a, c] = [randomRing(random, n), randomRing(random, n)];
      const sources = sourcesOf(own, n, testSeed(232), 3);
      const { client, server, y } = play(own, a, c, sources);
      const nodes = choicePositions(own.params).length;
      const labels = Array.from({ length: nodes + 1 }, (_, ot) => pads(sources.labels, ot, n));
      const products = [0, 1].map((ot) => pads(sources.products, ot, n));
      const word = (hash: Uint8Array, i: number, at = 0) => wordsView(hash)[4 * i + at]!;
      const low = 2 ** shift - 1;
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
        const mu = shift === 0 ? [0, 0] : products[1]!.map((hash) => word(hash, i));
        type Two = [number, number];
        return runRelu(
          numbers,
          a[i]!,
          c[i]!,
          {
            zero: zero!,
            one: one!,
            pi: getBit(server.state['pi'] as Uint8Array, i),
            mu: shift === 0 ? 0 : getBit(server.state['mu'] as Uint8Array, i),
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
      const wordBytes = 4 * n;
      const cut = wordBytes + (shift === 0 ? 0 : bitBytes(n));
      const wordsOf = (bytes: Uint8Array) => wordsView(bytes.slice(0, wordBytes));
      const bits = (packed: Uint8Array) => runs.map((_, i) => getBit(packed, i));
      const carries = (part: number) => {
        if (shift === 0) return runs.map(() => 0);
        const bytes = packedBytes(n, shift);
        const from = wordBytes + part * bytes;
        return unpack(corrections.subarray(from, from + bytes), n, shift);
      };
      const parts: Record<string, [ArrayLike<unknown>, (run: ReluRun) => unknown]> = {
        'products with pi': [wordsOf(corrections), (run) => run.product],
        'their carries': [carries(0), (run) => run.productCarry],
        'products with mu': [carries(1), (run) => run.signs],
        corrections: [sentWords(tables, nodes, n, 'corrections'), (run) => run.corrections],
        E: [wordsOf(material), (run) => run.masked],
        d: [shift === 0 ? runs.map(() => 0) : bits(material.subarray(wordBytes)), (run) => run.d],
        message: [
          sentWords(material.subarray(cut), nodes, n, 'message'),
          ({ message: { columns, end, choice } }) => [...columns, end, choice],
        ],
        result: [wordsOf(result), (run) => run.word],
        "e'": [bits(result.subarray(wordBytes)), (run) => run.known],
        y: [y, (run) => run.y],
      };
      for (const [name, [sent, expected]] of Object.entries(parts)) {
        const other = runs.flatMap((run, i) => (`${sent[i]}` === `${expected(run)}` ? [] : [i]));
        expect(other, `elements whose ${name} differ`).toEqual([]);
      }
    },
  );
});
