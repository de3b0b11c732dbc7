/** What the reader of one operator sees: the node, its inputs and attributes, and the graph it adds to. */

import { ModelError } from '../errors.ts';
import { elements, type Readout, type Shape } from '../graph/index.ts';
import { broadcast, broadcastSteps } from './arithmetic.ts';
import type { Constant } from './constant.ts';
import type { GraphWriter } from './emit.ts';
import {
  type Coefficient,
  type Form,
  identityForm,
  isIdentity,
  constant as number,
} from './form.ts';
import type { Attribute, OnnxNode } from './proto.ts';
import {
  dimsOf,
  entryAt,
  expanded,
  forEachElement,
  inOrder,
  isInOrder,
  isPermutation,
  type Part,
  type View,
  viewSize,
} from './view.ts';

/** A value of the model whose numbers depend on the image. */
export interface Traced {
  readonly form: Form;
  /** What to call the node that will compute the form, and the one that will put its elements in the view's order. */
  readonly name: string;
  readonly placed?: string;
  /** How the form's elements stand in the ONNX tensor. */
  readonly view: View;
  /** Set behind a Softmax, Sigmoid or the like, where nothing but moves may follow; axes are those of the view. */
  readonly readout?: Readout;
  /** ONNX name of what the readout's operator made. */
  readonly ended?: string;
  /** Extents of the labels, behind an ArgMax: the view is still that of the scores. */
  readonly labels?: readonly number[];
}

/** What nodes compute from: values that depend on the image, and numbers. */
export type Operand = Traced | Constant;

export function isTraced(x: Operand): x is Traced {
  return 'form' in x;
}

/** The part of the model's state that operators use. */
export interface ModelState {
  readonly opset: number;
  readonly writer: GraphWriter;
  /** The images of the model's batch, when it has several. */
  readonly batch: Part | undefined;
  constant(name: string): Constant | undefined;
  /** Extents of a value, the batch's included. */
  dims(name: string): readonly number[] | undefined;
  traced(name: string): Traced | undefined;
  /** Whether something reads a value. */
  isRead(name: string): boolean;
}

/** A value that cannot stand inside of a network: the fault of the operator that made it, not of the one that reads it. */
export class UnreadableValue extends ModelError {
  /** The ONNX name of the value. */
  readonly value: string;

  constructor(value: string, message: string) {
    super('network', message);
    this.value = value;
  }
}

/** What ends a network and cannot stand inside of it. */
const INSIDE = {
  softmax: 'it divides exponentials of private numbers by their sum',
  logSoftmax: 'it takes the logarithm of a sum of exponentials of private numbers',
  argmax: 'it turns private scores into a label',
  sigmoid: 'it is a smooth function of private numbers',
  tanh: 'it is a smooth function of private numbers',
} as const;

/** The shape that a tensor of these extents has in a graph: [C, H, W] without the batch, or [N]. */
export function naturalShape(dims: readonly number[]): Shape {
  const own = dims.length > 1 && dims[0] === 1 ? dims.slice(1) : dims;
  const [first = 1, ...rest] = own;
  if (rest.every((n) => n === 1) && own.length !== 3) return [first];
  return [first, elements(rest.slice(0, -1)), rest.at(-1) ?? 1];
}

/** Planes of images: see {@link Operation.planes}. */
export interface Planes {
  readonly id: string;
  /** [count * C, H, W] */
  readonly shape: readonly [number, number, number];
  /** Extents of the ONNX tensor, with rows where it has none. */
  readonly dims: readonly number[];
  /** Tensors [C, H, W] in one image: more than one where the model cut an image into several. */
  readonly count: number;
  /** Whether the ONNX tensor is [N, C, L], without rows. */
  readonly isLine: boolean;
}

export class Operation {
  readonly node: OnnxNode;
  readonly model: ModelState;

  constructor(node: OnnxNode, model: ModelState) {
    this.node = node;
    this.model = model;
  }

