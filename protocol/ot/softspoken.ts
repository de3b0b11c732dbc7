/**
 * Correlated oblivious transfer in bulk from 128 base OTs: SoftSpokenOT with the repetition code, secure against a receiver that
 * deviates.
 *
 * Roy, "SoftSpokenOT: Quieter OT Extension from Small-Field Silent VOLE in the Minicrypt Model", Crypto 2022, sections 3 to
 * 5. k trades bytes for work: about 128 / k bits a correlation against 2^k / k AES blocks a party. It is a choice of the
 * session, made for its link: {@link otKFor}, with the measurements in protocol/DECISIONS.md.
 *
 * Before: the extension sender holds an offset Delta of 128 bits, bit r of which was its choice in base OT r, and the
 * key it got; the extension receiver holds both keys of each base OT. Note that roles swap: the extension sender was the
 * *receiver* of the base OTs.
 * After: for each correlation j the receiver, who chose bit x_j, holds t_j; the sender holds q_j = t_j ^ x_j Delta.
 *
 *     extension sender (Delta)                                 extension receiver (x)
 *            |  <--- masked level sums, once ------------------------  |   prepareReceiver
 *   prepareSender                                                      |
 *            |  <--- per chunk: d_g = u_g ^ x, a bit a correlation --  |   extendReceiver -> t
 *            |       and group; R x, H(R V)                            |
 *   extendSender -> q, if R W and R x fit H(R V)                       |
 *
 * The 128 bits of Delta fall into G = ceil(128 / k) groups of k bits; where k does not divide 128, the last groups have
 * k - 1 (k = 6: 18 of 6, then 4 of 5). For each group of w bits the receiver grows a binary tree of seeds with 2^w leaves; the
 * base OTs give the sender all leaves but the one named by its w bits. The two keys of a tree's top bit are its two upper nodes
 * themselves; each level below sends two sums. With L_x the stream of leaf x, the receiver has u =
 * XOR of all L_x and v_b = XOR of those L_x where x has bit b; the sender, whose leaves are kept in the order y = x ^ Delta_g
 * so that the missing one is y = 0, has w_b = XOR over bit b of y = v_b ^ Delta_b u without ever touching it. Sending d =
 * u ^ x turns that into w_b ^ Delta_b d = v_b ^ Delta_b x.
 *
 * The check (section 4): R is a linear hash to 128 bits of every column, of V at the receiver, of W at the sender, and of x. The
 * sender accepts when R W = R V ^ R x Delta. R is Horner's rule in GF(2^128) at a point that is the hash of the trees, the
 * chunk's number and all d (Fiat and Shamir, so that no round is added); the last 128 correlations of a chunk have random choices and are
 * thrown away, so that R x tells nothing. Of R V the sender needs a hash only.
 *
 * Leakage: a receiver whose x differs between groups, or whose trees are wrong, passes only if what the sender computes from
 * its Delta still fits, which is for Delta in a set S that the receiver has to choose: it passes with probability |S| / 2^128, and then
 * knows that Delta is in S. To pass and know b bits has probability 2^-b, and one failure ends the session. With a point that is
 * known before d, or a hash of fewer bits, x could differ unseen: the x of two groups collide with probability 255 / 2^128 a try of
 * the hash, below 2^-120; those of any two of 32 groups below 2^-111.
 *
 * Primitives: a tree node's children are AES_K0(s) ^ s and AES_K1(s) ^ s under two public keys (Matyas-Meyer-Oseas); block
 * number n i + j of a leaf's stream, j < n, is AES_K(i)(s ^ j) ^ s ^ j under a public key K(i). The public keys come from
 * the context, so that nothing computed against one session helps against another. One AES call serves all leaves of
 * 128 n correlations ({@link SLICES_PER_KEY}). Guessing a hidden seed gains from every block under one key that the guesser
 * cannot compute himself: the sender misses one leaf of each group, so that is n G blocks, never more than the block hash
 * allows. The hashes of the check are BLAKE3.
 */

