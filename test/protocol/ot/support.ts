import { kernels } from '../../../protocol/kernels/index.ts';
import type { BaseReceiverKeys, BaseSenderKeys } from '../../../protocol/ot/base.ts';
import { DEFAULT_OT_K, type OtK } from '../../../protocol/ot/groups.ts';
import { freshOffset } from '../../../protocol/ot/setup.ts';
import {
  extendReceiver,
  prepareReceiver,
  prepareSender,
  type ReceiverSeeds,
  type SenderSeeds,
} from '../../../protocol/ot/softspoken.ts';
import { blake3 } from '../../../protocol/random/blake3.ts';
import { deriveSeed, Prg, type Random, randomBytes } from '../../../protocol/random/index.ts';

/** Another deterministic stream for each number. */
export function stream(number: number): Prg {
  const seed = new Uint8Array(16);
  new DataView(seed.buffer).setUint32(0, number);
  return new Prg(seed);
}

export function bit(bytes: Uint8Array, index: number): number {
  return (bytes[index >> 3]! >> (index & 7)) & 1;
}

export function block(blocks: Uint8Array, index: number): Uint8Array {
  return blocks.slice(16 * index, 16 * index + 16);
}

/** Base OT keys as a trusted dealer would hand them out. */
export function dealtBase(random: Prg): { sender: BaseSenderKeys; receiver: BaseReceiverKeys } {
  const zero = randomBytes(random, 2048);
  const one = randomBytes(random, 2048);
  const choices = freshOffset(random);
  const chosen = zero.map((byte, i) => (bit(choices, i >> 4) === 1 ? one[i]! : byte));
  return { sender: { zero, one }, receiver: { choices, chosen } };
}

/** Extension seeds over dealt base OTs. */
export function dealtSeeds(random: Prg, k?: OtK): { receiver: ReceiverSeeds; sender: SenderSeeds } {
  const base = dealtBase(random);
  const context = randomBytes(random, 16);
  const { message, seeds } = prepareReceiver(context, base.sender, random, k);
  return { receiver: seeds, sender: prepareSender(context, base.receiver, message, k) };
}

/** Correlations as a trusted dealer would hand them out: both ends of each under one offset. */
export function dealtCots(
  random: Random,
  choices: Uint8Array,
  count: number,
): { offset: Uint8Array; q: Uint8Array; t: Uint8Array } {
  const offset = freshOffset(random);
  const q = randomBytes(random, 16 * count);
  const t = q.map((byte, i) => byte ^ (bit(choices, i >> 4) * offset[i & 15]!));
  return { offset, q, t };
}

/** How many of `count` correlations break t = q ^ x Delta. */
export function broken(
  q: Uint8Array,
  t: Uint8Array,
  choices: Uint8Array,
  offset: Uint8Array,
  count: number,
): number {
  let wrong = 0;
  for (let j = 0; j < count; j++) {
    const x = bit(choices, j);
    let same = true;
    for (let i = 0; i < 16; i++) same &&= t[16 * j + i] === (q[16 * j + i]! ^ (x * offset[i]!));
    if (!same) wrong++;
  }
  return wrong;
}

/** Groups of the offset's bits. */
export const GROUPS: Record<OtK, number> = { 4: 32, 6: 22, 8: 16 };

/** A choice that a receiver inverts for one group alone. */
export interface Flip {
  readonly correlation: number;
  /** One of the first, which have k bits each. */
  readonly group: number;
}

/** The bits of an offset that are in a group, alone. */
export function groupOf(offset: Uint8Array, group: number, k: OtK = DEFAULT_OT_K): Uint8Array {
  return offset.map((byte, at) => {
    let mask = 0;
    for (let i = 0; i < 8; i++) if (Math.floor((8 * at + i) / k) === group) mask |= 1 << i;
    return byte & mask;
  });
}

/** The message of one chunk with some choices inverted, its check as it was. */
export function flipped(message: Uint8Array, flips: readonly Flip[], k?: OtK): Uint8Array {
  const changed = message.slice();
  for (const { correlation, group } of flips) {
    const slice = correlation >> 7;
    const at = 16 * (slice * GROUPS[k ?? DEFAULT_OT_K] + group) + ((correlation & 127) >> 3);
    changed[at]! ^= 1 << (correlation & 7);
  }
  return changed;
}

/**
 * The best message of a receiver that inverts some choices: its check passes if a guess of the offset's bits in their groups is
 * right.
 * @param choices - `count` packed bits, its own
 * @param guess - an offset, of which the other bits do not count
 */
export function fitted(
  seeds: ReceiverSeeds,
  { chunk, count, choices }: { chunk: number; count: number; choices: Uint8Array },
  flips: readonly Flip[],
  guess: Uint8Array,
): Uint8Array {
  const { k } = seeds;
  const { message: honest } = extendReceiver(seeds, chunk, count, choices);
  const message = flipped(honest, flips, k);
  const bytes = message.length - 48;
  const challenge = challengeOf(seeds, chunk, message.subarray(0, bytes));
  // All choices of the chunk with those that are thrown away, and their blocks.
  const all = new Uint8Array(bytes / GROUPS[k]);
  all.set(choices);
  all.set(deriveSeed(seeds.spare, 'softspoken spare', chunk), all.length - 16);
  const { blocks } = extendReceiver(seeds, chunk, 8 * all.length, all);
  // With this offset the sender's q would be t ^ x Delta, but for the flips: there it has the group's bits on top.
  for (const { correlation, group } of flips) {
    groupOf(guess, group, k).forEach((byte, i) => {
      blocks[16 * correlation + i]! ^= byte;
    });
  }
  message.set(sumOf(challenge, all), bytes);
  message.set(blake3(columnSums(challenge, blocks), challenge), bytes + 16);
  return message;
}

/** Where the check of a chunk is evaluated, and what its hash is keyed with. */
export function challengeOf(
  { check }: ReceiverSeeds,
  chunk: number,
  corrections: Uint8Array,
): Uint8Array {
  const number = new Uint8Array(4);
  new DataView(number.buffer).setUint32(0, chunk, true);
  return blake3(corrections, blake3(number, check));
}

/** R of the columns of `blocks`, as the receiver computes it. */
export function columnSums(challenge: Uint8Array, blocks: Uint8Array): Uint8Array {
  const { arena, bits, check } = kernels();
  return arena.scope(() => {
    const sums = arena.put(new Uint8Array(2048));
    const [powers, matrix] = [arena.alloc(2048), arena.alloc(2048)];
    const [table, picks] = [arena.alloc(8192), arena.alloc(16384)];
    check.powers(powers, arena.put(challenge.subarray(0, 16)));
    bits.transpose(matrix, powers, 16, 128);
    check.picks(picks, matrix, table);
    check.hornerColumns(sums, picks, table, arena.put(blocks), blocks.length / 2048);
    return arena.u8(sums, 2048).slice();
  });
}

/** R of packed bits. */
export function sumOf(challenge: Uint8Array, bits: Uint8Array): Uint8Array {
  const { arena, check } = kernels();
  return arena.scope(() => {
    const powers = arena.alloc(2048);
    check.powers(powers, arena.put(challenge.subarray(0, 16)));
    const sum = arena.put(new Uint8Array(16));
    check.hornerBits(sum, powers, arena.put(bits), bits.length / 16);
    return arena.u8(sum, 16).slice();
  });
}
