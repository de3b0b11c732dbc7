/**
 * Correlated oblivious transfer in bulk from 128 base OTs: SoftSpokenOT, semi-honest, with the repetition code.
 *
 * Roy, "SoftSpokenOT: Quieter OT Extension from Small-Field Silent VOLE in the Minicrypt Model", Crypto 2022, sections 3
 * and 5. k trades bytes for work: about 128 / k bits a correlation against 2^k / k AES blocks a party. It is a choice of the
 * session, made for its link: {@link otKFor}, with the measurements in protocol/DECISIONS.md.
 *
 * Before: the extension sender holds an offset Delta of 128 bits, bit r of which was its choice in base OT r, and the
 * key it got; the extension receiver holds both keys of each base OT. Note that roles swap: the extension sender was the
 * *receiver* of the base OTs.
 * After: for each correlation j the receiver, who chose bit x_j, holds t_j; the sender holds q_j = t_j ^ x_j Delta.
 *
 *     extension sender (Delta)                                 extension receiver (x)
 *            |  <--- masked level sums, 4,096 B, once ---------------  |   prepareReceiver
 *   prepareSender                                                      |
 *            |  <--- d_g = u_g ^ x, a bit a correlation, per chunk --  |   extendReceiver -> t
 *   extendSender -> q                                                  |
 *
 * The 128 bits of Delta fall into G = ceil(128 / k) groups of k bits; where k does not divide 128, the last groups have
 * k - 1 (k = 6: 18 of 6, then 4 of 5). For each group of w bits the receiver grows a binary tree of seeds with 2^w leaves; the
 * base OTs give the sender all leaves but the one named by its w bits. With L_x the stream of leaf x, the receiver has u =
 * XOR of all L_x and v_b = XOR of those L_x where x has bit b; the sender, whose leaves are kept in the order y = x ^ Delta_g
 * so that the missing one is y = 0, has w_b = XOR over bit b of y = v_b ^ Delta_b u without ever touching it. Sending d =
 * u ^ x turns that into w_b ^ Delta_b d = v_b ^ Delta_b x.
 *
 * Leakage: none beyond the claim of semi-honest security in the ideal-cipher model: a malicious receiver that sends
 * different x in different groups learns bits of Delta, and nothing here would notice.
 *
 * Primitives: a tree node's children are AES_K0(s) ^ s and AES_K1(s) ^ s under two public keys (Matyas-Meyer-Oseas); block
 * number n i + j of a leaf's stream, j < n, is AES_K(i)(s ^ j) ^ s ^ j under a public key K(i). The public keys come from
 * the context, so that nothing computed against one session helps against another. One AES call serves all leaves of
 * 128 n correlations ({@link SLICES_PER_KEY}). Guessing a hidden seed gains from every block under one key that the guesser
 * cannot compute himself: the sender misses one leaf of each group, so that is n G blocks, never more than the block hash
 * allows.
 */

import { ProtocolError } from '../errors.ts';
import { kernels } from '../kernels/index.ts';
import { type AesEngine, aesEncryptBlocks, defaultAes } from '../random/aes.ts';
import { tweakKey } from '../random/hash.ts';
import { deriveSeed, type Random, randomBytes } from '../random/index.ts';
import { BASE_OTS, type BaseReceiverKeys, type BaseSenderKeys } from './base.ts';

/** Most correlations of one chunk, the unit of work and of numbering. AGREEMENT. */
export const COTS_PER_CHUNK = 32768;

/** Correlations of one slice: one block of each leaf's stream, one tile of the transpose. SECURITY: the block size. */
const SLICE = 128;

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
 * @param bitsPerSecond - of its slower direction; unlimited unless given
 * @throws RangeError when that is not a positive number
 */
export function otKFor(bitsPerSecond = Number.POSITIVE_INFINITY): OtK {
  if (!(bitsPerSecond > 0)) {
    throw new RangeError(`bitsPerSecond: expected a positive number, got ${bitsPerSecond}`);
  }
  if (bitsPerSecond >= SLOW_LINK) return DEFAULT_OT_K;
  return bitsPerSecond >= VERY_SLOW_LINK ? 6 : 8;
}

/**
 * For each k the number n of consecutive slices whose streams are made under one key, by one AES call of 4,096 to 5,120
 * blocks. The sender cannot compute those of the missing leaf of each group: n ceil(128 / k) of them, which must not exceed
 * 1,024, the bound of the block hash. SECURITY, AGREEMENT.
 */
export const SLICES_PER_KEY: Readonly<Record<OtK, number>> = { 4: 8, 6: 4, 8: 1 };

