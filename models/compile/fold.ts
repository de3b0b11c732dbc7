/**
 * From a graph to a network: affine maps go into the layers beside them, reshapes and what nobody reads are forgotten.
 *
 * A map y = factor*x + shift goes, in this order, into
 *   1. the linear layer that makes x, where nobody else reads x,
 *   2. the linear layer that alone reads y,
 *   3. the activation or piecewise function that alone reads y, when factors are positive: the factor is a matter of scale
 *      alone, the shift is added by the server,
 *   4. nothing, when factors are positive and there is no shift,
 *   5. a copy of the linear layer that makes x,
 *   6. a layer: a 1x1 convolution.
 */

import type { Shape } from '../../protocol/ring/shape.ts';
import { ModelError } from '../errors.ts';
import type { Graph, Node } from '../graph/index.ts';
import { inferShapes, SQUARE } from '../graph/index.ts';
import { type Affine, affineOf, channelLayer, foldAfter, foldBefore } from './affine.ts';
import { type Lowered, lower, planeShape, reshapeNode } from './lower.ts';
import {
  affineReading,
  type FixedNetwork,
  type LinearNode,
  type NetworkNode,
  pruned,
  type Reading,
} from './network.ts';
import { addPieces } from './pieces.ts';

/** A map that waits for the one node that reads it. */
interface Waiting {
  /** Id of x, in the network. */
  readonly source: string;
  readonly affine: Affine;
  readonly node: Node;
}

class Folder {
  readonly #graph: Graph;
  readonly #shapes: ReadonlyMap<string, readonly number[]>;
  readonly #nodes = new Map<string, NetworkNode>();
  /** Values of the graph that are others under another shape, or name. */
  readonly #same = new Map<string, string>();
  readonly #readers = new Map<string, Node[]>();
  readonly #before = new Map<string, Waiting>();

  constructor(graph: Graph) {
    this.#graph = graph;
    this.#shapes = inferShapes(graph);
    const live = liveNodes(graph);
    const nodes = graph.nodes.filter(({ id }) => live.has(id));
    for (const node of nodes) {
      if (node.op === 'flatten' || node.op === 'reshape') {
        this.#same.set(node.id, this.#resolve(node.inputs[0]));
        continue;
      }
      for (const id of node.inputs) {
        const known = this.#readers.get(this.#resolve(id)) ?? [];
        this.#readers.set(this.#resolve(id), [...known, node]);
      }
    }
    for (const node of nodes) this.#add(node);
  }

  network(): FixedNetwork {
    const { input, output } = this.#graph;
    const nodes = [...this.#nodes.values()];
    return pruned({ input, nodes, output: this.#resolve(output) });
  }

  #resolve(id: string): string {
    let at = id;
    for (let next = this.#same.get(at); next !== undefined; next = this.#same.get(at)) at = next;
    return at;
  }

  #push(node: NetworkNode): void {
    this.#nodes.set(node.id, node);
  }

  #shapeIn(id: string): Shape {
    return this.#nodes.get(id)?.shape ?? this.#graph.input.shape;
  }

  #readingOf(id: string): Reading {
    return this.#nodes.get(id)?.of ?? { id: this.#graph.input.id };
  }

