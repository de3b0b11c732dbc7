/** The graph as it grows while a model is read: nodes, tensors, shapes, and what formulas become. */

import { ModelError } from '../errors.ts';
import {
  elements,
  IDENTITY,
  type Node,
  nodeShape,
  RELU,
  type Shape,
  SQUARE,
  type Tensor,
  type Triple,
} from '../graph/index.ts';
import { cutOf, viewTables } from './arrange.ts';
import {
  Algebra,
  type Bend,
  type Coefficient,
  coefficientsOf,
  type Extent,
  type Form,
  type Grain,
  grainOf,
  identityForm,
  is,
  isIdentity,
  ONE,
  refine,
  ZERO,
} from './form.ts';
import { splitConcave } from './masks.ts';
import { flatParts, isInOrder, keyOf, type View, viewSize } from './view.ts';

/** Names of the graph's file are no longer than this. AGREEMENT with graph/file.ts. */
const MAX_NAME = 200;
/** Elements of one value: far above what networks for images need. LOCAL. */
const MAX_ELEMENTS = 2 ** 28;

/** Omits a key from each member of a union. */
type Without<T, K extends string> = T extends unknown ? Omit<T, K> : never;

export class GraphWriter {
  readonly nodes: Node[] = [];
  readonly tensors: Map<string, Tensor> = new Map();
  readonly #shapes = new Map<string, Shape>();
  readonly #tensorNames = new Map<Float32Array, string>();
  /** Values that exist once however often they are asked for: formulas, ReLUs and flattened values by their base. */
  readonly #made = new Map<Form, string>();
  readonly #relus = new Map<string, string>();
  readonly #flat = new Map<string, string>();
  /** What was flattened, by the flat value; rearranged values by what they are of and how. */
  readonly #flatSources = new Map<string, string>();
  readonly #moved = new Map<string, string>();
  /** Values that are affine functions of others, by the others. */
  readonly #affine = new Map<string, { inner: Form; id: string }[]>();
  readonly #stems = new Map<string, number>();
  readonly #budget: number;
  #bytes = 0;

  /** @param budget bytes that maps, formulas and prepared weights may take together */
  constructor(budget: number) {
    this.#budget = budget;
  }

