/**
 * Peers that deviate, from servers and clients that are the product as it is. All randomness comes from seeds and is the same in
 * every session, so that two sessions differ in nothing but what a peer does in them.
 */

import type { Session } from '../../client/contract.ts';
import { sessionOver } from '../../client/session.ts';
import type { Endpoint } from '../../protocol/channel/endpoint.ts';
import {
  type ChannelFrame,
  ERROR_KIND,
  FRAME_HEADER_BYTES,
} from '../../protocol/channel/frames.ts';
import type { Channel } from '../../protocol/channel/index.ts';
import { memoryPair } from '../../protocol/channel/memory.ts';
import { argmax } from '../../protocol/gadgets/argmax.ts';
import { getBit } from '../../protocol/gadgets/bits.ts';
import { gadgetOf } from '../../protocol/gadgets/index.ts';
import { join } from '../../protocol/inference/batches.ts';
import type { ProtocolPool } from '../../protocol/inference/session.ts';
import type * as tasks from '../../protocol/inference/tasks.ts';
import { redeemReceiver, redeemSender } from '../../protocol/ot/correlations.ts';
import { RELU } from '../../protocol/program/kinds.ts';
import type { Model } from '../../protocol/program/model.ts';
import { Prg } from '../../protocol/random/index.ts';
import { packedBytes, signed } from '../../protocol/ring/packing.ts';
import { type Flip, fitted } from '../protocol/ot/support.ts';
import { ModelBuilder, seedOf } from '../support/model.ts';
import { withRun } from '../support/pool.ts';
import { type Change, changing } from '../support/resealed.ts';
import { type LocalServer, localPool } from '../system/support.ts';

/** 36 ReLUs in one batch, and five classes of which the client learns the largest one's number. */
export function attackedModel(): Model {
  const net = new ModelBuilder([1, 6, 6], seedOf(710));
  net.conv(4, 3, 2);
  net.activation([RELU]);
  net.dense(5);
  return net.finish('label');
}

type Task = keyof typeof tasks;
export type InputOf<K extends Task> = Parameters<(typeof tasks)[K]>[0];
type OutputOf<K extends Task> = ReturnType<(typeof tasks)[K]>;

/** What a party does in place of some tasks; `run` does them, with another input where it gets one. */
export type Hooks = {
  [K in Task]?: (
    input: InputOf<K>,
    run: (other?: InputOf<K>) => Promise<OutputOf<K>>,
  ) => Promise<OutputOf<K>>;
};

/** A pool some of whose tasks do something else, or are watched. */
export function hooked(hooks: Hooks, pool: ProtocolPool = localPool()): ProtocolPool {
  const run = (task: 'openBatch', input: InputOf<'openBatch'>, options?: object) => {
    const hook = hooks[task];
    if (hook === undefined) return pool.run(task, input, options);
    return hook(structuredClone(input), (other = input) => pool.run(task, other, options));
  };
  return withRun(pool, run as never);
}

/** The inputs of some tasks, as a pool got them. */
export type Seen = { readonly [K in Task]?: InputOf<K>[] };

/** Notes the inputs of tasks. */
export function noting(seen: Seen): Hooks {
  const note = (task: Task) => (input: unknown, run: () => Promise<unknown>) => {
    (seen[task] as unknown[]).push(input);
    return run();
  };
  return Object.fromEntries(Object.keys(seen).map((task) => [task, note(task as Task)])) as Hooks;
}

/** Every frame that arrives at a channel of {@link memoryPair} from here on, an ERROR frame too. */
export function arriving(channel: Channel): ChannelFrame[] {
  const end = channel as Endpoint;
  const frames: ChannelFrame[] = [];
  const { deliver } = end;
  end.deliver = (bytes) => {
    frames.push({ kind: bytes[1]!, payload: bytes.slice(FRAME_HEADER_BYTES) });
    deliver.call(end, bytes);
  };
  return frames;
}

/** What a client of these tests brings beside its honest program. */
export interface Deviation {
  readonly hooks?: Hooks;
  /** What it sends in place of its frames; its seals are of that. */
  readonly change?: Change;
}

/** A client that deviates, on its way. */
export interface Deviating {
  readonly session: Promise<Session>;
  /** What the server sent. */
  readonly frames: readonly ChannelFrame[];
}

export function deviatingClient(
  server: LocalServer,
  { hooks = {}, change = (_, payload) => payload }: Deviation = {},
): Deviating {
  const channel = server.accept();
  const frames = arriving(channel);
  const random = new Prg(seedOf(711));
  const parts = { channel: changing(channel, change), pool: hooked(hooks), random };
  return { session: sessionOver(parts), frames };
}

/** Channels for a server that sends `change` of its frames, and what arrives at it, session by session. */
export function deviatingServer(change: Change): {
  pair: () => [Channel, Channel];
  sessions: readonly (readonly ChannelFrame[])[];
} {
  const sessions: ChannelFrame[][] = [];
  const pair = (): [Channel, Channel] => {
    const [near, far] = memoryPair();
    sessions.push(arriving(far));
    return [near, changing(far, change)];
  };
  return { pair, sessions };
}

/** A change of the frames of one kind, or of one of them. */
export function inFrames(
  kind: number,
  damage: (payload: Uint8Array) => Uint8Array,
  only?: number,
): Change {
  let seen = 0;
  return (own, payload) => (own === kind && (only ?? seen) === seen++ ? damage(payload) : payload);
}

