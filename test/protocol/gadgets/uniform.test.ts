/**
 * What an encoded ReLU sends, part by part and bit by bit, at the widths of real layers and for shares at the ends of the
 * ring: every part is uniform, every bit of an element balanced, any two bits of an element independent.
 */

import { describe, expect, it } from 'vitest';
import { bitBytes } from '../../../protocol/gadgets/gadget.ts';
import { widthsOf } from '../../../protocol/gadgets/relu.ts';
import { RELU } from '../../../protocol/program/kinds.ts';
import { Prg, randomBytes } from '../../../protocol/random/index.ts';
import { packedBytes, unpack } from '../../../protocol/ring/packing.ts';
import {
  CHI_SQUARE_LIMIT,
  chiSquare,
  DEVIATION_LIMIT,
  largestBias,
  largestCorrelation,
} from '../../support/statistics.ts';
import { planesIn } from '../compare/support.ts';
import { testSeed } from './lane.ts';
import { type Case, type Played, play, sourcesOf, type Tampering } from './lanes.ts';

const N = 2 ** 15;

/** m compared bits. */
const caseOf = (m: number): Case => ({
  kind: RELU,
  params: {
    rangeBits: Math.min(m + 14, 31),
    dropBits: Math.min(13, 30 - m),
    shift: 13,
    outBits: 29,
    comparison: 'encoded',
  },
});

const WIDTHS = [10, 17, 30];

/** Shares whose bits are all alike, or all different, or that carry through the whole ring. */
const SHARES: readonly (readonly [number, number])[] = [
  [0, 0],
  [-1, 0],
  [-1, -1],
  [0x55555555, -0x55555556],
  [-(2 ** 31), 2 ** 31 - 1],
];

function constant(m: number, a: number, c: number, seed: number, tampering?: Tampering): Played {
  const own = caseOf(m);
  const shares = [a, c].map((share) => new Int32Array(N).fill(share));
  return play(own, shares[0]!, shares[1]!, sourcesOf(own, N, testSeed(seed), 0), tampering);
}

/** The bits of numbers as packed strings, one for each position. */
function positionsOf(values: Int32Array, width: number): Uint8Array[] {
  return Array.from({ length: width }, (_, bit) => {
    const out = new Uint8Array(bitBytes(values.length));
    for (let i = 0; i < values.length; i++) out[i >> 3]! |= ((values[i]! >>> bit) & 1) << (i & 7);
    return out;
  });
}

/** What is sent of N elements, by its parts: of each the bytes, and the bits of all elements string by string. */
function partsOf({ client, server }: Played): Record<'client' | 'server', Record<string, Part>> {
  const { outBits } = client.params;
  const words = packedBytes(N, outBits);
  const cut = words + bitBytes(N);
  const numbers = (bytes: Uint8Array, width: number): Part => ({
    bytes,
    strings: positionsOf(unpack(bytes, N, width), width),
  });
  const planes = (bytes: Uint8Array): Part => ({ bytes, strings: planesIn(bytes, N) });
  const { material, tables } = client;
  const { corrections, result } = server;
  const { bits } = widthsOf(client.params).carry;
  const carries = words + packedBytes(N, bits);
  return {
    client: {
      corrections: planes(tables),
      E: numbers(material.subarray(0, words), outBits),
      d: planes(material.subarray(words, cut)),
      message: planes(material.subarray(cut)),
    },
    server: {
      'products with pi': numbers(corrections.subarray(0, words), outBits),
      'their carries': numbers(corrections.subarray(words, carries), bits),
      'products with mu': numbers(corrections.subarray(carries), bits),
      result: numbers(result.subarray(0, words), outBits),
      "e'": planes(result.subarray(words)),
    },
  };
}

interface Part {
  readonly bytes: Uint8Array;
  readonly strings: Uint8Array[];
}

describe('what an encoded ReLU sends', () => {
  for (const m of WIDTHS) {
    for (const [index, [a, c]] of SHARES.entries()) {
      const shares = `a = ${a}, c = ${c}`;
      it(`m = ${m}, ${shares}: every part is uniform, and so are any two bits of an element`, () => {
        const parts = partsOf(constant(m, a, c, 240 + index));
        for (const party of ['client', 'server'] as const) {
          for (const [name, { bytes, strings }] of Object.entries(parts[party])) {
            expect(chiSquare(bytes), `${name} to the ${party}`).toBeLessThan(CHI_SQUARE_LIMIT);
            expect(largestBias(strings), `bits of ${name}`).toBeLessThan(DEVIATION_LIMIT);
          }
          const all = Object.values(parts[party]).flatMap(({ strings }) => strings);
          expect(largestCorrelation(all), `to the ${party}`).toBeLessThan(DEVIATION_LIMIT);
        }
      });
    }
  }

  it('a mask that is not drawn is caught: d with mu = 0 shows in its bytes and in its bits', () => {
    const server: Tampering['server'] = (state) => ({ ...state, mu: new Uint8Array(N / 8) });
    const { d } = partsOf(constant(10, -1, 0, 250, { server })).client;
    expect(chiSquare(d!.bytes)).toBeGreaterThan(CHI_SQUARE_LIMIT);
    expect(largestBias(d!.strings)).toBeGreaterThan(DEVIATION_LIMIT);
  });

  it('two bits that agree in 53 of 100 elements are caught', () => {
    const random = new Prg(testSeed(251));
    const strings = [0, 1, 2].map(() => randomBytes(random, N / 8));
    expect(largestCorrelation(strings)).toBeLessThan(DEVIATION_LIMIT);
    // One byte in 16 follows another string, the others agree by halves.
    const follower = strings[2]!.map((byte, i) => (i % 16 === 0 ? strings[0]![i]! : byte));
    expect(largestCorrelation([strings[0]!, strings[1]!, follower])).toBeGreaterThan(
      DEVIATION_LIMIT,
    );
  });
});
