/**
 * What hides values in whole sessions: masks, noise and choices. Each is planted short, biased, in common to two values or
 * bundles, or in the clear, with what the other party then computes, which finds nothing as built.
 */

import { describe, expect, it } from 'vitest';
import { memoryPair } from '../../../protocol/channel/memory.ts';
import type { ClientLane, Gadget, GadgetParams } from '../../../protocol/gadgets/gadget.ts';
import { Kind } from '../../../protocol/inference/messages.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import { IDENTITY } from '../../../protocol/program/kinds.ts';
import type { Model } from '../../../protocol/program/model.ts';
import type { LinearStep } from '../../../protocol/program/program.ts';
import { signed, unpack } from '../../../protocol/ring/packing.ts';
import {
  inferBoth,
  ModelBuilder,
  openSessions,
  prepareBoth,
  randomInput,
  residualModel,
  type Sessions,
  seedOf,
} from '../../support/model.ts';
import { type RecordedFrame, recorded } from '../../support/recorded.ts';
import { deviations, largestBias, largestCorrelation } from '../../support/statistics.ts';
import { type Call, stepsOf, watchGadgets } from '../gadgets/watch.ts';

/** Of some 10^5 comparisons one exceeds it by chance once in 2^33 runs. */
const LIMIT = 8;

/** Two convolutions of the input, each with an identity, and a layer that reaches the output from each: no phase masks them. */
function branches(): Model {
  const net = new ModelBuilder([2, 16, 16], seedOf(460));
  const x = net.activation([IDENTITY], net.conv(2, 3));
  const y = net.activation([IDENTITY], net.conv(2, 3, 1, 1, 0));
  net.add(net.dense(4, x), net.dense(4, y));
  return net.finish();
}

interface Bundle {
  readonly input: Int32Array;
  readonly inputMask: Int32Array;
  /** r' and y - r' of each activation layer, and y of the clear run. */
  readonly layers: { mask: Int32Array; share: Int32Array; clear: Int32Array }[];
  readonly maskedInput: Int32Array;
}

/** Bundles of a session whose activation layers are one lane each, and their bits. */
async function run(model: Model, seed: number, bundles: number) {
  const [near, far] = memoryPair();
  const tape = recorded(near);
  const sessions = await openSessions(model, seedOf(seed), undefined, [tape, far]);
  const { rings } = sessions.client.layout;
  const out: Bundle[] = [];
  for (let bundle = 0; bundle < bundles; bundle++) {
    const input = randomInput(model, seedOf(1000 * seed + bundle));
    let inputMask = new Int32Array(0);
    const calls = await watchGadgets(async () => {
      await prepareBoth(sessions);
      const own = sessions.clientBundles.take();
      inputMask = own.inputMask.slice() as typeof inputMask;
      // Out of the store and back: the same bundle, once.
      Object.assign(sessions.clientBundles, { take: () => own });
      await inferBoth(sessions, input);
      Reflect.deleteProperty(sessions.clientBundles, 'take');
    });
    const clear: Int32Array[] = [];
    runClear(model, input, (step, value) => {
      if (step.op === 'activation') clear.push(Int32Array.from(value));
    });
    const opened = stepsOf(calls, 'correct').map(({ args }) => (args[1] as ClientLane).mask);
    const shares = stepsOf(calls, 'finish').map(({ result }) => result as Int32Array);
    const message = tape.transcript.filter(({ kind }) => kind === Kind.maskedInput).at(-1)!;
    out.push({
      input,
      inputMask,
      layers: clear.map((y, i) => ({ mask: opened[i]!, share: shares[i]!, clear: y })),
      maskedInput: unpack(message.payload, input.length, rings[0]!),
    });
  }
  return { bundles: out, sessions };
}

/** The share of elements in which a guess is within `off` of the truth, modulo 2^bits. */
function told(guess: Int32Array, truth: Int32Array, bits: number, off: number): number {
  const close = guess.filter((value, i) => Math.abs(signed(value - truth[i]!, bits)) <= off);
  return close.length / guess.length;
}

/** Bit `bit` of every number, packed. */
function bitOf(values: Int32Array, bit: number): Uint8Array {
  const out = new Uint8Array(values.length / 8);
  for (let i = 0; i < values.length; i++) out[i >> 3]! |= ((values[i]! >>> bit) & 1) << (i & 7);
  return out;
}

