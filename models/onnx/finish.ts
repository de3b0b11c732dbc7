/** What a graph ends in, and what it looks tidier without. */

import { ModelError } from '../errors.ts';
import {
  elements,
  type Graph,
  type Node,
  type Readout,
  type Result,
  type ScaleNode,
  type Tensor,
  tensorOf,
} from '../graph/index.ts';
import type { GraphWriter } from './emit.ts';
import { isIdentity } from './form.ts';
import type { Traced } from './operation.ts';
import { dimsOf, isBatchFirst, isInOrder, viewSize } from './view.ts';

/** An output of the model. */
export interface ModelOutput {
  readonly name: string;
  readonly value: Traced;
}

/**
 * The outputs of a model as one value and what it holds.
 * @param isBatched whether the first axis of the model's tensors is images
 * @throws ModelError `network` when a result mixes the images of a batch
 */
export function joinOutputs(
  writer: GraphWriter,
  outputs: readonly ModelOutput[],
  isBatched: boolean,
): Pick<Graph, 'output' | 'results'> {
  const results = outputs.map((output) => resultOf(output, isBatched));
  const ids = outputs.map((output) => placed(writer, output));
  if (ids.length > 1) {
    const flat = ids.map((id) => writer.flatten(id)) as [string, string, ...string[]];
    return { output: writer.add('results', { op: 'concat', inputs: flat }), results };
  }
  const [output] = ids as [string];
  const [{ name, shape, readout }] = results as [Result];
  const isPlain =
    readout === undefined && name === output && `${shape}` === `${writer.shapeOf(output)}`;
  return isPlain ? { output } : { output, results };
}

/** The value of an output in the order of its tensor. */
function placed(writer: GraphWriter, { name, value }: ModelOutput): string {
  const { view, form } = value;
  if (!isBatchFirst(view)) {
    throw new ModelError(
      'network',
      `the output '${name}' does not have the images of the batch as its first axis: export the model with a batch of 1`,
    );
  }
  const id = writer.value(form, value.name);
  if (isInOrder(view)) return id;
  return writer.arrange(id, view, [viewSize(view)], isIdentity(form) ? name : `${name}.moved`);
}

function resultOf({ name, value: { view, readout } }: ModelOutput, isBatched: boolean): Result {
  // Of one image: where images share an axis with something else, that is left of it.
  const image = view.axes.map((parts) => parts.filter(({ isBatch }) => !isBatch));
  const dims = dimsOf({ ...view, axes: image });
  const drop = isBatched && dims.length > 1 && dims[0] === 1 ? 1 : 0;
  const own = dims.slice(drop);
  const shape = own.length === 0 ? [elements(own)] : own;
  if (readout === undefined) return { name, shape };
  const moved: Readout =
    'axis' in readout ? { ...readout, axis: Math.max(readout.axis - drop, 0) } : readout;
  return { name, shape, readout: moved };
}

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

/** The nodes that a graph's output depends on. */
function liveNodes({ nodes, output }: Graph): Node[] {
  const live = new Set([output]);
  const kept = nodes.toReversed().filter(({ id, inputs }) => {
    if (live.has(id)) for (const input of inputs) live.add(input);
    return live.has(id);
  });
  return kept.reverse();
}

/** The graph with shifts as biases (MatMul and Add are one layer), without nodes and tensors that nobody reads. */
export function finishGraph(full: Graph): Graph {
  const graph = { ...full, nodes: liveNodes(full) };
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
