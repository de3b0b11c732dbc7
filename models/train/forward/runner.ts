/**
 * A float network that only computes, one image at a time, by the training kernels: what measures ranges.
 *
 * Weights are packed once. Values that are not alive at the same time lie in the same memory, so that only the caller's
 * visits see them. Results are the same on every machine and in every thread, as far as the kernels' are (kernels/index.ts).
 */

import { ModelError } from '../../errors.ts';
import {
  elements,
  type Graph,
  inferShapes,
  type Node,
  RELU,
  type Shape,
  tensorOf,
} from '../../graph/index.ts';
import { type Floats, LEAST_PAGES, MOST_PAGES, TrainingMemory } from '../kernels/index.ts';
import { layerOf } from '../layers/index.ts';
import {
  extents,
  type Layer,
  paddedLength,
  planeOrder,
  type Value,
  valueSize,
} from '../layers/layer.ts';
import {
  type ConvSite,
  chooseWay,
  forwardConv,
  PACKING_ROOM,
  paddedSize,
  type Way,
} from './conv.ts';

/** Most floats of packed weights; more are packed anew for each image. LOCAL */
export const MOST_PACKED: number = 96 << 20;

/** Bytes of a page of memory. */
const PAGE = 1 << 16;

/** Sees a value as soon as it is computed; what it is given is overwritten later. */
export type Visit = (id: string, value: Value) => void;

/** From its making to its last reader, in places of the node list. */
interface Life {
  readonly id: string;
  readonly size: number;
  readonly from: number;
  readonly to: number;
}

/** How many floats each slot has, and which slot each value lies in. */
interface SlotPlan {
  readonly sizes: readonly number[];
  readonly of: ReadonlyMap<string, number>;
}

/** Puts values that are not alive at the same time into the same slots, the largest first. */
function planSlots(graph: Graph, shapes: ReadonlyMap<string, Shape>): SlotPlan {
  const last = new Map<string, number>([[graph.output, graph.nodes.length]]);
  for (const [i, { inputs }] of graph.nodes.entries()) {
    for (const id of inputs) last.set(id, Math.max(i, last.get(id) ?? 0));
  }
  const lives = [graph.input.id, ...graph.nodes.map(({ id }) => id)].map(
    (id, i): Life => ({
      ...{ id, size: elements(shapes.get(id)!), from: i - 1 },
      to: Math.max(i - 1, last.get(id) ?? 0),
    }),
  );
  const slots: Life[][] = [];
  const of = new Map<string, number>();
  for (const life of lives.toSorted((a, b) => b.size - a.size || a.from - b.from)) {
    const free = (slot: readonly Life[]) =>
      slot.every(({ from, to }) => to < life.from || life.to < from);
    const found = slots.findIndex(free);
    const slot = found < 0 ? slots.push([]) - 1 : found;
    slots[slot]!.push(life);
    of.set(life.id, slot);
  }
  return { sizes: slots.map(([largest]) => largest!.size), of };
}

/** A dense layer as a convolution of an image of one pixel. */
function asConv(node: Node): Node {
  if (node.op !== 'dense') return node;
  const one = [1, 1] as const;
  return { ...node, op: 'conv', kernel: one, stride: one, pads: [0, 0, 0, 0], groups: 1 };
}

function clamped(pages: number): number {
  return Math.max(LEAST_PAGES, Math.min(MOST_PAGES, pages));
}

export class ForwardRunner {
  readonly memory: TrainingMemory;
  /** The graph it runs. */
  readonly graph: Graph;
  readonly #input: Value;
  readonly #output: Value;
  readonly #steps: readonly { readonly id: string; readonly value: Value; run(): void }[];
  readonly #inputOrder: Int32Array;
  readonly #outputOrder: Int32Array;

