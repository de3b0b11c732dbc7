import { describe, expect, it } from 'vitest';
import { countGraph, type Graph, preprocess, runFloat } from '../../../models/graph/index.ts';
import { removeByChannels } from '../../../models/reduce/channels.ts';
import { activationsOf, reluCount, relusIn, removeRelus } from '../../../models/reduce/elements.ts';
import { GraphBuilder } from '../builder.ts';
import { pairs, smallTraining, trainedResNet } from './support.ts';

const untuned = { searchEpochs: 0, tune: { epochs: 0 } };
const set = pairs(96, 5);
const training = { ...smallTraining(), training: set, validation: set, batch: 32 };

/** What a network says of some images. */
function resultsOf(graph: Graph): number[] {
  return [0, 1, 2].flatMap((i) => [
    ...runFloat(graph, preprocess(graph.input, set.pixels.subarray(64 * i, 64 * i + 64))),
  ]);
}

/**
 * Three channels: of the first all values are positive, of the second negative, of the third both. What stands in front of the
 * activation is said by `front`; an addition may read it too.
 */
function signs(front: 'norm' | 'conv', shared = false): Graph {
  const net = new GraphBuilder(11, [1, 8, 8]);
  const bias = front === 'conv' ? [9, -9, 0] : false;
  let x = net.conv('image', 3, { id: 'conv', bias });
  if (front === 'norm') {
    x = net.norm(x, { id: 'norm' });
    net.tensors.set('norm.shift', { shape: [3], data: Float32Array.of(20, -20, 0) });
  }
  const active = net.activation(x, 'relu', { id: 'act', quadratic: false });
  const sum = shared ? net.add(active, x) : active;
  return net.build(net.dense(net.flatten(sum), 4));
}

describe('removal by channels', () => {
  it.each([
    ['folds its lines into the norm in front', signs('norm'), 'norm'],
    ['puts a scale behind a convolution', signs('conv'), 'act.line'],
    ['puts a scale behind a norm that another node reads', signs('norm', true), 'act.line'],
  ])('%s, and ReLUs that do nothing go first, without a trace', async (_what, graph, inFront) => {
    const made = await removeByChannels(graph, 64, training, untuned);
    const [layer] = activationsOf(made);
    expect(layer!.inputs).toEqual([inFront]);
    // The third channel alone stays.
    expect([...layer!.kinds]).toEqual(Array.from({ length: 192 }, (_, i) => (i < 128 ? 0 : 1)));
    const before = resultsOf(graph);
    for (const [i, result] of resultsOf(made).entries()) expect(result).toBeCloseTo(before[i]!, 3);
    expect(reluCount(graph)).toBe(192);
  });

  it('takes the line that fits best where a ReLU does something: results change least', async () => {
    const graph = signs('norm');
    const before = resultsOf(graph);
    const apart = (made: Graph) =>
      resultsOf(made).reduce((sum, result, i) => sum + (result - before[i]!) ** 2, 0);
    const lines = await removeByChannels(graph, 0, training, untuned);
    const identities = removeRelus(graph, new Map([['act', new Uint8Array(192)]]));
    expect(countGraph(lines)).toMatchObject({ relus: 0, identities: 192 });
    expect(apart(lines)).toBeGreaterThan(0);
    expect(apart(lines)).toBeLessThan(0.1 * apart(identities));
  });

  it('keeps no ReLU of a layer only because there is room for it: a round costs more', async () => {
    const net = new GraphBuilder(12, [1, 8, 8]);
    const first = net.activation(net.norm(net.conv('image', 3)), 'relu', { id: 'first' });
    const second = net.norm(net.conv(net.pool(first, 4), 3), { id: 'norm' });
    net.tensors.set('norm.shift', { shape: [3], data: Float32Array.of(20, 20, 20) });
    const graph = net.build(net.dense(net.flatten(net.activation(second, 'relu')), 4));
    // What stays of the first layer are 128 of the 140, and a channel of the second has 4.
    const made = await removeByChannels(graph, 140, training, untuned);
    expect(activationsOf(made).map(relusIn)).toEqual([128, 0]);
  });

  it('is tuned for an epoch in each round on the way to the budget, at most a channel below it', async () => {
    const surroundings = smallTraining();
    const dense = await trainedResNet(surroundings);
    const epochs: string[] = [];
    const onEpoch = (stage: string) => void epochs.push(stage);
    const options = { searchEpochs: 2, searchRate: 2e-3, tune: { epochs: 1, rate: 2e-3 } };
    const made = await removeByChannels(dense, 77, { ...surroundings, onEpoch }, options);
    expect(epochs).toEqual(['channels-77-round-1', 'channels-77-round-2', 'channels-77-tune']);
    expect(reluCount(made)).toBeLessThanOrEqual(77);
    expect(reluCount(made)).toBeGreaterThan(77 - 16);
    // The result can be reduced to a smaller budget, by the same nodes.
    const further = await removeByChannels(made, 20, surroundings, untuned);
    expect(reluCount(further)).toBeLessThanOrEqual(20);
    expect(further.nodes.map(({ id }) => id)).toEqual(made.nodes.map(({ id }) => id));
  });

  it('leaves channels alone that lost elements before, and says when they are too many', async () => {
    const graph = signs('norm');
    const kept = Uint8Array.from({ length: 192 }, (_, i) => (i % 64 === 0 && i > 0 ? 0 : 1));
    const begun = removeRelus(graph, new Map([['act', kept]]));
    const made = await removeByChannels(begun, 126, training, untuned);
    expect(reluCount(made)).toBe(126);
    await expect(removeByChannels(begun, 125, training, untuned)).rejects.toThrow(
      'a budget of 125 ReLUs cannot be met channel by channel: 126 are in channels that lost others before',
    );
  });
});
