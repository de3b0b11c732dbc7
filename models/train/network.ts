/**
 * A float network made trainable: the layers of a graph over one kernel memory, for batches of fixed size.
 *
 * Order of use: `forward`, then `backward` with the gradient of the loss by the result, then an optimiser's step over
 * `parameters`; `toGraph` takes the trained network out. Views of values and gradients are those of the last pass.
 */

import {
  elements,
  type Graph,
  type GraphInput,
  inferShapes,
  type Node,
  type Tensor,
  tensorOf,
} from '../graph/index.ts';
import { type Floats, TrainingMemory } from './kernels/index.ts';
import { layerOf } from './layers/index.ts';
import {
  extents,
  type Layer,
  type Mode,
  type Parameter,
  planeOrder,
  sizeOf,
  type Value,
} from './layers/layer.ts';

export type { Mode, Parameter, Value } from './layers/layer.ts';

export class Network {
  /** Images in a batch. */
  readonly batch: number;
  /** Every trainable tensor once, in the order of the nodes that use them. */
  readonly parameters: readonly Parameter[];
  /** Numbers in one result: the classes of a classifier. */
  readonly results: number;
  readonly #graph: Graph;
  readonly #tensors: ReadonlyMap<string, Tensor>;
  readonly #values = new Map<string, Value>();
  readonly #layers: readonly Layer[];
  readonly #inputOrder: Int32Array;

  /**
   * @param graph is copied, not changed
   * @param batch images in a batch
   * @throws RangeError when the graph is not sound, or too large for training memory at this batch.
   */
  constructor(graph: Graph, batch: number) {
    const shapes = inferShapes(graph);
    const memory = new TrainingMemory();
    const parameters = new Map<string, Parameter>();
    const tensors = new Map<string, Tensor>();
    for (const [name, { shape, data }] of graph.tensors) {
      tensors.set(name, { shape, data: data.slice() });
    }
    this.batch = batch;
    this.#graph = graph;
    this.#tensors = tensors;

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
    const build = (node: Node): Layer =>
      layerOf({
        node,
        memory,
        batch,
        inputs: node.inputs.map((id) => this.#values.get(id)!),
        output: makeValue(node.id, true),
        parameter(name, kind) {
          const value = tensorOf({ tensors }, name).data;
          const known = parameters.get(name);
          const made = known ?? { name, kind, value, gradient: new Float32Array(value.length) };
          parameters.set(name, made);
          return made;
        },
        statistic: (name) => tensorOf({ tensors }, name).data,
      });
    this.#layers = graph.nodes.map(build);
    this.parameters = [...parameters.values()];
    this.results = sizeOf(this.value(graph.output));
  }

  get input(): GraphInput {
    return this.#graph.input;
  }

  /** A node's value and gradient, channels last, as the last passes left them. */
  value(id: string): Value {
    const value = this.#values.get(id);
    if (value === undefined) throw new RangeError(`the network has no value named '${id}'`);
    return value;
  }

  /**
   * Runs the network on a batch.
   * @param images preprocessed, [image][C][H][W] of the graph's input; fewer than `batch` images leave old ones behind
   *   them, whose results mean nothing (and which, in train mode, would count in batch norm)
   * @returns view of the results, [image][N]
   * @throws RangeError when there are more images than a batch takes, or part of one.
   */
  forward(images: Float32Array, mode: Mode): Float32Array {
    const { value, ...input } = this.value(this.#graph.input.id);
    const size = sizeOf(input);
    if (images.length > size * this.batch || images.length % size !== 0) {
      throw new RangeError(
        `a batch is up to ${this.batch} images of ${size} numbers, not ${images.length} numbers`,
      );
    }
    const order = this.#inputOrder;
    for (let o = 0; o < images.length; o += size) {
      for (let i = 0; i < size; i++) value.data[o + i] = images[o + order[i]!]!;
    }
    for (const layer of this.#layers) layer.forward(mode);
    return this.value(this.#graph.output).value.data;
  }

  /**
   * Computes every gradient, of parameters and values, from scratch.
   * @param gradient of the loss by the results, [image][N]; the mode must be the forward pass's
   */
  backward(gradient: Float32Array, mode: Mode): void {
    for (const value of this.#values.values()) value.gradient?.data.fill(0);
    for (const parameter of this.parameters) parameter.gradient.fill(0);
    this.value(this.#graph.output).gradient!.data.set(gradient);
    for (const layer of this.#layers.toReversed()) layer.backward(mode);
  }

  /**
   * Takes over the tensors of a graph of the same structure, running statistics included.
   * @throws RangeError when a tensor is missing or has another size.
   */
  load(graph: Pick<Graph, 'tensors'>): void {
    for (const [name, { data }] of this.#tensors) {
      const from = tensorOf(graph, name).data;
      if (from.length !== data.length) {
        throw new RangeError(`tensor '${name}' has ${from.length} numbers, not ${data.length}`);
      }
      data.set(from);
    }
  }

  /** The network as it stands, as a graph of its own. */
  toGraph(): Graph {
    const tensors = new Map<string, Tensor>();
    for (const [name, { shape, data }] of this.#tensors) {
      tensors.set(name, { shape, data: data.slice() });
    }
    return { ...this.#graph, tensors };
  }
}