import { corrupted, ProtocolError } from '../errors.ts';
import { kernels } from '../kernels/index.ts';
import { type AesEngine, aesEncryptBlocks, defaultAes } from '../random/aes.ts';
import { blake3 } from '../random/blake3.ts';
import { tweakKey } from '../random/hash.ts';
import { deriveSeed, freshSeed, type Random } from '../random/index.ts';
import { BASE_OTS, type BaseReceiverKeys, type BaseSenderKeys } from './base.ts';
import { DEFAULT_OT_K, type GroupRun, groupingOf, type OtK } from './groups.ts';

/** Correlations of one slice: one block of each leaf's stream, one tile of the transpose. SECURITY: the block size. */
const SLICE = 128;

/** Slices by which chunks are numbered. The last one of a chunk hides R x. AGREEMENT. */
const SLICES_PER_CHUNK = 256;

/** Most correlations of one chunk, the unit of work, of numbering and of the check. AGREEMENT. */
export const COTS_PER_CHUNK: number = (SLICES_PER_CHUNK - 1) * SLICE;

/**
 * For each k the number n of consecutive slices whose streams are made under one key, by one AES call of 4,096 to 5,120
 * blocks. The sender cannot compute those of the missing leaf of each group: n ceil(128 / k) of them, which must not exceed
 * 1,024, the bound of the block hash. SECURITY, AGREEMENT.
 */
export const SLICES_PER_KEY: Readonly<Record<OtK, number>> = { 4: 8, 6: 4, 8: 1 };

/** Bytes of the receiver's setup message: two sums for each level of each tree but the top. */
export function treeBytes(k: OtK = DEFAULT_OT_K): number {
  return (BASE_OTS - groupingOf(k).groups) * 2 * 16;
}

/** What both ends of an extension keep: plain data that can be cloned to a worker. Secret. */
interface Seeds {
  readonly k: OtK;
  /** 16 public bytes from which the stream keys follow. */
  readonly start: Uint8Array;
  /** 32 public bytes that bind the check to context and trees. */
  readonly check: Uint8Array;
  /** The leaf seeds of one group after the other, 16 bytes each. */
  readonly leaves: Uint8Array;
}

/** What the extension receiver keeps. Secret. */
export interface ReceiverSeeds extends Seeds {
  /** 16 bytes: what the choices thrown away in the check come from. */
  readonly spare: Uint8Array;
}

/** What the extension sender keeps. Secret. */
export interface SenderSeeds extends Seeds {
  /** Delta, 16 bytes. In each group of `leaves` the missing seed is at place 0 (zeros), leaf x at x ^ Delta_g. */
  readonly offset: Uint8Array;
}

/** Bytes of R x, and of the hash of R V. SECURITY. */
const SUM_BYTES = 16;
const TAG_BYTES = 32;

/**
 * Bytes of the message that extends one chunk by `count` correlations, check included. The last slice is padded to 128 of them.
 * @throws RangeError when a chunk cannot hold `count`
 */
export function extensionBytes(count: number, k: OtK = DEFAULT_OT_K): number {
  return correctionBytes(count, k) + SUM_BYTES + TAG_BYTES;
}

/** Bytes of all d. */
function correctionBytes(count: number, k: OtK): number {
  return slicesOf(count) * groupingOf(k).groups * 16;
}

