/**
 * Correlated oblivious transfer in bulk from 128 base OTs: SoftSpokenOT, semi-honest, with the repetition code.
 *
 * Roy, "SoftSpokenOT: Quieter OT Extension from Small-Field Silent VOLE in the Minicrypt Model", Crypto 2022, sections 3
 * and 5. The knob k trades bytes for work: 128 / k bits a correlation against 2^k / k streams. k = 1 is IKNP.
 *
 * Before: the extension sender holds an offset Delta of 128 bits, bit r of which was its choice in base OT r, and the
 * key it got; the extension receiver holds both keys of each base OT. Note that roles swap: the extension sender was the
 * *receiver* of the base OTs.
 * After: for each correlation j the receiver, who chose bit x_j, holds t_j; the sender holds q_j = t_j ^ x_j Delta.
 *
 *     extension sender (Delta)                                 extension receiver (x)
 *            |  <--- masked level sums, 4,096 B, once ---------------  |   prepareReceiver
 *   prepareSender                                                      |
 *            |  <--- d_g = u_g ^ x, 128/k bits each, per chunk ------  |   extendReceiver -> t
 *   extendSender -> q                                                  |
 *
 * The 128 bits of Delta fall into 128 / k groups of k. For each group the receiver grows a binary tree of seeds with 2^k
 * leaves; the base OTs give the sender all leaves but the one named by its k bits. With L_x the stream of leaf x, the
 * receiver has u = XOR of all L_x and v_b = XOR of those L_x where x has bit b; the sender, whose leaves are kept in the
 * order y = x ^ Delta_g so that the missing one is y = 0, has w_b = XOR over bit b of y = v_b ^ Delta_b u without ever
 * touching the missing one. Sending d = u ^ x turns that into w_b ^ Delta_b d = v_b ^ Delta_b x.
 *
 * Leakage: none beyond the claim of semi-honest security in the ideal-cipher model: a malicious receiver that sends
 * different x in different groups learns bits of Delta, and nothing here would notice.
 *
 * Primitives: a tree node's children are AES_K0(s) ^ s and AES_K1(s) ^ s under two public keys (Matyas-Meyer-Oseas); block
 * number 8 i + j of a leaf's stream, j < 8, is AES_K(i)(s ^ j) ^ s ^ j under a public key K(i). The public keys come from
 * the context, so that nothing computed against one session helps against another. One AES call serves all leaves of
 * 1,024 correlations. Guessing a hidden seed gains from every block under one key that the guesser cannot compute himself:
 * the sender misses one leaf of each group, so that is 8 * 128 / k blocks, never more than the block hash allows.
 *
 * Why k = 4: measured on one core, ns a correlation and side (best / typical), and what 1,000 of them take both sides in
 * turn with their transfer, in us, on typical figures. k = 2 is level with it only where bytes are free.
 *
 *     k   bytes   AES blocks   ns a side    loopback   1 Gbit/s   100 Mbit/s
 *     2     8         2          21 / 33        66        130        706
 *     4     4         4          30 / 44        88        120        408
 *     8     2        32         235 / 350      700        716        860
 *
 * ResNet-32 with all its ReLUs (303,104, 19 correlations each: 5.8 million) at k = 4: 0.5 s of work, 23 MB.
 */

import { ProtocolError } from '../errors.ts';
import { kernels } from '../kernels/index.ts';
import { aesEncryptBlocks } from '../random/aes.ts';
import { tweakKey } from '../random/hash.ts';
import { deriveSeed, type Random, randomBytes } from '../random/index.ts';
import { BASE_OTS, type BaseReceiverKeys, type BaseSenderKeys } from './base.ts';

/** Bits of the offset that share a tree, 1, 2, 4 or 8: 128 / k bits sent for each correlation. AGREEMENT. */
export const SOFTSPOKEN_K = 4;

/** Most correlations of one chunk, the unit of work and of numbering. AGREEMENT. */
export const COTS_PER_CHUNK = 32768;

/** Correlations of one slice: one block of each leaf's stream, one tile of the transpose. SECURITY: the block size. */
const SLICE = 128;

