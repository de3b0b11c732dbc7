/** The graph as it grows while a model is read: nodes, tensors, shapes, and what formulas become. */

import {
  elements,
  type GraphInput,
  IDENTITY,
  type Node,
  nodeShape,
  RELU,
  type Shape,
  SQUARE,
  type Tensor,
} from '../graph/index.ts';
import {
  Algebra,
  constant,
  type Extent,
  type Form,
  type Grain,
  identity,
  is,
  isIdentity,
  refine,
} from './form.ts';

/** Names of the graph's file are no longer than this. AGREEMENT with graph/file.ts. */
const MAX_NAME = 200;
/** Elements of one value: far above what networks for images need. LOCAL. */
const MAX_ELEMENTS = 2 ** 28;

/** Omits a key from each member of a union. */
type Without<T, K extends string> = T extends unknown ? Omit<T, K> : never;

export class GraphWriter {
  readonly nodes: Node[] = [];
  readonly tensors = new Map<string, Tensor>();
  readonly #shapes = new Map<string, Shape>();
  readonly #tensorNames = new Map<Float32Array, string>();
  /** Values that exist once however often they are asked for: formulas, ReLUs and flattened values by their base. */
  readonly #made = new Map<Form, string>();
  readonly #relus = new Map<string, string>();
  readonly #flat = new Map<string, string>();
  readonly #stems = new Map<string, number>();
  readonly #budget: number;
  #bytes = 0;

  /** @param budget bytes that maps, formulas and prepared weights may take together */
  constructor(budget: number) {
    this.#budget = budget;
  }

