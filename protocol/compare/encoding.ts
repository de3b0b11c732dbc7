/**
 * The comparison without labels: a perfect randomised encoding of a carry chain, which the client evaluates to one bit.
 *
 * Ishai and Kushilevitz, "Randomizing Polynomials", FOCS 2000, and "Perfect Constant-Round Secure Computation via Perfect
 * Randomizing Polynomials", ICALP 2002: branching programs. A garbled circuit whose security is information-theoretic; its
 * size is quadratic in the length of the chain, which is short here. Half gates do the same with 16-byte labels.
 *
 * What is computed. x = a + c mod 2^k, |x| < 2^(k-1) - 2^t, m = k - 1 - t. With a_0 = bit k-1 of a, a_1 .. a_m its bits
 * k-2 .. t, likewise c, and p_i = a_i ^ c_i, the carry into bit k-1 is
 *
 *     a_1 ^ (sum over i = 1 .. m-1 of p_1 ... p_i (a_i ^ a_(i+1)))        [the term p_1 ... p_m a_m is left out]
 *
 * and b = (x >= 0) = 1 ^ a_0 ^ c_0 ^ carry. What is left out matters only when (a >> t) + (c >> t) = -1, that is for
 * -2^t <= x < 2^t: there b is 1 with probability (2^t + x + 1) / 2^(t+1), a coin that neither party sees.
 *
 * How. A branching program with nodes 0 .. n, n = m - 1: edge j-1 -> j labelled p_j, and edges to the end labelled
 * tau_0 = a_0 ^ a_1 ^ 1 ^ pi, tau_j = a_j ^ a_(j+1), the server's alone. Its value, pi ^ b ^ c_0, is the determinant of a
 * matrix L over GF(2), here of three compared bits:
 *
 *                        | p_1   0   tau_0 |
 *     m = 3, n = 2:  L = |  1   p_2  tau_1 |     det L = tau_0 ^ p_1 tau_1 ^ p_1 p_2 tau_2
 *                        |  0    1   tau_2 |
 *
 * The server multiplies L from the left by a random unit upper triangular R, and adds a random
 * combination lambda of the columns to the last one: the client sees a uniform matrix of that determinant. c enters column
 * j as R[., j-1] c_j and the last column as lambda_j R[., j-1] c_j: one OT for each of c_1 .. c_n.
 *
 *   client holds c (offline)                              server holds a (online), a random bit pi
 *
 *   offline   chooses by c_1 .. c_n   ---- label OTs ---->   pads: R and lambda are their differences
 *             the last column's share <--- corrections ---   (n-1)(n-2)/2 bits
 *   online    solves the triangle     <--- message --------   (n^2 + n + 2)/2 bits
 *             e = b ^ pi
 *
 * Each OT's pad serves disjoint bits: above the diagonal of column j, j-1 bits (their difference is column j-1 of R, so
 * that the client needs no correction there), as many for lambda_j R (these are corrected), one for lambda_j. The client
 * adds c_j to entry (j-1, j) itself. Column n-1 of R is chosen online such that column n-1 of the message is the client's
 * pad, and is not sent. c_n chooses the pad of the end, of n bits, by one vector sent online.
 *
 * Leakage: none. For every a and c the map from the server's randomness (pads, pi) to what the client holds and receives is
 * a bijection; the server receives nothing here. Correlation robustness of the pads suffices.
 * Error: none but the coin above.
 */

import { bulkBytes } from '../bulk.ts';
import { kernels } from '../kernels/index.ts';
import { hashInArena, NO_OFFSET, type ReceiverCots, type SenderCots } from '../ot/pads.ts';
import { INSTANCES_PER_KEY, type Tweaks, tweakKey, tweaksForInstances } from '../random/hash.ts';
import {
  GROUP,
  groupsOf,
  heldBytes,
  PLANE_BYTES,
  planesOfWords,
  receivePlanes,
  sendPlanes,
  sentBytes,
} from './planes.ts';

/** Most compared bits: beyond, a row of the matrix no longer fits a word and an OT's pad not one block. SECURITY. */
export const MAX_COMPARED_BITS = 31;