describe('masks of a session', async () => {
  const model = branches();
  const { bundles, sessions } = await run(model, 461, 6);
  const { activations, linears, rings } = sessions.client.layout;
  const bitsOf = activations.map(({ index }) => rings[index + 1]!);

  it('are of both sorts: phases at the input, drawn where no phase is free', () => {
    expect(linears.map(({ masks }) => masks)).toEqual(['free', 'exact', 'exact']);
    expect(activations.map(({ lanes }) => lanes.length)).toEqual([1, 1]);
  });

  it('hide from the server the difference of two values: one stream for both would show it', () => {
    for (const { layers } of bundles) {
      const [x, y] = layers as [(typeof layers)[0], (typeof layers)[0]];
      const bits = Math.min(...bitsOf);
      const truth = x.clear.map((value, i) => value - y.clear[i]!);
      const guess = x.share.map((value, i) => value - y.share[i]!);
      expect(told(guess, truth, bits, 4)).toBeLessThan(0.03);
      // What the server would hold of the second with the first one's mask.
      const planted = y.share.map((value, i) => value + y.mask[i]! - x.mask[i]!);
      expect(
        told(
          x.share.map((value, i) => value - planted[i]!),
          truth,
          bits,
          4,
        ),
      ).toBe(1);
    }
  });

  it('hide from the server how a value differs between two inputs: one mask for two bundles would show it', () => {
    for (const [i, bits] of bitsOf.entries()) {
      const [one, other] = bundles.slice(0, 2).map(({ layers }) => layers[i]!) as [
        Bundle['layers'][0],
        Bundle['layers'][0],
      ];
      const truth = one.clear.map((value, j) => value - other.clear[j]!);
      const guess = (share: Int32Array) => one.share.map((value, j) => value - share[j]!);
      expect(told(guess(other.share), truth, bits, 4)).toBeLessThan(0.03);
      const planted = other.share.map((value, j) => value + other.mask[j]! - one.mask[j]!);
      expect(told(guess(planted), truth, bits, 4)).toBe(1);
    }
    const [one, other] = bundles as [Bundle, Bundle];
    const truth = one.input.map((value, j) => value - other.input[j]!);
    const guess = one.maskedInput.map((value, j) => value - other.maskedInput[j]!);
    expect(told(guess, truth, rings[0]!, 4)).toBeLessThan(0.03);
  });

  it('have all bits of their ring: short ones would show the server the input and all values up to what they have', () => {
    for (const { input, inputMask, maskedInput, layers } of bundles) {
      const values = [
        { truth: input, sent: maskedInput, mask: inputMask, bits: rings[0]! },
        ...layers.map(({ clear, share, mask }, i) => ({
          truth: clear,
          sent: share,
          mask,
          bits: bitsOf[i]!,
        })),
      ];
      for (const { truth, sent, mask, bits } of values) {
        expect(told(sent, truth, bits, 260)).toBeLessThan(0.25);
        const short = sent.map((value, i) => value + mask[i]! - (mask[i]! & 0xff));
        expect(told(short, truth, bits, 260)).toBe(1);
      }
    }
  });

  it('are fair coins bit by bit, and none follows another, a bit of the value, or one of another bundle or value: bias adds up over bundles', () => {
    const own = (mask: Int32Array, bits: number) =>
      Array.from({ length: bits }, (_, bit) => bitOf(mask, bit));
    const join = (parts: Uint8Array[][]) =>
      parts[0]!.map((_, i) => Uint8Array.from(parts.flatMap((strings) => [...strings[i]!])));
    const stringsOf = (from: Bundle[]) =>
      join(
        from.map(({ inputMask, layers }) => [
          ...own(inputMask, rings[0]!),
          ...layers.flatMap(({ mask }, i) => own(mask, bitsOf[i]!)),
        ]),
      );
    // Bundles 0, 2, 4 beside 1, 3, 5.
    const masks = [0, 1].flatMap((odd) => stringsOf(bundles.filter((_, i) => i % 2 === odd)));
    const hidden = join(
      bundles
        .filter((_, i) => i % 2 === 0)
        .map(({ input, layers }) => [
          ...own(input, 8),
          ...layers.flatMap(({ clear }) => own(clear, 8)),
        ]),
    );
    expect(largestBias(masks)).toBeLessThan(LIMIT);
    expect(largestCorrelation(masks)).toBeLessThan(LIMIT);
    for (const value of hidden) {
      // Values are no fair coins: their bits are compared with masks alone.
      for (const mask of masks) expect(largestCorrelation([value, mask])).toBeLessThan(LIMIT);
    }
    // A coin that falls on 1 once in four, and one bit for two values, are caught.
    const [coin, other] = masks as [Uint8Array, Uint8Array];
    expect(largestBias([coin.map((byte, i) => byte & other[i]!)])).toBeGreaterThan(LIMIT);
    expect(largestCorrelation([coin, coin])).toBeGreaterThan(LIMIT);
  });
});

