import type { BaseReceiverKeys, BaseSenderKeys } from '../../../protocol/ot/base.ts';
import type { OtK } from '../../../protocol/ot/groups.ts';
import { freshOffset } from '../../../protocol/ot/setup.ts';
import {
  prepareReceiver,
  prepareSender,
  type ReceiverSeeds,
  type SenderSeeds,
} from '../../../protocol/ot/softspoken.ts';
import { Prg, type Random, randomBytes } from '../../../protocol/random/index.ts';

/** A deterministic stream of its own for each number. */
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