/** What a promise rejects with; undefined when it does not. */
export const failing = (promise: Promise<unknown>): Promise<Error | undefined> =>
  promise.then(
    () => undefined,
    (error: Error) => error,
  );

/** The frames without their last one, an ERROR frame, and that one's payload; undefined when there is none. */
export function upToError(frames: readonly ChannelFrame[]): {
  said: readonly ChannelFrame[];
  error?: Uint8Array;
} {
  const last = frames.at(-1);
  if (last?.kind !== ERROR_KIND) return { said: frames };
  return { said: frames.slice(0, -1), error: last.payload };
}

/**
 * The choices of a batch in label OTs, some inverted for one group each, and what makes the check of it pass if a guess of the
 * offset's bits in these groups is right.
 */
export function bestMessage(
  { lanes, labels }: InputOf<'openBatch'>,
  flips: readonly Flip[],
  guess: Uint8Array,
): Uint8Array {
  const choices = join(lanes.map((lane) => gadgetOf(lane).choose(lane.params, lane.c, lane.seed)));
  const chunk = { chunk: labels.firstChunk, count: labels.count, choices };
  return fitted(labels.seeds, chunk, flips, guess);
}

/** The blocks of a receiver that knows the offset, had it chosen otherwise. */
function chosenAgain(
  blocks: Uint8Array,
  offset: Uint8Array,
  before: Uint8Array,
  now: Uint8Array,
): Uint8Array {
  return blocks.map((byte, at) => {
    const changed = getBit(before, at >> 4) ^ getBit(now, at >> 4);
    return byte ^ (offset[at & 15]! & -changed);
  });
}

/** The least s in (from, to] for which something holds that holds for all above. */
function least(from: number, to: number, holds: (s: number) => boolean): number {
  let [low, high] = [from, to];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (holds(middle)) high = middle;
    else low = middle;
  }
  return high;
}

/**
 * The attack that an offset allows on ReLUs: who knows it has the labels of every c it likes, and finds by bisection for which
 * shift of c the sign of a + c changes.
 * @param opened - what the client opened a batch of one lane with
 * @param sent - what the server sent of that lane, tables and material
 * @returns the pre-activations, of |x| < 2^(k-2), to within 2^t
 */
export function readReluInputs(
  { lanes: [lane], labels, products, drawn }: InputOf<'openBatch'>,
  sent: { readonly tables: Uint8Array; readonly material: Uint8Array },
  offset: Uint8Array,
): Int32Array {
  const { params, n, c, mask, seed, labelTweaks, productTweaks } = lane!;
  const gadget = gadgetOf(lane!);
  const chosen = gadget.choose(params, c, seed);
  const { blocks } = redeemReceiver(labels, chosen);
  const own = { blocks: redeemSender(products, drawn), offset: products.seeds.offset };
  /** The signs, each under a mask that the shifts do not change. */
  const signs = (shifts: Int32Array): Uint8Array => {
    const shifted = c.map((value, i) => value + shifts[i]!);
    const choices = gadget.choose(params, shifted, seed);
    const again = chosenAgain(blocks, offset, chosen, choices);
    const { state } = gadget.correct(params, {
      c: shifted,
      mask,
      labels: { blocks: again, choices, tweaks: labelTweaks },
      products: { ...own, tweaks: productTweaks },
      seed,
    });
    const stored = gadget.store(params, n, state, sent.tables.slice());
    const result = gadget.evaluate(params, n, stored, sent.material.slice());
    return result.subarray(packedBytes(n, params.outBits));
  };
  const unshifted = signs(new Int32Array(n));
  // x + shift is of the sign of x for the shifts in `same`, and not in `other`, where it has reached 0 or 2^(k-1).
  const same = new Int32Array(n);
  const other = new Int32Array(n).fill(2 ** (params.rangeBits - 1));
  for (let bit = 0; bit < params.rangeBits - 1; bit++) {
    const middle = same.map((low, i) => (low + other[i]!) >> 1);
    const seen = signs(middle);
    middle.forEach((shift, i) => {
      const side = getBit(seen, i) === getBit(unshifted, i) ? same : other;
      side[i] = shift;
    });
  }
  return other.map((shift) => signed(-shift, params.rangeBits - 1));
}

/**
 * The same on a garbled argmax: which class wins where c is shifted says how far each logit is from the others and from the
 * end of the ring.
 * @param c - the client's share of the logits
 * @returns the logits, of |x| < 2^(k-2)
 */
export function readLogits(
  c: Int32Array,
  { params, labels, ...rest }: InputOf<'evaluateArgmax'>,
  offset: Uint8Array,
): Int32Array {
  const { values, rangeBits } = params;
  const chosen = argmax.choose(params, c);
  /** The class that wins when `shift` is added to logit `value`. */
  const winner = (value: number, shift: number): number => {
    const shifted = c.map((share, i) => (i === value ? share + shift : share));
    const again = chosenAgain(labels, offset, chosen, argmax.choose(params, shifted));
    return argmax.evaluate(params, again, rest.tables, rest.tweaks, rest.material);
  };
  const best = winner(0, 0);
  const quarter = 2 ** (rangeBits - 2);
  // The winner loses where it wraps; another one wins where it reaches the winner, the lower number of equals.
  const top = 2 * quarter - least(0, 3 * quarter, (shift) => winner(best, shift) !== best);
  return Int32Array.from({ length: values }, (_, value) => {
    if (value === best) return top;
    const gap = least(0, quarter, (shift) => winner(value, shift) === value);
    return top - gap + (value > best ? 1 : 0);
  });
}
