/** Fewer nodes for the same result: batch norms and scales join the convolution or dense layer before them. */

import {
  type BatchNormNode,
  type ConvNode,
  type DenseNode,
  type Graph,
  type Node,
  type ScaleNode,
  type Tensor,
  tensorOf,
} from '../../graph/index.ts';

/** What a node does to each channel: y = factor * x + shift. */
function affineOf(
  graph: Graph,
  node: BatchNormNode | ScaleNode,
): { factor: Float64Array; shift: Float64Array } {
  const [factor, shift] = [node.scale, node.shift].map(
    (name) => new Float64Array(tensorOf(graph, name).data),
  ) as [Float64Array, Float64Array];
  if (node.op === 'scale') return { factor, shift };
  const mean = tensorOf(graph, node.mean).data;
  const variance = tensorOf(graph, node.variance).data;
  for (let c = 0; c < factor.length; c++) {
    factor[c]! /= Math.sqrt(variance[c]! + node.epsilon);
    shift[c]! -= factor[c]! * mean[c]!;
  }
  return { factor, shift };
}

/** Ids of the nodes that some values depend on. */
function needed(graph: Graph, wanted: ReadonlySet<string>): Set<string> {
  const ids = new Set(wanted).add(graph.output);
  for (const node of graph.nodes.toReversed()) {
    if (ids.has(node.id)) for (const id of node.inputs) ids.add(id);
  }
  return ids;
}

/**
 * A graph with the same values under the names in `kept`, and the same result. Values that nobody needs are gone.
 * @param graph sound
 */
export function fuse(graph: Graph, kept: ReadonlySet<string>): Graph {
  const ids = needed(graph, kept);
  const readers = new Map<string, number>();
  const live = graph.nodes.filter(({ id }) => ids.has(id));
  for (const { inputs } of live) {
    for (const id of inputs) readers.set(id, (readers.get(id) ?? 0) + 1);
  }
  const tensors = new Map(graph.tensors);
  const nodes: Node[] = [];
  const linear = new Map<string, ConvNode | DenseNode>();
  for (const node of live) {
    const [source] = node.inputs;
    const before = linear.get(source);
    const alone = readers.get(source) === 1 && !kept.has(source) && source !== graph.output;
    const fused =
      (node.op === 'batchNorm' || node.op === 'scale') && before !== undefined && alone
        ? join(before, node, tensors, { ...graph, tensors })
        : node;
    if (fused !== node) nodes.splice(nodes.indexOf(before!), 1);
    nodes.push(fused);
    if (fused.op === 'conv' || fused.op === 'dense') linear.set(fused.id, fused);
  }
  return { ...graph, nodes, tensors: tensorsOf(nodes, tensors) };
}

function join(
  before: ConvNode | DenseNode,
  node: BatchNormNode | ScaleNode,
  tensors: Map<string, Tensor>,
  graph: Graph,
): Node {
  const { factor, shift } = affineOf(graph, node);
  const { shape, data } = tensorOf(graph, before.weight);
  const bias = before.bias === undefined ? undefined : tensorOf(graph, before.bias).data;
  const row = data.length / factor.length;
  const weight = `${node.id} fused weight`;
  const sum = `${node.id} fused bias`;
  tensors.set(weight, {
    shape,
    data: data.map((w, i) => w * factor[Math.floor(i / row)]!),
  });
  tensors.set(sum, {
    shape: [factor.length],
    data: Float32Array.from(shift, (b, c) => b + factor[c]! * (bias?.[c] ?? 0)),
  });
  return { ...before, id: node.id, weight, bias: sum };
}

/** The tensors that some nodes refer to. */
function tensorsOf(nodes: readonly Node[], all: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
  const names = new Set(
    nodes.flatMap((node) => Object.values(node).filter((field) => typeof field === 'string')),
  );
  return new Map([...all].filter(([name]) => names.has(name)));
}
