/**
 * The operators of a float network, one entry each: its result's shape (and every check of its fields), the
 * multiplications it costs, and its value. A new operator is a node type in graph.ts, an entry here and a line in the
 * file format; nothing else switches on `op`.
 *
 * Values are computed in double precision and rounded to single once per element: this is the reference that the
 * training kernels and the fixed-point compiler are compared with.
 */

import { isKind } from '../../protocol/program/kinds.ts';
import { gather, gatheredSize, gatherFault } from '../../protocol/ring/gather.ts';
import { ModelError } from '../errors.ts';
import {
  type ActivationKind,
  type ActivationNode,
  type ConvNode,
  elements,
  type Graph,
  IDENTITY,
  type Node,
  RELU,
  type Shape,
  SQUARE,
  tensorOf,
} from './graph.ts';
import { readsCoefficients } from './kinds.ts';
import {
  checkPads,
  isCount,
  maximum,
  NO_PADS,
  planes,
  pool,
  pooledShape,
  poolWindows,
  windows,
  withPads,
} from './windows.ts';

/** What an operator's functions get beside the node itself. */
export interface Site {
  readonly graph: Pick<Graph, 'tensors'>;
  /** Shapes of the node's inputs, in order. */
  readonly shapes: readonly Shape[];
  /** Shape of the node's result. */
  readonly shape: Shape;
}

interface Operator<N extends Node> {
  /** The result's shape; throws ModelError `network` (without the node's name) when the node cannot stand here. */
  shape(node: N, site: Omit<Site, 'shape'>): Shape;
  /** Multiplications by a weight for one image. */
  macs?(node: N, site: Site): number;
  /** Pairs of numbers of which one image takes the larger. */
  maxima?(node: N, site: Site): number;
  /** Fills `out`. */
  run(node: N, inputs: readonly Float32Array[], out: Float32Array, site: Site): void;
}

type Operators = { readonly [K in Node['op']]: Operator<Extract<Node, { op: K }>> };

function expectTensor(site: Omit<Site, 'shape'>, name: string, shape: readonly number[]): void {
  const found = tensorOf(site.graph, name);
  if (`${found.shape}` !== `${shape}` || found.data.length !== elements(shape)) {
    throw new ModelError(
      'network',
      `tensor '${name}' should be [${shape}] but is [${found.shape}]`,
    );
  }
}

/** @throws ModelError `network` when it is no shape of so many elements */
function checkShape(shape: Shape, size: number): void {
  if ((shape.length !== 1 && shape.length !== 3) || !shape.every(isCount)) {
    throw new ModelError('network', `[${shape}] should be [C, H, W] or [N]`);
  }
  if (elements(shape) !== size) {
    throw new ModelError('network', `[${shape}] should have ${size} elements`);
  }
}

/** `count` rows of weights, and their biases, from row `from` on. */
interface Rows {
  readonly weights: Float64Array;
  readonly bias: Float32Array | undefined;
  readonly from: number;
  readonly count: number;
}

/** out[first + r*stride] = bias[r] + rows[r] . x, rows of x.length weights. */
function products(
  x: Float64Array,
  { weights: rows, bias, from, count }: Rows,
  out: Float32Array,
  first: number,
  stride: number,
): void {
  const n = x.length;
  let r = 0;
  // Four rows at a time: each element of x is loaded once for four sums.
  for (; r + 4 <= count; r += 4) {
    const w0 = (from + r) * n;
    const w1 = w0 + n;
    const w2 = w1 + n;
    const w3 = w2 + n;
    let s0 = 0;
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    for (let i = 0; i < n; i++) {
      const v = x[i]!;
      s0 += v * rows[w0 + i]!;
      s1 += v * rows[w1 + i]!;
      s2 += v * rows[w2 + i]!;
      s3 += v * rows[w3 + i]!;
    }
    const o = first + r * stride;
    out[o] = s0 + (bias?.[from + r] ?? 0);
    out[o + stride] = s1 + (bias?.[from + r + 1] ?? 0);
    out[o + 2 * stride] = s2 + (bias?.[from + r + 2] ?? 0);
    out[o + 3 * stride] = s3 + (bias?.[from + r + 3] ?? 0);
  }
  for (; r < count; r++) {
    const w0 = (from + r) * n;
    let s = 0;
    for (let i = 0; i < n; i++) s += x[i]! * rows[w0 + i]!;
    out[first + r * stride] = s + (bias?.[from + r] ?? 0);
  }
}

