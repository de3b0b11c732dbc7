import {
  type Graph,
  IDENTITY,
  type Node,
  RELU,
  SQUARE,
  type Tensor,
  type Triple,
} from '../../../models/graph/index.ts';
import { numbers, tensor } from '../networks.ts';

/** How the elements of an activation layer are chosen. */
export type Mix = 'relu' | 'square' | 'identity' | 'mixed' | 'channels';

/** Builds graphs node by node; every method returns the new node's id. */
export class GraphBuilder {
  readonly nodes: Node[] = [];
  readonly tensors = new Map<string, Tensor>();
  readonly next: () => number;
  readonly #shapes = new Map<string, readonly number[]>();
  readonly #input: readonly [number, number, number];
  #count = 0;

  constructor(seed: number, input: readonly [number, number, number]) {
    this.next = numbers(seed);
    this.#input = input;
    this.#shapes.set('image', input);
  }

  shape(id: string): readonly [number, number, number] {
    return this.#shapes.get(id) as [number, number, number];
  }

  #add(node: Node, shape: readonly number[]): string {
    this.nodes.push(node);
    this.#shapes.set(node.id, shape);
    return node.id;
  }

  #name(op: string): string {
    return `${op}${++this.#count}`;
  }

  #tensor(name: string, shape: readonly number[], scale: number, offset = 0): string {
    this.tensors.set(name, tensor(this.next, shape, scale, offset));
    return name;
  }

  conv(source: string, out: number, { kernel = 3, stride = 1, groups = 1, pad = 1 } = {}): string {
    const [c, h, w] = this.shape(source);
    const id = this.#name('conv');
    const fan = (c / groups) * kernel * kernel;
    const extent = (n: number) => Math.floor((n + 2 * pad - kernel) / stride) + 1;
    return this.#add(
      {
        op: 'conv',
        id,
        inputs: [source],
        weight: this.#tensor(`${id}.weight`, [out, c / groups, kernel, kernel], 1.7 / fan ** 0.5),
        bias: this.#tensor(`${id}.bias`, [out], 0.2),
        kernel: [kernel, kernel],
        stride: [stride, stride],
        pads: [pad, pad, pad, pad],
        groups,
      },
      [out, extent(h), extent(w)],
    );
  }

  norm(source: string): string {
    const shape = this.shape(source);
    const id = this.#name('norm');
    return this.#add(
      {
        op: 'batchNorm',
        id,
        inputs: [source],
        scale: this.#tensor(`${id}.scale`, [shape[0]], 0.3, 1),
        shift: this.#tensor(`${id}.shift`, [shape[0]], 0.3),
        mean: this.#tensor(`${id}.mean`, [shape[0]], 0.2),
        variance: this.#tensor(`${id}.variance`, [shape[0]], 0.3, 1),
        epsilon: 1e-5,
      },
      shape,
    );
  }

  /** Quadratics near (x + 1)^2 / 4, with a spread of coefficients over channels. */
  activation(source: string, mix: Mix, quadratic?: readonly [number, number, number]): string {
    const shape = this.shape(source);
    const id = this.#name('act');
    const size = shape.reduce((a, b) => a * b, 1);
    const plane = size / shape[0];
    const kind = (i: number) => {
      if (mix === 'relu') return RELU;
      if (mix === 'square') return SQUARE;
      if (mix === 'identity') return IDENTITY;
      const draw =
        mix === 'mixed' ? Math.floor(1.5 * (this.next() + 1)) : Math.floor(i / plane) % 3;
      return [RELU, SQUARE, IDENTITY][draw]!;
    };
    const kinds = Uint8Array.from({ length: size }, (_, i) => kind(i));
    const name = `${id}.coefficients`;
    const [c0, c1, c2] = quadratic ?? [0, 0, 0];
    const data = Float32Array.from({ length: shape[0] * 3 }, (_, i) =>
      quadratic
        ? [c0, c1, c2][i % 3]!
        : [0.2, 0.5, 0.25][i % 3]! + [0.2, 0.2, 0.12][i % 3]! * this.next(),
    );
    this.tensors.set(name, { shape: [shape[0], 3], data });
    return this.#add({ op: 'activation', id, inputs: [source], kinds, coefficients: name }, shape);
  }

  add(x: string, y: string): string {
    return this.#add({ op: 'add', id: this.#name('add'), inputs: [x, y] }, this.shape(x));
  }

  concat(...sources: [string, string, ...string[]]): string {
    const [, h, w] = this.shape(sources[0]);
    const channels = sources.reduce((sum, id) => sum + this.shape(id)[0], 0);
    return this.#add({ op: 'concat', id: this.#name('cat'), inputs: sources }, [channels, h, w]);
  }

  slice(source: string, start: Triple, step: Triple, size: Triple): string {
    const id = this.#name('slice');
    return this.#add({ op: 'slice', id, inputs: [source], start, step, size }, size);
  }

  pad(source: string, before: Triple, after: Triple): string {
    const shape = this.shape(source).map((n, axis) => before[axis]! + n + after[axis]!);
    return this.#add({ op: 'pad', id: this.#name('pad'), inputs: [source], before, after }, shape);
  }

  /** A factor near 1 of either sign per channel, and shifts of at most `shift`. */
  scale(source: string, shift = 0.3): string {
    const shape = this.shape(source);
    const id = this.#name('scale');
    const scale = this.#tensor(`${id}.scale`, [shape[0]], 0.3, 1);
    const { data } = this.tensors.get(scale)!;
    data.forEach((factor, i) => {
      if (i % 3 === 2) data[i] = -factor;
    });
    return this.#add(
      {
        op: 'scale',
        id,
        inputs: [source],
        scale,
        shift: this.#tensor(`${id}.shift`, [shape[0]], shift),
      },
      shape,
    );
  }

  maxPool(source: string, kernel: number, { stride = kernel, pad = 0 } = {}): string {
    const [c, h, w] = this.shape(source);
    const extent = (n: number) => Math.floor((n + 2 * pad - kernel) / stride) + 1;
    return this.#add(
      {
        op: 'maxPool',
        id: this.#name('maxpool'),
        inputs: [source],
        kernel: [kernel, kernel],
        stride: [stride, stride],
        pads: [pad, pad, pad, pad],
      },
      [c, extent(h), extent(w)],
    );
  }

  pool(source: string, kernel: number): string {
    const [c, h, w] = this.shape(source);
    return this.#add(
      {
        op: 'averagePool',
        id: this.#name('pool'),
        inputs: [source],
        kernel: [kernel, kernel],
        stride: [kernel, kernel],
      },
      [c, Math.floor(h / kernel), Math.floor(w / kernel)],
    );
  }

  mean(source: string): string {
    const id = this.#name('mean');
    return this.#add({ op: 'globalAveragePool', id, inputs: [source] }, [
      this.shape(source)[0],
      1,
      1,
    ]);
  }

  flatten(source: string): string {
    const size = this.shape(source).reduce((a, b) => a * b, 1);
    return this.#add({ op: 'flatten', id: this.#name('flat'), inputs: [source] }, [size]);
  }

  dense(source: string, out: number): string {
    const [size] = this.shape(source);
    const id = this.#name('dense');
    return this.#add(
      {
        op: 'dense',
        id,
        inputs: [source],
        weight: this.#tensor(`${id}.weight`, [out, size], 1.7 / size ** 0.5),
        bias: this.#tensor(`${id}.bias`, [out], 0.2),
      },
      [out],
    );
  }

  build(output: string): Graph {
    const channels = this.#input[0];
    return {
      input: {
        id: 'image',
        shape: this.#input,
        mean: new Array<number>(channels).fill(0.5),
        std: new Array<number>(channels).fill(0.5),
      },
      nodes: this.nodes,
      output,
      tensors: this.tensors,
    };
  }
}

