import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { describe, expect, it } from 'vitest';
import { linearErrorsOf } from '../../../protocol/inference/errors.ts';
import type { ProtocolPool } from '../../../protocol/inference/session.ts';
import type * as tasks from '../../../protocol/inference/tasks.ts';
import { createThreadPool } from '../../../protocol/pool/node.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import { encodeInput } from '../../../protocol/program/input.ts';
import {
  type ActivationKind,
  IDENTITY,
  KINDS,
  RELU,
  SQUARE,
} from '../../../protocol/program/kinds.ts';
import {
  type ChannelConstants,
  constantsOf,
  decodeModel,
  type Model,
} from '../../../protocol/program/model.ts';
import {
  type ActivationStep,
  COMPARISONS,
  type LinearStep,
  type OutputStep,
} from '../../../protocol/program/program.ts';
import { runSimulated } from '../../../protocol/program/simulate.ts';
import { Prg, randomBytes } from '../../../protocol/random/index.ts';
import { indexOfLargest } from '../../../protocol/ring/tensor.ts';
import { isLong } from '../../support/long.ts';
import {
  INPUT_BOUND,
  inferBoth,
  ModelBuilder,
  openSessions,
  prepareBoth,
  randomInput,
  residualModel,
  type Sessions,
  seedOf,
} from '../../support/model.ts';

const root = new URL('../../../', import.meta.url);

const toleranceOf = ({ program }: Model) => (program.steps.at(-1) as OutputStep).tolerance;

const distance = (x: Int32Array, y: Int32Array) =>
  x.reduce((worst, value, i) => Math.max(worst, Math.abs(value - y[i]!)), 0);

/** Difference of the two largest logits. */
function lead(logits: Int32Array): number {
  const [first, second] = [...logits].sort((a, b) => b - a);
  return first! - second!;
}

async function once(sessions: Sessions, input: Int32Array): Promise<Int32Array> {
  await prepareBoth(sessions);
  return inferBoth(sessions, input);
}

/** SOTTO_LONG=networks asks for many more. */
const TIMES = isLong('networks') ? 500 : 100;