/** Neighbouring groups of one width. */
interface Run {
  readonly groups: number;
  /** Bits of each group; its tree has 2^width leaves. */
  readonly width: number;
  /** Where it begins, counted in groups, in bits of the offset, and in leaves. */
  readonly group: number;
  readonly bit: number;
  readonly leaf: number;
}

/** How the 128 bits of the offset fall into groups, and their leaves in all. */
interface Grouping {
  readonly groups: number;
  readonly leaves: number;
  readonly runs: readonly Run[];
}

/**
 * Groups of k bits, then of k - 1, as few as hold 128 bits.
 * @throws RangeError when k is not supported
 */
function groupingOf(k: OtK): Grouping {
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

/** Bytes of the receiver's setup message. */
export const SETUP_BYTES = BASE_OTS * 2 * 16;

/** What the extension receiver keeps: plain data that can be cloned to a worker. Secret. */
export interface ReceiverSeeds {
  readonly k: OtK;
  /** 16 public bytes from which the stream keys follow. */
  readonly start: Uint8Array;
  /** The leaf seeds of one group after the other, 16 bytes each. */
  readonly leaves: Uint8Array;
}

/** What the extension sender keeps: plain data that can be cloned to a worker. Secret. */
export interface SenderSeeds extends ReceiverSeeds {
  /** Delta, 16 bytes. In each group of `leaves` the missing seed is at place 0 (zeros), leaf x at x ^ Delta_g. */
  readonly offset: Uint8Array;
}

/**
 * Bytes of the message that extends one chunk by `count` correlations. The last slice is padded to 128 of them.
 * @throws RangeError when a chunk cannot hold `count`
 */
export function extensionBytes(count: number, k: OtK = DEFAULT_OT_K): number {
  return slicesOf(count) * groupingOf(k).groups * 16;
}

function slicesOf(count: number): number {
  if (!Number.isInteger(count) || count < 1 || count > COTS_PER_CHUNK) {
    throw new RangeError(`extension: 1 to ${COTS_PER_CHUNK} correlations a chunk, got ${count}`);
  }
  return Math.ceil(count / SLICE);
}

/** Both children of each node of `nodes`, left and right in separate arrays. */
function children(nodes: Uint8Array, keys: readonly [Uint8Array, Uint8Array]): Uint8Array[] {
  return keys.map((key) => {
    const out = aesEncryptBlocks(key, nodes);
    for (let i = 0; i < out.length; i++) out[i]! ^= nodes[i]!;
    return out;
  });
}

function treeKeys(context: Uint8Array): [Uint8Array, Uint8Array] {
  return [deriveSeed(context, 'softspoken tree', 0), deriveSeed(context, 'softspoken tree', 1)];
}

function xorInto(target: Uint8Array, source: Uint8Array): void {
  for (let i = 0; i < target.length; i++) target[i]! ^= source[i]!;
}

/**
 * Extension receiver, once per session: grows the trees and masks each level's two sums for the base OT of that level.
 * @param context - 16 public bytes that name session and direction, never used for another setup
 * @param keys - of the base OTs in which this party was the sender
 * @returns the setup message, {@link SETUP_BYTES} bytes, and the seeds
 */
export function prepareReceiver(
  context: Uint8Array,
  keys: BaseSenderKeys,
  random: Random,
  k: OtK = DEFAULT_OT_K,
): { message: Uint8Array; seeds: ReceiverSeeds } {
  const { groups, leaves, runs } = groupingOf(k);
  const message = new Uint8Array(SETUP_BYTES);
  for (let base = 0; base < BASE_OTS; base++) {
    message.set(keys.zero.subarray(16 * base, 16 * base + 16), 32 * base);
    message.set(keys.one.subarray(16 * base, 16 * base + 16), 32 * base + 16);
  }
  const keyPair = treeKeys(context);
  const roots = randomBytes(random, groups * 16);
  const start = deriveSeed(context, 'softspoken stream');
  const seeds = { k, start, leaves: new Uint8Array(16 * leaves) };
  for (const run of runs) {
    const own = roots.subarray(16 * run.group, 16 * (run.group + run.groups));
    seeds.leaves.set(growTrees(run, own, keyPair, message), 16 * run.leaf);
  }
  return { message, seeds };
}

/** The leaves of the trees of `roots`. Adds the sums of each level to the message, which holds the masks. */
function growTrees(
  { groups, width, bit }: Run,
  roots: Uint8Array,
  keyPair: readonly [Uint8Array, Uint8Array],
  message: Uint8Array,
): Uint8Array {
  let nodes = roots;
  for (let level = width - 1; level >= 0; level--) {
    const sides = children(nodes, keyPair);
    const each = nodes.length / groups;
    nodes = new Uint8Array(2 * nodes.length);
    for (let side = 0; side < 2; side++) {
      for (let i = 0; i < sides[side]!.length; i += 16) {
        const node = sides[side]!.subarray(i, i + 16);
        nodes.set(node, 2 * i + 16 * side);
        // Who chose bit c misses side c and learns the sum of the other side: it is masked with key c.
        const base = bit + Math.floor(i / each) * width + level;
        xorInto(message.subarray(32 * base + 16 * (1 - side), 32 * base + 16 * (2 - side)), node);
      }
    }
  }
  return nodes;
}

/**
 * Extension sender, once per session: recovers every leaf but one of each tree.
 *
 * Works on places y = x ^ Delta_g: the path to the missing leaf is place 0 of every level and its sibling place 1,
 * whatever Delta is, so no index depends on it; the two children of a node change places under a mask of Delta's bit.
 * @param keys - of the base OTs in which this party was the receiver; its choices are the offset's bits
 * @param message - the receiver's setup message
 * @throws ProtocolError `bad-message` when the message has the wrong length
 */
export function prepareSender(
  context: Uint8Array,
  keys: BaseReceiverKeys,
  message: Uint8Array,
  k: OtK = DEFAULT_OT_K,
): SenderSeeds {
  const { leaves, runs } = groupingOf(k);
  expectLength('OT setup', message, SETUP_BYTES);
  const keyPair = treeKeys(context);
  const start = deriveSeed(context, 'softspoken stream');
  const offset = keys.choices.slice();
  const seeds = { k, start, leaves: new Uint8Array(16 * leaves), offset };
  for (const run of runs) {
    seeds.leaves.set(recoverTrees(run, keys, keyPair, message), 16 * run.leaf);
  }
  return seeds;
}

/** The leaves of the trees of one run, all but the first of each group. */
function recoverTrees(
  { groups, width, bit }: Run,
  keys: BaseReceiverKeys,
  keyPair: readonly [Uint8Array, Uint8Array],
  message: Uint8Array,
): Uint8Array {
  let nodes = new Uint8Array(groups * 16);
  for (let level = width - 1; level >= 0; level--) {
    const [left, right] = children(nodes, keyPair) as [Uint8Array, Uint8Array];
    const each = nodes.length / groups;
    nodes = new Uint8Array(2 * nodes.length);
    for (let g = 0; g < groups; g++) {
      const base = bit + g * width + level;
      const mask = -((keys.choices[base >> 3]! >> (base & 7)) & 1) & 0xff;
      const sibling = keys.chosen.slice(16 * base, 16 * base + 16);
      for (let i = 0; i < 16; i++) {
        const zero = message[32 * base + i]!;
        sibling[i]! ^= zero ^ (mask & (zero ^ message[32 * base + 16 + i]!));
      }
      // Place 0 is the missing path: its children are not known.
      for (let from = g * each + 16; from < (g + 1) * each; from += 16) {
        for (let i = 0; i < 16; i++) {
          const swap = mask & (left[from + i]! ^ right[from + i]!);
          nodes[2 * from + i] = left[from + i]! ^ swap;
          nodes[2 * from + 16 + i] = right[from + i]! ^ swap;
          sibling[i]! ^= right[from + i]! ^ swap;
        }
      }
      nodes.set(sibling, 2 * g * each + 16);
    }
  }
  return nodes;
}

/** What an extension receiver makes of one chunk. */
export interface Extended {
  /** For the sender, {@link extensionBytes} bytes. */
  readonly message: Uint8Array;
  /** t, 16 bytes for each correlation. Secret. */
  readonly blocks: Uint8Array;
}

/**
 * Extension receiver, one chunk. Pure: chunks may run anywhere, in any order.
 * @param chunk - the number of this chunk, never used twice under the same seeds
 * @param choices - `count` packed bits, lowest bit of byte 0 first
 * @param room - where message and t go, of their lengths; fresh memory without it
 * @param engine - an engine of its own, for measurements
 */
export function extendReceiver(
  seeds: ReceiverSeeds,
  chunk: number,
  count: number,
  choices: Uint8Array,
  room?: Extended,
  engine: AesEngine = defaultAes,
): Extended {
  const { groups } = groupingOf(seeds.k);
  const bytes = extensionBytes(count, seeds.k);
  if (choices.length !== Math.ceil(count / 8)) {
    throw new RangeError(`choices: expected ${Math.ceil(count / 8)} bytes, got ${choices.length}`);
  }
  const out = room ?? { message: new Uint8Array(bytes), blocks: new Uint8Array(16 * count) };
  const { arena, bits } = kernels();
  arena.scope(() => {
    const x = arena.alloc(16 * slicesOf(count));
    const d = arena.alloc(bytes);
    const padded = arena.u8(x, 16 * slicesOf(count));
    padded.set(choices);
    padded.fill(0, choices.length);
    slices(seeds, chunk, out.blocks, engine, (slice, _rows, sums) => {
      bits.xorBlock(d + slice * 16 * groups, sums, x + 16 * slice, groups);
    });
    out.message.set(arena.u8(d, bytes));
  });
  return out;
}

/**
 * Extension sender, one chunk. Pure: chunks may run anywhere, in any order.
 * @param chunk - the number of this chunk, never used twice under the same seeds
 * @param message - the receiver's message for this chunk
 * @param blocks - where q goes, 16 `count` bytes; fresh memory without it
 * @param engine - an engine of its own, for measurements
 * @returns q, `count` blocks
 * @throws ProtocolError `bad-message` when the message has the wrong length
 */
export function extendSender(
  seeds: SenderSeeds,
  chunk: number,
  count: number,
  message: Uint8Array,
  blocks: Uint8Array = new Uint8Array(16 * count),
  engine: AesEngine = defaultAes,
): Uint8Array {
  const { k, offset } = seeds;
  const { groups, runs } = groupingOf(k);
  expectLength('OT extension', message, extensionBytes(count, k));
  const { arena, bits } = kernels();
  const masks = new Uint8Array(128 * 16);
  for (let r = 0; r < 128; r++) {
    masks.fill(-((offset[r >> 3]! >> (r & 7)) & 1) & 0xff, 16 * r, 16 * r + 16);
  }
  arena.scope(() => {
    const mask = arena.put(masks);
    const d = arena.put(message);
    slices(seeds, chunk, blocks, engine, (slice, rows) => {
      const own = d + slice * 16 * groups;
      for (const run of runs) {
        const [row, of] = [16 * run.bit, own + 16 * run.group];
        bits.correctRows(rows + row, of, mask + row, run.groups, run.width);
      }
    });
  });
  return blocks;
}

/** Runs the slices of a chunk: streams, sums, the party's own step, transpose. Fills `blocks`. */
function slices(
  { k, start, leaves }: ReceiverSeeds,
  chunk: number,
  blocks: Uint8Array,
  engine: AesEngine,
  step: (slice: number, rows: number, sums: number) => void,
): void {
  const { arena, bits } = kernels();
  const { groups, leaves: seeds, runs } = groupingOf(k);
  const perKey = SLICES_PER_KEY[k];
  const total = slicesOf(blocks.length / 16);
  const each = 16 * seeds;
  const inputs = arena.alloc(perKey * each);
  const streams = arena.alloc(perKey * each);
  const rows = arena.alloc(16 * SLICE);
  const sums = arena.alloc(16 * groups);
  const tiles = arena.alloc(16 * SLICE * total);

  // The inputs are the same under every key: their share of the sums is made once, run by run rows and then sums.
  const startBytes = 16 * (SLICE + groups);
  const starts = arena.alloc(perKey * startBytes);
  const zeros = arena.put(new Uint8Array(startBytes));
  const plain = arena.put(leaves);
  const place = arena.put(new Uint8Array(16));
  for (let i = 0; i < Math.min(perKey, total); i++) {
    arena.u8(place, 1)[0] = i;
    bits.xorBlock(inputs + i * each, plain, place, seeds);
    bits.xorBlock(streams, plain, place, seeds);
    for (const run of runs) {
      const own = starts + i * startBytes + 16 * (run.bit + run.group);
      const from = streams + 16 * run.leaf;
      const ownSums = own + 16 * run.groups * run.width;
      bits.foldLeaves(own, ownSums, from, zeros, run.groups, run.width);
    }
  }

  let key = (chunk * COTS_PER_CHUNK) / (SLICE * perKey);
  for (let first = 0; first < total; first += perKey, key++) {
    const now = Math.min(perKey, total - first);
    engine.encryptAt(tweakKey(start, key), streams, inputs, now * seeds);
    for (let i = 0; i < now; i++) {
      for (const run of runs) {
        const own = starts + i * startBytes + 16 * (run.bit + run.group);
        const from = streams + i * each + 16 * run.leaf;
        const [row, sum] = [rows + 16 * run.bit, sums + 16 * run.group];
        bits.foldLeaves(row, sum, from, own, run.groups, run.width);
      }
      step(first + i, rows, sums);
      bits.transpose(tiles + 16 * SLICE * (first + i), rows, 16, SLICE);
    }
  }
  blocks.set(arena.u8(tiles, blocks.length));
}

function expectLength(what: string, message: Uint8Array, bytes: number): void {
  if (message.length !== bytes) {
    throw new ProtocolError(
      'bad-message',
      `${what}: expected ${bytes} bytes, got ${message.length}`,
    );
  }
}
