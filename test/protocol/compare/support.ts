/** The encoded comparison of many elements at once, both halves in one process, and the same by the reference. */

import {
  type ComparedBits,
  choicePositions,
  chooseOffline,
  correctOffline,
  decodeOnline,
  encodeOffline,
  encodeOnline,
} from '../../../protocol/compare/encoding.ts';
import { getBit, packWires, setBit } from '../../../protocol/gadgets/bits.ts';
import { hashInstances, type Tweaks, tweaksForInstances } from '../../../protocol/random/hash.ts';
import { deriveSeed, Prg, randomBytes } from '../../../protocol/random/index.ts';
import {
  bitsFrom,
  choosePads,
  corrections,
  decode,
  encode,
  type Message,
  type Pads,
  readPads,
} from './reference.ts';

/** One comparison of n elements: everything that its randomness decides. */
export interface Comparison {
  readonly params: ComparedBits;
  readonly a: Int32Array;
  readonly c: Int32Array;
  /** The server's blocks of the label OTs, OT by OT. */
  readonly blocks: Uint8Array;
  readonly offset: Uint8Array;
  readonly tweaks: Tweaks;
  /** Packed. */
  readonly pi: Uint8Array;
}

/** What crosses the wire, and e, packed. */
export interface Outcome {
  readonly corrections: Uint8Array;
  readonly message: Uint8Array;
  readonly e: Uint8Array;
}

/** Random OTs and pi for the comparison of a and c. */
export function comparisonOf(
  params: ComparedBits,
  a: Int32Array,
  c: Int32Array,
  seed: Uint8Array,
): Comparison {
  const n = a.length;
  const random = new Prg(seed);
  const offset = randomBytes(random, 16);
  const pi = randomBytes(random, (n + 7) >> 3);
  if (n % 8 !== 0) pi[pi.length - 1]! &= (1 << (n % 8)) - 1;
  const blocks = randomBytes(random, 16 * n * choicePositions(params).length);
  const tweaks = { start: deriveSeed(seed, 'tweaks'), first: 2 ** 32 - 3 };
  return { params, a, c, blocks, offset, tweaks, pi };
}

/** Blocks of the receiver of correlated OTs with these choices (packed). */
export function received(blocks: Uint8Array, offset: Uint8Array, choices: Uint8Array): Uint8Array {
  return blocks.map((byte, i) => byte ^ (-getBit(choices, i >> 4) & offset[i & 15]!));
}

/** By the module. */
export function run({ params, a, c, blocks, offset, tweaks, pi }: Comparison): Outcome {
  const n = a.length;
  const choices = packWires(c, choicePositions(params), n);
  const own = { blocks: received(blocks, offset, choices), choices, tweaks };
  const opened = chooseOffline(params, c, own);
  const server = encodeOffline(params, n, { blocks, offset, tweaks });
  const client = correctOffline(params, n, opened, server.corrections);
  const message = encodeOnline(params, server.state, a, pi);
  const e = decodeOnline(params, n, client, message);
  return { corrections: server.corrections, message, e };
}

/** Bits as planes on the wire: groups of 128 elements, in each plane by plane ceil(size / 8) bytes. */
function planesOf(n: number, planes: number, bitOf: (element: number, plane: number) => number) {
  const out = new Uint8Array(planes * Math.ceil(n / 8));
  for (let from = 0, at = 0; from < n; from += 128) {
    const size = Math.min(128, n - from);
    for (let plane = 0; plane < planes; plane++, at += Math.ceil(size / 8)) {
      for (let i = 0; i < size; i++) {
        out[at + (i >> 3)]! |= bitOf(from + i, plane) << (i & 7);
      }
    }
  }
  return out;
}

/** What is sent of n elements, the bits that stand for no element set to zero, and those bits alone. */
export function withoutStray(sent: Uint8Array, n: number): { bits: Uint8Array; stray: Uint8Array } {
  const [bits, stray] = [sent.slice(), new Uint8Array(sent.length)];
  if (n % 8 === 0) return { bits, stray };
  const planes = sent.length / Math.ceil(n / 8);
  const rest = Math.ceil((n % 128) / 8);
  for (let plane = 1; plane <= planes; plane++) {
    const at = sent.length - (planes - plane) * rest - 1;
    const own = (1 << (n % 8)) - 1;
    bits[at]! &= own;
    stray[at] = sent[at]! & ~own;
  }
  return { bits, stray };
}