  get writer(): GraphWriter {
    return this.model.writer;
  }

  /** Name of the value it makes. */
  get name(): string {
    return this.node.outputs[0]!;
  }

  has(input: number): boolean {
    return (this.node.inputs[input] ?? '') !== '';
  }

  /** The input's name. */
  #input(input: number): string {
    if (!this.has(input)) throw new ModelError('network', `it has no input ${input}`);
    return this.node.inputs[input]!;
  }

  /** The numbers of an input that depends on nothing; undefined when it depends on the image. */
  constant(input: number): Constant | undefined {
    return this.model.constant(this.#input(input));
  }

  /**
   * The numbers of an input that is there.
   * @throws ModelError `network` when they depend on the image.
   */
  numbers(input: number, what: string): Constant {
    const constant = this.constant(input);
    if (constant !== undefined) return constant;
    throw new ModelError(
      'network',
      `its ${what} '${this.#input(input)}' should be constant, and depends on the image`,
    );
  }

  /** As floats for the graph, under one identity however often they are used. */
  weights(input: number, what: string): Float32Array {
    return this.floats(this.numbers(input, what));
  }

  floats({ data }: Constant): Float32Array {
    if (data instanceof Float32Array) return data;
    this.writer.allocate(4 * data.length);
    return new Float32Array(data);
  }

  /** Extents of an input. */
  dims(input: number): readonly number[] {
    const name = this.#input(input);
    const dims = this.model.constant(name)?.shape ?? this.model.dims(name);
    if (dims === undefined)
      throw new ModelError('network', `it reads '${name}', which nothing before it makes`);
    return dims;
  }

  /** An input that depends on the image. */
  traced(input: number): Traced {
    const traced = this.movable(input);
    if (traced.readout === undefined) return traced;
    throw new UnreadableValue(
      traced.ended ?? traced.name,
      `${INSIDE[traced.readout.kind]}, which nothing here computes inside of a network: it may only end one, read up to it with --output-name, or replace it by Relu or a polynomial of degree 2 and fine-tune the network`,
    );
  }

  /** An input that depends on the image and may be what the network ends in. */
  movable(input: number): Traced {
    const name = this.#input(input);
    const traced = this.model.traced(name);
    if (traced !== undefined) return traced;
    throw new ModelError(
      'network',
      this.model.constant(name) === undefined
        ? `it reads '${name}', which nothing before it makes`
        : `its input '${name}' is constant: compute it before the export`,
    );
  }

  operand(input: number): Operand {
    return this.constant(input) ?? this.traced(input);
  }

  /** The operands there are. */
  operands(): Operand[] {
    return this.node.inputs.map((_, i) => this.operand(i));
  }

  /** The node of the graph that makes a value's numbers, in the value's own order. */
  id({ form, name }: Traced): string {
    return this.writer.value(form, name);
  }

  /** The node that makes a value's numbers in the order of the ONNX tensor, or of a view of it. */
  arranged(x: Traced, shape: Shape, view: View = x.view): string {
    const wanted = isIdentity(x.form) ? (x.placed ?? x.name) : `${x.placed ?? x.name}.moved`;
    return this.writer.arrange(this.id(x), view, shape, wanted);
  }

  /** The same tensor as a value that has its elements in their order. */
  settled(x: Traced, shape?: Shape): Traced {
    const dims = dimsOf(x.view);
    const batch = this.batchOf(x);
    const own = batch === undefined ? dims : dims.slice(1);
    const id = this.arranged(x, shape ?? naturalShape(batch === undefined ? own : [1, ...own]));
    const { form, name, view } = this.result(id, dims);
    return { ...x, form, name, view };
  }

  /**
   * The images of a batch, where a tensor holds several.
   * @throws ModelError `network` when they are not its first axis.
   */
  batchOf({ view }: Traced): Part | undefined {
    const batch = view.axes.flat().find(({ isBatch }) => isBatch);
    if (batch === undefined) return undefined;
    const first = view.axes[0]!;
    if (first.length === 1 && first[0]!.isBatch) return batch;
    throw new ModelError(
      'network',
      `its input of shape [${dimsOf(view)}] does not have the images of the batch as its first axis: export the model with a batch of 1`,
    );
  }

  /**
   * An input of images laid out [N, C, H, W], or [N, C, L].
   * @throws ModelError `network` when it is of another rank.
   */
  planes(x: Traced): Planes {
    const dims = dimsOf(x.view);
    if (dims.length !== 4 && dims.length !== 3) {
      throw new ModelError(
        'network',
        `its input of shape [${dims}] should be [N, C, H, W] or [N, C, L]: other numbers of axes are not read`,
      );
    }
    const isLine = dims.length === 3;
    const batch = this.batchOf(x);
    const [n, c, h, w] = (isLine ? [dims[0], dims[1], 1, dims[2]] : dims) as number[];
    const count = batch === undefined ? n! : 1;
    const shape = [count * c!, h!, w!] as const;
    return { id: this.arranged(x, shape), shape, dims: [n!, c!, h!, w!], count, isLine };
  }

  /** What a node made of planes, the ONNX axes in their order. */
  fromPlanes(id: string, { dims, count, isLine }: Planes): Traced {
    const [channels, h, w] = this.writer.shapeOf(id) as [number, number, number];
    return this.result(id, [dims[0]!, channels / count, ...(isLine ? [w] : [h, w])]);
  }

  /** What a node of the graph makes, in the order of the tensor with these extents. */
  result(id: string, dims: readonly number[]): Traced {
    const { batch } = this.model;
    const isBatched = elements(dims) !== elements(this.writer.shapeOf(id));
    const view = isBatched ? inOrder(dims.slice(1), batch) : inOrder(dims);
    return { form: identityForm(id), name: this.name, view };
  }

  /** The value under more extents, repeated along axes of 1. */
  expanded(x: Traced, dims: readonly number[]): Traced {
    const current = dimsOf(x.view);
    if (`${current}` === `${dims}`) return x;
    this.writer.checkSize(dims);
    return { ...x, view: expanded(x.view, dims), placed: this.name };
  }

  /**
   * A constant as a coefficient of a value, with numpy's broadcasting.
   * @returns also the value, repeated where the constant has more elements
   * @throws ModelError `network` when the constant differs between images of a batch.
   */
  coefficient(constant: Constant, traced: Traced): { by: Coefficient; x: Traced } {
    const { data } = constant;
    const dims = broadcast(dimsOf(traced.view), constant.shape);
    let x = this.expanded(traced, dims);
    const steps = broadcastSteps(constant.shape, dims.length);
    if (x.view.axes.some((parts, axis) => steps[axis] !== 0 && parts.some((p) => p.isBatch))) {
      throw new ModelError('network', 'its constant differs between the images of the batch');
    }
    const [first = 0] = data;
    if (data.every((v) => v === first)) return { by: number(first), x };
    if (!isPermutation(x.view)) x = this.settled(x);
    let by = this.#perChannel(constant, steps, x);
    const shape = naturalShape(dims);
    const isCoarse = by === undefined || by.data.length > shape[0]!;
    if (isCoarse && isIdentity(x.form) && isInOrder(x.view) && shape.length === 3) {
      // The same elements under the shape that the model sees may have one number per channel.
      const plain = this.settled(x);
      const fewer = this.#perChannel(constant, steps, plain);
      if (fewer !== undefined && (by === undefined || fewer.data.length < by.data.length)) {
        by = fewer;
        x = plain;
      }
    }
    return { by: by ?? this.#perElement(constant, steps, x), x };
  }

  /** Parts of a view outside of the batch, each with its step through a constant. */
  #partsWith(steps: readonly number[], { view }: Traced): { part: Part; by: number }[] {
    return view.axes.flatMap((parts, axis) => {
      let step = steps[axis]!;
      return parts
        .toReversed()
        .map((part) => {
          const by = step;
          step *= part.count;
          return { part, by };
        })
        .reverse()
        .filter(({ part }) => !part.isBatch);
    });
  }

  /** A constant that is one number for each channel of the value; undefined when it is not. */
  #perChannel(constant: Constant, steps: readonly number[], x: Traced): Coefficient | undefined {
    const [channels, ...rest] = this.writer.shapeOf(x.form.base) as [number, ...number[]];
    const plane = elements(rest);
    const across: { part: Part; by: number }[] = [];
    let within = x.view.offset % plane;
    for (const { part, by } of this.#partsWith(steps, x)) {
      const entries = Int32Array.from({ length: part.count }, (_, i) => entryAt(part, i));
      if (entries.every((entry) => entry % plane === 0)) across.push({ part, by });
      else if (by === 0) within += Math.max(...entries);
      else return undefined;
    }
    if (!(within < plane)) return undefined;
    this.writer.allocate(8 * channels);
    const data = new Float64Array(channels);
    const visit = (at: number, from: number, index: number) => {
      const next = across[at];
      if (next === undefined) data[from / plane] = constant.data[index]!;
      else {
        for (let i = 0; i < next.part.count; i++) {
          visit(at + 1, from + entryAt(next.part, i), index + i * next.by);
        }
      }
    };
    visit(0, x.view.offset - (x.view.offset % plane), 0);
    return { grain: 1, data };
  }

  #perElement(constant: Constant, steps: readonly number[], x: Traced): Coefficient {
    const size = viewSize(x.view);
    this.writer.allocate(8 * size + 4 * size);
    const parts = this.#partsWith(steps, x);
    const own = parts.map(({ part, by }): Part[] => [{ count: part.count, start: 0, step: by }]);
    const index = new Int32Array(size);
    forEachElement({ size: constant.data.length, axes: own, offset: 0 }, (from, i) => {
      index[i] = from;
    });
    const data = new Float64Array(size);
    forEachElement(x.view, (to, i) => {
      data[to] = constant.data[index[i]!]!;
    });
    return { grain: 2, data };
  }

  #attribute<T>(name: string, read: (attribute: Attribute) => T | undefined, fallback: T): T {
    const attribute = this.node.attributes.get(name);
    if (attribute === undefined) return fallback;
    const value = read(attribute);
    if (value === undefined)
      throw new ModelError('network', `its attribute '${name}' is of another type`);
    return value;
  }

  integer(name: string, fallback: number): number {
    return this.#attribute(name, (a) => a.integer, fallback);
  }

  float(name: string, fallback: number): number {
    return this.#attribute(name, (a) => a.float, fallback);
  }

  text(name: string, fallback: string): string {
    return this.#attribute(name, (a) => a.text, fallback);
  }

  /** A list attribute; undefined when it is not there. */
  integers(name: string): readonly number[] | undefined {
    return this.node.attributes.get(name)?.integers;
  }

  /** A list of integers that newer versions of an operator take as an input and older ones as an attribute. */
  list(input: number, name: string): readonly number[] | undefined {
    if (!this.has(input)) return this.integers(name);
    const { data } = this.numbers(input, name);
    if (data.length > 256)
      throw new ModelError('network', `its ${name} are ${data.length} numbers`);
    return [...data];
  }

  /** A list of `length` positive numbers. */
  counts(name: string, length: number, fallback?: number): number[] {
    const found =
      this.integers(name) ?? (fallback === undefined ? [] : Array(length).fill(fallback));
    if (found.length !== length || found.some((n) => !Number.isSafeInteger(n) || n < 1)) {
      throw new ModelError(
        'network',
        `its ${name} [${found}] should be ${length} positive numbers`,
      );
    }
    return [...found];
  }
}
