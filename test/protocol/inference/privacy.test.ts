/**
 * What the parties see of each other: uniform bytes of fixed lengths, and nothing used twice. Each test that something
 * holds stands beside the planted fault it must catch.
 */

import { describe, expect, it } from 'vitest';
import { memoryPair } from '../../../protocol/channel/memory.ts';
import { ProtocolError } from '../../../protocol/errors.ts';
import { BundleStore } from '../../../protocol/inference/bundle.ts';
import { Kind } from '../../../protocol/inference/messages.ts';
import { inferClient, inferServer } from '../../../protocol/inference/online.ts';
import type { Model, StepWeights } from '../../../protocol/program/model.ts';
import { ringsOf } from '../../../protocol/program/rings.ts';
import { Prg } from '../../../protocol/random/index.ts';
import { signed, unpack } from '../../../protocol/ring/packing.ts';
import {
  drawBoth,
  inferBoth,
  ModelBuilder,
  openSessions,
  prepareBoth,
  randomInput,
  residualModel,
  type Sessions,
  seedOf,
} from '../../support/model.ts';
import { type RecordedChannel, recorded } from '../../support/recorded.ts';
import { CHI_SQUARE_LIMIT, chiSquare } from '../../support/statistics.ts';

/** Many elements of every kind for little work. */
function broadModel(): Model {
  const net = new ModelBuilder([4, 32, 32], seedOf(30));
  net.conv(8, 1);
  net.activation();
  net.pool(8);
  net.dense(4);
  return net.finish();
}

/** A session over a recorded channel (as the client sees it). */
async function recordedSession(
  model: Model,
  seed: Uint8Array,
): Promise<{ sessions: Sessions; transcript: RecordedChannel['transcript'] }> {
  const [near, far] = memoryPair();
  const tape = recorded(near);
  const sessions = await openSessions(model, seed, undefined, [tape, far]);
  return { sessions, transcript: tape.transcript };
}

async function once(sessions: Sessions, input: Int32Array): Promise<void> {
  await prepareBoth(sessions);
  await inferBoth(sessions, input);
}

/** All bytes of one kind in a direction. */
function bytesOf(
  transcript: RecordedChannel['transcript'],
  direction: 'sent' | 'received',
  kinds: readonly number[],
): Uint8Array {
  const parts = transcript.filter((e) => e.direction === direction && kinds.includes(e.kind));
  return Uint8Array.from(Buffer.concat(parts.map((e) => e.payload)));
}

describe('what the server sees', () => {
  it('is uniform for any input, over more than 2^20 bytes', async () => {
    const model = broadModel();
    const blank = new Int32Array(4 * 32 * 32);
    const bright = new Int32Array(4 * 32 * 32).fill(1023);
    for (const [i, input] of [blank, bright].entries()) {
      const { sessions, transcript } = await recordedSession(model, seedOf(31 + i));
      for (let run = 0; run < 28; run++) await once(sessions, input);
      const online = bytesOf(transcript, 'sent', [Kind.maskedInput, Kind.result]);
      expect(online.length).toBeGreaterThan(2 ** 20);
      expect(chiSquare(online)).toBeLessThan(CHI_SQUARE_LIMIT);
      const ot = bytesOf(transcript, 'sent', [Kind.labelChoices]);
      expect(chiSquare(ot)).toBeLessThan(CHI_SQUARE_LIMIT);
      // Keys and corrections of linear layers: their primes are so near to powers of two that it does not show.
      const layers = bytesOf(transcript, 'sent', [Kind.layer]);
      expect(layers.length).toBeGreaterThan(2 ** 20);
      expect(chiSquare(layers)).toBeLessThan(CHI_SQUARE_LIMIT);
    }
    // The control: the same statistic sees an input that is not masked.
    expect(chiSquare(new Uint8Array(bright.buffer))).toBeGreaterThan(CHI_SQUARE_LIMIT);
  });

  it('and the client sees, has the same shape for every input and all weights', async () => {
    const model = residualModel();
    const zero = (weights: StepWeights): StepWeights =>
      weights && 'kernel' in weights
        ? { kernel: weights.kernel.map(() => 0), bias: weights.bias }
        : weights;
    const blind = { ...model, weights: model.weights.map(zero) };
    const shapes: string[] = [];
    for (const [i, [own, input]] of (
      [
        [model, new Int32Array(288)],
        [model, randomInput(model, seedOf(33))],
        [blind, randomInput(model, seedOf(34))],
      ] as const
    ).entries()) {
      const { sessions, transcript } = await recordedSession(own, seedOf(35 + i));
      await once(sessions, input);
      // Frames of opposite directions may cross; in each direction the sequence is fixed.
      for (const way of ['sent', 'received']) {
        const frames = transcript.filter(({ direction }) => direction === way);
        shapes.push(way + frames.map(({ kind, payload }) => `${kind}:${payload.length}`).join(' '));
      }
    }
    expect(new Set(shapes).size).toBe(2);
  });
});

