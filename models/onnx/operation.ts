/** What the reader of one operator sees: the node, its inputs and attributes, and the graph it adds to. */

import { elements, type GraphInput, type Readout } from '../graph/index.ts';
import { broadcast, broadcastSteps } from './arithmetic.ts';
import type { Constant } from './constant.ts';
import type { GraphWriter } from './emit.ts';
import { type Coefficient, type Form, identity } from './form.ts';
import { axesOf, BATCH, dimsOf, type Extents, type Layout, layoutOf, stepsOf } from './layout.ts';
import type { Attribute, OnnxNode } from './proto.ts';

/** A value of the model whose numbers depend on the image. */
export interface Traced {
  readonly form: Form;
  /** What to call the node that will compute the form. */
  readonly name: string;
  readonly layout: Layout;
  /** Set behind a Softmax, LogSoftmax or ArgMax, where nothing but reshapes may follow. */
  readonly readout?: Readout;
}

/** The part of the model's state that operators use. */
export interface Model {
  readonly opset: number;
  readonly writer: GraphWriter;
  /** Images in the model's batch. */
  readonly batch: number;
  constant(name: string): Constant | undefined;
  /** Extents of a value, the batch's included. */
  dims(name: string): readonly number[] | undefined;
  traced(name: string): Traced | undefined;
}

/** A value that no node of a graph computes: the fault of the operator that made it, not of the one that reads it. */
export class UnreadableValue extends RangeError {
  /** The ONNX name of the value. */
  readonly value: string;

  constructor(value: string, message: string) {
    super(message);
    this.value = value;
  }
}

/**
 * The node of the graph that makes a value's numbers.
 * @throws UnreadableValue when none does.
 */
export function idOf({ form, name }: Traced, writer: GraphWriter): string {
  try {
    return writer.value(form, name);
  } catch (error) {
    throw error instanceof RangeError ? new UnreadableValue(name, error.message) : error;
  }
}

/** Axes of a value that is images: see {@link Operation.planes}. */
export interface Planes {
  readonly id: string;
  readonly shape: GraphInput['shape'];
  /** For every ONNX axis, the axis of [C, H, W], or BATCH. */
  readonly axes: readonly number[];
}

export class Operation {
  readonly node: OnnxNode;
  readonly model: Model;

  constructor(node: OnnxNode, model: Model) {
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
    if (!this.has(input)) throw new RangeError(`it has no input ${input}`);
    return this.node.inputs[input]!;
  }

