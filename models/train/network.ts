/**
 * A float network made trainable: the layers of a graph over one kernel memory, for batches of fixed size.
 *
 * Order of use: `forward`, then `backward` with the gradient of the loss by the result, then an optimiser's step over
 * `parameters` and {@link moveStatistics}; `toGraph` takes the trained network out. Views of values and gradients are
 * those of the last pass. The tensors themselves stand in shared memory, so that replicas in other threads (shard.ts)
 * see every step.
 */

import { ModelError } from '../errors.ts';
import {
  type ActivationNode,
  type AveragePoolNode,
  elements,
  type Graph,
  type GraphInput,
  inferShapes,
  type Node,
  RELU,
  type Shape,
  SQUARE,
  type Tensor,
  tensorOf,
} from '../graph/index.ts';
import { type Floats, TrainingMemory } from './kernels/index.ts';
import { isPadded } from './layers/average-pool.ts';
import { layerOf } from './layers/index.ts';
import {
  extents,
  type Layer,
  type Mode,
  type Parameter,
  planeOrder,
  type Statistic,
  type Value,
  valueSize,
} from './layers/layer.ts';

export type { Mode, Parameter, Statistic, Value } from './layers/layer.ts';

/** How a network is to be trained, beside what its graph says. Data, so that it reaches other threads. */
export interface NetworkOptions {
  /**
   * Activation layers whose elements are all ReLUs become y = m*relu(x) + (1 - m)*(c0 + c1*x + c2*x^2) with two more
   * tensors: `ID.mask`, one m per element in the graph's order [C, H, W], from 1; `ID.polynomial`, [C, 3], from the
   * identity (0, 1, 0). A graph that has them already keeps them. Layers with removed elements stay as they are.
   */
  readonly soft?: boolean;
  /** Largest |x| wanted in each channel of the inputs of some activation layers, by id; see Range in layers/layer.ts. */
  readonly ranges?: {
    readonly weight: number;
    readonly limits: Readonly<Record<string, readonly number[]>>;
  };
  /** Tensors that training leaves as they are: they are no parameters, and what lies before them needs no gradient. */
  readonly frozen?: readonly string[];
}

/** Whether a soft network learns the mask of this node. */
export function isSoft(node: Node): node is ActivationNode {
  return node.op === 'activation' && node.kinds.every((kind) => kind === RELU);
}

/** Names of the tensors of a soft activation layer. */
export function softTensors(id: string): { readonly mask: string; readonly polynomial: string } {
  return { mask: `${id}.mask`, polynomial: `${id}.polynomial` };
}

/** Share of a batch's statistics in the running ones. LOCAL */
const MOMENTUM = 0.1;

/** Running statistics of batch norm, one step nearer to the last batch's. */
export function moveStatistics(statistics: readonly Statistic[]): void {
  for (const { value, batch } of statistics) {
    for (let i = 0; i < value.length; i++) value[i]! += MOMENTUM * (batch[i]! - value[i]!);
  }
}

/** Copies of tensors, all in one piece of memory that other threads can share. */
function shareTensors(tensors: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
  const total = [...tensors.values()].reduce((sum, { data }) => sum + data.length, 0);
  const all = new Float32Array(new SharedArrayBuffer(4 * total));
  let at = 0;
  const copies = new Map<string, Tensor>();
  for (const [name, { shape, data }] of tensors) {
    const copy = all.subarray(at, (at += data.length));
    copy.set(data);
    copies.set(name, { shape, data: copy });
  }
  return copies;
}

/** A copy of a graph whose tensors other threads can share. */
export function shareGraph(graph: Graph): Graph {
  return { ...graph, tensors: shareTensors(graph.tensors) };
}

/** The tensors of a graph, and those that its soft layers need beside them. */
function withSoftTensors(graph: Graph, shapes: ReadonlyMap<string, Shape>): Map<string, Tensor> {
  const tensors = new Map(graph.tensors);
  for (const node of graph.nodes.filter(isSoft)) {
    const shape = shapes.get(node.id)!;
    const { mask, polynomial } = softTensors(node.id);
    const channels = shape[0]!;
    const ones = new Float32Array(elements(shape)).fill(1);
    const identities = Float32Array.from({ length: 3 * channels }, (_, i) => (i % 3 === 1 ? 1 : 0));
    if (!tensors.has(mask)) tensors.set(mask, { shape, data: ones });
    if (!tensors.has(polynomial)) {
      tensors.set(polynomial, { shape: [channels, 3], data: identities });
    }
  }
  return tensors;
}