  /**
   * Takes memory out of the budget of one model.
   * @throws ModelError `network` when it is used up.
   */
  allocate(bytes: number): void {
    if (!(this.#bytes + bytes <= this.#budget)) {
      const mebibytes = Math.floor(this.#budget / 2 ** 20);
      throw new ModelError(
        'network',
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

  addInput(name: string, shape: Shape): string {
    const id = this.#unique(name, this.#shapes);
    this.#setShape(id, shape);
    return id;
  }

  /** @throws ModelError `network` when a value of this shape is larger than any network needs */
  checkSize(shape: readonly number[]): void {
    if (!(elements(shape) <= MAX_ELEMENTS)) {
      throw new ModelError('network', `a value of shape [${shape}] is too large`);
    }
    if (elements(shape) === 0)
      throw new ModelError('network', `a value of shape [${shape}] is empty`);
  }

  #setShape(id: string, shape: Shape): void {
    this.checkSize(shape);
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
   * @throws ModelError `network` when a number is not finite.
   */
  tensor(wanted: string, shape: readonly number[], data: Float32Array): string {
    const known = this.#tensorNames.get(data);
    if (known !== undefined && `${this.tensors.get(known)!.shape}` === `${shape}`) return known;
    if (!data.every(Number.isFinite)) {
      throw new ModelError('network', `its weights '${wanted}' hold a value that is not finite`);
    }
    const name = this.#unique(wanted, this.tensors);
    this.tensors.set(name, { shape, data });
    this.#tensorNames.set(data, name);
    return name;
  }

  /**
   * Adds a node under the wanted name or one like it, and returns its id.
   * @throws ModelError `network` when it cannot stand on its inputs.
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
    this.#flatSources.set(known, id);
    return known;
  }

  /** The value's elements in their order, under another shape. */
  reshape(id: string, shape: Shape, wanted: string): string {
    if (`${this.shapeOf(id)}` === `${shape}`) return id;
    if (shape.length === 1) return this.flatten(id);
    const flat = this.#flatSources.get(id) ?? id;
    if (`${this.shapeOf(flat)}` === `${shape}`) return flat;
    const key = `${id}:${shape}`;
    const known = this.#moved.get(key);
    if (known !== undefined) return known;
    const made = this.add(wanted, { op: 'reshape', inputs: [id], shape });
    this.#moved.set(key, made);
    if (this.shapeOf(id).length === 1) this.#flat.set(made, id);
    return made;
  }

  /**
   * The elements of a view in the order of its tensor, as one value of that shape; no node where nothing moves.
   * @param shape [C, H, W] or [N], of one image
   */
  arrange(id: string, view: View, shape: Shape, wanted: string): string {
    if (isInOrder(view)) return this.reshape(id, shape, wanted);
    const key = `${id}:${shape}:${keyOf(view)}`;
    const known = this.#moved.get(key);
    if (known !== undefined) return known;
    const made = this.#sliced(id, view, shape, wanted) ?? this.#gathered(id, view, shape, wanted);
    this.#moved.set(key, made);
    return made;
  }

  /** The part of some planes that a view leaves, where it is one, as a flat vector. */
  #slicedFlat(id: string, view: View, wanted: string): string | undefined {
    const [c, h, w] = this.shapeOf(id) as Triple;
    const size = viewSize(view);
    const counts = flatParts(view).parts.map(({ count }) => count);
    const shapes = [counts, [size / (h * w), h, w], [c, size / (c * w), w]];
    for (const shape of shapes.filter((own) => own.length === 3 && own.every(Number.isInteger))) {
      const made = this.#sliced(id, view, shape, wanted);
      if (made !== undefined) return this.flatten(made);
    }
    return undefined;
  }

  /** A part of planes and zeros around it, as nodes that say so. */
  #sliced(id: string, view: View, shape: Shape, wanted: string): string | undefined {
    const from = this.shapeOf(id);
    if (from.length === 3 && shape.length === 1) return this.#slicedFlat(id, view, wanted);
    if (from.length !== 3 || shape.length !== 3) return undefined;
    const cut = cutOf(view, from as Triple, shape as Triple);
    if (cut === undefined) return undefined;
    const { before, after, start, step, size } = cut;
    const isPadded = [...before, ...after].some((n) => n > 0);
    let made = id;
    if (`${size}` !== `${from}`) {
      const slice = { op: 'slice', inputs: [id], start, step, size } as const;
      made = this.add(isPadded ? `${wanted}.part` : wanted, slice);
    }
    return isPadded ? this.add(wanted, { op: 'pad', inputs: [made], before, after }) : made;
  }

  #gathered(id: string, view: View, shape: Shape, wanted: string): string {
    const tables = viewTables(view, (entries) => this.allocate(4 * entries));
    return this.add(wanted, { op: 'gather', inputs: [id], shape, tables });
  }

  /**
   * The value of a formula: the nodes that compute it, if there are none yet.
   * @param wanted name of the last of them
   */
  value(form: Form, wanted: string): string {
    const known = this.#made.get(form);
    if (known !== undefined) return known;
    const id = isIdentity(form) ? form.base : this.#compute(form, wanted);
    this.#made.set(form, id);
    return id;
  }

  /**
   * A form in terms of a value that an affine function of its x became, where that makes its numbers simpler: what is
   * behind a bias per channel differs from channel to channel in x, and does not in x + bias.
   */
  settled(form: Form): Form {
    if (grainOf(form) === 0) return form;
    const algebra = this.algebra(form.base);
    for (const { inner, id } of this.#affine.get(form.base) ?? []) {
      const over = algebra.over(form, inner, id);
      if (over !== undefined && grainOf(over) === 0) return over;
    }
    return form;
  }

  /** The two as forms of one value, if they are that. */
  together(a: Form, b: Form): [Form, Form] | undefined {
    if (a.base === b.base) return [a, b];
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const found = this.#affine.get(from.base)?.find(({ id }) => id === to.base);
      const over = found && this.algebra(from.base).over(from, found.inner, to.base);
      if (over !== undefined) return from === a ? [over, b] : [a, over];
    }
    return undefined;
  }

  /** The value of an affine form, remembered as such. */
  settle(form: Form, wanted: string): string {
    const id = this.value(form, wanted);
    const list = this.#affine.get(form.base) ?? [];
    if (!list.some((known) => known.id === id)) list.push({ inner: form, id });
    this.#affine.set(form.base, list);
    return id;
  }

  #compute(form: Form, wanted: string): string {
    if (form.reluOf !== undefined) {
      const { form: inner, name } = form.reluOf;
      return this.#addRelu(this.value(inner, name), wanted);
    }
    const [, , square] = form.powers;
    const made = this.#activation(form, wanted) ?? this.#withConcave(form, wanted);
    if (made !== undefined) return made;
    if (grainOf(form) === 2) return this.#perElement(form, wanted);
    if (form.bends.length === 0)
      return is(square, 0) ? this.#affineNode(form, wanted) : this.#squares(form, wanted);
    if (is(square, 0)) return this.#scaledRelu(form, wanted) ?? this.#piecewise(form, wanted);
    const zero = { ...form, powers: [ZERO, ZERO, ZERO] } as const;
    const left = this.value(zero, `${wanted}.bent`);
    const right = this.value(
      { base: form.base, powers: form.powers, bends: [] },
      `${wanted}.curved`,
    );
    return this.add(wanted, { op: 'add', inputs: [left, right] });
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
    const { base, bends } = form;
    if (bends.some(({ knot }) => !is(knot, 0))) return undefined;
    const relu = bends[0]?.by ?? ZERO;
    const extent = this.extentOf(base);
    const size = extent.channels * extent.plane;
    const grain = Math.max(1, grainOf(form)) as Grain;
    const repeat = grain === 2 ? 1 : extent.plane;
    this.allocate((4 * 8 * size) / repeat);
    const [r, p0, p1, p2] = [relu, ...form.powers].map((c) => refine(c, grain, extent)) as [
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
        if (!(own[2]! > 0)) return undefined;
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

  /** Parabolas that open downwards beside ReLUs or identities. */
  #withConcave(form: Form, wanted: string): string | undefined {
    // Where whole channels are parabolas, a negative scale behind them does.
    if (form.bends.length === 0 && grainOf(form) < 2) return undefined;
    const extent = this.extentOf(form.base);
    const size = extent.channels * extent.plane;
    this.allocate(10 * 8 * size);
    const split = splitConcave(form, extent);
    const upper = split && this.#activation(split.upper, `${wanted}.convex`);
    const lower = split && upper && this.#activation(split.lower, `${wanted}.concave`);
    if (lower === undefined) return undefined;
    const shape = this.shapeOf(form.base);
    const gather = { op: 'gather', inputs: [lower], shape, tables: [split!.table] } as const;
    const inputs = [upper!, this.add(`${wanted}.only`, gather)] as const;
    return this.add(wanted, { op: 'add', inputs, subtract: true });
  }

  /** What differs from element to element, on a flat vector, where every element is a channel. */
  #perElement(form: Form, wanted: string): string {
    const extent = this.extentOf(form.base);
    const shape = this.shapeOf(form.base);
    const size = extent.channels * extent.plane;
    this.allocate(coefficientsOf(form).length * 8 * size);
    const fine = (c: Coefficient): Coefficient =>
      c.grain === 0 ? c : { grain: 1, data: refine(c, 2, extent) };
    const flat: Form = {
      base: this.flatten(form.base),
      powers: form.powers.map(fine) as unknown as Form['powers'],
      bends: form.bends.map(({ knot, by }) => ({ knot: fine(knot), by: fine(by) })),
    };
    const made = this.value(flat, shape.length === 1 ? wanted : `${wanted}.elements`);
    return this.reshape(made, shape, wanted);
  }

