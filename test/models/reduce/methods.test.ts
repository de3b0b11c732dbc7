import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compile, measure, prepare } from '../../../models/compile/index.ts';
import { Ranges } from '../../../models/compile/ranges.ts';
import { planSquares } from '../../../models/compile/squares.ts';
import { countGraph, type Graph, preprocess, runFloat } from '../../../models/graph/index.ts';
import { best, METHODS, type Method, reduce } from '../../../models/reduce/auto.ts';
import { autoRep } from '../../../models/reduce/autorep.ts';
import { measureOrder } from '../../../models/reduce/deepreduce.ts';
import { activationsOf, reluCount } from '../../../models/reduce/elements.ts';
import { snl } from '../../../models/reduce/snl.ts';
import { accuracy, fineTune, type Training } from '../../../models/reduce/training.ts';
import { Network, slice, type trainTasks } from '../../../models/train/index.ts';
import { createThreadPool } from '../../../protocol/pool/node.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import { decodeLogits, encodeInput } from '../../../protocol/program/input.ts';
import { smallTraining, trainedResNet } from './support.ts';

let dense: Graph;
let training: Training;
const folder = mkdtempSync(join(tmpdir(), 'sotto-reduce-'));

beforeAll(async () => {
  training = smallTraining();
  dense = await trainedResNet(training);
  training = { ...training, teacher: { graph: dense, share: 0.5, temperature: 4 } };
});
afterAll(() => rmSync(folder, { recursive: true }));

const tune = { epochs: 3, rate: 2e-3 };
const options = {
  snl: { searchEpochs: 6, searchRate: 3e-3, maskRate: 5, tune },
  autorep: { searchEpochs: 5, searchRate: 3e-3, maskRate: 3, tune },
  channels: { searchEpochs: 3, searchRate: 3e-3, tune },
  deepreduce: { measureEpochs: 1, order: [1, 0], ...tune },
  tune,
};
const right = (graph: Graph) => accuracy(new Network(graph, training.batch), training);

/** 10 % of the ReLUs. */
const BUDGET = 48;

describe('a method', () => {
  it.each(METHODS)('%s keeps the budget and the accuracy', async (method) => {
    const budget = method === 'deepreduce' ? 200 : BUDGET;
    const points = await reduce(dense, budget, method, training, options);
    const chosen = best(points, budget);
    const { relus, squares, identities } = countGraph(chosen.graph);
    expect(relus).toBe(chosen.relus);
    if (method === 'deepreduce' || method === 'channels') expect(relus).toBeLessThanOrEqual(budget);
    else expect(relus).toBe(BUDGET);
    expect(relus + squares + identities).toBe(480);
    if (method === 'autorep') expect(identities).toBe(0);
    if (method !== 'autorep' && method !== 'auto') expect(squares).toBe(0);
    if (method === 'auto') {
      // Both fine methods from the dense and, where stages can go first, from the coarse network.
      expect(points.map(({ name }) => name)).toEqual([
        'snl',
        'autorep',
        expect.stringMatching(/^cull S\d/),
        expect.stringMatching(/^cull S\d.*, snl$/),
        expect.stringMatching(/^cull S\d.*, autorep$/),
      ]);
      expect(points[2]!.relus).toBeGreaterThanOrEqual(4 * BUDGET);
    }
    expect(chosen.accuracy).toBeCloseTo(await right(chosen.graph), 10);
    expect(chosen.accuracy).toBeGreaterThan(0.9);
    expect(chosen.graph.tensors.has('relu1.mask')).toBe(false);
  });

  it.each(METHODS)('%s refuses budgets that cannot be', async (method) => {
    for (const budget of [-1, 481, 1.5]) {
      await expect(reduce(dense, budget, method, training)).rejects.toThrow(
        `a budget of ${budget} ReLUs cannot be met`,
      );
    }
  });

  it('refuses budgets that whole layers cannot meet', async () => {
    const { deepreduce } = { deepreduce: { ...options.deepreduce, order: [0, 1] } };
    await expect(reduce(dense, 10, 'deepreduce', training, { deepreduce })).rejects.toThrow(
      'whole layers leave 48 ReLUs at least, more than 10: remove single elements (snl, autorep)',
    );
    expect(() => best([], 10)).toThrow(RangeError);
  });

  it('measures what stages are worth when it is not told', async () => {
    const stages: string[] = [];
    const onEpoch = (stage: string) => void stages.push(stage);
    const order = await measureOrder(dense, { ...training, onEpoch }, { measureEpochs: 1 });
    expect(order.toSorted()).toEqual([0, 1]);
    expect(stages).toEqual(['criticality-1', 'criticality-2']);
  });

  it('meets the ends of what is possible', async () => {
    const short = { searchEpochs: 1, tune: { epochs: 1 } };
    expect(reluCount(await autoRep(dense, 0, training, short))).toBe(0);
    expect(countGraph(await snl(dense, 480, training, short))).toMatchObject({ identities: 0 });
  });
});