/** The bits that are compared: positions k-1 (the sign) down to t. */
export interface ComparedBits {
  /** k, in bits. */
  readonly rangeBits: number;
  /** t, in bits. */
  readonly dropBits: number;
}

/**
 * m, the number of compared bits beside the sign.
 * @throws RangeError outside 1 .. {@link MAX_COMPARED_BITS}
 */
export function comparedBits({ rangeBits, dropBits }: ComparedBits): number {
  const m = rangeBits - 1 - dropBits;
  if (!(m >= 1 && m <= MAX_COMPARED_BITS)) {
    throw new RangeError(
      `a comparison of ${m} bits (k = ${rangeBits}, t = ${dropBits}): the encoding takes 1 to ${MAX_COMPARED_BITS}`,
    );
  }
  return m;
}

/** Inner nodes n of the branching program, which are also its OTs. */
const nodesOf = (params: ComparedBits): number => comparedBits(params) - 1;

/** Entries above the diagonal in columns 1 .. n-1, the first of which has none. */
const entriesOf = (nodes: number): number => ((nodes - 1) * (nodes - 2)) >> 1;

/** Planes that are kept: see the kernels. */
const serverPlanes = (nodes: number): number => 2 * entriesOf(nodes) + 4 * nodes - 2;
const clientPlanes = (nodes: number): number => (nodes === 0 ? 1 : entriesOf(nodes) + 3 * nodes);
const messagePlanes = (nodes: number): number => (nodes === 0 ? 1 : entriesOf(nodes) + 2 * nodes);
const correctionPlanes = (nodes: number): number => (nodes === 0 ? 0 : entriesOf(nodes));

/** OTs of one comparison. */
export function comparisonCots(params: ComparedBits): number {
  return nodesOf(params);
}

/** Hash tweaks of n comparisons. */
export function comparisonTweaks(params: ComparedBits, n: number): number {
  return nodesOf(params) * tweaksForInstances(n);
}

/** Exact bytes of both messages for n comparisons: (m-2)(m-3)/2 and (m^2 - m + 2)/2 bits each. */
export function comparisonBytes(
  params: ComparedBits,
  n: number,
): { corrections: number; message: number } {
  const nodes = nodesOf(params);
  return {
    corrections: sentBytes(correctionPlanes(nodes), n),
    message: sentBytes(messagePlanes(nodes), n),
  };
}

/** Bit positions of c_1 .. c_n, the client's choices, in the order of the OTs. */
export function choicePositions(params: ComparedBits): number[] {
  return Array.from({ length: nodesOf(params) }, (_, i) => params.rangeBits - 2 - i);
}

/** Where the pad of each OT goes in a string of (n-1)^2 + n bits, and so which bits of its block serve. */
function padRanges(nodes: number): { from: number; to: number }[] {
  return Array.from({ length: nodes }, (_, i) => {
    const from = i * i;
    return { from, to: from + (i + 1 < nodes ? 2 * i + 1 : nodes) };
  });
}

/** The mask of the bits from .. to of a string in its 128-bit block `block`. */
function maskOf({ from, to }: { from: number; to: number }, block: number): Uint8Array {
  const mask = new Uint8Array(16);
  const first = 8 * 16 * block;
  for (let bit = Math.max(from, first); bit < Math.min(to, first + 128); bit++) {
    mask[(bit - first) >> 3]! |= 1 << (bit & 7);
  }
  return mask;
}

/** The OTs of n elements, as many for each as a comparison has nodes. */
interface ElementOts {
  readonly nodes: number;
  readonly n: number;
  /** OT by OT, n blocks each. */
  readonly blocks: Uint8Array;
  readonly tweaks: Tweaks;
}

/**
 * For pieces of the n elements: the pads of all their OTs as planes in kernel memory, one set for each offset.
 * @param use - gets the pointers, the bytes between two groups, and the piece's first element and size
 */
