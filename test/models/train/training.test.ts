import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { Stream } from '../../../models/random.ts';
import { clampCurvature } from '../../../models/reduce/parabola.ts';
import { loadCheckpoint, saveCheckpoint } from '../../../models/train/checkpoint.ts';
import { concatenate, makeBatch, slice } from '../../../models/train/data/images.ts';
import {
  type EpochStats,
  measureStatistics,
  progressLine,
  score,
  scoresOf,
  type Teacher,
  type TrainProgress,
  train,
} from '../../../models/train/loop.ts';
import { crossEntropy, distillation, Losses } from '../../../models/train/loss.ts';
import { Network, type Parameter } from '../../../models/train/network.ts';
import {
  Adam,
  cosine,
  Lookahead,
  type Optimiser,
  Sgd,
  triangle,
} from '../../../models/train/optimiser.ts';
import { groupWeights, type trainTasks } from '../../../models/train/shard.ts';
import { trainStage } from '../../../models/train/stage.ts';
import { createThreadPool } from '../../../protocol/pool/node.ts';
import { numbers } from '../builder.ts';
import { bars, everyOperator } from '../networks.ts';

function parameter(kind: Parameter['kind'], value: number[], gradient: number[]): Parameter {
  return {
    name: kind,
    kind,
    value: Float32Array.from(value),
    gradient: Float32Array.from(gradient),
  };
}

describe('losses', () => {
  it('have the gradients that differences show', () => {
    const next = numbers(4);
    const scores = Float32Array.from({ length: 12 }, () => 3 * next());
    const teacher = Float32Array.from({ length: 12 }, () => 3 * next());
    const labels = Uint8Array.of(1, 3, 0);
    const weights = [0.2, 0.5, 0.3];
    const add = [
      (s: Float32Array, losses: Losses) => crossEntropy(s, labels, losses, 0.5),
      (s: Float32Array, losses: Losses) => crossEntropy(s, labels, losses, 0.5, 0.3),
      (s: Float32Array, losses: Losses) => distillation(s, teacher, 2, losses, 0.5),
    ];
    for (const loss of add) {
      const losses = new Losses(3, 4);
      loss(scores, losses);
      losses.weigh(weights);
      for (let i = 0; i < 12; i++) {
        const at = (step: number) => {
          const moved = new Losses(3, 4);
          loss(
            scores.map((v, k) => (k === i ? v + step : v)),
            moved,
          );
          return moved.values.reduce((sum, v, b) => sum + weights[b]! * v, 0);
        };
        expect(losses.gradient[i]).toBeCloseTo((at(0.01) - at(-0.01)) / 0.02, 3);
      }
    }
  });

  it('have the values of their definitions', () => {
    const even = new Losses(2, 4);
    crossEntropy(new Float32Array(8), Uint8Array.of(0, 3), even);
    expect(even.values[0]).toBeCloseTo(Math.log(4), 6);
    expect(even.values[1]).toBeCloseTo(Math.log(4), 6);
    const smooth = new Losses(1, 2);
    crossEntropy(Float32Array.of(Math.log(3), 0), Uint8Array.of(1), smooth, 1, 0.2);
    expect(smooth.values[0]).toBeCloseTo(-0.1 * Math.log(0.75) - 0.9 * Math.log(0.25), 6);
    const same = new Losses(1, 4);
    const scores = Float32Array.of(1, 2, 3, 4);
    distillation(scores, scores, 3, same);
    expect(same.values[0]).toBeCloseTo(0, 6);
    const apart = new Losses(1, 2);
    distillation(new Float32Array(2), Float32Array.of(Math.log(3), 0), 1, apart);
    const expected = 0.75 * Math.log(0.75 / 0.5) + 0.25 * Math.log(0.25 / 0.5);
    expect(apart.values[0]).toBeCloseTo(expected, 6);
  });

  it('stay finite for scores that are far apart', () => {
    const losses = new Losses(1, 2);
    crossEntropy(Float32Array.of(1e4, -1e4), Uint8Array.of(1), losses);
    expect(losses.values[0]).toBeGreaterThan(60);
    expect([...losses.gradient]).toEqual([1, -1]);
  });

  it('of groups weigh every image as the gradient of the penalty says', () => {
    const group = Uint8Array.of(0, 1, 0, 2, 1, 0);
    const losses = Float64Array.of(0.3, 2, 0.9, 0.1, 1.4, 0.5);
    for (const oneSided of [false, true]) {
      const multipliers = Float64Array.of(0.4, 0.7, 0.2, 5);
      const total = (values: Float64Array) => {
        const mean = values.reduce((s, v) => s + v) / values.length;
        return multipliers.reduce((sum, gamma, g) => {
          const own = values.filter((_, i) => group[i] === g);
          if (own.length === 0) return sum;
          const gap = own.reduce((s, v) => s + v) / own.length - mean;
          return sum + gamma * (oneSided ? Math.max(0, gap) : Math.abs(gap));
        }, mean);
      };
      const { weights, violations, sums, counts } = groupWeights(losses, group, {
        multipliers,
        oneSided,
      });
      for (let i = 0; i < losses.length; i++) {
        const at = (step: number) => total(losses.map((v, k) => (k === i ? v + step : v)));
        expect(weights[i]).toBeCloseTo((at(1e-5) - at(-1e-5)) / 2e-5, 6);
      }
      expect([...counts]).toEqual([3, 2, 1, 0]);
      expect(sums[1]).toBeCloseTo(3.4);
      expect(violations[3]).toBe(0);
      expect(violations[0]).toBeCloseTo(oneSided ? 0 : 5.2 / 6 - 1.7 / 3);
      expect(violations[1]).toBeCloseTo(1.7 - 5.2 / 6);
    }
  });
});

