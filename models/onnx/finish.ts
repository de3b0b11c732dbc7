/** What a graph looks tidier without: additions of a constant right behind a layer that has room for a bias. */

import { type Graph, type Node, type ScaleNode, type Tensor, tensorOf } from '../graph/index.ts';

type Biased = Extract<Node, { op: 'conv' | 'dense' }>;

/** Layers whose bias a shift right behind them can become, by their ids: those without one, read by nobody else. */
function shiftsOf(graph: Graph): Map<string, { layer: Biased; shift: ScaleNode }> {
  const layers = new Map<string, Biased>();
  const shifts = new Map<string, { layer: Biased; shift: ScaleNode }>();
  const readers = new Map([[graph.output, 1]]);
  for (const node of graph.nodes) {
    for (const id of node.inputs) readers.set(id, (readers.get(id) ?? 0) + 1);
    if ((node.op === 'conv' || node.op === 'dense') && node.bias === undefined) {
      layers.set(node.id, node);
    }
    const layer = layers.get(node.inputs[0]);
    if (node.op !== 'scale' || layer === undefined) continue;
    if (tensorOf(graph, node.scale).data.every((a) => a === 1)) {
      shifts.set(layer.id, { layer, shift: node });
    }
  }
  for (const id of [...shifts.keys()]) if (readers.get(id) !== 1) shifts.delete(id);
  return shifts;
}

/** The graph with shifts as biases (MatMul and Add are one layer), and without tensors that nobody reads. */
export function finishGraph(graph: Graph): Graph {
  const shifts = shiftsOf(graph);
  const gone = new Set([...shifts.values()].map(({ shift }) => shift.id));
  const nodes = graph.nodes
    .filter(({ id }) => !gone.has(id))
    .map((node) => {
      const found = shifts.get(node.id);
      return found ? { ...found.layer, id: found.shift.id, bias: found.shift.shift } : node;
    });
  const used = new Set<unknown>(nodes.flatMap((node) => Object.values(node)));
  const tensors = new Map<string, Tensor>([...graph.tensors].filter(([name]) => used.has(name)));
  return { ...graph, nodes, tensors };
}