/** The planes of something sent of n elements: of each the bits of all elements, packed. */
export function planesIn(sent: Uint8Array, n: number): Uint8Array[] {
  const bytes = Math.ceil(n / 8);
  const planes = sent.length / bytes;
  return Array.from({ length: planes }, (_, plane) => {
    const out = new Uint8Array(bytes);
    for (let from = 0; from < bytes; from += 16) {
      const size = Math.min(16, bytes - from);
      const at = from * planes + plane * size;
      out.set(sent.subarray(at, at + size), from);
    }
    return out;
  });
}

/** The planes of a message or of corrections, as pairs of a word's number and a bit of it. */
function entries(lengths: readonly number[]): [number, number][] {
  return lengths.flatMap((length, word) =>
    Array.from({ length }, (_, row): [number, number] => [word, row]),
  );
}

/** How many bits each word of the corrections and of the message has, in the order of the planes. */
export function planeWords(nodes: number): { corrections: number[]; message: number[] } {
  const upTo = (count: number) => Array.from({ length: Math.max(count, 0) }, (_, i) => i);
  return {
    // Columns 1 .. n-1 without their diagonals.
    corrections: upTo(nodes - 1),
    // Columns 1 .. n-2, the last column, and what c_n adds.
    message: [...upTo(nodes - 2).map((i) => i + 1), Math.max(nodes, 1), nodes],
  };
}

/** The words of the corrections or of the message of each element. */
export function sentWords(
  sent: Uint8Array,
  nodes: number,
  n: number,
  which: 'corrections' | 'message',
): number[][] {
  const planes = planesIn(sent, n);
  const lengths = planeWords(nodes)[which];
  return Array.from({ length: n }, (_, i) => {
    let plane = 0;
    return lengths.map((length) => {
      let word = 0;
      for (let row = 0; row < length; row++) word |= getBit(planes[plane++]!, i) << row;
      return word;
    });
  });
}

/** The words of a message in the order of the planes. */
const wordsOf = ({ columns, end, choice }: Message): number[] => [...columns, end, choice];

/** A bit of the pad of OT j out of the hash of its block: the pad begins at bit (j - 1)^2 mod 128. */
export function padBit(hash: Uint8Array, ot: number, bit: number): number {
  return getBit(hash, ((ot - 1) ** 2 + bit) % 128);
}

/** The pads of element i out of the hashes of the OTs' blocks. */
export function padsOf(nodes: number, hashes: readonly Uint8Array[], i: number): Pads {
  const used = new Int32Array(nodes + 1);
  return readPads(nodes, (ot, count) => {
    const hash = hashes[ot - 1]!.subarray(16 * i, 16 * (i + 1));
    let word = 0;
    for (let bit = 0; bit < count; bit++) {
      word |= padBit(hash, ot, used[ot]! + bit) << bit;
    }
    used[ot]! += count;
    return word;
  });
}

/** The hashes of all OTs' blocks, OT by OT. */
function hashesOf(blocks: Uint8Array, n: number, nodes: number, { start, first }: Tweaks) {
  return Array.from({ length: nodes }, (_, ot) =>
    hashInstances(blocks.subarray(16 * n * ot, 16 * n * (ot + 1)), {
      start,
      first: first + ot * tweaksForInstances(n),
    }),
  );
}

/** By the reference. */
export function runReference(own: Comparison): Outcome {
  const { params, a, c, blocks, offset, tweaks, pi } = own;
  const n = a.length;
  const nodes = choicePositions(params).length;
  const flipped = blocks.map((byte, i) => byte ^ offset[i & 15]!);
  const hashes = [blocks, flipped].map((part) => hashesOf(part, n, nodes, tweaks));
  const sent: number[][] = [];
  const messages: number[][] = [];
  const e = new Uint8Array((n + 7) >> 3);
  for (let i = 0; i < n; i++) {
    const [zero, one] = hashes.map((part) => padsOf(nodes, part, i)) as [Pads, Pads];
    const top = params.rangeBits - 1;
    const [bitsOfA, bitsOfC] = [bitsFrom(a[i]!, top, nodes + 2), bitsFrom(c[i]!, top, nodes + 2)];
    const corrected = corrections(zero, one);
    const message = encode(zero, one, bitsOfA, getBit(pi, i));
    sent.push(corrected);
    messages.push(wordsOf(message));
    setBit(e, i, decode(choosePads(zero, one, bitsOfC), bitsOfC, corrected, message));
  }
  const lay = (words: readonly (readonly number[])[], lengths: readonly number[]) => {
    const places = entries(lengths);
    return planesOf(n, places.length, (element, plane) => {
      const [word, row] = places[plane]!;
      return (words[element]![word]! >>> row) & 1;
    });
  };
  const lengths = planeWords(nodes);
  return {
    corrections: lay(sent, lengths.corrections),
    message: lay(messages, lengths.message),
    e,
  };
}