describe('optimisers', () => {
  it('Sgd takes Nesterov steps and decays weights alone', () => {
    const weight = parameter('weight', [2], [1]);
    const vector = parameter('vector', [2], [1]);
    const sgd = new Sgd({ momentum: 0.5, decay: 0.1 });
    sgd.step([weight, vector], 0.1);
    // g = 1 + 0.1*2 = 1.2, v = 1.2, step 0.1 * (1.2 + 0.5*1.2)
    expect(weight.value[0]).toBeCloseTo(2 - 0.18, 6);
    expect(vector.value[0]).toBeCloseTo(2 - 0.15, 6);
    sgd.step([vector], 0.1);
    expect(vector.value[0]).toBeCloseTo(1.85 - 0.1 * (1 + 0.5 * 1.5), 6);
  });

  it('Sgd decays other kinds when it is told to', () => {
    const vector = parameter('vector', [2], [1]);
    const sgd = new Sgd({ momentum: 0, decay: 0.1, rates: { vector: 3 }, decays: { vector: 0.5 } });
    sgd.step([vector], 0.1);
    expect(vector.value[0]).toBeCloseTo(2 - 0.3 * (1 + 0.05 * 2), 6);
  });

  it('Lookahead takes values back to their averages, which follow less and less', () => {
    const weight = parameter('weight', [0], [-1]);
    const lookahead = new Lookahead(new Sgd({ momentum: 0 }), { every: 2, share: 0.25 });
    lookahead.step([weight], 1, 0);
    expect(weight.value[0]).toBe(1);
    // At the start the average takes the value itself.
    lookahead.step([weight], 1, 0);
    expect(weight.value[0]).toBe(2);
    lookahead.step([weight], 1, 1);
    expect(weight.value[0]).toBe(3);
    // At the end it moves by its share: 2 + (4 - 2) / 4.
    lookahead.step([weight], 1, 1);
    expect(weight.value[0]).toBe(2.5);
    lookahead.step([weight], 1, 0.5);
    // 1 - 0.75 / 8 of the way from 2.5 to 4.5.
    lookahead.step([weight], 1, 0.5);
    expect(weight.value[0]).toBeCloseTo(2.5 + 2 * (1 - 0.75 / 8), 6);
  });

  it('a triangle rises to its peak and falls to its end', () => {
    const rate = triangle(1, { start: 0.2, at: 0.25, end: 0.1 });
    expect(rate(0)).toBeCloseTo(0.2);
    expect(rate(0.125)).toBeCloseTo(0.6);
    expect(rate(0.25)).toBeCloseTo(1);
    expect(rate(0.625)).toBeCloseTo(0.55);
    expect(rate(1)).toBeCloseTo(0.1);
  });

  it('Adam first steps by the rate, whatever the gradient, then by its means', () => {
    const p = parameter('vector', [0, 0, 0], [1e-3, -5, 200]);
    const adam = new Adam();
    adam.step([p], 0.01);
    expect(Array.from(p.value, (v) => v.toFixed(5))).toEqual(['-0.01000', '0.01000', '-0.01000']);
    p.gradient.fill(0);
    adam.step([p], 0.01);
    const mean = (0.9 * 0.1) / (1 - 0.9 ** 2);
    const square = (0.999 * 0.001) / (1 - 0.999 ** 2);
    expect(p.value[1]).toBeCloseTo(0.01 + (0.01 * mean) / Math.sqrt(square), 5);
    const decayed = parameter('weight', [1], [0]);
    new Adam({ decay: 0.5 }).step([decayed], 0.1);
    expect(decayed.value[0]).toBeCloseTo(0.95, 6);
  });

  it('Adam moves small weights in proportion to their size, by the root mean square of their tensor', () => {
    const moved = (kind: Parameter['kind'], value: number[]) => {
      const p = parameter(kind, value, [1, -2]);
      new Adam().step([p], 0.01);
      return Array.from(p.value, (v, i) => Math.abs(v - value[i]!));
    };
    for (const step of moved('weight', [0.004, 0.003])) expect(step).toBeCloseTo(0.01 * 0.0707, 6);
    for (const step of moved('weight', [0, 0])) expect(step).toBeCloseTo(0.01 * 0.02, 6);
    for (const step of moved('weight', [0.1, 0])) expect(step).toBeCloseTo(0.01, 6);
    for (const step of moved('vector', [0.004, 0.003])) expect(step).toBeCloseTo(0.01, 6);
  });

  it('cosine rises, turns and ends at its floor', () => {
    const rate = cosine(1, 0.2, 0.1);
    expect(rate(0)).toBe(0);
    expect(rate(0.05)).toBeCloseTo(0.5);
    expect(rate(0.1)).toBeCloseTo(1);
    expect(rate(0.55)).toBeCloseTo(0.6);
    expect(rate(1)).toBeCloseTo(0.2);
  });
});