describe('interruptions', () => {
  const short = {
    searchEpochs: 3,
    searchRate: 3e-3,
    maskRate: 5,
    tune: { epochs: 2, settleEpochs: 1 },
  };
  const options = { snl: short, autorep: short };

  it.each<[Method, number]>([
    ['autorep', 2],
    ['snl', 2],
    ['autorep', 4],
    ['autorep', 6],
  ])('%s goes on after a stop in epoch %i as if there had been none', async (method, epoch) => {
    const whole = await reduce(dense, BUDGET, method, training, options);
    const checkpoints = join(folder, `${method}-${epoch}`);
    const stop = new AbortController();
    let epochs = 0;
    const onEpoch = () => {
      if (++epochs === epoch) stop.abort();
    };
    const cut = { ...training, checkpoints, onEpoch, signal: stop.signal };
    await expect(reduce(dense, BUDGET, method, cut, options)).rejects.toThrow('was cancelled');
    expect(readdirSync(checkpoints).length).toBeGreaterThan(0);
    const again = await reduce(dense, BUDGET, method, { ...training, checkpoints }, options);
    expect(again).toEqual(whole);
    // All done: nothing is trained any more.
    let trained = 0;
    const idle = { ...training, checkpoints, onEpoch: () => trained++ };
    expect(await reduce(dense, BUDGET, method, idle, options)).toEqual(whole);
    expect(trained).toBe(0);
  });

  it('does not go on from a checkpoint of other settings, another seed or another network', async () => {
    const checkpoints = join(folder, 'other');
    const tuning = { name: 'tune', epochs: 1 };
    await fineTune(dense, { ...training, checkpoints }, tuning);
    const refused = /checkpoint 'tune' in .*other is of a run with another network/;
    const again = (graph: Graph, changes: object, more: object = {}) =>
      fineTune(graph, { ...training, checkpoints, ...changes }, { ...tuning, ...more });
    await expect(again(dense, {})).resolves.toBeDefined();
    await expect(again(dense, { seed: 9 })).rejects.toThrow(refused);
    await expect(again(dense, {}, { rate: 0.5 })).rejects.toThrow(refused);
    await expect(again(dense, { teacher: undefined })).rejects.toThrow(refused);
    const other = slice(training.training, 0, 512);
    await expect(again(dense, { training: other })).rejects.toThrow(refused);
  });

  it('gives the same network on threads as without', async () => {
    const worker = new URL('../../../dist/models/train/worker.js', import.meta.url);
    const pool = createThreadPool<typeof trainTasks>(worker, { workers: 2 });
    const two = { ...training, shards: 2, batch: 16 };
    const alone = await autoRep(dense, BUDGET, two, short);
    expect(await autoRep(dense, BUDGET, { ...two, pool }, short)).toEqual(alone);
    await pool.close();
  });
});

describe('data that cannot be learnt', () => {
  const refused = async (changes: Partial<Training>, sentence: string | RegExp) =>
    expect(fineTune(dense, { ...training, ...changes }, { name: 'x', epochs: 1 })).rejects.toThrow(
      sentence,
    );

  it('is refused in one sentence', async () => {
    const { training: set } = training;
    const labels = set.labels.slice();
    labels[5] = 4;
    await refused(
      { training: { ...set, labels } },
      'image 5 has label 4, but the network knows classes 0 to 3',
    );
    await refused(
      { validation: { ...set, shape: [3, 8, 8] } },
      'the images are 3x8x8, the network takes 1x8x8',
    );
    await refused(
      { training: { ...set, pixels: set.pixels.subarray(1) } },
      /1024 labels and 65535 pixels are no set of 1x8x8 images/,
    );
    await refused({ batch: 4096 }, /1024 images do not fill one step of 4096/);
  });
});

describe('the square form of compiled networks', () => {
  it('is the trained polynomial, to rounding', async () => {
    const graph = await autoRep(dense, BUDGET, training, options.autorep);
    const images = Array.from({ length: 40 }, (_, i) =>
      preprocess(graph.input, slice(training.validation, i, i + 1).pixels),
    );
    const { graph: ready, network, wanted } = prepare(graph);
    const ranges = new Ranges(network, measure(ready, wanted, images));
    const settings = {
      ...{ name: 'x', labels: [], reveal: 'logits' as const, activationBits: 14, weightBits: 8 },
      ...{ force: false, margin: 1.5, compareBits: 12, errorImages: 0 },
      comparison: 'encoded' as const,
    };
    let squares = 0;
    for (const node of network.nodes) {
      if (node.op !== 'activation') continue;
      const plan = planSquares(node, 22, 14, ranges, settings)!;
      // 2^-j (alpha x + alpha h)^2 is alpha times the square of the polynomial, so that with its constant nothing is lost.
      plan.alpha.forEach((alpha, c) => {
        if (Number.isNaN(alpha)) return;
        squares++;
        const [c0, c1, c2] = node.coefficients!.subarray(3 * c, 3 * c + 3);
        for (const x of [-3, -0.5, 0, 1.25, 4]) {
          const made =
            (2 ** -plan.exponent * (alpha * (x + plan.offset[c]!)) ** 2) / alpha +
            plan.constant[c]!;
          const wanted = c0! + c1! * x + c2! * x * x;
          expect(Math.abs(made - wanted)).toBeLessThan(1e-9 * (1 + plan.offset[c]! ** 2));
        }
      });
    }
    expect(squares).toBeGreaterThan(20);
    expect(activationsOf(graph).length).toBe(5);

    const { model } = compile(graph, images);
    let apart = 0;
    let largest = 0;
    for (const [i, image] of images.entries()) {
      const pixels = slice(training.validation, i, i + 1).pixels;
      const input = encodeInput(
        model.program,
        Float32Array.from(pixels, (p) => p / 255),
      );
      const fixed = decodeLogits(model.program, runClear(model, input));
      runFloat(graph, image).forEach((logit, k) => {
        apart = Math.max(apart, Math.abs(logit - fixed[k]!));
        largest = Math.max(largest, Math.abs(logit));
      });
    }
    expect(apart).toBeLessThan(0.02 * largest);
  });
});