/** Names of the tensors that a node's layer has gradients of. */
function learntBy(node: Node): string[] {
  if (node.op === 'batchNorm' || node.op === 'scale') return [node.scale, node.shift];
  if (node.op === 'activation') return node.kinds.includes(SQUARE) ? [node.coefficients!] : [];
  if (node.op !== 'conv' && node.op !== 'dense') return [];
  return node.bias === undefined ? [node.weight] : [node.weight, node.bias];
}

/** What one layer computes: a node, and the average pooling that takes its results. */
interface Piece {
  readonly node: Node;
  readonly pool: AveragePoolNode | undefined;
}

const resultOf = ({ node, pool }: Piece): string => pool?.id ?? node.id;

/** The nodes in running order; average pooling without pads of a convolution that nothing else reads joins it. */
function piecesOf({ nodes, output }: Graph): Piece[] {
  const joined = new Map<string, AveragePoolNode>();
  for (const node of nodes) {
    if (node.op !== 'conv' || node.id === output || `${node.stride}` !== '1,1') continue;
    const [pool, ...others] = nodes.filter(({ inputs }) => inputs.includes(node.id));
    if (pool?.op === 'averagePool' && !isPadded(pool) && others.length === 0)
      joined.set(node.id, pool);
  }
  const pools = new Set<Node>(joined.values());
  return nodes
    .filter((node) => !pools.has(node))
    .map((node) => ({ node, pool: joined.get(node.id) }));
}

export class Network {
  /** Images in a batch. */
  readonly batch: number;
  readonly options: NetworkOptions;
  /** Every trainable tensor once, in the order of the nodes that use them. */
  readonly parameters: readonly Parameter[];
  /** The running statistics of its batch norms. */
  readonly statistics: readonly Statistic[];
  /** Numbers in one result: the classes of a classifier. */
  readonly results: number;
  /** The graph over the network's own tensors: what {@link replica} takes. */
  readonly shared: Graph;
  readonly #values = new Map<string, Value>();
  readonly #layers: readonly Layer[];
  /** Those with gradients to compute. */
  readonly #learning: readonly Layer[];
  readonly #inputOrder: Int32Array;

