import { describe, expect, it } from 'vitest';
import { countGraph, type Graph, inferShapes, runFloat } from '../../../models/graph/index.ts';
import { vgg16 } from '../../../models/networks/plain.ts';
import { compactResNet, hybReNet, resNet18, resNetCifar } from '../../../models/networks/resnet.ts';
import {
  applyRecipe,
  criticality,
  cull,
  onlyStage,
  type Recipe,
  recipeName,
  recipeRelus,
  recipesOf,
  thin,
} from '../../../models/reduce/deepreduce.ts';
import { activationsOf, reluCount } from '../../../models/reduce/elements.ts';
import { equalise } from '../../../models/reduce/hybrenet.ts';
import { reshape } from '../../../models/reduce/reshape.ts';
import { stagesOf } from '../../../models/reduce/stages.ts';
import { everyOperator } from '../networks.ts';
import { smallResNet } from './support.ts';

/** Counts need no weights. */
const weights = (_name: string, shape: readonly number[]) =>
  new Float32Array(shape.reduce((product, n) => product * n, 1)).fill(0.01);

const resnet = resNet18({ weights });

/** Published ReLU counts of DeepReDuce's ResNet-18, with stages counted from 0. */
const RECIPES: readonly (readonly [number, Partial<Recipe>])[] = [
  [557_056, {}],
  [229_376, { culled: [0] }],
  [196_608, { culled: [0, 3] }],
  [114_688, { culled: [0], thinned: true }],
  [57_344, { culled: [0], thinned: true, channels: 0.5 }],
  [49_152, { culled: [0, 3], thinned: true, channels: 0.5 }],
  [49_152, { culled: [0, 3], resolution: 0.5 }],
  [28_672, { culled: [0], thinned: true, resolution: 0.5 }],
  [28_672, { culled: [0], channels: 0.5, resolution: 0.5 }],
  [12_288, { culled: [0, 3], thinned: true, channels: 0.5, resolution: 0.5 }],
];

const full: Recipe = { culled: [], thinned: false, channels: 1, resolution: 1 };

describe('stages', () => {
  it('are those of the published ResNet-18, the stem in the first', () => {
    const stages = stagesOf(resnet);
    expect(stages.map(({ relus }) => relus)).toEqual([65_536 + 262_144, 131_072, 65_536, 32_768]);
    expect(stages.map(({ layers }) => layers.length)).toEqual([5, 4, 4, 4]);
    expect(stages.map(({ height }) => height)).toEqual([32, 16, 8, 4]);
    const macs = stages.reduce((sum, stage) => sum + stage.macs, 0);
    expect(macs).toBe(countGraph(resnet).macs);
    // 3x3 of 64 to 64 channels four times over 32x32, and the stem's of 3 channels.
    expect(stages[0]!.macs).toBe(1024 * 9 * (4 * 64 * 64 + 3 * 64));
  });

  it('come of any graph', () => {
    expect(stagesOf(everyOperator()).map(({ height, width }) => [height, width])).toEqual([
      [5, 4],
      [2, 2],
    ]);
    expect(stagesOf(vgg16({ weights })).map(({ layers }) => layers.length)).toEqual([
      2, 2, 3, 3, 3,
    ]);
  });
});

describe('DeepReDuce', () => {
  it.each(RECIPES)('leaves %i ReLUs by its recipe', (relus, changes) => {
    const recipe = { ...full, ...changes };
    expect(recipeRelus(resnet, recipe)).toBe(relus);
    const made = applyRecipe(resnet, recipe, 1);
    expect(reluCount(made)).toBe(relus);
  });

  it('thins by the layers after additions', () => {
    const kept = activationsOf(thin(resnet)).filter(({ kinds }) => kinds[0] === 1);
    expect(kept.map(({ id }) => id)).toEqual(
      [1, 2, 3, 4].flatMap((stage) => [0, 1].map((block) => `layer${stage}.${block}.relu1`)),
    );
    // Thinning comes after culling: what has no ReLUs does not count.
    expect(reluCount(thin(cull(resnet, [0, 1, 2])))).toBe(16_384);
  });

  it('measures stages alone', () => {
    expect([0, 1, 2, 3].map((stage) => reluCount(onlyStage(resnet, stage)))).toEqual([
      327_680, 131_072, 65_536, 32_768,
    ]);
    // The same gain for fewer ReLUs is worth more, and little ReLUs do not outweigh much gain.
    expect(criticality(0.5, 1000, 0.07)).toBeGreaterThan(criticality(0.5, 2000, 0.07));
    expect(criticality(0.6, 4000, 0.07)).toBeGreaterThan(criticality(0.5, 1000, 0.07));
    expect(criticality(0.5, 0, 0.07)).toBe(0);
  });

  it('tries every combination, and says which', () => {
    const recipes = recipesOf([0, 3, 1, 2]);
    expect(recipes).toHaveLength(4 * 2 * 2 * 2);
    expect(new Set(recipes.map(recipeName)).size).toBe(32);
    expect(recipeName(full)).toBe('all ReLUs');
    expect(recipeName(recipes.at(-1)!)).toBe('cull S1+S4+S2, thin, channels x0.5, resolution x0.5');
    for (const recipe of recipesOf([1, 0], [1, 0.5])) {
      expect(recipeRelus(smallResNet(), recipe), recipeName(recipe)).toBe(
        reluCount(applyRecipe(smallResNet(), recipe, 1)),
      );
    }
  });
});