  /** The numbers of an input that depends on nothing; undefined when it depends on the image. */
  constant(input: number): Constant | undefined {
    return this.model.constant(this.#input(input));
  }

  /**
   * The numbers of an input that is there.
   * @throws RangeError when they depend on the image.
   */
  numbers(input: number, what: string): Constant {
    const constant = this.constant(input);
    if (constant !== undefined) return constant;
    throw new RangeError(`its ${what} '${this.#input(input)}' should be constant`);
  }

  /** As floats for the graph, under one identity however often they are used. */
  weights(input: number, what: string): Float32Array {
    const { data } = this.numbers(input, what);
    if (data instanceof Float32Array) return data;
    this.writer.allocate(4 * data.length);
    return new Float32Array(data);
  }

  /** Extents of an input. */
  dims(input: number): readonly number[] {
    const name = this.#input(input);
    const dims = this.model.constant(name)?.shape ?? this.model.dims(name);
    if (dims === undefined)
      throw new RangeError(`it reads '${name}', which nothing before it makes`);
    return dims;
  }

  /** An input that depends on the image. */
  traced(input: number): Traced {
    const traced = this.reshapable(input);
    if (traced.readout !== undefined) {
      throw new RangeError(`it follows a ${traced.readout}: that may only end the network`);
    }
    return traced;
  }

  /** An input that depends on the image and may be what the network ends in. */
  reshapable(input: number): Traced {
    const name = this.#input(input);
    const traced = this.model.traced(name);
    if (traced !== undefined) return traced;
    throw new RangeError(
      this.model.constant(name) === undefined
        ? `it reads '${name}', which nothing before it makes`
        : `its input '${name}' is constant: compute it before the export`,
    );
  }

  /** The node of the graph that makes an input's numbers. */
  id(traced: Traced): string {
    return idOf(traced, this.writer);
  }

  extents({ form }: Traced): Extents {
    return { shape: this.writer.shapeOf(form.base), batch: this.model.batch };
  }

  /** An input of images, with any order of axes. */
  planes(input: number): Planes {
    const traced = this.traced(input);
    const axes = axesOf(traced.layout, this.extents(traced));
    const id = this.id(traced);
    const shape = this.writer.shapeOf(id);
    if (shape.length !== 3) {
      throw new RangeError(`its input is a flat vector of ${shape[0]}, not [N, C, H, W]`);
    }
    return { id, shape: shape as GraphInput['shape'], axes };
  }

  /** An input of images laid out [N, C, H, W]. */
  standardPlanes(input: number): Planes {
    const planes = this.planes(input);
    if (`${planes.axes}` !== `${[BATCH, 0, 1, 2]}`) {
      throw new RangeError(
        `its input of shape [${this.dims(input)}] is not laid out [N, C, H, W] of one image each`,
      );
    }
    return planes;
  }

  /** What a node of the graph makes, its axes in this order. */
  result(id: string, atoms: readonly number[]): Traced {
    const extents = { shape: this.writer.shapeOf(id), batch: this.model.batch };
    return { form: identity(id), name: this.name, layout: layoutOf(atoms, extents) };
  }

  /**
   * A constant as a coefficient of a value, with numpy's broadcasting.
   * @returns also the value's layout, which more axes of 1 may precede
   * @throws RangeError when the result would be larger than the value, or differ between images of a batch.
   */
  coefficient(constant: Constant, traced: Traced): { by: Coefficient; layout: Layout } {
    const extents = this.extents(traced);
    const dims = dimsOf(traced.layout, extents);
    const result = broadcast(dims, constant.shape);
    if (elements(result) !== elements(dims)) {
      throw new RangeError(
        `its constant of shape [${constant.shape}] repeats a value of [${dims}]`,
      );
    }
    const added = new Array<readonly number[]>(result.length - dims.length).fill([]);
    const layout = [...added, ...traced.layout];
    const { steps, batch } = stepsOf(
      layout,
      broadcastSteps(constant.shape, result.length),
      extents,
    );
    if (batch !== 0) throw new RangeError('its constant differs between the images of the batch');
    const [c, h, w] = [...extents.shape, 1, 1] as [number, number, number];
    const [sc, sh, sw] = [...steps, 0, 0] as [number, number, number];
    if (sh === 0 && sw === 0) {
      const data = Float64Array.from(
        { length: sc === 0 ? 1 : c },
        (_, i) => constant.data[i * sc]!,
      );
      return { by: { grain: sc === 0 ? 0 : 1, data }, layout };
    }
    this.writer.allocate(8 * c * h * w);
    const data = new Float64Array(c * h * w);
    for (let ch = 0, i = 0; ch < c; ch++) {
      for (let y = 0; y < h; y++) {
        for (let x = 0; x < w; x++) data[i++] = constant.data[ch * sc + y * sh + x * sw]!;
      }
    }
    return { by: { grain: 2, data }, layout };
  }

  #attribute<T>(name: string, read: (attribute: Attribute) => T | undefined, fallback: T): T {
    const attribute = this.node.attributes.get(name);
    if (attribute === undefined) return fallback;
    const value = read(attribute);
    if (value === undefined) throw new RangeError(`its attribute '${name}' is of another type`);
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
    if (data.length > 256) throw new RangeError(`its ${name} are ${data.length} numbers`);
    return [...data];
  }

  /** A list of `length` positive numbers. */
  counts(name: string, length: number, fallback?: number): number[] {
    const found =
      this.integers(name) ?? (fallback === undefined ? [] : Array(length).fill(fallback));
    if (found.length !== length || found.some((n) => !Number.isSafeInteger(n) || n < 1)) {
      throw new RangeError(`its ${name} [${found}] should be ${length} positive numbers`);
    }
    return [...found];
  }
}
