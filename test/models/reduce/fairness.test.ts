import { describe, expect, it } from 'vitest';
import type { Graph } from '../../../models/graph/index.ts';
import { ascend, mitigate } from '../../../models/reduce/fairness.ts';
import {
  auditGroups,
  checkGroups,
  disparity,
  type GroupTable,
  groupsOfLabels,
  groupTable,
  imbalance,
  majorityAndMinority,
  readGroups,
} from '../../../models/reduce/groups.ts';
import {
  crossEntropy,
  groupWeights,
  Losses,
  makeBatch,
  Network,
} from '../../../models/train/index.ts';
import { bars } from '../networks.ts';
import { pairs, smallResNet, smallTraining, trainedResNet } from './support.ts';

describe('groups', () => {
  it('come from labels, from halves of the classes, or from a table', () => {
    const set = bars(10);
    expect([...groupsOfLabels(set, ['a', 'b', 'c', 'd', 'e']).of]).toEqual([
      0, 1, 2, 3, 4, 0, 1, 2, 3, 4,
    ]);
    expect([...majorityAndMinority(set, 5).of]).toEqual([0, 0, 0, 1, 1, 0, 0, 0, 1, 1]);
    const read = readGroups('index,group\n2,old\r\n0,young\n\n1,old\n', 3, 'x.csv');
    expect(read).toEqual({ of: Uint8Array.of(1, 0, 0), names: ['old', 'young'] });
    expect(readGroups('0,a', 1, 'x').names).toEqual(['a']);
  });

  it.each([
    ['0,a\n1', 'x.csv, line 2: a line should be index,group, not "1"'],
    ['0,a\n1,b,c', 'x.csv, line 2: a line should be index,group'],
    ['0,a\n1,', 'x.csv, line 2: a line should be index,group'],
    ['0,a\n3,b', 'x.csv, line 2: "3" is no image: there are images 0 to 2'],
    ['0,a\n-1,b', 'x.csv, line 2: "-1" is no image'],
    ['0,a\n1,b\n0,b', 'x.csv, line 3: image 0 has a group already'],
    ['0,a\n2,b', 'x.csv: image 1 has no group'],
    ['', 'x.csv: image 0 has no group'],
  ])('refuse the table %j in one sentence', (text, sentence) => {
    expect(() => readGroups(text, 3, 'x.csv')).toThrow(sentence);
  });

  it('without images, or of other images, are refused', () => {
    const names = ['a', 'b', 'c'];
    expect(() => checkGroups({ of: Uint8Array.of(0, 0, 2), names }, 3)).toThrow(
      "group 'b' has no images",
    );
    expect(() => checkGroups({ of: Uint8Array.of(0, 1, 2), names }, 4)).toThrow(
      'there are groups for 3 images, but 4 images',
    );
    expect(() => checkGroups({ of: Uint8Array.of(0, 1, 3), names }, 3)).toThrow(
      'image 2 is in group 3, but there are 3',
    );
  });

  it('can be made unequal: the second half of the classes thinned, the same images for the same seed', () => {
    const set = pairs(400, 1);
    const options = { classes: 4, share: 0.1, seed: 5 };
    const thinned = imbalance(set, options);
    const counts = [0, 1, 2, 3].map((k) => thinned.labels.filter((label) => label === k).length);
    expect(counts).toEqual([100, 100, 10, 10]);
    expect(thinned.pixels.length).toBe(220 * 64);
    expect(imbalance(set, options)).toEqual(thinned);
    expect(imbalance(set, { ...options, seed: 6 })).not.toEqual(thinned);
    // Images keep their labels.
    const key = (s: typeof set, i: number) => s.pixels.subarray(64 * i, 64 * i + 64).join();
    const known = new Map(Array.from(set.labels, (label, i) => [key(set, i), label]));
    thinned.labels.forEach((label, i) => {
      expect(known.get(key(thinned, i))).toBe(label);
    });
    expect(imbalance(set, { ...options, share: 1e-9 }).labels).toHaveLength(202);
    expect(() => imbalance(set, { ...options, share: 0 })).toThrow(RangeError);
  });
});

describe('an audit', () => {
  const scores = Float32Array.of(2, 0, 0, 1, 5, 5, Number.NaN, 1, 0, 3);
  const labels = Uint8Array.of(0, 0, 1, 1, 1);
  const grouping = { of: Uint8Array.of(0, 0, 0, 1, 1), names: ['a', 'b'] };

  it('has accuracy and loss by group, and counts lost images apart', () => {
    const { overall, groups } = groupTable(scores, labels, grouping);
    const loss = (right: number, wrong: number) => Math.log(1 + Math.exp(wrong - right));
    // Of equal scores the first is the answer.
    expect(groups[0]!.accuracy).toBeCloseTo(1 / 3);
    expect(groups[0]!.loss).toBeCloseTo((loss(2, 0) + loss(0, 1) + loss(5, 5)) / 3);
    expect(groups[1]).toMatchObject({ images: 2, accuracy: 0.5, lost: 1 });
    expect(groups[1]!.loss).toBeCloseTo(loss(3, 0));
    expect(overall).toMatchObject({ images: 5, accuracy: 0.4, lost: 1 });
    expect(Number.isFinite(overall.loss)).toBe(true);
  });

  it("has each group's drop beyond the overall one", () => {
    const table = (overall: number, ...groups: number[]): GroupTable => {
      const result = (accuracy: number) => ({ accuracy, images: 1, loss: 0, lost: 0 });
      return { overall: result(overall), groups: groups.map(result) };
    };
    const found = disparity(table(0.9, 0.95, 0.8), table(0.8, 0.9, 0.6));
    expect(found[0]).toBeCloseTo(-0.05);
    expect(found[1]).toBeCloseTo(0.1);
  });
});

