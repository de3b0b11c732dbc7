/**
 * Networks of other widths and resolutions, from any graph: every layer's channels times a factor, and a first
 * convolution of larger stride. Tensors that keep their shape keep their numbers; the others are drawn anew.
 */

import { ModelError } from '../errors.ts';
import {
  type ActivationNode,
  elements,
  type Graph,
  type Node,
  nodeShape,
  type Shape,
  type Tensor,
  type Triple,
  tensorOf,
} from '../graph/index.ts';
import { randomWeights } from '../networks/index.ts';

export interface Reshape {
  /** Factor of all channels but the image's and the result's; a ReLU count goes with it. */
  readonly channels: number;
  /** Factor of height and width, 1, 1/2, 1/4, ...; a ReLU count goes with its square. */
  readonly resolution: number;
  /** Of what is drawn anew. */
  readonly seed: number;
}

/** Ids of the linear layers that make the result, with no linear layer after them. */
function lastLinear(graph: Graph): Set<string> {
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const last = new Set<string>();
  const visit = (id: string) => {
    const node = nodes.get(id);
    if (node?.op === 'conv' || node?.op === 'dense') last.add(id);
    else node?.inputs.forEach(visit);
  };
  visit(graph.output);
  return last;
}

/** A kind for every element of a layer's new shape, from layers that have one kind alone. */
function sameKind(node: ActivationNode, shape: Shape): Uint8Array {
  const [kind] = node.kinds;
  if (node.kinds.some((other) => other !== kind)) {
    throw new ModelError(
      'network',
      `layer '${node.id}' has elements of several kinds: reshape a network before its elements are removed`,
    );
  }
  return new Uint8Array(elements(shape)).fill(kind!);
}

/**
 * The network with other widths and resolutions.
 * @throws ModelError `network` naming the first layer that cannot stand in the new network, and why; `argument` for other factors
 */
export function reshape(graph: Graph, { channels, resolution, seed }: Reshape): Graph {
  const stride = 1 / resolution;
  if (!(channels > 0) || !(Number.isInteger(stride) && stride >= 1)) {
    throw new ModelError(
      'argument',
      `a network is reshaped by a positive factor of channels and a resolution of 1, 1/2, 1/3, ..., not ${channels} and ${resolution}`,
    );
  }
  const draw = randomWeights(seed);
  const before = new Map<string, Shape>([[graph.input.id, graph.input.shape]]);
  const after = new Map<string, Shape>([[graph.input.id, graph.input.shape]]);
  const tensors = new Map<string, Tensor>();
  const last = lastLinear(graph);
  const scaled = (n: number) => Math.max(1, Math.round(channels * n));

  /** `role` decides what a tensor of a new shape holds: He's weights, ones, or zeros for 'bias' and 'mean'. */
  const keep = (name: string | undefined, shape: readonly number[], role: string) => {
    if (name === undefined) return;
    const old = tensorOf(graph, name);
    const same = `${old.shape}` === `${shape}`;
    tensors.set(name, same ? old : { shape, data: draw(role, shape) });
  };
  const outputs = (node: Node, count: number) => (last.has(node.id) ? count : scaled(count));

  const remade = (node: Node): Node => {
    const from = after.get(node.inputs[0])!;
    switch (node.op) {
      case 'conv': {
        const [count] = tensorOf(graph, node.weight).shape;
        const out = outputs(node, count!);
        const inputsBefore = before.get(node.inputs[0])![0]!;
        const groups = node.groups === inputsBefore ? from[0]! : node.groups;
        keep(node.weight, [out, from[0]! / groups, ...node.kernel], 'weight');
        keep(node.bias, [out], 'bias');
        const [down, right] = node.stride;
        const first = node.inputs[0] === graph.input.id;
        return first
          ? { ...node, groups, stride: [stride * down, stride * right] }
          : { ...node, groups };
      }
      case 'dense': {
        const [count] = tensorOf(graph, node.weight).shape;
        const out = outputs(node, count!);
        keep(node.weight, [out, elements(from)], 'weight');
        keep(node.bias, [out], 'bias');
        return node;
      }
      case 'batchNorm':
      case 'scale':
        keep(node.scale, [from[0]!], 'scale');
        keep(node.shift, [from[0]!], 'bias');
        if (node.op === 'batchNorm') {
          keep(node.mean, [from[0]!], 'mean');
          keep(node.variance, [from[0]!], 'variance');
        }
        return node;
      case 'activation': {
        const kinds = sameKind(node, from);
        if (node.coefficients !== undefined) {
          const { data } = tensorOf(graph, node.coefficients);
          const rows = Float32Array.from(
            { length: 3 * from[0]! },
            (_, i) => data[i % data.length]!,
          );
          tensors.set(node.coefficients, { shape: [from[0]!, 3], data: rows });
        }
        return { ...node, kinds };
      }
      case 'pad': {
        const wider = ([c, h, w]: Triple): Triple => [Math.round(channels * c), h, w];
        return { ...node, before: wider(node.before), after: wider(node.after) };
      }
      case 'slice': {
        const old = before.get(node.inputs[0])!;
        const along = (axis: Triple) =>
          axis.map((n, i) => Math.round((n * from[i]!) / old[i]!)) as unknown as Triple;
        return { ...node, start: along(node.start), size: along(node.size) };
      }
      default:
        return node;
    }
  };
  const nodes = graph.nodes.map((node) => {
    const made = remade(node);
    const shapes = (known: ReadonlyMap<string, Shape>) => node.inputs.map((id) => known.get(id)!);
    before.set(node.id, nodeShape(node, shapes(before), graph.tensors));
    after.set(node.id, nodeShape(made, shapes(after), tensors));
    return made;
  });
  return { ...graph, nodes, tensors };
}