/** Slices of `count` correlations and of those thrown away. */
function slicesOf(count: number): number {
  if (!Number.isInteger(count) || count < 1 || count > COTS_PER_CHUNK) {
    throw new RangeError(`extension: 1 to ${COTS_PER_CHUNK} correlations a chunk, got ${count}`);
  }
  return Math.ceil(count / SLICE) + 1;
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

/** What the check is bound to: context and trees. */
function checkOf(context: Uint8Array, trees: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(context.length + trees.length);
  bytes.set(context);
  bytes.set(trees, context.length);
  return blake3(bytes);
}

/**
 * Extension receiver, once: grows the trees from the base OTs' keys and masks each level's two sums for the base OT of that level.
 * @param context - 16 public bytes that name session, bundle and direction, never used for another setup
 * @param keys - of the base OTs in which this party was the sender
 * @returns the setup message, {@link treeBytes} bytes, and the seeds
 */
export function prepareReceiver(
  context: Uint8Array,
  keys: BaseSenderKeys,
  random: Random,
  k: OtK = DEFAULT_OT_K,
): { message: Uint8Array; seeds: ReceiverSeeds } {
  const { leaves: count, runs } = groupingOf(k);
  const message = new Uint8Array(treeBytes(k));
  const keyPair = treeKeys(context);
  const leaves = new Uint8Array(16 * count);
  for (const run of runs) leaves.set(growTrees(run, keys, keyPair, message), 16 * run.leaf);
  const start = deriveSeed(context, 'softspoken stream');
  const check = checkOf(context, message);
  return { message, seeds: { k, start, check, leaves, spare: freshSeed(random) } };
}

/** Where the two sums of a level are in the setup message. */
function sumsAt({ bit, group, width }: GroupRun, g: number, level: number): number {
  return 32 * (bit - group + g * (width - 1) + level);
}

/** The leaves of the trees of one run. Writes the masked sums of each level into the message. */
function growTrees(
  run: GroupRun,
  keys: BaseSenderKeys,
  keyPair: readonly [Uint8Array, Uint8Array],
  message: Uint8Array,
): Uint8Array {
  const { groups, width, bit } = run;
  const sides = [keys.one, keys.zero];
  // Who chose bit c misses side c and has the other one's nodes, or their sum, by key c.
  let nodes = new Uint8Array(groups * 32);
  for (let g = 0; g < groups; g++) {
    const top = 16 * (bit + (g + 1) * width - 1);
    sides.forEach((side, i) => {
      nodes.set(side.subarray(top, top + 16), 32 * g + 16 * i);
    });
  }
  for (let level = width - 2; level >= 0; level--) {
    const grown = children(nodes, keyPair);
    const each = nodes.length / groups;
    nodes = new Uint8Array(2 * nodes.length);
    for (let g = 0; g < groups; g++) {
      const at = sumsAt(run, g, level);
      const base = 16 * (bit + g * width + level);
      for (const [i, side] of sides.entries()) {
        const key = 1 - i;
        const sum = message.subarray(at + 16 * key, at + 16 * key + 16);
        sum.set(side.subarray(base, base + 16));
        for (let from = g * each; from < (g + 1) * each; from += 16) {
          const node = grown[i]!.subarray(from, from + 16);
          nodes.set(node, 2 * from + 16 * i);
          xorInto(sum, node);
        }
      }
    }
  }
  return nodes;
}

/**
 * Extension sender, once: recovers every leaf but one of each tree.
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
  const { leaves: count, runs } = groupingOf(k);
  expectLength('OT setup', message, treeBytes(k));
  const keyPair = treeKeys(context);
  const leaves = new Uint8Array(16 * count);
  for (const run of runs) leaves.set(recoverTrees(run, keys, keyPair, message), 16 * run.leaf);
  const start = deriveSeed(context, 'softspoken stream');
  return { k, start, check: checkOf(context, message), leaves, offset: keys.choices.slice() };
}

/** The leaves of the trees of one run, all but the first of each group. */
function recoverTrees(
  run: GroupRun,
  keys: BaseReceiverKeys,
  keyPair: readonly [Uint8Array, Uint8Array],
  message: Uint8Array,
): Uint8Array {
  const { groups, width, bit } = run;
  let nodes = new Uint8Array(groups * 32);
  for (let g = 0; g < groups; g++) {
    const top = 16 * (bit + (g + 1) * width - 1);
    nodes.set(keys.chosen.subarray(top, top + 16), 32 * g + 16);
  }
  for (let level = width - 2; level >= 0; level--) {
    const [left, right] = children(nodes, keyPair) as [Uint8Array, Uint8Array];
    const each = nodes.length / groups;
    nodes = new Uint8Array(2 * nodes.length);
    for (let g = 0; g < groups; g++) {
      const base = bit + g * width + level;
      const at = sumsAt(run, g, level);
      const mask = -((keys.choices[base >> 3]! >> (base & 7)) & 1) & 0xff;
      const sibling = keys.chosen.slice(16 * base, 16 * base + 16);
      for (let i = 0; i < 16; i++) {
        const zero = message[at + i]!;
        sibling[i]! ^= zero ^ (mask & (zero ^ message[at + 16 + i]!));
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

/** Options of {@link extendReceiver}. */
export interface ReceiverOptions {
  /** Where message and t go, of their lengths; default: fresh memory. */
  readonly room?: Extended;
  /** For measurements; default: the fastest. LOCAL. */
  readonly engine?: AesEngine;
}

/** Options of {@link extendSender}. */
export interface SenderOptions {
  /** Where q goes, 16 `count` bytes; default: fresh memory. */
  readonly blocks?: Uint8Array;
  /** For measurements; default: the fastest. LOCAL. */
  readonly engine?: AesEngine;
}

/**
 * Extension receiver, one chunk. Pure: chunks may run anywhere, in any order.
 * @param chunk - the number of this chunk, never used twice under the same seeds
 * @param choices - `count` packed bits, lowest bit of byte 0 first
 */
export function extendReceiver(
  seeds: ReceiverSeeds,
  chunk: number,
  count: number,
  choices: Uint8Array,
  { room, engine = defaultAes }: ReceiverOptions = {},
): Extended {
  const { groups } = groupingOf(seeds.k);
  if (choices.length !== Math.ceil(count / 8)) {
    throw new RangeError(`choices: expected ${Math.ceil(count / 8)} bytes, got ${choices.length}`);
  }
  const total = slicesOf(count);
  const bytes = correctionBytes(count, seeds.k);
  const message = room?.message ?? new Uint8Array(extensionBytes(count, seeds.k));
  const blocks = room?.blocks ?? new Uint8Array(16 * count);
  const { arena, bits, check } = kernels();
  arena.scope(() => {
    const x = arena.alloc(16 * total);
    const d = arena.alloc(bytes);
    const padded = arena.u8(x, 16 * total);
    padded.set(choices);
    padded.fill(0, choices.length);
    padded.set(deriveSeed(seeds.spare, 'softspoken spare', chunk), 16 * (total - 1));
    const tiles = slices(seeds, chunk, total, engine, (slice, _rows, sums) => {
      bits.xorBlock(d + slice * 16 * groups, sums, x + 16 * slice, groups);
    });
    message.set(arena.u8(d, bytes));
    const challenge = challengeOf(seeds, chunk, arena.u8(d, bytes));
    const { sums, powers } = columnSums(challenge, tiles, total);
    const sum = arena.put(new Uint8Array(SUM_BYTES));
    check.hornerBits(sum, powers, x, total);
    message.set(arena.u8(sum, SUM_BYTES), bytes);
    message.set(blake3(arena.u8(sums, 16 * SLICE), challenge), bytes + SUM_BYTES);
    blocks.set(arena.u8(tiles, blocks.length));
  });
  return { message, blocks };
}

/**
 * Extension sender, one chunk. Pure: chunks may run anywhere, in any order.
 * @param chunk - the number of this chunk, never used twice under the same seeds
 * @param message - the receiver's message for this chunk
 * @returns q, `count` blocks
 * @throws ProtocolError `bad-message` when the message has the wrong length, `corrupted` when the check fails: nothing that
 *   depends on the offset may leave any more
 */
export function extendSender(
  seeds: SenderSeeds,
  chunk: number,
  count: number,
  message: Uint8Array,
  { blocks = new Uint8Array(16 * count), engine = defaultAes }: SenderOptions = {},
): Uint8Array {
  const { k, offset } = seeds;
  const { groups, runs } = groupingOf(k);
  const total = slicesOf(count);
  const bytes = correctionBytes(count, k);
  expectLength('OT extension', message, extensionBytes(count, k));
  const { arena, bits } = kernels();
  const masks = new Uint8Array(128 * 16);
  for (let r = 0; r < 128; r++) {
    masks.fill(-((offset[r >> 3]! >> (r & 7)) & 1) & 0xff, 16 * r, 16 * r + 16);
  }
  arena.scope(() => {
    const mask = arena.put(masks);
    const d = arena.put(message.subarray(0, bytes));
    const tiles = slices(seeds, chunk, total, engine, (slice, rows) => {
      const own = d + slice * 16 * groups;
      for (const run of runs) {
        const [row, of] = [16 * run.bit, own + 16 * run.group];
        bits.correctRows(rows + row, of, mask + row, run.groups, run.width);
      }
    });
    const challenge = challengeOf(seeds, chunk, arena.u8(d, bytes));
    const sums = arena.u8(columnSums(challenge, tiles, total).sums, 16 * SLICE);
    for (let i = 0; i < SLICE; i++) {
      const chosen = -((message[bytes + (i >> 3)]! >> (i & 7)) & 1);
      for (let b = 0; b < 16; b++) sums[16 * i + b]! ^= chosen & offset[b]!;
    }
    const tag = blake3(sums, challenge);
    const wrong = tag.reduce((diff, byte, i) => diff | (byte ^ message[bytes + SUM_BYTES + i]!), 0);
    if (wrong !== 0) throw corrupted();
    blocks.set(arena.u8(tiles, blocks.length));
  });
  return blocks;
}

/** 32 bytes that nobody knows before all d of a chunk; the first 16 are where R is evaluated. */
function challengeOf({ check }: Seeds, chunk: number, corrections: Uint8Array): Uint8Array {
  const number = new Uint8Array(4);
  new DataView(number.buffer).setUint32(0, chunk, true);
  return blake3(corrections, blake3(number, check));
}

/** R of each of the 128 bit columns of all slices, and the multiples of its point; in the caller's scope. */
function columnSums(
  challenge: Uint8Array,
  tiles: number,
  total: number,
): { sums: number; powers: number } {
  const { arena, bits, check } = kernels();
  const sums = arena.put(new Uint8Array(16 * SLICE));
  const powers = arena.alloc(16 * SLICE);
  const matrix = arena.alloc(16 * SLICE);
  const table = arena.alloc(512 * 16);
  const picks = arena.alloc(SLICE * 32 * 4);
  check.powers(powers, arena.put(challenge.subarray(0, 16)));
  bits.transpose(matrix, powers, 16, SLICE);
  check.picks(picks, matrix, table);
  check.hornerColumns(sums, picks, table, tiles, total);
  return { sums, powers };
}

/**
 * Runs `total` slices of a chunk in the caller's scope: streams, sums, the party's step, transpose.
 * @returns where the blocks are, 128 for each slice
 */
function slices(
  { k, start, leaves }: Seeds,
  chunk: number,
  total: number,
  engine: AesEngine,
  step: (slice: number, rows: number, sums: number) => void,
): number {
  const { arena, bits } = kernels();
  const { groups, leaves: seeds, runs } = groupingOf(k);
  const perKey = SLICES_PER_KEY[k];
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

  let key = (chunk * SLICES_PER_CHUNK) / perKey;
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
  return tiles;
}

function expectLength(what: string, message: Uint8Array, bytes: number): void {
  if (message.length !== bytes) {
    throw new ProtocolError(
      'bad-message',
      `${what}: expected ${bytes} bytes, got ${message.length}`,
    );
  }
}