describe('the fairness penalty', () => {
  const graph = smallResNet(4);
  const set = pairs(16, 2);
  const group = set.labels.map((label) => (label === 3 ? 1 : 0));
  const multipliers = Float64Array.of(0.5, 2);

  /** Losses of all images, and the network's gradients for images weighed as told. */
  function run(network: Network, weigh: (losses: Float64Array) => ArrayLike<number>) {
    const { images, labels } = makeBatch(set, network.input, Uint32Array.from(labels16()));
    const scores = network.forward(images, 'evaluate');
    const losses = new Losses(16, 4);
    crossEntropy(scores, labels, losses);
    losses.weigh(weigh(losses.values));
    network.backward(losses.gradient, 'evaluate');
    return losses.values;
  }
  const labels16 = () => Array.from({ length: 16 }, (_, i) => i);

  /** L + sum over g of multiplier_g * v_g, by its definition. */
  function objective(losses: Float64Array, oneSided: boolean): number {
    const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    const all = [...losses];
    const overall = mean(all);
    const gaps = [0, 1].map((g) => mean(all.filter((_, i) => group[i] === g)) - overall);
    return gaps.reduce(
      (sum, gap, g) => sum + multipliers[g]! * (oneSided ? Math.max(0, gap) : Math.abs(gap)),
      overall,
    );
  }

  it.each([false, true])(
    'has a gradient: that of its definition, not that of the loss alone (one-sided: %s)',
    (oneSided) => {
      const network = new Network(graph, 16);
      const weigh = (losses: Float64Array) =>
        groupWeights(losses, group, { multipliers, oneSided }).weights;
      run(network, weigh);
      const found = network.parameters.find(({ name }) => name === 'linear.weight')!;
      const withPenalty = found.gradient.slice();
      run(network, () => new Float64Array(16).fill(1 / 16));
      const detached = found.gradient.slice();
      let apart = 0;
      let norm = 0;
      for (let i = 0; i < found.value.length; i++) {
        const kept = found.value[i]!;
        const at = (step: number) => {
          found.value[i] = kept + step;
          return objective(
            run(network, () => new Float64Array(16)),
            oneSided,
          );
        };
        const difference = (at(0.01) - at(-0.01)) / 0.02;
        found.value[i] = kept;
        expect(withPenalty[i], `weight ${i}`).toBeCloseTo(difference, 3);
        apart += (withPenalty[i]! - detached[i]!) ** 2;
        norm += detached[i]! ** 2;
      }
      // Detached, the penalty would change no gradient at all.
      expect(Math.sqrt(apart / norm)).toBeGreaterThan(0.2);
    },
  );

  it('grows with what an epoch violated', () => {
    const values = Float64Array.of(0, 1);
    ascend(values, Float64Array.of(10, 0.5), 0.1);
    expect([...values]).toEqual([1, Math.fround(1.05)]);
  });
});

describe('mitigation', () => {
  it('brings the minority nearer to the rest than fine-tuning without it', async () => {
    const whole = smallTraining();
    const training = imbalance(whole.training, { classes: 4, share: 0.1, seed: 1 });
    const surroundings = { ...whole, training };
    const dense = await trainedResNet(surroundings, 2);
    const grouping = majorityAndMinority(training, 4);
    const checked = majorityAndMinority(whole.validation, 4);
    const gap = async (graph: Graph) => {
      const { groups } = await auditGroups(graph, whole.validation, checked, whole);
      return groups[1]!.loss - groups[0]!.loss;
    };
    const tuning = { epochs: 4, rate: 2e-3 };
    const plain = await mitigate(dense, grouping, surroundings, { ...tuning, ascent: 0 });
    const seen: string[] = [];
    const onEpoch = (_stage: string, { note }: { note?: string | undefined }) => {
      seen.push(note!);
    };
    const fair = await mitigate(
      dense,
      grouping,
      { ...surroundings, onEpoch },
      {
        ...tuning,
        ascent: 0.05,
      },
    );
    expect(await gap(plain)).toBeGreaterThan(0);
    expect(await gap(fair)).toBeLessThan(await gap(plain));
    expect(seen).toHaveLength(4);
    expect(seen.at(-1)).toMatch(/^multipliers \d+\.\d{3} \d+\.\d{3}$/);
    const empty = { of: new Uint8Array(training.labels.length), names: ['all', 'nobody'] };
    await expect(mitigate(dense, empty, surroundings)).rejects.toThrow(
      "group 'nobody' has no images",
    );
  });
});