describe('reshaping', () => {
  const finite = (graph: Graph) => {
    const image = new Float32Array(
      inferShapes(graph)
        .get('image')!
        .reduce((a, b) => a * b, 1),
    );
    return runFloat(graph, image.fill(0.5)).every(Number.isFinite);
  };

  it('keeps what keeps its shape and draws the rest', () => {
    const graph = smallResNet();
    const smaller = reshape(graph, { channels: 1, resolution: 0.5, seed: 5 });
    expect(smaller.tensors.get('conv1.weight')).toBe(graph.tensors.get('conv1.weight'));
    expect(inferShapes(smaller).get('relu1')).toEqual([8, 2, 2]);
    const narrow = reshape(graph, { channels: 0.5, resolution: 1, seed: 5 });
    expect(inferShapes(narrow).get('relu1')).toEqual([4, 4, 4]);
    expect(inferShapes(narrow).get('linear')).toEqual([4]);
    expect(narrow.tensors.get('bn1.weight')!.data).toEqual(new Float32Array(4).fill(1));
    expect(narrow.tensors.get('bn1.running_mean')!.data).toEqual(new Float32Array(4));
    const again = reshape(graph, { channels: 0.5, resolution: 1, seed: 5 });
    expect(again.tensors).toEqual(narrow.tensors);
    expect(reshape(graph, { channels: 0.5, resolution: 1, seed: 6 }).tensors).not.toEqual(
      narrow.tensors,
    );
  });

  it('works where channels are padded, planes sampled, vectors flattened, groups deep', () => {
    const wide = resNetCifar(8, { size: 16 });
    const narrow = reshape(wide, { channels: 0.5, resolution: 0.5, seed: 1 });
    expect(reluCount(narrow)).toBe(reluCount(wide) / 8);
    expect(finite(narrow)).toBe(true);
    const plain = vgg16({ weights, pooling: 'average' });
    expect(reluCount(reshape(plain, { channels: 0.25, resolution: 1, seed: 1 }))).toBe(276_480 / 4);
    const squares = compactResNet(
      [4, 8],
      { kernel: 3, stride: 1 },
      {
        size: 8,
        map: (layers) =>
          layers.map(({ shape }) => new Uint8Array(shape.reduce((a, b) => a * b)).fill(2)),
      },
    );
    const halved = reshape(squares, { channels: 2, resolution: 1, seed: 1 });
    expect(countGraph(halved).squares).toBe(2 * countGraph(squares).squares);
    expect(finite(halved)).toBe(true);
  });

  it('refuses what cannot be, naming the layer', () => {
    const bad = (channels: number, resolution: number) => () =>
      reshape(resnet, { channels, resolution, seed: 1 });
    expect(bad(0, 1)).toThrow(/positive factor of channels/);
    expect(bad(1, 0.7)).toThrow(/1, 1\/2, 1\/3, ..., not 1 and 0.7/);
    expect(() => reshape(everyOperator(), { channels: 0.5, resolution: 1, seed: 1 })).toThrow(
      "layer 'act1' has elements of several kinds",
    );
    const plain = vgg16({ weights, pooling: 'average' });
    expect(() => reshape(plain, { channels: 1, resolution: 1 / 16, seed: 1 })).toThrow(
      /node 'features.\d+' \(averagePool\)/,
    );
  });
});

describe('ReLU equalisation', () => {
  it('has exactly the four published networks', () => {
    expect(equalise([2, 1, 3, 0], [2, 2, 2, 2])).toEqual([
      [5, 5, 3],
      [5, 7, 2],
      [6, 6, 2],
      [7, 5, 2],
    ]);
  });

  it('has solutions that hold, and none that are larger than another', () => {
    for (const order of [
      [2, 1, 3, 0],
      [3, 2, 1, 0],
      [1, 2, 0],
    ]) {
      const depths = order.map((_, i) => 1 + (i % 3));
      const solutions = equalise(order, depths);
      expect(solutions.length).toBeGreaterThan(0);
      for (const solution of solutions) {
        let width = 1;
        const relus = depths.map((d, i) => d * (width *= i === 0 ? 1 : solution[i - 1]! / 4));
        for (let i = 1; i < order.length; i++) {
          expect(relus[order[i - 1]!]!).toBeGreaterThan(relus[order[i]!]!);
        }
        const larger = solutions.filter(
          (other) => other !== solution && other.every((m, i) => m >= solution[i]!),
        );
        expect(larger).toEqual([]);
      }
    }
    // A first stage above all others cannot be had with widths that double: 2/4 of it is less anyway.
    expect(equalise([0, 1, 2, 3], [2, 2, 2, 2])).toEqual([[2, 2, 2]]);
    expect(() => equalise([0, 0, 1], [1, 1, 1])).toThrow(/each of 3 stages once/);
    expect(() => equalise([0], [1])).toThrow(RangeError);
  });

  it.each([
    [[5, 5, 3], 343_040, 1053],
    [[5, 7, 2], 378_880, 1270],
    [[6, 6, 2], 401_408, 1366],
    [[7, 5, 2], 411_648, 1325],
  ] as const)(
    'HybReNet %j has its published cost, stage by stage in order',
    (factors, relus, macs) => {
      const graph = hybReNet(factors, 16, { weights });
      const stages = stagesOf(graph);
      expect(stages.reduce((sum, stage) => sum + stage.relus, 0)).toBe(relus);
      const head = 10 * 16 * factors[0] * factors[1] * factors[2];
      const convolutions = stages.reduce((sum, stage) => sum + stage.macs, 0) - head;
      expect(Math.round(convolutions / 1e6)).toBe(macs);
      // Apart from the stem, which the published order leaves out.
      const [s1, s2, s3, s4] = stages.map((stage) => stage.relus);
      const first = s1! - 16 * 1024;
      expect(s3! > s2! && s2! > s4! && s4! > first).toBe(true);
    },
  );
});