function eachPadPlanes(
  { nodes, n, blocks, tweaks: { start, first } }: ElementOts,
  offsets: readonly Uint8Array[],
  use: (planes: readonly number[], stride: number, from: number, size: number) => void,
): void {
  const { arena, bits, compare } = kernels();
  const ranges = padRanges(nodes);
  const width = Math.ceil(ranges[nodes - 1]!.to / 128);
  const stride = width * 128 * PLANE_BYTES;
  const tweaks = tweaksForInstances(n);
  for (let from = 0, piece = 0; from < n; from += INSTANCES_PER_KEY, piece++) {
    arena.scope(() => {
      const size = Math.min(INSTANCES_PER_KEY, n - from);
      const groups = groupsOf(size);
      // Strings of all elements: 128-bit block by block, then one block of each element.
      const each = 16 * GROUP * groups;
      const strings = offsets.map(() => arena.alloc(width * each));
      for (const string of strings) arena.u8(string, width * each).fill(0);
      for (const [wire, range] of ranges.entries()) {
        arena.scope(() => {
          const at = 16 * (n * wire + from);
          const key = tweakKey(start, first + wire * tweaks + piece);
          const { inputs, encrypted } = hashInArena(
            blocks.subarray(at, at + 16 * size),
            key,
            offsets,
          );
          for (let block = range.from >> 7; block <= (range.to - 1) >> 7; block++) {
            const mask = arena.put(maskOf(range, block));
            strings.forEach((string, i) => {
              const own = 16 * size * i;
              const to = string + block * each;
              compare.orMasked(to, encrypted + own, inputs + own, mask, size);
            });
          }
        });
      }
      const planes = strings.map((string) => {
        const pointer = arena.alloc(groups * stride);
        for (let group = 0; group < groups; group++) {
          for (let block = 0; block < width; block++) {
            const to = pointer + group * stride + block * 128 * PLANE_BYTES;
            bits.transpose(to, string + block * each + 16 * GROUP * group, 16, 128);
          }
        }
        return pointer;
      });
      use(planes, stride, from, size);
    });
  }
}

/** Copies planes of a piece of elements from kernel memory into what is kept of all of them. */
function keep(
  state: Uint8Array,
  planes: number,
  from: number,
  pointer: number,
  size: number,
): void {
  const at = (from / GROUP) * planes * PLANE_BYTES;
  state.set(kernels().arena.u8(pointer, heldBytes(planes, size)), at);
}

/**
 * Server, offline.
 * @param labels - the label OTs, OT by OT, n blocks each
 * @returns its corrections, and its state: secret
 */
export function encodeOffline(
  params: ComparedBits,
  n: number,
  labels: SenderCots,
): { corrections: Uint8Array; state: Uint8Array } {
  const nodes = nodesOf(params);
  const corrections = new Uint8Array(comparisonBytes(params, n).corrections);
  if (nodes === 0) return { corrections, state: new Uint8Array(0) };
  const { arena, compare } = kernels();
  const [kept, sent] = [serverPlanes(nodes), correctionPlanes(nodes)];
  const state = bulkBytes(heldBytes(kept, n));
  const { blocks, offset, tweaks } = labels;
  eachPadPlanes({ nodes, n, blocks, tweaks }, [NO_OFFSET, offset], (pads, stride, from, size) => {
    const own = arena.alloc(heldBytes(kept, size));
    const message = arena.alloc(heldBytes(sent, size));
    compare.serverOffline(own, message, pads[0]!, pads[1]!, stride, nodes, groupsOf(size));
    keep(state, kept, from, own, size);
    sendPlanes(message, sent, size, corrections.subarray(sentBytes(sent, from)));
  });
  return { corrections, state };
}

/**
 * Client, offline, before the corrections.
 * @param c - n words
 * @param labels - the label OTs its bits chose, OT by OT, n blocks each
 * @returns its state: secret
 */