function convolve(node: ConvNode, x: Float32Array, out: Float32Array, site: Site): void {
  const [c, h, w] = planes(site.shapes[0]!);
  const [oc, oh, ow] = planes(site.shape);
  const [kh, kw] = node.kernel;
  const [top, left] = node.pads;
  // Widened once: cheaper than at every product.
  const weights = new Float64Array(tensorOf(site.graph, node.weight).data);
  const bias = node.bias === undefined ? undefined : tensorOf(site.graph, node.bias).data;
  const cg = c / node.groups;
  const og = oc / node.groups;
  const patch = new Float64Array(cg * kh * kw);
  for (let g = 0; g < node.groups; g++) {
    const rows = { weights, bias, from: g * og, count: og };
    for (let oy = 0; oy < oh; oy++) {
      for (let ox = 0; ox < ow; ox++) {
        let p = 0;
        for (let ch = g * cg; ch < (g + 1) * cg; ch++) {
          for (let ky = 0; ky < kh; ky++) {
            const y = oy * node.stride[0] + ky - top;
            const row = (ch * h + y) * w;
            for (let kx = 0; kx < kw; kx++, p++) {
              const col = ox * node.stride[1] + kx - left;
              patch[p] = y >= 0 && y < h && col >= 0 && col < w ? x[row + col]! : 0;
            }
          }
        }
        products(patch, rows, out, g * og * oh * ow + oy * ow + ox, oh * ow);
      }
    }
  }
}

function checkActivation(node: ActivationNode, site: Omit<Site, 'shape'>): void {
  const shape = site.shapes[0]!;
  const size = elements(shape);
  if (node.kinds.length !== size) {
    throw new ModelError('network', `the map has ${node.kinds.length} kinds for ${size} elements`);
  }
  if (node.coefficients !== undefined) expectTensor(site, node.coefficients, [shape[0]!, 3]);
  const { kinds } = node;
  const plane = size / shape[0]!;
  for (let channel = 0; channel < shape[0]!; channel++) {
    const own = kinds.subarray(channel * plane, (channel + 1) * plane);
    let most = 0;
    for (const code of own) most = Math.max(most, code);
    if (!isKind(most)) throw new ModelError('network', `${most} is not an activation kind`);
    if (readsCoefficients(own)) checkCurvature(node, site, channel);
  }
}

function checkCurvature(node: ActivationNode, site: Omit<Site, 'shape'>, channel: number): void {
  if (node.coefficients === undefined) throw new ModelError('network', 'squares need coefficients');
  const c2 = tensorOf(site.graph, node.coefficients).data[3 * channel + 2]!;
  if (!(c2 > 0))
    throw new ModelError('network', `channel ${channel} has squares but c2 = ${c2}, not > 0`);
}

