import {
  elements,
  type Graph,
  IDENTITY,
  inferShapes,
  type Node,
  RELU,
  SQUARE,
  type Tensor,
  type Triple,
} from '../../models/graph/index.ts';
import type { Tables } from '../../protocol/ring/gather.ts';

/** A small deterministic stream of numbers in [-1, 1), for weights and images of tests. */
export function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 0x80000000 - 1;
  };
}

/** A tensor of random numbers in [-scale, scale) + offset. */
export function tensor(
  next: () => number,
  shape: readonly number[],
  scale = 1,
  offset = 0,
): Tensor {
  return {
    shape,
    data: Float32Array.from({ length: elements(shape) }, () => offset + scale * next()),
  };
}

/** How the elements of an activation layer are chosen; a list is repeated over them. */
export type Mix = 'relu' | 'square' | 'identity' | 'mixed' | 'channels' | readonly number[];

/** What a tensor holds: random numbers within so much of 0, or these. */
type Values = number | readonly number[];

/** A coefficient in every channel: this number, or random ones by mean and spread. */
type Coefficient = number | readonly [mean: number, spread: number];

interface Named {
  /** Default: its operator and a number. */
  readonly id?: string;
}

interface Window extends Named {
  /** [vertical, horizontal], or one for both. */
  readonly stride?: number | readonly [number, number];
  /** [top, left, bottom, right], or one for all. */
  readonly pad?: number | readonly [number, number, number, number];
}

/** [height, width], or one for both. */
type Kernel = number | readonly [number, number];

export interface ConvOptions extends Window {
  readonly kernel?: Kernel;
  readonly groups?: number;
  /** Default: what keeps values about the size that they have. */
  readonly weights?: Values;
  /** Default: random ones within 0.2. */
  readonly bias?: Values | false;
}

/** Near (x + 1)^2 / 4. */
const QUADRATIC: readonly Coefficient[] = [
  [0.2, 0.2],
  [0.5, 0.2],
  [0.25, 0.12],
];

const pairOf = (pair: Kernel) => (typeof pair === 'number' ? ([pair, pair] as const) : pair);

/** The window of a node. */
function windowOf(kernel: Kernel, { stride = 1, pad = 0 }: Window) {
  const pads = typeof pad === 'number' ? ([pad, pad, pad, pad] as const) : pad;
  return { kernel: pairOf(kernel), stride: pairOf(stride), pads };
}

/** Builds small networks node by node, with random weights; every method returns the new node's id. */
export class GraphBuilder {
  readonly tensors = new Map<string, Tensor>();
  readonly next: () => number;
  readonly #nodes: Node[] = [];
  readonly #input: Graph['input'];
  #count = 0;

  /** Mean and std of the input: a number for all channels, or one for each. */
  constructor(seed: number, shape: Triple, mean: Values = 0.5, std: Values = 0.5) {
    this.next = numbers(seed);
    const channels = (values: Values) =>
      typeof values === 'number' ? new Array<number>(shape[0]).fill(values) : values;
    this.#input = { id: 'image', shape, mean: channels(mean), std: channels(std) };
  }

  /** The network that ends in this value. */
  build(output: string): Graph {
    return { input: this.#input, nodes: this.#nodes, output, tensors: this.tensors };
  }

  /** [C, H, W] of a value; H and W are missing of a flat one. */
  shape(id: string): Triple {
    return (id === 'image' ? this.#input.shape : inferShapes(this.build(id)).get(id)!) as Triple;
  }

  #add(node: Node): string {
    this.#nodes.push(node);
    return node.id;
  }

  #name(op: string, id: string | undefined): string {
    return id ?? `${op}${++this.#count}`;
  }