export function chooseOffline(
  params: ComparedBits,
  c: Int32Array,
  labels: ReceiverCots,
): Uint8Array {
  const nodes = nodesOf(params);
  const n = c.length;
  const { arena, compare } = kernels();
  const kept = clientPlanes(nodes);
  const state = bulkBytes(heldBytes(kept, n));
  /** Puts c_0 .. c_n of a piece where the kernel expects them. */
  const place = (from: number, size: number): number => {
    const own = arena.alloc(heldBytes(kept, size));
    const source = arena.alloc(4 * GROUP * groupsOf(size));
    const words = arena.i32(source, GROUP * groupsOf(size));
    words.set(c.subarray(from, from + size));
    words.fill(0, size);
    const top = params.rangeBits - 1;
    compare.wordPlanes(own, source, top, nodes + 1, kept * PLANE_BYTES, groupsOf(size));
    return own;
  };
  if (nodes === 0) {
    arena.scope(() => keep(state, kept, 0, place(0, n), n));
    return state;
  }
  eachPadPlanes({ nodes, n, ...labels }, [NO_OFFSET], (pads, stride, from, size) => {
    const own = place(from, size);
    compare.clientOffline(own, pads[0]!, stride, nodes, groupsOf(size));
    keep(state, kept, from, own, size);
  });
  return state;
}

/** Client, offline: its state with the server's corrections. */
export function correctOffline(
  params: ComparedBits,
  n: number,
  state: Uint8Array,
  corrections: Uint8Array,
): Uint8Array {
  const nodes = nodesOf(params);
  if (correctionPlanes(nodes) === 0) return state;
  const { arena, compare } = kernels();
  const out = bulkBytes(state.length);
  arena.scope(() => {
    const own = arena.put(state);
    const message = receivePlanes(corrections, correctionPlanes(nodes), n);
    compare.clientCorrect(own, message, nodes, groupsOf(n));
    out.set(arena.u8(own, state.length));
  });
  return out;
}

/**
 * Server, online.
 * @param a - n words
 * @param pi - its random bits, packed
 * @returns the message
 */
export function encodeOnline(
  params: ComparedBits,
  state: Uint8Array,
  a: Int32Array,
  pi: Uint8Array,
): Uint8Array {
  const nodes = nodesOf(params);
  const n = a.length;
  const { arena, compare } = kernels();
  const sent = messagePlanes(nodes);
  const out = new Uint8Array(sentBytes(sent, n));
  arena.scope(() => {
    const groups = groupsOf(n);
    const words = planesOfWords(a, params.rangeBits - 1, nodes + 2);
    const random = receivePlanes(pi, 1, n);
    const message = arena.alloc(heldBytes(sent, n));
    if (nodes === 0) {
      const planes = arena.u8(words, heldBytes(2, n));
      const bits = arena.u8(random, heldBytes(1, n));
      arena.u8(message, heldBytes(1, n)).forEach((_, i, bytes) => {
        const at = 2 * PLANE_BYTES * Math.floor(i / PLANE_BYTES) + (i % PLANE_BYTES);
        bytes[i] = ~(planes[at]! ^ planes[at + PLANE_BYTES]! ^ bits[i]!);
      });
    } else {
      const own = arena.put(state);
      const column = arena.alloc(PLANE_BYTES * nodes);
      const stride = (nodes + 2) * PLANE_BYTES;
      compare.serverOnline(message, own, words, stride, random, column, nodes, groups);
    }
    sendPlanes(message, sent, n, out);
  });
  return out;
}

/**
 * Client, online.
 * @returns e = b ^ pi for each element, packed bits; the last byte's bits beyond n mean nothing
 */
export function decodeOnline(
  params: ComparedBits,
  n: number,
  state: Uint8Array,
  message: Uint8Array,
): Uint8Array {
  const nodes = nodesOf(params);
  const { arena, compare } = kernels();
  return arena.scope(() => {
    const received = receivePlanes(message, messagePlanes(nodes), n);
    const bytes = Math.ceil(n / 8);
    if (nodes === 0) return arena.u8(received, bytes).map((byte, i) => byte ^ state[i]!);
    const own = arena.put(state);
    const e = arena.alloc(heldBytes(1, n));
    const x = arena.alloc(PLANE_BYTES * nodes);
    compare.clientOnline(e, own, received, x, nodes, groupsOf(n));
    return arena.u8(e, bytes).slice();
  });
}