describe('private inference', () => {
  it.each(COMPARISONS)(
    `${TIMES} times on the shipped model, %s: within the bound, and the label wherever it is clear`,
    async (comparison) => {
      const shipped = decodeModel(readFileSync(new URL('models/zoo/digits.sotto', root)));
      const model = { ...shipped, program: { ...shipped.program, comparison } };
      // Worker threads need the built files, which the test command makes first.
      const worker = new URL('dist/protocol/inference/worker.js', root);
      const pool: ProtocolPool | undefined = existsSync(worker)
        ? createThreadPool<typeof tasks>(worker, { workers: availableParallelism() })
        : undefined;
      const sessions = await openSessions(model, seedOf(70), pool);
      const tolerance = toleranceOf(model);
      const random = new Prg(seedOf(71));
      let worst = 0;
      let decided = 0;
      for (let i = 0; i < TIMES; i++) {
        // Strokes of random brightness: sums of a few lines across the image, the rest black.
        const input = encodeInput(model.program, strokes(randomBytes(random, 24)));
        const private_ = await once(sessions, input);
        const clear = runClear(model, input, () => {});
        worst = Math.max(worst, distance(private_, clear));
        if (lead(clear) > tolerance) {
          decided++;
          expect(indexOfLargest(private_)).toBe(indexOfLargest(clear));
        }
      }
      await pool?.close();
      expect(worst).toBeLessThanOrEqual(tolerance);
      // The bound means something: it is not far from what is seen, and many inputs are decided, though strokes are no digits.
      expect(worst).toBeGreaterThan(tolerance / 20);
      expect(decided).toBeGreaterThan(TIMES / 5);
    },
    900_000,
  );

  it('a layer of kinds mixed at random: 102,400 elements, each off by one unit and what the layer before errs by, at most', async () => {
    const net = new ModelBuilder([4, 32, 32], seedOf(130));
    net.scale(64);
    net.activation([IDENTITY, RELU, SQUARE]);
    const model = net.finish();
    const step = model.program.steps[1] as ActivationStep;
    const { kinds, squareShift, shift } = step;
    const constants = model.weights[1] as ChannelConstants;
    // x is what the linear layer's shares add up to: as they err, so does x before it is truncated.
    const { tolerance } = model.program.steps[0] as LinearStep;
    const added = KINDS.map((kind) => constantsOf(step, constants, kind));
    const sessions = await openSessions(model, seedOf(131));
    let [all, beyond] = [0, 0];
    const edges = [0, 1, -1, 2, -2, INPUT_BOUND - 1, 1 - INPUT_BOUND];
    for (let run = 0; run < 25; run++) {
      const input = randomInput(model, seedOf(140 + run));
      for (const [i, edge] of edges.entries()) input.fill(edge, 40 * i, 40 * i + 20);
      const y = await once(sessions, input);
      all += y.length;
      for (let i = 0; i < y.length; i++) {
        const kind = kinds[i] as ActivationKind;
        const { before, after } = added[KINDS.indexOf(kind)]!;
        const x = 64 * input[i]! + before[Math.floor(i / 1024)]!;
        const result = y[i]! - after[Math.floor(i / 1024)]!;
        if (kind === SQUARE) {
          const exact = x / 2 ** squareShift;
          const off = Math.abs(Math.abs(exact) - Math.sqrt(result));
          const bound = 1 + tolerance / 2 ** squareShift;
          if (!(off <= bound)) throw new Error(`element ${i}: ${result} of root ${exact}`);
          if (!Number.isInteger(Math.sqrt(result))) throw new Error(`element ${i}: no square`);
          if (off > 1) beyond++;
        } else {
          const exact = (kind === RELU ? Math.max(x, 0) : x) / 2 ** shift;
          const off = Math.abs(result - exact);
          if (!(off <= 1 + tolerance / 2 ** shift)) {
            throw new Error(`element ${i}: ${result} for ${exact}`);
          }
          if (off > 1) beyond++;
        }
      }
    }
    // One unit alone would promise too much; few elements are off by more.
    expect(beyond / all).toBeGreaterThan(0.001);
    expect(beyond / all).toBeLessThan(0.1);
  });

  it.each([
    ['ReLUs', [RELU]],
    ['identities', [IDENTITY]],
    ['ReLUs and identities', [RELU, IDENTITY]],
  ] as const)('%s with constants: results are those of the clear run', async (_, mix) => {
    for (const comparison of COMPARISONS) {
      const net = new ModelBuilder([3, 12, 12], seedOf(132), comparison);
      net.scale(64);
      net.activation(mix, net.last, true);
      const model = net.finish();
      const input = randomInput(model, seedOf(133));
      const clear = runClear(model, input);
      const { before, after } = model.weights[1] as ChannelConstants;
      // Without them it would be another result: they come to many units.
      expect(Math.max(...before) / 64 + Math.max(...after)).toBeGreaterThan(50);
      const far = { before: before.map(() => 0), after: after.map(() => 0) };
      const plain = runClear({ ...model, weights: [model.weights[0], far, undefined] }, input);
      const off = runClear(model, input).filter((y, i) => Math.abs(y - plain[i]!) > 8);
      expect(off.length).toBeGreaterThan(clear.length / 2);
      const sessions = await openSessions(model, seedOf(134));
      // The errors of the linear layer, of the truncation in either run, and of both roundings.
      expect(distance(await once(sessions, input), clear)).toBeLessThanOrEqual(2);
    }
  });

  it('reveals the label alone when the program says so', async () => {
    const model = residualModel('label');
    const logits = residualModel('logits');
    const sessions = await openSessions(model);
    for (let i = 0; i < 3; i++) {
      const input = randomInput(model, seedOf(110 + i));
      const clear = runClear(logits, input);
      expect(lead(clear)).toBeGreaterThan(toleranceOf(logits));
      expect([...(await once(sessions, input))]).toEqual([indexOfLargest(clear)]);
    }
  });

  it('the simulated run differs from the clear one as much as the private one does', async () => {
    const model = residualModel();
    const input = randomInput(model, seedOf(120));
    const clear = runClear(model, input);
    const spread = (runs: readonly Int32Array[]) =>
      Math.sqrt(
        runs.reduce(
          (sum, run) => sum + run.reduce((s, v, i) => s + (v - clear[i]!) ** 2, 0) / run.length,
          0,
        ) / runs.length,
      );
    const sessions = await openSessions(model);
    const private_: Int32Array[] = [];
    for (let i = 0; i < 12; i++) private_.push(await once(sessions, input));
    const random = new Prg(seedOf(121));
    const simulated = Array.from({ length: 200 }, () =>
      runSimulated(model, input, random, linearErrorsOf(model.program)),
    );
    const ratio = spread(private_) / spread(simulated);
    expect(ratio).toBeGreaterThan(0.7);
    expect(ratio).toBeLessThan(1.4);
  });
});

/** An image of three straight strokes drawn from 24 random bytes: nothing of a data set. */
function strokes(bytes: Uint8Array): Float32Array {
  const pixels = new Float32Array(28 * 28);
  for (let s = 0; s < 3; s++) {
    const [x0, y0, x1, y1, light] = Array.from(bytes.subarray(8 * s, 8 * s + 5)) as [
      number,
      number,
      number,
      number,
      number,
    ];
    for (let t = 0; t <= 1; t += 0.02) {
      const x = 5 + ((x0 + t * (x1 - x0)) / 255) * 18;
      const y = 5 + ((y0 + t * (y1 - y0)) / 255) * 18;
      for (const [dx, dy] of [
        [0, 0],
        [1, 0],
        [0, 1],
      ] as const) {
        const at = Math.round(y + dy) * 28 + Math.round(x + dx);
        pixels[at] = Math.max(pixels[at]!, 0.5 + light / 510);
      }
    }
  }
  return pixels;
}