  /**
   * @param graph its tensors are read here alone, but for those of weights that do not all fit
   * @param mostPacked floats that packed weights may take
   * @throws ModelError `network` when the graph is not sound, or one image takes too much memory
   */
  constructor(graph: Graph, mostPacked: number = MOST_PACKED) {
    this.graph = graph;
    const shapes = inferShapes(graph);
    const nodes = graph.nodes.map(asConv);
    const slots = planSlots(graph, shapes);
    const sites = new Map<Node, ConvSite>();
    const ways = new Map<Node, Way>();
    let packed = 0;
    let around = 0;
    for (const node of nodes) {
      if (node.op !== 'conv') continue;
      const [input, output] = [node.inputs[0], node.id].map((id) => extents(shapes.get(id)!));
      const site = { node, input: input!, output: output! };
      const { way, floats } = chooseWay(site, mostPacked - packed);
      sites.set(node, site);
      ways.set(node, way);
      packed += floats;
      around = Math.max(around, paddedSize(site, way));
    }
    const floats =
      slots.sizes.reduce((sum, size) => sum + size, 0) +
      packed +
      around +
      roomBeside(graph, nodes, shapes);
    const pages = Math.ceil((4 * floats) / PAGE) + 64;
    const memory = new TrainingMemory(clamped(pages), 'its values are too large');
    this.memory = memory;

    const places = slots.sizes.map((size) => memory.floats(size));
    const values = new Map<string, Value>();
    for (const [id, slot] of slots.of) {
      const shape = extents(shapes.get(id)!);
      const { at, data } = places[slot]!;
      values.set(id, { ...shape, value: { at, data: data.subarray(0, valueSize(shape)) } });
    }
    const scratch = memory.floats(around);
    this.#steps = nodes.map((node) => {
      const value = values.get(node.id)!;
      const inputs = node.inputs.map((id) => values.get(id)!);
      const run = stepOf({
        graph,
        node,
        memory,
        inputs,
        output: value,
        way: ways.get(node),
        scratch,
      });
      return { id: node.id, value, run };
    });
    this.#input = values.get(graph.input.id)!;
    this.#output = values.get(graph.output)!;
    this.#inputOrder = planeOrder(this.#input);
    this.#outputOrder = planeOrder(this.#output);
  }

  /**
   * Runs the network on one image.
   * @param image preprocessed, [C, H, W] of the graph's input
   * @param visit gets the input, then every value of the graph, in running order
   * @returns the result in the graph's order, fresh
   * @throws ModelError `data` when the image has the wrong size
   */
  run(image: Float32Array, visit?: Visit): Float32Array {
    const { data } = this.#input.value;
    if (image.length !== data.length) {
      throw new ModelError(
        'data',
        `an image of [${this.graph.input.shape}] has ${data.length} numbers, not ${image.length}`,
      );
    }
    const order = this.#inputOrder;
    for (let i = 0; i < data.length; i++) data[i] = image[order[i]!]!;
    visit?.(this.graph.input.id, this.#input);
    for (const { id, value, run } of this.#steps) {
      run();
      visit?.(id, value);
    }
    const result = new Float32Array(this.#outputOrder.length);
    const from = this.#output.value.data;
    for (let i = 0; i < result.length; i++) result[this.#outputOrder[i]!] = from[i]!;
    return result;
  }
}

/** Floats that layers take beside values, padded inputs of convolutions and packed weights; rather too many. */
function roomBeside(
  graph: Graph,
  nodes: readonly Node[],
  shapes: ReadonlyMap<string, Shape>,
): number {
  let floats = PACKING_ROOM;
  let tiles = 0;
  let kernels = 0;
  for (const node of nodes) {
    const [channels, height = 1, width = 1] = shapes.get(node.id)!;
    const input = elements(shapes.get(node.inputs[0])!);
    // Tables of pixels, and vectors of channels.
    floats += 2 * height * width + 16 * paddedLength(channels!) + 1024;
    if (node.op === 'activation') floats += 4 * (input + 16);
    if (node.op === 'piecewise') {
      const knots = tensorOf(graph, node.knots).shape[1]!;
      floats += 2 * (knots + 2) * paddedLength(channels!);
    }
    if (node.op === 'maxPool' || node.op === 'averagePool') {
      const [top, left, bottom, right] = node.pads ?? [0, 0, 0, 0];
      const [c, h, w] = shapes.get(node.inputs[0])! as readonly [number, number, number];
      floats += c * (top + h + bottom) * (left + w + right);
    }
    if (node.op !== 'conv') continue;
    const inputChannels = shapes.get(node.inputs[0])![0]!;
    const count = Math.ceil(height / 4) * Math.ceil(width / 4);
    tiles = Math.max(tiles, 40 * (count + 4) * (inputChannels + channels! + 64));
    if (node.kernel[0] === 3) kernels = Math.max(kernels, 9 * inputChannels * channels!);
  }
  // Buffers that grow are made anew.
  return floats + 2 * tiles + 2 * kernels;
}

/** A node and where it stands. */
interface NodeSite {
  readonly graph: Graph;
  readonly node: Node;
  readonly memory: TrainingMemory;
  readonly inputs: readonly Value[];
  readonly output: Value;
  /** Of a convolution. */
  readonly way: Way | undefined;
  /** For what steps need beside their values, one after the other. */
  readonly scratch: Floats;
}

/** What computes a node's value. */
function stepOf({ graph, node, memory, inputs, output, way, scratch }: NodeSite): () => void {
  const tensor = (name: string) => tensorOf(graph, name).data;
  const [input] = inputs as [Value, ...Value[]];
  if (node.op === 'conv') {
    const bias = node.bias === undefined ? undefined : tensor(node.bias);
    const weight = tensor(node.weight);
    return forwardConv({
      memory,
      node,
      input,
      output,
      weight,
      bias,
      way: way!,
      scratch,
    });
  }
  if (node.op === 'activation' && node.kinds.every((kind) => kind === RELU)) {
    return () => memory.forward.rectify(input.value.at, output.value.at, valueSize(output));
  }
  const none = new Float32Array();
  const layer: Layer = layerOf({
    ...{ node, memory, batch: 1, inputs, output, tensor },
    parameter: (name, kind) => ({ name, kind, value: tensor(name), gradient: none }),
    statistic: (name) => ({ name, value: tensor(name), batch: none }),
  });
  return () => layer.forward('evaluate');
}