/**
 * Consecutive slices whose streams are made under one key. What matters is how many of its blocks the sender cannot compute:
 * those of the missing leaf of each group, 8 * 128 / k <= 1,024, the bound of the block hash. SECURITY,
 * AGREEMENT.
 */
export const SLICES_PER_KEY = 8;

/** Bytes of the receiver's setup message. */
export const SETUP_BYTES = BASE_OTS * 2 * 16;

/** What the extension receiver keeps: plain data that can be cloned to a worker. Secret. */
export interface ReceiverSeeds {
  readonly k: number;
  /** 16 public bytes from which the stream keys follow. */
  readonly start: Uint8Array;
  /** 128/k groups of 2^k leaf seeds, 16 bytes each. */
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
export function extensionBytes(count: number, k = SOFTSPOKEN_K): number {
  return slicesOf(count) * (128 / k) * 16;
}

function slicesOf(count: number): number {
  if (!Number.isInteger(count) || count < 1 || count > COTS_PER_CHUNK) {
    throw new RangeError(`extension: 1 to ${COTS_PER_CHUNK} correlations a chunk, got ${count}`);
  }
  return Math.ceil(count / SLICE);
}

function checkK(k: number): void {
  if (![1, 2, 4, 8].includes(k))
    throw new RangeError(`SoftSpoken k: expected 1, 2, 4 or 8, got ${k}`);
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
  k = SOFTSPOKEN_K,
): { message: Uint8Array; seeds: ReceiverSeeds } {
  checkK(k);
  const groups = 128 / k;
  const keyPair = treeKeys(context);
  const message = new Uint8Array(SETUP_BYTES);
  let nodes = randomBytes(random, groups * 16);
  for (let level = k - 1; level >= 0; level--) {
    const sides = children(nodes, keyPair);
    const width = nodes.length / groups;
    nodes = new Uint8Array(2 * nodes.length);
    for (let side = 0; side < 2; side++) {
      for (let i = 0; i < sides[side]!.length; i += 16) {
        const node = sides[side]!.subarray(i, i + 16);
        nodes.set(node, 2 * i + 16 * side);
        // Who chose bit c misses side c and learns the sum of the other side: it is masked with key c.
        const base = Math.floor(i / width) * k + level;
        xorInto(message.subarray(32 * base + 16 * (1 - side), 32 * base + 16 * (2 - side)), node);
      }
    }
  }
  for (let base = 0; base < BASE_OTS; base++) {
    const at = 32 * base;
    xorInto(message.subarray(at, at + 16), keys.zero.subarray(16 * base, 16 * base + 16));
    xorInto(message.subarray(at + 16, at + 32), keys.one.subarray(16 * base, 16 * base + 16));
  }
  return { message, seeds: { k, start: deriveSeed(context, 'softspoken stream'), leaves: nodes } };
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
  k = SOFTSPOKEN_K,
): SenderSeeds {
  checkK(k);
  expectLength('OT setup', message, SETUP_BYTES);
  const groups = 128 / k;
  const keyPair = treeKeys(context);
  let nodes = new Uint8Array(groups * 16);
  for (let level = k - 1; level >= 0; level--) {
    const [left, right] = children(nodes, keyPair) as [Uint8Array, Uint8Array];
    const width = nodes.length / groups;
    nodes = new Uint8Array(2 * nodes.length);
    for (let g = 0; g < groups; g++) {
      const base = g * k + level;
      const mask = -((keys.choices[base >> 3]! >> (base & 7)) & 1) & 0xff;
      const sibling = keys.chosen.slice(16 * base, 16 * base + 16);
      for (let i = 0; i < 16; i++) {
        const zero = message[32 * base + i]!;
        sibling[i]! ^= zero ^ (mask & (zero ^ message[32 * base + 16 + i]!));
      }
      // Place 0 is the missing path: its children are not known.
      for (let from = g * width + 16; from < (g + 1) * width; from += 16) {
        for (let i = 0; i < 16; i++) {
          const swap = mask & (left[from + i]! ^ right[from + i]!);
          nodes[2 * from + i] = left[from + i]! ^ swap;
          nodes[2 * from + 16 + i] = right[from + i]! ^ swap;
          sibling[i]! ^= right[from + i]! ^ swap;
        }
      }
      nodes.set(sibling, 2 * g * width + 16);
    }
  }
  const start = deriveSeed(context, 'softspoken stream');
  return { k, start, leaves: nodes, offset: keys.choices.slice() };
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
 */
export function extendReceiver(
  seeds: ReceiverSeeds,
  chunk: number,
  count: number,
  choices: Uint8Array,
  room?: Extended,
): Extended {
  const { k } = seeds;
  const bytes = extensionBytes(count, k);
  if (choices.length !== Math.ceil(count / 8)) {
    throw new RangeError(`choices: expected ${Math.ceil(count / 8)} bytes, got ${choices.length}`);
  }
  const out = room ?? { message: new Uint8Array(bytes), blocks: new Uint8Array(16 * count) };
  const { arena, bits } = kernels();
  const groups = 128 / k;
  arena.scope(() => {
    const x = arena.alloc(16 * slicesOf(count));
    const d = arena.alloc(bytes);
    const padded = arena.u8(x, 16 * slicesOf(count));
    padded.set(choices);
    padded.fill(0, choices.length);
    slices(seeds, chunk, out.blocks, (slice, _rows, sums) => {
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
 * @returns q, `count` blocks
 * @throws ProtocolError `bad-message` when the message has the wrong length
 */
export function extendSender(
  seeds: SenderSeeds,
  chunk: number,
  count: number,
  message: Uint8Array,
  blocks: Uint8Array = new Uint8Array(16 * count),
): Uint8Array {
  const { k, offset } = seeds;
  expectLength('OT extension', message, extensionBytes(count, k));
  const { arena, bits } = kernels();
  const groups = 128 / k;
  const masks = new Uint8Array(128 * 16);
  for (let r = 0; r < 128; r++) {
    masks.fill(-((offset[r >> 3]! >> (r & 7)) & 1) & 0xff, 16 * r, 16 * r + 16);
  }
  arena.scope(() => {
    const mask = arena.put(masks);
    const d = arena.put(message);
    slices(seeds, chunk, blocks, (slice, rows) => {
      bits.correctRows(rows, d + slice * 16 * groups, mask, groups, k);
    });
  });
  return blocks;
}

/** Runs the slices of a chunk: streams, sums, the party's own step, transpose. Fills `blocks`. */
function slices(
  { k, start, leaves }: ReceiverSeeds,
  chunk: number,
  blocks: Uint8Array,
  step: (slice: number, rows: number, sums: number) => void,
): void {
  const { arena, bits } = kernels();
  const groups = 128 / k;
  const total = slicesOf(blocks.length / 16);
  const each = leaves.length;
  const inputs = arena.alloc(SLICES_PER_KEY * each);
  const streams = arena.alloc(SLICES_PER_KEY * each);
  const rows = arena.alloc(16 * SLICE);
  const sums = arena.alloc(16 * groups);
  const tiles = arena.alloc(16 * SLICE * total);

  // The inputs are the same under every key: their share of the sums is made once.
  const startBytes = 16 * (SLICE + groups);
  const starts = arena.alloc(SLICES_PER_KEY * startBytes);
  const zeros = arena.put(new Uint8Array(startBytes));
  const plain = arena.put(leaves);
  const place = arena.put(new Uint8Array(16));
  for (let i = 0; i < Math.min(SLICES_PER_KEY, total); i++) {
    arena.u8(place, 1)[0] = i;
    bits.xorBlock(inputs + i * each, plain, place, each / 16);
    bits.xorBlock(streams, plain, place, each / 16);
    const own = starts + i * startBytes;
    bits.foldLeaves(own, own + 16 * SLICE, streams, zeros, groups, k);
  }

  let key = (chunk * COTS_PER_CHUNK) / (SLICE * SLICES_PER_KEY);
  for (let first = 0; first < total; first += SLICES_PER_KEY, key++) {
    const now = Math.min(SLICES_PER_KEY, total - first);
    const encrypted = aesEncryptBlocks(tweakKey(start, key), arena.u8(inputs, now * each));
    arena.u8(streams, now * each).set(encrypted);
    for (let i = 0; i < now; i++) {
      bits.foldLeaves(rows, sums, streams + i * each, starts + i * startBytes, groups, k);
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