  /**
   * Takes memory out of the budget of one model.
   * @throws RangeError when it is used up.
   */
  allocate(bytes: number): void {
    if (!(this.#bytes + bytes <= this.#budget)) {
      const mebibytes = Math.floor(this.#budget / 2 ** 20);
      throw new RangeError(
        `its values are too large: a model of this size may take ${mebibytes} MiB`,
      );
    }
    this.#bytes += bytes;
  }

  /** A name that is not among `taken`, the wanted one if possible. */
  #unique(wanted: string, taken: { has(name: string): boolean }): string {
    const stem = wanted.slice(0, MAX_NAME - 20) || 'value';
    let name = stem;
    while (taken.has(name)) {
      const number = (this.#stems.get(stem) ?? 1) + 1;
      this.#stems.set(stem, number);
      name = `${stem}.${number}`;
    }
    return name;
  }

  addInput(name: string, shape: GraphInput['shape']): string {
    const id = this.#unique(name, this.#shapes);
    this.#setShape(id, shape);
    return id;
  }

  #setShape(id: string, shape: Shape): void {
    if (!(elements(shape) <= MAX_ELEMENTS)) {
      throw new RangeError(`a value of shape [${shape}] is too large`);
    }
    this.#shapes.set(id, shape);
  }

  shapeOf(id: string): Shape {
    return this.#shapes.get(id)!;
  }

  extentOf(id: string): Extent {
    const shape = this.shapeOf(id);
    return { channels: shape[0]!, plane: elements(shape.slice(1)) };
  }

  algebra(id: string): Algebra {
    return new Algebra(this.extentOf(id), (bytes) => this.allocate(bytes));
  }

  /**
   * Adds a tensor, once however often its numbers are used, and returns its name.
   * @throws RangeError when a number is not finite.
   */
  tensor(wanted: string, shape: readonly number[], data: Float32Array): string {
    const known = this.#tensorNames.get(data);
    if (known !== undefined && `${this.tensors.get(known)!.shape}` === `${shape}`) return known;
    if (!data.every(Number.isFinite)) {
      throw new RangeError(`its weights '${wanted}' hold a value that is not finite`);
    }
    const name = this.#unique(wanted, this.tensors);
    this.tensors.set(name, { shape, data });
    this.#tensorNames.set(data, name);
    return name;
  }

  /**
   * Adds a node under the wanted name or one like it, and returns its id.
   * @throws RangeError when it cannot stand on its inputs.
   */
  add(wanted: string, node: Without<Node, 'id'>): string {
    const id = this.#unique(wanted, this.#shapes);
    const full = { ...node, id } as Node;
    const inputs = full.inputs.map((input) => this.shapeOf(input));
    this.#setShape(id, nodeShape(full, inputs, this.tensors));
    this.nodes.push(full);
    return id;
  }

  /** The value as a flat vector. */
  flatten(id: string): string {
    if (this.shapeOf(id).length === 1) return id;
    const known = this.#flat.get(id) ?? this.add(`${id}.flat`, { op: 'flatten', inputs: [id] });
    this.#flat.set(id, known);
    return known;
  }

  /**
   * The value of a formula: the nodes that compute it, if there are none yet.
   * @param wanted name of the last of them
   * @throws RangeError when no nodes do.
   */
  value(form: Form, wanted: string): string {
    const known = this.#made.get(form);
    if (known !== undefined) return known;
    const id = isIdentity(form)
      ? form.base
      : (this.#activation(form, wanted) ?? this.#scaled(form, wanted) ?? this.#sum(form, wanted));
    this.#made.set(form, id);
    return id;
  }

  #addRelu(base: string, wanted: string): string {
    const size = elements(this.shapeOf(base));
    const known = this.#relus.get(base);
    if (known !== undefined) return known;
    this.allocate(size);
    const kinds = new Uint8Array(size).fill(RELU);
    const id = this.add(wanted, { op: 'activation', inputs: [base], kinds });
    this.#relus.set(base, id);
    return id;
  }

  /** One activation layer whose every element is a ReLU, a convex parabola of its channel, or the identity. */
  #activation(form: Form, wanted: string): string | undefined {
    const { base } = form;
    if (is(form.relu, 1) && form.powers.every((p) => is(p, 0))) return this.#addRelu(base, wanted);
    const extent = this.extentOf(base);
    const size = extent.channels * extent.plane;
    const grain = Math.max(1, form.relu.grain, ...form.powers.map((p) => p.grain)) as Grain;
    const repeat = grain === 2 ? 1 : extent.plane;
    this.allocate((4 * 8 * size) / repeat);
    const [r, p0, p1, p2] = [form.relu, ...form.powers].map((c) => refine(c, grain, extent)) as [
      Float64Array,
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const codes = new Uint8Array(r.length);
    const rows = new Float32Array(3 * extent.channels);
    let isPlain = true;
    for (let i = 0; i < r.length; i++) {
      if (r[i] === 1 && p0[i] === 0 && p1[i] === 0 && p2[i] === 0) codes[i] = RELU;
      else if (r[i] === 0 && p0[i] === 0 && p1[i] === 1 && p2[i] === 0) codes[i] = IDENTITY;
      else if (r[i] === 0 && p2[i]! > 0) {
        const row = 3 * Math.floor((i * repeat) / extent.plane);
        const own = [p0[i]!, p1[i]!, p2[i]!].map(Math.fround);
        if (rows[row + 2] === 0) rows.set(own, row);
        if (own.some((c, k) => rows[row + k] !== c)) return undefined;
        codes[i] = SQUARE;
        isPlain = false;
      } else return undefined;
    }
    this.allocate(size);
    const kinds = new Uint8Array(size);
    codes.forEach((code, i) => {
      kinds.fill(code, i * repeat, (i + 1) * repeat);
    });
    if (isPlain) return this.add(wanted, { op: 'activation', inputs: [base], kinds });
    const coefficients = this.tensor(`${wanted}.coefficients`, [extent.channels, 3], rows);
    return this.add(wanted, { op: 'activation', inputs: [base], kinds, coefficients });
  }

  /** An affine function per channel, or one of a parabola per channel of any sign. */
  #scaled(form: Form, wanted: string): string | undefined {
    const { base, powers } = form;
    if (!is(form.relu, 0) || powers.some(({ grain }) => grain === 2)) return undefined;
    const extent = this.extentOf(base);
    this.allocate(16 * 8 * extent.channels);
    const [p0, p1, p2] = powers.map((p) => refine(p, 1, extent));
    // Channels with a square become scale * (scale * p)(x), scale = 1 or -1 so that the inner one is convex.
    const scale = p1!.map((a, channel) => Math.sign(p2![channel]!) || a);
    const shift = p0!.map((b, channel) => (p2![channel] === 0 ? b : 0));
    let input = base;
    if (!is(powers[2], 0)) {
      const inner = powers.map((_, k): Form['powers'][number] => ({
        grain: 1,
        data: scale.map((s, channel) => {
          const isSquare = p2![channel] !== 0;
          return isSquare ? s * [p0, p1, p2][k]![channel]! : k === 1 ? 1 : 0;
        }),
      })) as unknown as Form['powers'];
      const made = this.#activation({ ...identity(base), powers: inner }, `${wanted}.convex`);
      if (made === undefined) return undefined;
      input = made;
    }
    return this.add(wanted, {
      op: 'scale',
      inputs: [input],
      scale: this.tensor(`${wanted}.scale`, [extent.channels], Float32Array.from(scale)),
      shift: this.tensor(`${wanted}.shift`, [extent.channels], Float32Array.from(shift)),
    });
  }

  /** A scaled ReLU and a polynomial, each with nodes of its own. */
  #sum(form: Form, wanted: string): string {
    const { base, powers } = form;
    const isRelu = !is(form.relu, 0);
    if (!isRelu || form.relu.grain === 2) {
      throw new RangeError(
        'it differs from element to element: only activation layers may, whose elements are ReLU(x), x, or one polynomial of degree 2 with positive leading coefficient per channel',
      );
    }
    const positive = this.#addRelu(base, `${wanted}.relu`);
    const isAffine = is(powers[1], 0) && is(powers[2], 0);
    const scaled: Form = {
      ...identity(positive),
      powers: [isAffine ? powers[0] : constant(0), form.relu, constant(0)],
    };
    if (isAffine) return this.value(scaled, wanted);
    const left = this.value(scaled, `${wanted}.scaled`);
    const right = this.value({ ...form, relu: constant(0) }, `${wanted}.rest`);
    return this.add(wanted, { op: 'add', inputs: [left, right] });
  }
}
