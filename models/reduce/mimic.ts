/**
 * Layerwise mimicking ("QuaIL", Garimella et al., 2021): a network of squares learns to make, layer by layer, the values
 * that its teacher of ReLUs makes there, before it is trained as a whole. Errors then start small in every layer, where
 * training from the loss alone would have to pass gradients through all squares at once.
 *
 *   for each activation layer, in running order:  min  mean (student's value - teacher's value)^2
 *   over what stands between it and the activation layers before it; all else keeps still
 */

import { abortError } from '../../protocol/errors.ts';
import type { Graph, Node } from '../graph/index.ts';
import { Adam, cosine, makeBatch, moveStatistics, Network, Stream } from '../train/index.ts';
import { activationsOf } from './elements.ts';
import { clampCurvature } from './parabola.ts';
import type { Training } from './training.ts';

/** Names of the tensors that training changes in a node. */
function tensorsOf(node: Node): string[] {
  const names = (...all: (string | undefined)[]) => all.filter((name) => name !== undefined);
  switch (node.op) {
    case 'conv':
    case 'dense':
      return names(node.weight, node.bias);
    case 'batchNorm':
      return names(node.scale, node.shift, node.mean, node.variance);
    case 'activation':
      return names(node.coefficients);
    default:
      return [];
  }
}

/** By activation layer, the tensors that decide it and no layer before it. */
export function tensorsByLayer(graph: Graph): ReadonlyMap<string, ReadonlySet<string>> {
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const layers = activationsOf(graph).map(({ id }) => {
    const own = new Set<string>();
    const visit = (at: string) => {
      const node = nodes.get(at);
      if (node === undefined || (node.op === 'activation' && at !== id)) return;
      for (const name of tensorsOf(node)) own.add(name);
      node.inputs.forEach(visit);
    };
    visit(id);
    return [id, own] as const;
  });
  return new Map(layers);
}

export interface MimicOptions {
  /** Epochs of each layer; 2 unless given. */
  readonly epochs?: number;
  /** Of Adam; 2e-3 unless given, falling to a hundredth. */
  readonly rate?: number;
  /** Mean squared errors as they fall. */
  readonly onLayer?: (id: string, error: number) => void;
}

/**
 * Teaches a student of the same structure its teacher's values, layer by layer.
 * @param teacher usually the network of ReLUs that the student was made from
 * @returns the student as it stands then: it wants training as a whole
 */
export function mimic(
  student: Graph,
  teacher: Graph,
  { training, batch, seed, signal }: Pick<Training, 'training' | 'batch' | 'seed' | 'signal'>,
  { epochs = 2, rate = 2e-3, onLayer }: MimicOptions = {},
): Graph {
  const network = new Network(student, batch);
  const model = new Network(teacher, batch);
  const nothing = new Float32Array(batch * network.results);
  const steps = Math.floor(training.labels.length / batch);
  let layer = 0;
  for (const [id, own] of tensorsByLayer(student)) {
    layer++;
    const adam = new Adam();
    const moving = network.parameters.filter(({ name }) => own.has(name));
    const statistics = network.statistics.filter(({ name }) => own.has(name));
    const schedule = cosine(rate, rate / 100);
    let error = 0;
    for (let epoch = 0; epoch < epochs; epoch++) {
      const order = new Stream(seed, layer, epoch).permutation(training.labels.length);
      error = 0;
      for (let step = 0; step < steps; step++) {
        if (signal?.aborted) throw abortError('training', signal.reason);
        const indices = order.subarray(step * batch, (step + 1) * batch);
        const { images } = makeBatch(training, network.input, indices);
        model.forward(images, 'evaluate');
        network.forward(images, 'train');
        const wanted = model.value(id).value.data;
        const made = network.value(id).value.data;
        const gradient = made.map((v, i) => (2 * (v - wanted[i]!)) / made.length);
        error += made.reduce((sum, v, i) => sum + (v - wanted[i]!) ** 2, 0) / made.length / steps;
        network.backward(nothing, 'train', new Map([[id, gradient]]));
        adam.step(moving, schedule((epoch + step / steps) / epochs));
        moveStatistics(statistics);
        clampCurvature(moving);
      }
    }
    onLayer?.(id, error);
  }
  return network.toGraph();
}