  /** The one node that reads a value. */
  #readerOf(id: string): Node | undefined {
    const [reader, ...others] = this.#readers.get(id) ?? [];
    return others.length > 0 || id === this.#resolve(this.#graph.output) ? undefined : reader;
  }

  /** Id of a graph's value in the network, with the planes the graph gives it. */
  #planes(id: string): string {
    const from = this.#resolve(id);
    const shape = planeShape(this.#shapes.get(id)!);
    if (`${this.#shapeIn(from)}` === `${shape}`) return from;
    const shaped = `${id}.${shape.join('x')}`;
    if (!this.#nodes.has(shaped)) this.#push(reshapeNode(shaped, from, shape, id));
    return shaped;
  }

  #add(node: Node): void {
    switch (node.op) {
      case 'flatten':
      case 'reshape':
        return;
      case 'batchNorm':
      case 'scale':
        this.#addAffine(node, affineOf(this.#graph, node));
        return;
      case 'piecewise':
        this.#addPiecewise(node);
        return;
      default:
        this.#addLowered(node);
    }
  }

  #addAffine(node: Node, affine: Affine): void {
    const [id] = node.inputs as [string];
    const source = this.#resolve(id);
    const shape = planeShape(this.#shapes.get(node.id)!);
    const { factor, shift } = affine;
    if (![...factor, ...shift].every(Number.isFinite)) {
      throw new ModelError(
        'network',
        `node '${node.id}' (${node.op}): it divides by the root of a variance below zero`,
      );
    }
    const linear = this.#nodes.get(source);
    const folded = linear?.op === 'linear' ? foldAfter(linear, affine) : undefined;
    const intoLinear = () => this.#replace(node, { ...folded!, id: node.id, name: linear!.name });
    if (folded !== undefined && this.#readerOf(source) === node) {
      intoLinear();
      return;
    }
    const reader = this.#readerOf(node.id);
    if (reader !== undefined && this.#takes(reader, node.id, affine)) {
      this.#before.set(node.id, { source, affine, node });
      return;
    }
    const isFree = factor.every((a) => a > 0) && shift.every((b) => b === 0);
    if (folded !== undefined && !isFree) {
      intoLinear();
      return;
    }
    const from = this.#planes(id);
    const base = { id: node.id, name: node.id, shape, of: { id: node.id } };
    if (isFree) {
      this.#push({ ...base, op: 'rescale', factor, inputs: [from] });
    } else this.#push(channelLayer(base, from, affine));
  }

  /** Sets the value of a graph's node, which may be the other shape of what the network's node makes. */
  #replace(node: Node, made: LinearNode): void {
    const shape = planeShape(this.#shapes.get(node.id)!);
    if (`${made.shape}` === `${shape}`) {
      this.#push({ ...made, of: { id: node.id } });
      return;
    }
    const id = `${node.id}.planes`;
    this.#push({ ...made, id });
    this.#same.set(node.id, id);
    const readers = this.#readers.get(node.id);
    if (readers !== undefined) this.#readers.set(id, readers);
  }

  /** Whether the one reader of an affine map can do the map as well. */
  #takes(reader: Node, id: string, affine: Affine): boolean {
    const { op } = reader;
    if (op === 'conv' || op === 'dense') {
      const from = planeShape(this.#shapes.get(reader.inputs[0])!);
      const trial = this.#lowered(reader, [id], [from]) as LinearNode;
      return foldBefore(trial, affine, from) !== undefined;
    }
    const isPlain = op === 'activation' && !reader.kinds.includes(SQUARE);
    // The channels of what an activation reads are those of the map.
    const sameShape = `${this.#shapes.get(reader.inputs[0])}` === `${this.#shapes.get(id)}`;
    return (isPlain || op === 'piecewise') && sameShape && affine.factor.every((a) => a > 0);
  }

  #lowered(node: Lowered, sources: readonly string[], shapes: readonly Shape[]): NetworkNode {
    return lower(this.#graph, node, sources, shapes, planeShape(this.#shapes.get(node.id)!));
  }

  #addLowered(node: Lowered): void {
    const waiting = this.#before.get(this.#resolve(node.inputs[0]));
    if (waiting === undefined) {
      const read = node.inputs.map((id) =>
        node.op === 'dense' ? this.#resolve(id) : this.#planes(id),
      );
      this.#push(
        this.#lowered(
          node,
          read,
          read.map((id) => this.#shapeIn(id)),
        ),
      );
      return;
    }
    const { source, affine } = waiting;
    const shape = planeShape(this.#shapes.get(node.inputs[0])!);
    if (node.op === 'activation') {
      const { id, before } = this.#rescaled(waiting, node.inputs[0]);
      const lowered = this.#lowered(node, [id], [shape]);
      this.#push({ ...lowered, before } as NetworkNode);
      return;
    }
    const linear = this.#lowered(node, [source], [shape]) as LinearNode;
    const from = node.op === 'dense' ? source : this.#planes(waiting.node.inputs[0]);
    this.#push({ ...foldBefore(linear, affine, shape)!, inputs: [from] });
  }

  /** What an activation reads instead of a map it does itself: the map without its shift. */
  #rescaled(
    { affine, node }: Waiting,
    value: string,
  ): { id: string; before: Float64Array | undefined } {
    const { factor, shift } = affine;
    const before = shift.some((b) => b !== 0) ? shift : undefined;
    const from = this.#planes(node.inputs[0]);
    if (factor.every((a) => a === 1)) return { id: from, before };
    const id = `${value}.scaled`;
    const of = affineReading(
      { id: node.id },
      undefined,
      shift.map((b) => -b),
    );
    const base = { id, name: id, shape: this.#shapeIn(from), of, inputs: [from] as const };
    this.#push({ ...base, op: 'rescale', factor });
    return { id, before };
  }

  #addPiecewise(node: Extract<Node, { op: 'piecewise' }>): void {
    const [input] = node.inputs;
    const waiting = this.#before.get(this.#resolve(input));
    let id: string;
    let graph = this.#graph;
    let piecewise = node;
    if (waiting === undefined) id = this.#planes(input);
    else {
      const taken = this.#rescaled(waiting, input);
      id = taken.id;
      if (taken.before !== undefined) {
        const moved = shifted(graph, node, taken.before);
        graph = moved.graph;
        piecewise = moved.node;
      }
    }
    const multiple = (factor: Float64Array, name: string) => {
      const shift = new Float64Array(factor.length);
      const linear = this.#nodes.get(id);
      const of = affineReading(this.#readingOf(id), factor, undefined);
      const copy = linear?.op === 'linear' ? foldAfter(linear, { factor, shift }) : undefined;
      const base = { id: name, name, shape: this.#shapeIn(id), of };
      const made = copy ? { ...copy, ...base } : channelLayer(base, id, { factor, shift });
      this.#push(made);
      return { id: name, of };
    };
    addPieces(graph, piecewise, {
      source: { id, shape: this.#shapeIn(id), of: this.#readingOf(id) },
      multiple,
      push: (made) => this.#push(made),
    });
  }
}

/** The same function of x where `node` is one of x + before. */
function shifted(
  graph: Graph,
  node: Extract<Node, { op: 'piecewise' }>,
  before: Float64Array,
): { graph: Graph; node: Extract<Node, { op: 'piecewise' }> } {
  const tensor = (name: string) => graph.tensors.get(name)!;
  const knots = tensor(node.knots);
  const count = knots.data.length / before.length;
  const slope = tensor(node.slope).data;
  const moved = knots.data.map((k, i) => k - before[Math.floor(i / count)]!);
  const offset = tensor(node.offset).data.map((o, c) => o + slope[c]! * before[c]!);
  const tensors = new Map(graph.tensors)
    .set(`${node.id}.knots moved`, { shape: knots.shape, data: moved })
    .set(`${node.id}.offset moved`, { shape: [before.length], data: offset });
  return {
    graph: { ...graph, tensors },
    node: { ...node, knots: `${node.id}.knots moved`, offset: `${node.id}.offset moved` },
  };
}

/** Ids of the nodes that the output depends on. */
function liveNodes(graph: Graph): Set<string> {
  const live = new Set([graph.output]);
  for (const node of graph.nodes.toReversed()) {
    if (live.has(node.id)) for (const id of node.inputs) live.add(id);
  }
  return live;
}

/**
 * The network of a graph.
 * @throws ModelError `network` when the graph is not sound
 */
export function fold(graph: Graph): FixedNetwork {
  return new Folder(graph).network();
}