describe('the loop', () => {
  const set = bars(160);
  const options = {
    epochs: 4,
    seed: 3,
    schedule: cosine(0.02),
    afterStep: clampCurvature,
    augmentation: { kind: 'motions', shift: 0.3, rotation: 0.05, scale: 0.02, shear: 0 } as const,
  };
  const trained = async (make: () => Optimiser, more: object = {}) => {
    const network = new Network(everyOperator(2), 16);
    await train(network, set, { ...options, optimiser: make(), ...more });
    return network;
  };

  it('learns, and the same seed gives the same network bit by bit', async () => {
    const first = await trained(() => new Sgd({ decay: 1e-4 }), { epochs: 10 });
    expect(await score(new Network(everyOperator(2), 16), set)).toBeLessThan(0.5);
    expect(await score(first, set)).toBeGreaterThan(0.9);
    const again = await trained(() => new Sgd({ decay: 1e-4 }), { epochs: 10 });
    expect(again.toGraph()).toEqual(first.toGraph());
    const other = await trained(() => new Sgd({ decay: 1e-4 }), { epochs: 10, seed: 4 });
    expect(other.toGraph()).not.toEqual(first.toGraph());
  });

  it.each([
    ['Sgd', () => new Sgd()],
    ['Adam', () => new Adam()],
    // Four steps beyond an epoch's ten: its averages and its count of steps are remembered.
    ['Lookahead', () => new Lookahead(new Sgd(), { every: 7, share: 0.3 })],
  ])('resumes from a checkpoint as if it had never stopped (%s)', async (_name, make) => {
    const whole = await trained(make);
    let file: Uint8Array = new Uint8Array();
    const half = new Network(everyOperator(2), 16);
    const optimiser = make();
    const stop = new AbortController();
    const onEpoch = (epochs: number) => {
      file = saveCheckpoint(half, optimiser, epochs);
      if (epochs === 2) stop.abort();
    };
    const cut = train(half, set, { ...options, optimiser, onEpoch, signal: stop.signal });
    await expect(cut).rejects.toThrow('training was cancelled');
    const resumed = new Network(everyOperator(9), 16);
    const fresh = make();
    const { epochs: done } = loadCheckpoint(file, resumed, fresh);
    expect(done).toBe(2);
    await train(resumed, set, { ...options, optimiser: fresh, done });
    expect(resumed.toGraph().tensors).toEqual(whole.toGraph().tensors);
  });

  it('learns from a teacher alone', async () => {
    const network = await trained(() => new Sgd({ decay: 1e-4 }), { epochs: 10 });
    const teacher = { graph: network.toGraph(), share: 1, temperature: 2 };
    const blank = { ...set, labels: new Uint8Array(set.labels.length) };
    const student = new Network(everyOperator(11), 16);
    await train(student, blank, { ...options, epochs: 12, optimiser: new Sgd(), teacher });
    expect(await score(student, set)).toBeGreaterThan(0.8);
  });

  it("learns from a teacher's kept scores as from the teacher, where nothing is augmented", async () => {
    const network = await trained(() => new Sgd());
    const logits = await scoresOf(network, set);
    const students = await Promise.all(
      [{ logits }, { graph: network.toGraph() }].map(async (source) => {
        const student = new Network(everyOperator(11), 16);
        const teacher = { ...source, share: 0.7, temperature: 2 } as Teacher;
        const { augmentation: _, ...plain } = options;
        await train(student, set, { ...plain, epochs: 1, optimiser: new Sgd(), teacher });
        return student.toGraph();
      }),
    );
    expect(students[0]).toEqual(students[1]);
  });

  it('gives the same network on threads as without, and as many shards as it is told', async () => {
    const whole = await trained(() => new Sgd(), { shards: 2, epochs: 2 });
    const worker = new URL('../../../dist/models/train/worker.js', import.meta.url);
    const pool = createThreadPool<typeof trainTasks>(worker, { workers: 2 });
    const threaded = await trained(() => new Sgd(), { shards: 2, epochs: 2, pool });
    expect(threaded.toGraph()).toEqual(whole.toGraph());
    expect(await scoresOf(threaded, set, { pool })).toEqual(await scoresOf(whole, set));
    await pool.close();
    const single = await trained(() => new Sgd(), { shards: 1, epochs: 2 });
    expect(single.toGraph()).not.toEqual(whole.toGraph());
  });

  it('settles with the scores that inference gives, and leaves the statistics alone', async () => {
    const dense = (await trained(() => new Sgd())).toGraph();
    const kept = (network: Network) => network.statistics.map(({ value }) => [...value]);
    const [before, settled, moved] = [0, 1, 2].map(() => new Network(dense, 160)) as [
      Network,
      Network,
      Network,
    ];
    const still = { ...options, augmentation: undefined, schedule: () => 0.01, epochs: 1 };
    const losses: number[] = [];
    const onEpoch = (_: number, { loss }: EpochStats) => losses.push(loss);
    const more = { ...still, onEpoch, mode: 'settle' as const };
    await train(settled, set, { ...more, optimiser: new Sgd() });
    await train(moved, set, { ...still, optimiser: new Sgd() });
    expect(kept(settled)).toEqual(kept(before));
    expect(kept(moved)).not.toEqual(kept(before));
    expect(settled.parameters.map(({ value }) => [...value])).not.toEqual(
      before.parameters.map(({ value }) => [...value]),
    );
    const outcome = new Losses(160, before.results);
    crossEntropy(await scoresOf(before, set), set.labels, outcome);
    const mean = outcome.values.reduce((sum, value) => sum + value, 0) / 160;
    expect(losses[0]).toBeCloseTo(mean, 5);
  });

  it('measures statistics anew: the means of batches, and nothing else changes', async () => {
    const dense = (await trained(() => new Sgd(), { epochs: 1 })).toGraph();
    const network = new Network(dense, 16);
    const stale = network.statistics.map(({ value }) => [...value]);
    const measure = { batches: 99, seed: 1 };
    await measureStatistics(network, set, measure);
    const after = network.toGraph();
    const norms = new Set(network.statistics.map(({ name }) => name));
    for (const [name, tensor] of dense.tensors) {
      if (!norms.has(name)) expect(after.tensors.get(name)).toEqual(tensor);
    }
    expect(network.statistics.map(({ value }) => [...value])).not.toEqual(stale);
    // All batches together have every image once: the mean of their means is that of one large batch.
    const whole = new Network(dense, 160);
    whole.forward(
      makeBatch(
        set,
        whole.input,
        Uint32Array.from({ length: 160 }, (_, i) => i),
      ).images,
      'train',
    );
    const means = whole.statistics.findIndex(({ name }) => name.endsWith('mean'));
    for (const [i, v] of network.statistics[means]!.value.entries()) {
      expect(v).toBeCloseTo(whole.statistics[means]!.batch[i]!, 4);
    }
    const worker = new URL('../../../dist/models/train/worker.js', import.meta.url);
    const pool = createThreadPool<typeof trainTasks>(worker, { workers: 2 });
    const threaded = new Network(dense, 16);
    await measureStatistics(threaded, set, { ...measure, pool });
    expect(threaded.toGraph()).toEqual(after);
    await pool.close();
    const large = measureStatistics(new Network(dense, 161), set, measure);
    await expect(large).rejects.toThrow('160 images do not fill one batch of 161');
  });

  it('takes the mean over shards: one shard twice is one step on it', async () => {
    const half = slice(set, 0, 16);
    const twice = concatenate([half, half]);
    const { augmentation: _, ...plain } = options;
    const same = { permutation: (n: number) => Uint32Array.from({ length: n }, (_, i) => i) };
    const spy = vi.spyOn(Stream.prototype, 'permutation').mockImplementation(same.permutation);
    const [one, two] = [new Network(everyOperator(3), 16), new Network(everyOperator(3), 16)];
    await train(one, half, { ...plain, epochs: 1, optimiser: new Sgd() });
    await train(two, twice, { ...plain, epochs: 1, shards: 2, optimiser: new Sgd() });
    spy.mockRestore();
    expect(two.toGraph()).toEqual(one.toGraph());
  });

  it('stops when an epoch says so, hands every epoch its means, and clips gradients', async () => {
    const seen: EpochStats[] = [];
    let largest = 0;
    await trained(() => new Sgd(), {
      clip: 0.01,
      afterStep(parameters: readonly Parameter[]) {
        const squares = parameters.map(({ gradient }) => gradient.reduce((s, g) => s + g * g, 0));
        largest = Math.max(largest, Math.sqrt(squares.reduce((s, v) => s + v)));
      },
      onEpoch(epochs: number, stats: EpochStats) {
        seen.push(stats);
        return epochs === 2 ? 'stop' : undefined;
      },
    });
    expect(seen).toHaveLength(2);
    expect(seen[1]!.loss).toBeGreaterThan(0);
    expect(seen[1]!.accuracy).toBeGreaterThan(0);
    expect(largest).toBeGreaterThan(0.0099);
    expect(largest).toBeLessThan(0.0101);
  });

  it('refuses to go on from a loss that is no number', async () => {
    const broken = trained(() => new Sgd(), { schedule: () => 1e30 });
    await expect(broken).rejects.toThrow(/diverged in epoch 1, step \d+: the loss is no number/);
  });

  it('reports group losses and violations', async () => {
    const groups = {
      of: set.labels.map((label) => (label < 2 ? 0 : 1)),
      multipliers: Float64Array.of(0, 0),
      oneSided: false,
    };
    const seen: EpochStats[] = [];
    const onEpoch = (_: number, stats: EpochStats) => void seen.push(stats);
    await trained(() => new Sgd(), { epochs: 1, groups, onEpoch });
    const [small, large] = seen[0]!.groupLosses!;
    expect(0.4 * small! + 0.6 * large!).toBeCloseTo(seen[0]!.loss, 5);
    expect(seen[0]!.violations![0]).toBeGreaterThan(0);
  });

  it('reports progress', async () => {
    const seen: TrainProgress[] = [];
    await trained(() => new Sgd(), { epochs: 1, onProgress: (p: TrainProgress) => seen.push(p) });
    const last = seen.at(-1)!;
    expect(last).toMatchObject({ epoch: 1, epochs: 1, images: 160, of: 160 });
    expect(last.imagesPerSecond).toBeGreaterThan(0);
    expect(last.secondsLeft).toBeCloseTo(0);
    expect(progressLine({ ...last, accuracy: 0.5, secondsLeft: 61 })).toMatch(
      /^epoch 1\/1 {2}160\/160 images.*50.00 % right {2}1:01 left$/,
    );
  });

  it('refuses sets smaller than a batch, and files that are no checkpoint of the network', async () => {
    const network = new Network(everyOperator(), 16);
    await expect(
      train(network, slice(set, 0, 15), { ...options, optimiser: new Sgd() }),
    ).rejects.toThrow(/15 images/);
    const other = new Network(everyOperator(), 1);
    const file = saveCheckpoint(other, new Sgd(), 1);
    expect(() => loadCheckpoint(file.subarray(0, -1), network, new Sgd())).toThrow(/cut short/);
    expect(() => network.load({ tensors: new Map() })).toThrow(/no tensor named/);
  });
});