describe('the noise of an exact layer in whole sessions', () => {
  it('fills the tolerance of the layer, and is another for each output and bundle: what is the same the client subtracts, and averages W out of the rest', async () => {
    const net = new ModelBuilder([4, 6, 6], seedOf(470));
    net.dense(64);
    const model = net.finish();
    const input = randomInput(model, seedOf(471));
    const clear = runClear(model, input);
    const sessions = await openSessions(model, seedOf(472));
    const { noise: width } = sessions.client.layout.linears[0]!.plan;
    const { tolerance } = model.program.steps[0] as LinearStep;
    const BUNDLES = 24;
    const errors: Int32Array[] = [];
    for (let bundle = 0; bundle < BUNDLES; bundle++) {
      await prepareBoth(sessions);
      errors.push((await inferBoth(sessions, input)).map((x, i) => x - clear[i]!));
    }
    // Uniform numbers within +- width: their squares come to a third of its square, up to six standard deviations.
    expect(width).toBeGreaterThan(0.9 * tolerance);
    const squares = errors.flatMap((own) => [...own].map((e) => e * e));
    const ratio =
      squares.reduce((sum, x) => sum + x, 0) / squares.length / ((width * (width + 1)) / 3);
    expect(ratio).toBeGreaterThan(0.85);
    expect(ratio).toBeLessThan(1.25);
    const same = (x: Int32Array, y: Int32Array) =>
      x.filter((value, i) => Math.abs(value - y[i]!) <= 1).length / x.length;
    // Of two bundles, and of two outputs.
    const outputs = Array.from(clear, (_, i) => Int32Array.from(errors, (own) => own[i]!));
    for (const series of [errors, outputs]) {
      for (const [i, own] of series.entries()) {
        for (const other of series.slice(0, i)) expect(same(own, other)).toBeLessThan(0.9);
      }
    }
    expect(same(errors[0]!, errors[0]!.slice())).toBe(1);
  });
});

describe('choices in OTs', () => {
  /** Packed choices of every lane, and all frames of both directions. */
  async function choices(): Promise<{ calls: Call[]; frames: readonly RecordedFrame[] }> {
    const model = residualModel();
    const [near, far] = memoryPair();
    const tape = recorded(near);
    const sessions: Sessions = await openSessions(model, seedOf(480), undefined, [tape, far]);
    const calls = await watchGadgets(async () => {
      for (let i = 0; i < 2; i++) {
        await prepareBoth(sessions);
        await inferBoth(sessions, randomInput(model, seedOf(481)));
      }
    });
    return { calls, frames: tape.transcript };
  }

  /** Whether some bytes, or their complements, are in a frame as they are. */
  function shown(frames: readonly { payload: Uint8Array }[], bytes: Uint8Array): boolean {
    return [bytes, bytes.map((byte) => byte ^ 0xff)].some((wanted) =>
      frames.some(({ payload }) => Buffer.from(payload).includes(Buffer.from(wanted))),
    );
  }

  it('are in no frame, and fair coins of each lane: in the clear they would tell the server c and rho, the client pi, mu and u', async () => {
    const { calls, frames } = await choices();
    const made = (['choose', 'draw'] as const).flatMap((step) =>
      stepsOf(calls, step).map(({ gadget, args, result }) => {
        const [params, own] = args as [GadgetParams, Int32Array | number];
        const n = typeof own === 'number' ? own : own.length;
        const { labelCots, productCots } = gadget as Gadget;
        const count = n * (step === 'choose' ? labelCots(params) : productCots(params));
        return { bits: result as Uint8Array, count };
      }),
    );
    const seen = new Set<string>();
    let [all, ones] = [0, 0];
    for (const { bits, count } of made.filter(({ bits }) => bits.length >= 12)) {
      for (const at of [0, bits.length - 12]) {
        const piece = bits.slice(at, at + 12);
        if (at + 12 <= count >> 3) {
          expect(shown(frames, piece)).toBe(false);
          expect(shown([...frames, { payload: bits }], piece)).toBe(true);
        }
        seen.add(piece.join());
      }
      for (let i = 0; i < count; i++) ones += (bits[i >> 3]! >> (i & 7)) & 1;
      all += count;
    }
    expect(all).toBeGreaterThan(6000);
    expect(deviations(ones, all)).toBeLessThan(LIMIT);
    // No lane chooses as another does.
    expect(seen.size).toBeGreaterThan(20);
  });
});