export const operators: Operators = {
  conv: {
    shape(node, site) {
      const [c, h, w] = planes(site.shapes[0]!);
      const { kernel, stride, pads, groups } = node;
      if (!isCount(groups) || c % groups !== 0) {
        throw new ModelError('network', `${groups} groups do not divide ${c} input channels`);
      }
      checkPads(pads);
      const oc = tensorOf(site.graph, node.weight).shape[0] ?? 0;
      if (!isCount(oc) || oc % groups !== 0) {
        throw new ModelError('network', `${groups} groups do not divide ${oc} output channels`);
      }
      expectTensor(site, node.weight, [oc, c / groups, ...kernel]);
      if (node.bias !== undefined) expectTensor(site, node.bias, [oc]);
      return [
        oc,
        windows(h + pads[0] + pads[2], kernel[0], stride[0]),
        windows(w + pads[1] + pads[3], kernel[1], stride[1]),
      ];
    },
    macs: (node, site) =>
      (elements(site.shape) * node.kernel[0] * node.kernel[1] * site.shapes[0]![0]!) / node.groups,
    run: (node, [x], out, site) => convolve(node, x!, out, site),
  },
  batchNorm: {
    shape(node, site) {
      const shape = site.shapes[0]!;
      for (const name of [node.scale, node.shift, node.mean, node.variance]) {
        expectTensor(site, name, [shape[0]!]);
      }
      if (!(node.epsilon >= 0)) throw new ModelError('network', 'epsilon should be zero or more');
      return shape;
    },
    run(node, [x], out, site) {
      const [scale, shift, mean, variance] = [node.scale, node.shift, node.mean, node.variance].map(
        (name) => tensorOf(site.graph, name).data,
      );
      const channels = site.shape[0]!;
      const plane = out.length / channels;
      for (let ch = 0; ch < channels; ch++) {
        const a = scale![ch]! / Math.sqrt(variance![ch]! + node.epsilon);
        const b = shift![ch]! - a * mean![ch]!;
        for (let i = ch * plane; i < (ch + 1) * plane; i++) out[i] = a * x![i]! + b;
      }
    },
  },
  scale: {
    shape(node, site) {
      const shape = site.shapes[0]!;
      for (const name of [node.scale, node.shift]) expectTensor(site, name, [shape[0]!]);
      return shape;
    },
    run(node, [x], out, site) {
      const scale = tensorOf(site.graph, node.scale).data;
      const shift = tensorOf(site.graph, node.shift).data;
      const plane = out.length / site.shape[0]!;
      for (let ch = 0, i = 0; ch < scale.length; ch++) {
        const a = scale[ch]!;
        const b = shift[ch]!;
        for (const end = i + plane; i < end; i++) out[i] = a * x![i]! + b;
      }
    },
  },
  dense: {
    shape(node, site) {
      const shape = site.shapes[0]!;
      if (shape.length !== 1) throw new ModelError('network', `needs a flat input, not [${shape}]`);
      const out = tensorOf(site.graph, node.weight).shape[0] ?? 0;
      expectTensor(site, node.weight, [out, shape[0]!]);
      if (node.bias !== undefined) expectTensor(site, node.bias, [out]);
      return [out];
    },
    macs: (_node, site) => site.shape[0]! * site.shapes[0]![0]!,
    run(node, [x], out, site) {
      const bias = node.bias === undefined ? undefined : tensorOf(site.graph, node.bias).data;
      const weights = new Float64Array(tensorOf(site.graph, node.weight).data);
      products(new Float64Array(x!), { weights, bias, from: 0, count: out.length }, out, 0, 1);
    },
  },
  maxPool: {
    shape: (node, site) => pooledShape(node, site.shapes[0]!),
    maxima(node, site) {
      const { rows, columns } = poolWindows(node, site);
      const total = (ranges: typeof rows) => ranges.reduce((sum, [from, to]) => sum + to - from, 0);
      return site.shape[0]! * (total(rows) * total(columns) - rows.length * columns.length);
    },
    run: (node, [x], out, site) => maximum(node, x!, out, site),
  },
  averagePool: {
    shape: (node, site) => pooledShape(withPads(node), site.shapes[0]!),
    run: (node, [x], out, site) => pool(withPads(node), x!, out, site),
  },
  globalAveragePool: {
    shape: (_node, site) => [planes(site.shapes[0]!)[0], 1, 1],
    run(_node, [x], out, site) {
      const [, h, w] = planes(site.shapes[0]!);
      pool({ kernel: [h, w], stride: [1, 1], pads: NO_PADS }, x!, out, site);
    },
  },
  reshape: {
    shape({ shape }, site) {
      checkShape(shape, elements(site.shapes[0]!));
      return shape;
    },
    run: (_node, [x], out) => out.set(x!),
  },
  gather: {
    shape({ shape, tables }, site) {
      checkShape(shape, gatheredSize(tables));
      const fault = gatherFault(tables, elements(site.shapes[0]!));
      if (fault !== undefined) throw new ModelError('network', `it ${fault}`);
      return shape;
    },
    run: ({ tables }, [x], out) => void gather(tables, x!, out),
  },
  flatten: {
    shape: (_node, site) => [elements(site.shapes[0]!)],
    run: (_node, [x], out) => out.set(x!),
  },
  pad: {
    shape({ before, after }, site) {
      checkPads([...before, ...after]);
      return planes(site.shapes[0]!).map((n, axis) => before[axis]! + n + after[axis]!);
    },
    run({ before }, [x], out, site) {
      const [c, h, w] = planes(site.shapes[0]!);
      const [, oh, ow] = planes(site.shape);
      for (let row = 0; row < c * h; row++) {
        const ch = before[0] + Math.floor(row / h);
        const y = before[1] + (row % h);
        out.set(x!.subarray(row * w, (row + 1) * w), (ch * oh + y) * ow + before[2]);
      }
    },
  },
  slice: {
    shape({ start, step, size }, site) {
      planes(site.shapes[0]!).forEach((n, axis) => {
        const [from, by, count] = [start[axis]!, step[axis]!, size[axis]!];
        if (!Number.isSafeInteger(from) || from < 0 || !isCount(by) || !isCount(count)) {
          throw new ModelError(
            'network',
            'start, step and size should be whole numbers, the last two positive',
          );
        }
        if (from + by * (count - 1) >= n) {
          throw new ModelError(
            'network',
            `it takes ${count} from ${from} on by steps of ${by} where there are ${n}`,
          );
        }
      });
      return size;
    },
    run({ start, step, size }, [x], out, site) {
      const [, h, w] = planes(site.shapes[0]!);
      let o = 0;
      for (let ch = 0; ch < size[0]; ch++) {
        for (let y = 0; y < size[1]; y++) {
          const row = (start[0] + ch * step[0]) * h + start[1] + y * step[1];
          const first = row * w + start[2];
          for (let col = 0; col < size[2]; col++) out[o++] = x![first + col * step[2]]!;
        }
      }
    },
  },
  concat: {
    shape(_node, { shapes }) {
      const [first] = shapes;
      if (shapes.some((shape) => `${shape.slice(1)}` !== `${first!.slice(1)}`)) {
        throw new ModelError(
          'network',
          `cannot join ${shapes.map((shape) => `[${shape}]`).join(' and ')}`,
        );
      }
      return [shapes.reduce((sum, shape) => sum + shape[0]!, 0), ...first!.slice(1)];
    },
    run(_node, inputs, out) {
      let at = 0;
      for (const x of inputs) {
        out.set(x, at);
        at += x.length;
      }
    },
  },
  add: {
    shape(_node, { shapes: [a, b] }) {
      if (`${a}` !== `${b}`) throw new ModelError('network', `cannot add [${a}] and [${b}]`);
      return a!;
    },
    run({ subtract }, [a, b], out) {
      const sign = subtract ? -1 : 1;
      for (let i = 0; i < out.length; i++) out[i] = a![i]! + sign * b![i]!;
    },
  },
  piecewise: {
    shape(node, site) {
      const shape = site.shapes[0]!;
      for (const name of [node.offset, node.slope]) expectTensor(site, name, [shape[0]!]);
      const count = tensorOf(site.graph, node.knots).shape[1] ?? 0;
      for (const name of [node.knots, node.bends]) expectTensor(site, name, [shape[0]!, count]);
      return shape;
    },
    run(node, [x], out, site) {
      const [offset, slope, knots, bends] = [node.offset, node.slope, node.knots, node.bends].map(
        (name) => tensorOf(site.graph, name).data,
      ) as [Float32Array, Float32Array, Float32Array, Float32Array];
      const plane = out.length / site.shape[0]!;
      const count = knots.length / offset.length;
      for (let i = 0; i < out.length; i++) {
        const channel = Math.floor(i / plane);
        const v = x![i]!;
        let sum = offset[channel]! + slope[channel]! * v;
        for (let j = channel * count; j < (channel + 1) * count; j++) {
          sum += bends[j]! * Math.max(v - knots[j]!, 0);
        }
        out[i] = sum;
      }
    },
  },
  activation: {
    shape(node, site) {
      checkActivation(node, site);
      return site.shapes[0]!;
    },
    run(node, [x], out, site) {
      const plane = out.length / site.shape[0]!;
      const c =
        node.coefficients === undefined ? undefined : tensorOf(site.graph, node.coefficients).data;
      for (let i = 0; i < out.length; i++) {
        const v = x![i]!;
        const kind = node.kinds[i] as ActivationKind;
        switch (kind) {
          case IDENTITY:
            out[i] = v;
            break;
          case RELU:
            out[i] = Math.max(v, 0);
            break;
          case SQUARE: {
            const row = 3 * Math.floor(i / plane);
            out[i] = c![row]! + v * (c![row + 1]! + v * c![row + 2]!);
            break;
          }
          default:
            kind satisfies never;
        }
      }
    },
  },
};

/** The operator of a node, with the node's type forgotten: the one place that needs a cast. */
export function operatorOf(node: Node): Operator<Node> {
  const operator = operators[node.op];
  if (operator === undefined) throw new ModelError('network', `unknown operator '${node.op}'`);
  return operator as unknown as Operator<Node>;
}