  #perChannel(c: Coefficient, base: string): Float32Array {
    const extent = this.extentOf(base);
    this.allocate(8 * extent.channels);
    return Float32Array.from(refine(c, 1, extent));
  }

  #scale(input: string, scale: Float32Array, shift: Float32Array, wanted: string): string {
    return this.add(wanted, {
      op: 'scale',
      inputs: [input],
      scale: this.tensor(`${wanted}.scale`, [scale.length], scale),
      shift: this.tensor(`${wanted}.shift`, [shift.length], shift),
    });
  }

  #affineNode({ base, powers: [p0, p1] }: Form, wanted: string): string {
    const [shift, scale] = [p0, p1].map((p) => this.#perChannel(p, base));
    return this.#scale(base, scale!, shift!, wanted);
  }

  /** Parabolas of any sign: channels with a square become scale * (scale * p)(x), the inner one convex. */
  #squares({ base, powers }: Form, wanted: string): string {
    const extent = this.extentOf(base);
    this.allocate(16 * 8 * extent.channels);
    const [p0, p1, p2] = powers.map((p) => refine(p, 1, extent));
    const scale = p1!.map((a, channel) => Math.sign(Math.fround(p2![channel]!)) || a);
    const shift = p0!.map((b, channel) => (Math.fround(p2![channel]!) === 0 ? b : 0));
    const inner = powers.map(
      (_, k): Coefficient => ({
        grain: 1,
        data: scale.map((s, channel) => {
          const isSquare = Math.fround(p2![channel]!) !== 0;
          return isSquare ? s * [p0, p1, p2][k]![channel]! : k === 1 ? 1 : 0;
        }),
      }),
    ) as unknown as Form['powers'];
    const convex: Form = { base, powers: inner, bends: [] };
    const made = isIdentity(convex) ? base : this.#activation(convex, `${wanted}.convex`)!;
    return this.#scale(made, Float32Array.from(scale), Float32Array.from(shift), wanted);
  }

  /** c * ReLU(x - knot) + a constant: a ReLU between scales. */
  #scaledRelu({ base, powers, bends }: Form, wanted: string): string | undefined {
    const [bend, ...others] = bends;
    if (others.length > 0 || !is(powers[1], 0)) return undefined;
    const { knot, by } = bend!;
    const minus: Coefficient = { ...knot, data: knot.data.map((k) => -k) };
    const moved: Form = { base, powers: [minus, ONE, ZERO], bends: [] };
    const positive = this.#addRelu(this.value(moved, `${wanted}.moved`), `${wanted}.relu`);
    return this.value({ ...identityForm(positive), powers: [powers[0], by, ZERO] }, wanted);
  }

  #piecewise({ base, powers, bends }: Form, wanted: string): string {
    const { channels } = this.extentOf(base);
    const [offset, slope] = powers.map((p) => this.#perChannel(p, base));
    const table = (name: string, of: (bend: Bend) => Coefficient) => {
      const columns = bends.map((bend) => this.#perChannel(of(bend), base));
      const data = Float32Array.from({ length: channels * bends.length }, (_, i) => {
        return columns[i % bends.length]![Math.floor(i / bends.length)]!;
      });
      return this.tensor(`${wanted}.${name}`, [channels, bends.length], data);
    };
    return this.add(wanted, {
      op: 'piecewise',
      inputs: [base],
      offset: this.tensor(`${wanted}.offset`, [channels], offset!),
      slope: this.tensor(`${wanted}.slope`, [channels], slope!),
      knots: table('knots', ({ knot }) => knot),
      bends: table('bends', ({ by }) => by),
    });
  }
}
