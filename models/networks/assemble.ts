/** Puts a network together layer by layer: the part that all builders share. */

import { ModelError } from '../errors.ts';
import {
  elements,
  type Graph,
  type GraphInput,
  type Node,
  type Tensor,
  type Triple,
} from '../graph/graph.ts';
import { readsCoefficients } from '../graph/kinds.ts';
import { nodeShape } from '../graph/walk.ts';
import { Stream } from '../random.ts';
import { allRelus, type ReluMap } from './maps.ts';

/**
 * Where parameters come from.
 * @param name the parameter's name, PyTorch's for this architecture
 * @param shape what the network needs: convolutions [out, in/groups, height, width], dense layers [out, in]
 */
export type WeightSource = (name: string, shape: readonly number[]) => Float32Array;

/** What every builder takes. */
export interface BuilderOptions {
  /** Trained parameters; default: random ones. */
  readonly weights?: WeightSource;
  /** Seed of random parameters; default: 1. */
  readonly seed?: number;
  /**
   * Sum of the mean squares of the random weights of one output: default 2, which keeps the size of values where ReLUs
   * follow; 1 keeps it where identities do.
   */
  readonly gain?: number;
  /** Which elements are ReLUs; default: all. */
  readonly map?: ReluMap;
  /** (c0, c1, c2) of squares; default: the least-squares parabola of a ReLU of a standard normal variable. */
  readonly quadratic?: readonly [number, number, number];
  /** Classes; default: 10. */
  readonly classes?: number;
  /** Channels of the image; default: 3. */
  readonly channels?: number;
  /** Per channel, of pixels in 0..1; default: 0 and 1. */
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
  /** Height and width of the image; default: 32. */
  readonly size?: number;
}

/** c0 = c2 = phi(0) / 2, c1 = 1/2. */
const PARABOLA = [0.19947114020071635, 0.5, 0.19947114020071635] as const;

/** Scale of the norm that ends a residual branch, in random networks: their values keep their size at any depth. */
export const BRANCH_SCALE = 0.25;

/** Norms of this name end residual branches. */
export const branchScale =
  (last: string) =>
  (name: string): number =>
    name.endsWith(last) ? BRANCH_SCALE : 1;

/**
 * Random parameters as before training: He's normal weights, norms that do nothing.
 * @param gain - see {@link BuilderOptions}
 * @param normScale - of the norm whose scale has this name
 */
export function randomWeights(
  seed: number,
  gain = 2,
  normScale: (name: string) => number = branchScale('bn2.weight'),
): WeightSource {
  const stream = new Stream(seed);
  return (name, shape) => {
    const out = new Float32Array(elements(shape));
    if (shape.length > 1) {
      const spread = Math.sqrt((gain * shape[0]!) / out.length);
      return out.map(() => spread * stream.normal());
    }
    if (name.endsWith('bias') || name.endsWith('mean')) return out;
    return out.fill(normScale(name));
  };
}

/** Epsilon of batch norms, PyTorch's default. */
const EPSILON = 1e-5;

interface Window {
  readonly kernel: number;
  readonly stride?: number;
  readonly pad?: number;
}

interface Convolution extends Window {
  readonly bias?: boolean;
  readonly groups?: number;
}

/** A network under construction. Every method adds a layer and returns its id. */
export class Assembly {
  readonly classes: number;
  readonly #nodes: Node[] = [];
  readonly #tensors = new Map<string, Tensor>();
  readonly #shapes = new Map<string, readonly number[]>();
  readonly #input: GraphInput;
  readonly #weights: WeightSource;
  readonly #map: ReluMap;
  readonly #quadratic: readonly number[];

  constructor(options: BuilderOptions) {
    const { size = 32, channels = 3 } = options;
    const { mean = new Array(channels).fill(0), std = new Array(channels).fill(1) } = options;
    this.#input = { id: 'image', shape: [channels, size, size], mean, std };
    this.#shapes.set('image', this.#input.shape);
    this.#weights = options.weights ?? randomWeights(options.seed ?? 1, options.gain);
    this.#map = options.map ?? allRelus;
    this.#quadratic = options.quadratic ?? PARABOLA;
    this.classes = options.classes ?? 10;
  }

  get image(): string {
    return this.#input.id;
  }

  shape(id: string): Triple {
    return this.#shapes.get(id) as Triple;
  }

  #add(node: Node): string {
    const inputs = node.inputs.map((id) => this.#shapes.get(id)!);
    this.#shapes.set(node.id, nodeShape(node, inputs, this.#tensors));
    this.#nodes.push(node);
    return node.id;
  }