/** A residual network of 2x8x8 images: stem, one block with an identity skip, one with a projection, head. */
export function residual(seed: number, mix: Mix): Graph {
  const b = new GraphBuilder(seed, [2, 8, 8]);
  const stem = b.activation(b.norm(b.conv('image', 6)), mix);
  const inner = b.activation(b.norm(b.conv(stem, 6)), mix);
  const first = b.activation(b.add(b.norm(b.conv(inner, 6)), stem), mix);
  const down = b.activation(b.norm(b.conv(first, 9, { stride: 2 })), mix);
  const skip = b.conv(b.pool(first, 2), 9, { kernel: 1, pad: 0, groups: 3 });
  const second = b.activation(b.add(b.conv(down, 9), skip), mix);
  return b.build(b.dense(b.flatten(b.mean(second)), 5));
}

/** A plain network of 2x8x8 images with a dense layer on planes. */
export function plain(seed: number, mix: Mix): Graph {
  const b = new GraphBuilder(seed, [2, 8, 8]);
  const one = b.activation(b.norm(b.conv('image', 4, { stride: 2 })), mix);
  const two = b.activation(b.conv(one, 6, { kernel: 2, pad: 0 }), mix);
  return b.build(b.dense(b.flatten(two), 5));
}

/** Random pixels in 0..1, as the client has them. */
export function randomPixels(graph: Graph, seed: number): Float32Array {
  return tensor(numbers(seed), graph.input.shape, 0.5, 0.5).data;
}