/** Do two masked inputs of known inputs, shared with `ring` bits, give away that they used the same mask? */
function sameMask(
  ring: number,
  first: Uint8Array,
  second: Uint8Array,
  x: Int32Array,
  y: Int32Array,
): boolean {
  const [a, b] = [first, second].map((message) => unpack(message, x.length, ring));
  return a!.every((value, i) => signed(value - b![i]!, ring) === signed(x[i]! - y[i]!, ring));
}

describe('nothing is used twice', () => {
  const model = residualModel();
  const x = randomInput(model, seedOf(40));
  const y = randomInput(model, seedOf(41));

  async function maskedInputs(restart: boolean): Promise<[Uint8Array, Uint8Array]> {
    const { sessions, transcript } = await recordedSession(model, seedOf(42));
    if (restart) {
      // The planted fault: a generator that repeats itself.
      const repeating = { fill: (out: Uint8Array) => new Prg(seedOf(43)).fill(out) };
      Object.assign(sessions.client, { random: repeating });
    }
    await once(sessions, x);
    await once(sessions, y);
    const [first, second] = transcript
      .filter(({ kind }) => kind === Kind.maskedInput)
      .map(({ payload }) => payload);
    return [first!, second!];
  }

  it('masks are fresh; a generator that repeats itself is caught', async () => {
    const [ring] = ringsOf(model.program);
    expect(sameMask(ring!, ...(await maskedInputs(false)), x, y)).toBe(false);
    expect(sameMask(ring!, ...(await maskedInputs(true)), x, y)).toBe(true);
  });

  it('a bundle is spent when it is taken, at both parties', async () => {
    const sessions = await openSessions(model, seedOf(44));
    await prepareBoth(sessions);
    const bundle = sessions.clientBundles.take();
    expect(() => sessions.clientBundles.take(bundle.number)).toThrow(/spent/);
    expect(() => sessions.clientBundles.add(bundle)).toThrow(/used once/);
    // A client that uses its bundle again all the same is refused by the server.
    const { client, server } = sessions;
    const peer = sessions.serverBundles.take(bundle.number);
    await Promise.all([
      inferClient(client, bundle, x),
      server.online.receive(Kind.infer, 8).then(() => inferServer(server, model, peer)),
    ]);
    expect(() => sessions.serverBundles.take(bundle.number)).toThrow(ProtocolError);
  });

  it('a store never takes a number back', () => {
    const store = new BundleStore<{ number: number }>();
    store.add({ number: 3 });
    expect(store.take().number).toBe(3);
    for (const number of [0, 3]) expect(() => store.add({ number })).toThrow(/used once/);
  });

  it('offsets differ between bundles and sessions, in both directions', async () => {
    const seen = new Set<string>();
    const drawn: string[][] = [];
    for (const seed of [50, 51, 52, 50]) {
      const sessions = await openSessions(model, seedOf(seed));
      const { client, server } = sessions;
      const own = [server.root.offset];
      for (let bundle = 0; bundle < 3; bundle++) {
        await drawBoth(sessions);
        own.push(client.drawn!.cots.products.seeds.offset, server.drawn!.offsets.keys.choices);
        await once(sessions, x);
      }
      for (const [first] of own) expect(first! & 1).toBe(1);
      drawn.push(own.map((offset) => offset.join()));
      for (const offset of own) seen.add(offset.join());
    }
    // One root and two of each of three bundles, of three sessions.
    expect(seen.size).toBe(21);
    // The control: sessions that draw the same randomness share their offsets.
    expect(drawn[3]).toEqual(drawn[0]);
  });
});