  #parameter(name: string, shape: readonly number[]): string {
    const data = this.#weights(name, shape);
    if (data.length !== elements(shape)) {
      throw new ModelError(
        'argument',
        `parameter '${name}' has ${data.length} numbers, not [${shape}]`,
      );
    }
    this.#tensors.set(name, { shape, data });
    return name;
  }

  /** A convolution with half its kernel around, and the norm behind it. */
  normedConv(
    [id, norm]: readonly [conv: string, norm: string],
    source: string,
    outputs: number,
    window: Convolution,
  ): string {
    const pad = (window.kernel - 1) / 2;
    return this.norm(norm, this.conv(id, source, outputs, { pad, ...window }));
  }

  conv(
    id: string,
    source: string,
    outputs: number,
    { kernel, stride = 1, pad = 0, bias = false, groups = 1 }: Convolution,
  ): string {
    const [channels] = this.shape(source);
    return this.#add({
      op: 'conv',
      id,
      inputs: [source],
      weight: this.#parameter(`${id}.weight`, [outputs, channels / groups, kernel, kernel]),
      ...(bias ? { bias: this.#parameter(`${id}.bias`, [outputs]) } : {}),
      kernel: [kernel, kernel],
      stride: [stride, stride],
      pads: [pad, pad, pad, pad],
      groups,
    });
  }

  norm(id: string, source: string): string {
    const shape = [this.shape(source)[0]];
    return this.#add({
      op: 'batchNorm',
      id,
      inputs: [source],
      scale: this.#parameter(`${id}.weight`, shape),
      shift: this.#parameter(`${id}.bias`, shape),
      mean: this.#parameter(`${id}.running_mean`, shape),
      variance: this.#parameter(`${id}.running_var`, shape),
      epsilon: EPSILON,
    });
  }

  /** An activation layer; its kinds are decided when all are known. */
  activation(id: string, source: string): string {
    const kinds = new Uint8Array(elements(this.shape(source)));
    return this.#add({ op: 'activation', id, inputs: [source], kinds });
  }

  add(id: string, x: string, y: string): string {
    return this.#add({ op: 'add', id, inputs: [x, y] });
  }

  /** @param window - average pooling takes no `pad` */
  pool(
    id: string,
    source: string,
    kind: 'max' | 'average',
    { kernel, stride = kernel, pad = 0 }: Window,
  ): string {
    const window = { kernel: [kernel, kernel], stride: [stride, stride] } as const;
    return this.#add(
      kind === 'average'
        ? { op: 'averagePool', id, inputs: [source], ...window }
        : { op: 'maxPool', id, inputs: [source], ...window, pads: [pad, pad, pad, pad] },
    );
  }

  /** Tensors one behind the other along the channels. */
  concat(id: string, ...inputs: readonly [string, string, ...string[]]): string {
    return this.#add({ op: 'concat', id, inputs });
  }

  /** Every `stride`-th row and column. */
  subsample(id: string, source: string, stride: number): string {
    const [channels, height, width] = this.shape(source);
    const size = [channels, Math.ceil(height / stride), Math.ceil(width / stride)] as const;
    const step = [1, stride, stride] as const;
    return this.#add({ op: 'slice', id, inputs: [source], start: [0, 0, 0], step, size });
  }

  /** Channels of zeros on either side. */
  padChannels(id: string, source: string, count: number): string {
    const side = [count, 0, 0] as const;
    return this.#add({ op: 'pad', id, inputs: [source], before: side, after: side });
  }

  /** Means of the channel planes as a flat vector. */
  means(id: string, source: string): string {
    return this.flatten(`${id}.flat`, this.#add({ op: 'globalAveragePool', id, inputs: [source] }));
  }

  flatten(id: string, source: string): string {
    return this.#add({ op: 'flatten', id, inputs: [source] });
  }

  dense(
    id: string,
    source: string,
    outputs: number,
    { bias = true }: { readonly bias?: boolean } = {},
  ): string {
    const [inputs] = this.shape(source);
    return this.#add({
      op: 'dense',
      id,
      inputs: [source],
      weight: this.#parameter(`${id}.weight`, [outputs, inputs]),
      ...(bias ? { bias: this.#parameter(`${id}.bias`, [outputs]) } : {}),
    });
  }

  scale(id: string, source: string): string {
    const shape = [this.shape(source)[0]];
    return this.#add({
      op: 'scale',
      id,
      inputs: [source],
      scale: this.#parameter(`${id}.weight`, shape),
      shift: this.#parameter(`${id}.bias`, shape),
    });
  }

  /** The finished network, whose result is the value `output`. */
  build(output: string): Graph {
    const layers = this.#nodes
      .filter((node) => node.op === 'activation')
      .map(({ id }) => ({ id, shape: this.#shapes.get(id)! }));
    const maps = new Map(this.#map(layers).map((kinds, i) => [layers[i]!.id, kinds]));
    const nodes = this.#nodes.map((node): Node => {
      if (node.op !== 'activation') return node;
      const kinds = maps.get(node.id)!;
      if (!readsCoefficients(kinds)) return { ...node, kinds };
      const coefficients = `${node.id}.coefficients`;
      const [channels] = this.shape(node.id);
      const data = Float32Array.from({ length: 3 * channels }, (_, i) => this.#quadratic[i % 3]!);
      this.#tensors.set(coefficients, { shape: [channels, 3], data });
      return { ...node, kinds, coefficients };
    });
    return { input: this.#input, nodes, output, tensors: this.#tensors };
  }
}