  /**
   * @param graph is copied, not changed
   * @param batch images in a batch
   * @throws ModelError `network` when the graph is not sound, or too large for training memory at this batch.
   */
  constructor(graph: Graph, batch: number, options: NetworkOptions = {}, adopt = false) {
    const shapes = inferShapes(graph);
    const memory = new TrainingMemory();
    const parameters = new Map<string, Parameter>();
    const statistics: Statistic[] = [];
    const { soft = false, ranges } = options;
    const frozen = new Set(options.frozen);
    const tensors = adopt
      ? graph.tensors
      : shareTensors(soft ? withSoftTensors(graph, shapes) : graph.tensors);
    this.batch = batch;
    this.options = options;
    this.shared = { ...graph, tensors };

    const makeValue = (id: string, withGradient: boolean): Value => {
      const size = batch * elements(shapes.get(id)!);
      const floats: { value: Floats; gradient?: Floats } = { value: memory.floats(size) };
      if (withGradient) floats.gradient = memory.floats(size);
      const value = { ...extents(shapes.get(id)!), ...floats };
      this.#values.set(id, value);
      return value;
    };
    const input = makeValue(graph.input.id, false);
    this.#inputOrder = planeOrder(input);
    const build = (piece: Piece): Layer => {
      const { node, pool } = piece;
      const inputs = node.inputs.map((id) => this.#values.get(id)!);
      const own = soft && isSoft(node) ? softTensors(node.id) : undefined;
      const limits = ranges?.limits[node.id];
      const range = ranges && limits && { weight: ranges.weight, limits };
      const learns = [...learntBy(node), ...Object.values(own ?? {})].some((n) => !frozen.has(n));
      const withGradient = learns || range !== undefined || inputs.some((x) => x.gradient);
      return layerOf({
        node,
        pool,
        memory,
        batch,
        inputs,
        output: makeValue(resultOf(piece), withGradient),
        soft: own,
        range,
        parameter(name, kind) {
          const value = tensorOf({ tensors }, name).data;
          const known = parameters.get(name);
          const made = known ?? { name, kind, value, gradient: new Float32Array(value.length) };
          if (!frozen.has(name)) parameters.set(name, made);
          return made;
        },
        tensor: (name) => tensorOf({ tensors }, name).data,
        statistic(name) {
          const value = tensorOf({ tensors }, name).data;
          const made = { name, value, batch: new Float32Array(value.length) };
          statistics.push(made);
          return made;
        },
      });
    };
    const pieces = piecesOf(graph);
    this.#layers = pieces.map(build);
    this.#learning = this.#layers.filter((_, i) => this.value(resultOf(pieces[i]!)).gradient);
    this.parameters = [...parameters.values()];
    this.statistics = statistics;
    this.results = valueSize(this.value(graph.output));
  }

  /** A network over the very tensors of another one's `shared` graph: what one trains, the other computes with. */
  static replica(shared: Graph, batch: number, options: NetworkOptions): Network {
    return new Network(shared, batch, options, true);
  }

  get input(): GraphInput {
    return this.shared.input;
  }

  /** What layers added to the loss in the last backward pass, for keeping their inputs in range. */
  get penalty(): number {
    return this.#layers.reduce((sum, { penalty = 0 }) => sum + penalty, 0);
  }

  /**
   * A node's value and gradient, channels last, as the last passes left them. A convolution that only an average pooling
   * reads has none: its layer computes what is pooled at once.
   */
  value(id: string): Value {
    const value = this.#values.get(id);
    if (value === undefined)
      throw new ModelError('argument', `the network has no value named '${id}'`);
    return value;
  }

  /** Whether the network has a value of this name, see {@link value}. */
  has(id: string): boolean {
    return this.#values.has(id);
  }

  /**
   * Runs the network on a batch.
   * @param images preprocessed, [image][C][H][W] of the graph's input; fewer than `batch` images leave old ones behind
   *   them, whose results mean nothing (and which, in train mode, would count in batch norm)
   * @returns view of the results, [image][N]
   * @throws ModelError `data` when there are more images than a batch takes, or part of one.
   */
  forward(images: Float32Array, mode: Mode): Float32Array {
    const { value, ...input } = this.value(this.input.id);
    const size = valueSize(input);
    if (images.length > size * this.batch || images.length % size !== 0) {
      throw new ModelError(
        'data',
        `a batch is up to ${this.batch} images of ${size} numbers, not ${images.length} numbers`,
      );
    }
    const order = this.#inputOrder;
    for (let o = 0; o < images.length; o += size) {
      for (let i = 0; i < size; i++) value.data[o + i] = images[o + order[i]!]!;
    }
    for (const layer of this.#layers) layer.forward(mode);
    return this.value(this.shared.output).value.data;
  }

  /**
   * Computes every gradient, of parameters and values, from scratch.
   * @param gradient of the loss by the results, [image][N]; the mode must be the forward pass's
   * @param inside gradients of the loss by other values, by id, as they are stored (channels last)
   */
  backward(
    gradient: Float32Array,
    mode: Mode,
    inside: ReadonlyMap<string, Float32Array> = new Map(),
  ): void {
    for (const value of this.#values.values()) value.gradient?.data.fill(0);
    for (const parameter of this.parameters) parameter.gradient.fill(0);
    this.value(this.shared.output).gradient?.data.set(gradient);
    for (const [id, own] of inside) {
      const { data } = this.value(id).gradient!;
      for (let i = 0; i < data.length; i++) data[i]! += own[i]!;
    }
    for (const layer of this.#learning.toReversed()) layer.backward(mode);
  }

  /**
   * Takes over the tensors of a graph of the same structure, running statistics included.
   * @throws ModelError `argument` when a tensor has another size, `network` when the graph lacks one.
   */
  load(graph: Pick<Graph, 'tensors'>): void {
    for (const [name, { data }] of this.shared.tensors) {
      const from = tensorOf(graph, name).data;
      if (from.length !== data.length) {
        throw new ModelError(
          'argument',
          `tensor '${name}' has ${from.length} numbers, not ${data.length}`,
        );
      }
      data.set(from);
    }
  }

  /** The network as it stands, as a graph. */
  toGraph(): Graph {
    const tensors = new Map<string, Tensor>();
    for (const [name, { shape, data }] of this.shared.tensors) {
      tensors.set(name, { shape, data: new Float32Array(data) });
    }
    return { ...this.shared, tensors };
  }
}