  #tensor(name: string, shape: readonly number[], values: Values, offset = 0): string {
    const made =
      typeof values === 'number'
        ? tensor(this.next, shape, values, offset)
        : { shape, data: Float32Array.from(values) };
    this.tensors.set(name, made);
    return name;
  }

  conv(source: string, out: number, options: ConvOptions = {}): string {
    const { kernel = 3, groups = 1, pad = 1, bias = 0.2 } = options;
    const id = this.#name('conv', options.id);
    const window = windowOf(kernel, { ...options, pad });
    const shape = [out, this.shape(source)[0] / groups, ...window.kernel];
    const weights = options.weights ?? 1.7 / (elements(shape) / out) ** 0.5;
    return this.#add({
      ...{ op: 'conv', id, inputs: [source] },
      weight: this.#tensor(`${id}.weight`, shape, weights),
      ...(bias !== false && { bias: this.#tensor(`${id}.bias`, [out], bias) }),
      ...window,
      groups,
    });
  }

  norm(source: string, options: Named & { shift?: number } = {}): string {
    const id = this.#name('norm', options.id);
    const [channels] = this.shape(source);
    const tensor = (name: string, spread: number, offset = 0) =>
      this.#tensor(`${id}.${name}`, [channels], spread, offset);
    return this.#add({
      ...{ op: 'batchNorm', id, inputs: [source] },
      scale: tensor('scale', 0.3, 1),
      shift: tensor('shift', options.shift ?? 0.3),
      mean: tensor('mean', 0.2),
      variance: tensor('variance', 0.3, 1),
      epsilon: 1e-5,
    });
  }

  /** @param options.quadratic c0, c1 and c2 of squares and removed ReLUs; false leaves the tensor out */
  activation(
    source: string,
    mix: Mix,
    options: Named & { quadratic?: readonly Coefficient[] | false } = {},
  ): string {
    const { quadratic = QUADRATIC } = options;
    const id = this.#name('act', options.id);
    const shape = this.shape(source);
    const plane = elements(shape.slice(1));
    const kind = (i: number) => {
      if (mix === 'relu') return RELU;
      if (mix === 'square') return SQUARE;
      if (mix === 'identity') return IDENTITY;
      if (typeof mix === 'object') return mix[i % mix.length]!;
      const draw =
        mix === 'mixed' ? Math.floor(1.5 * (this.next() + 1)) : Math.floor(i / plane) % 3;
      return [RELU, SQUARE, IDENTITY][draw]!;
    };
    const kinds = Uint8Array.from({ length: elements(shape) }, (_, i) => kind(i));
    if (quadratic === false) return this.#add({ op: 'activation', id, inputs: [source], kinds });
    const values = Array.from({ length: 3 * shape[0] }, (_, i) => {
      const coefficient = quadratic[i % 3]!;
      return typeof coefficient === 'number'
        ? coefficient
        : coefficient[0] + coefficient[1] * this.next();
    });
    const coefficients = this.#tensor(`${id}.coefficients`, [shape[0], 3], values);
    return this.#add({ op: 'activation', id, inputs: [source], kinds, coefficients });
  }

  piecewise(source: string, knots: number, options: Named = {}): string {
    const id = this.#name('bent', options.id);
    const [channels] = this.shape(source);
    return this.#add({
      ...{ op: 'piecewise', id, inputs: [source] },
      offset: this.#tensor(`${id}.offset`, [channels], 0.3),
      slope: this.#tensor(`${id}.slope`, [channels], 0.5, 0.5),
      knots: this.#tensor(`${id}.knots`, [channels, knots], 1),
      bends: this.#tensor(`${id}.bends`, [channels, knots], 1),
    });
  }

  add(x: string, y: string, options: Named = {}): string {
    return this.#add({ op: 'add', id: this.#name('add', options.id), inputs: [x, y] });
  }

  subtract(x: string, y: string): string {
    const id = this.#name('less', undefined);
    return this.#add({ op: 'add', id, inputs: [x, y], subtract: true });
  }

  concat(...sources: [string, string, ...string[]]): string {
    return this.#add({ op: 'concat', id: this.#name('cat', undefined), inputs: sources });
  }

  slice(source: string, start: Triple, step: Triple, size: Triple): string {
    const id = this.#name('slice', undefined);
    return this.#add({ op: 'slice', id, inputs: [source], start, step, size });
  }

  pad(source: string, before: Triple, after: Triple): string {
    const id = this.#name('pad', undefined);
    return this.#add({ op: 'pad', id, inputs: [source], before, after });
  }

  gather(source: string, shape: readonly number[], tables: Tables): string {
    const id = this.#name('gather', undefined);
    return this.#add({ op: 'gather', id, inputs: [source], shape, tables });
  }

  reshape(source: string, shape: readonly number[]): string {
    const id = this.#name('reshape', undefined);
    return this.#add({ op: 'reshape', id, inputs: [source], shape });
  }

  /** Factors near 1, every third of them near -1, and shifts within `shift`. */
  scale(source: string, shift: Values = 0.3, options: Named & { factors?: Values } = {}): string {
    const id = this.#name('scale', options.id);
    const [channels] = this.shape(source);
    const scale = this.#tensor(`${id}.scale`, [channels], options.factors ?? 0.3, 1);
    if (options.factors === undefined) {
      const { data } = this.tensors.get(scale)!;
      data.forEach((factor, i) => {
        if (i % 3 === 2) data[i] = -factor;
      });
    }
    return this.#add({
      ...{ op: 'scale', id, inputs: [source], scale },
      shift: this.#tensor(`${id}.shift`, [channels], shift),
    });
  }

  /** Windows stand side by side, where no stride is given. */
  maxPool(source: string, kernel: Kernel, options: Window = {}): string {
    const id = this.#name('maxpool', options.id);
    const window = windowOf(kernel, { stride: kernel, ...options });
    return this.#add({ op: 'maxPool', id, inputs: [source], ...window });
  }

  /** The mean of every window; they stand side by side, where no stride is given. */
  pool(source: string, kernel: Kernel, options: Window = {}): string {
    const id = this.#name('pool', options.id);
    const { pads, ...window } = windowOf(kernel, { stride: kernel, ...options });
    const node = { op: 'averagePool', id, inputs: [source], ...window } as const;
    return this.#add({ ...node, ...(options.pad !== undefined && { pads }) });
  }

  mean(source: string, options: Named = {}): string {
    const id = this.#name('mean', options.id);
    return this.#add({ op: 'globalAveragePool', id, inputs: [source] });
  }

  flatten(source: string, options: Named = {}): string {
    return this.#add({ op: 'flatten', id: this.#name('flat', options.id), inputs: [source] });
  }

  dense(
    source: string,
    out: number,
    options: Named & { weights?: Values; bias?: Values } = {},
  ): string {
    const [size] = this.shape(source);
    const id = this.#name('dense', options.id);
    return this.#add({
      ...{ op: 'dense', id, inputs: [source] },
      weight: this.#tensor(`${id}.weight`, [out, size], options.weights ?? 1.7 / size ** 0.5),
      bias: this.#tensor(`${id}.bias`, [out], options.bias ?? 0.2),
    });
  }
}