describe('a stage', () => {
  const set = bars(160);
  const folder = mkdtempSync(join(tmpdir(), 'sotto-stage-'));
  const options = { epochs: 4, seed: 3, schedule: cosine(0.02) };

  it('goes on from its checkpoint, also when it had ended early, and gives back what was kept', async () => {
    const checkpoint = join(folder, 'a');
    const whole = new Network(everyOperator(2), 16);
    await train(whole, set, { ...options, optimiser: new Sgd() });
    const stop = new AbortController();
    const cut = trainStage(new Network(everyOperator(2), 16), set, {
      ...options,
      optimiser: new Sgd(),
      checkpoint,
      extra: () => ({ kept: Float32Array.of(1, 2) }),
      onEpoch: (epochs) => epochs === 2 && stop.abort(),
      signal: stop.signal,
    });
    await expect(cut).rejects.toThrow('cancelled');
    const network = new Network(everyOperator(9), 16);
    let kept: unknown;
    const resume = (extra: object, epochs: number) => (kept = { extra, epochs });
    await trainStage(network, set, { ...options, optimiser: new Sgd(), checkpoint, resume });
    expect(kept).toEqual({ extra: { kept: Float32Array.of(1, 2) }, epochs: 2 });
    expect(network.toGraph().tensors).toEqual(whole.toGraph().tensors);

    const early = join(folder, 'b');
    const onEpoch = (epochs: number) => (epochs === 1 ? 'stop' : undefined);
    const first = new Network(everyOperator(2), 16);
    await trainStage(first, set, { ...options, optimiser: new Sgd(), checkpoint: early, onEpoch });
    const again = new Network(everyOperator(5), 16);
    await trainStage(again, set, { ...options, optimiser: new Sgd(), checkpoint: early });
    expect(again.toGraph().tensors).toEqual(first.toGraph().tensors);
  });
});
