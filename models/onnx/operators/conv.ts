/** Convolutions, along lines and over planes, and their transposes. */

import { OUTSIDE } from '../../../protocol/ring/gather.ts';
import { ModelError } from '../../errors.ts';
import { Moving } from '../moving.ts';
import type { Operation, Traced } from '../operation.ts';
import { dimsOf } from '../view.ts';
import {
  cropped,
  isLineOf,
  type Pads,
  type Pair,
  padsAttribute,
  planeDims,
  repeated,
  windowsOf,
} from './windows.ts';

/** The weight of an operator as [a, b, kernel height, kernel width]. */
function weightOf(op: Operation): { shape: [number, number, number, number]; data: Float32Array } {
  const { shape } = op.numbers(1, 'weight');
  if (shape.length !== 4 && shape.length !== 3) {
    throw new ModelError(
      'network',
      `its weight of shape [${shape}] is that of a convolution over ${shape.length - 2} axes: only those over 1 and 2 are read`,
    );
  }
  const [a, b, ...kernel] = shape as [number, number, ...number[]];
  const [h, w] = kernel.length === 1 ? [1, kernel[0]!] : (kernel as Pair);
  const declared = op.integers('kernel_shape') ?? kernel;
  if (`${declared}` !== `${kernel}`) {
    throw new ModelError(
      'network',
      `its kernel_shape [${declared}] is not that of its weight, [${kernel}]`,
    );
  }
  return { shape: [a, b, h, w], data: op.weights(1, 'weight') };
}

function biasOf(op: Operation, size: number): Float32Array | undefined {
  if (!op.has(2)) return undefined;
  const bias = op.weights(2, 'bias');
  if (bias.length !== size) {
    throw new ModelError('network', `its bias of ${bias.length} numbers should be one of ${size}`);
  }
  return bias;
}

/** A kernel with zeros between its elements. */
function widened(op: Operation, data: Float32Array, kernel: Pair, dilation: Pair): Float32Array {
  const [h, w] = kernel;
  const span = [(h - 1) * dilation[0] + 1, (w - 1) * dilation[1] + 1] as const;
  const planes = data.length / (h * w);
  op.writer.allocate(4 * planes * span[0] * span[1]);
  const wide = new Float32Array(planes * span[0] * span[1]);
  for (let i = 0; i < data.length; i++) {
    const [plane, y, x] = [Math.floor(i / (h * w)), Math.floor(i / w) % h, i % w];
    wide[(plane * span[0] + y * dilation[0]) * span[1] + x * dilation[1]] = data[i]!;
  }
  return wide;
}

/** Adds a convolution to the graph: `weight` is [out, in / groups, kernel height, kernel width]. */
function addConv(
  op: Operation,
  x: Traced,
  geometry: { kernel: Pair; stride: Pair; pads: Pads; groups: number },
  weight: { name: string; out: number; data: Float32Array },
  bias: Float32Array | undefined,
): Traced {
  const { writer } = op;
  const planes = op.planes(x);
  const { kernel } = geometry;
  const { count } = planes;
  const data = repeated(op, weight.data, planes);
  const inner = weight.data.length / (weight.out * kernel[0] * kernel[1]);
  const name = count === 1 ? weight.name : `${op.name}.weight`;
  const biased =
    bias === undefined
      ? {}
      : {
          bias: writer.tensor(
            count === 1 ? op.node.inputs[2]! : `${op.name}.bias`,
            [weight.out * count],
            repeated(op, bias, planes),
          ),
        };
  const id = writer.add(op.name, {
    op: 'conv',
    inputs: [planes.id],
    weight: writer.tensor(name, [weight.out * count, inner, ...kernel], data),
    ...biased,
    ...geometry,
    groups: geometry.groups * count,
  });
  return op.fromPlanes(id, planes);
}

export function conv(op: Operation): Traced {
  const { shape, data } = weightOf(op);
  const from = op.traced(0);
  const dims = dimsOf(from.view);
  const isLine = isLineOf(dims);
  const windows = windowsOf(op, planeDims(dims), isLine, [shape[2], shape[3]]);
  const { span, stride, dilation } = windows;
  const { x, pads } = cropped(op, from, isLine, windows.pads);
  const isWide = `${span}` !== `${windows.kernel}`;
  const weight = {
    name: isWide ? `${op.name}.weight` : op.node.inputs[1]!,
    out: shape[0],
    data: isWide ? widened(op, data, windows.kernel, dilation) : data,
  };
  const geometry = { kernel: span, stride, pads, groups: op.integer('group', 1) };
  return addConv(op, x, geometry, weight, biasOf(op, shape[0]));
}

/** Weights [in, out / groups, h, w] of a transposed convolution as those of one: turned around, [out, in / groups, h, w]. */
function turned(
  op: Operation,
  data: Float32Array,
  [cin, cout, h, w]: readonly [number, number, number, number],
  groups: number,
): Float32Array {
  op.writer.allocate(4 * data.length);
  const out = new Float32Array(data.length);
  const own = cin / groups;
  const size = h * w;
  for (let i = 0; i < cin; i++) {
    const [group, inner] = [Math.floor(i / own), i % own];
    for (let o = 0; o < cout; o++) {
      const to = ((group * cout + o) * own + inner) * size;
      const from = (i * cout + o) * size;
      for (let k = 0; k < size; k++) out[to + k] = data[from + size - 1 - k]!;
    }
  }
  return out;
}

/** A convolution of the image with zeros between its elements. */
export function convTranspose(op: Operation): Traced {
  const { shape, data } = weightOf(op);
  const x = op.traced(0);
  const dims = dimsOf(x.view);
  const isLine = isLineOf(dims);
  const groups = op.integer('group', 1);
  const [, channels] = dims;
  if (channels !== shape[0] || !Number.isSafeInteger(channels / groups) || groups < 1) {
    throw new ModelError(
      'network',
      `its weight of shape [${shape}] in ${groups} groups does not fit its input of shape [${dims}]`,
    );
  }
  const list = (name: string, fallback: number): Pair => {
    const found = op.integers(name) ?? Array<number>(isLine ? 1 : 2).fill(fallback);
    if (
      found.length !== (isLine ? 1 : 2) ||
      found.some((n) => !Number.isSafeInteger(n) || n < fallback)
    ) {
      throw new ModelError(
        'network',
        `its ${name} [${found}] should be one number for each axis of the planes`,
      );
    }
    return isLine ? [name === 'output_shape' ? 1 : fallback, found[0]!] : (found as Pair);
  };
  const stride = list('strides', 1);
  const dilation = list('dilations', 1);
  const extra = list('output_padding', 0);
  const kernel: Pair = [shape[2], shape[3]];
  const span = kernel.map((k, axis) => (k - 1) * dilation[axis]! + 1) as Pair;
  const size = planeDims(dims).slice(2) as Pair;
  const pads = transposedPads(op, isLine, { size, stride, span, extra });
  const moved = new Moving(op, x);
  for (const axis of isLine ? ([1] as const) : ([0, 1] as const)) {
    if (stride[axis] === 1) continue;
    const at = dims.length - 2 + axis;
    const length = (size[axis] - 1) * stride[axis] + 1;
    moved.pickEach(at, length, (i) => (i % stride[axis] === 0 ? i / stride[axis] : OUTSIDE));
  }
  // The window of the turned kernel sees each element where the kernel of the transpose puts it.
  const around = pads.map((n, side) => {
    const axis = (side % 2) as 0 | 1;
    return span[axis] - 1 - n + (side > 1 ? extra[axis] : 0);
  }) as Pads;
  const { x: input, pads: left } = cropped(op, moved.done() as Traced, isLine, around);
  const flipped = turned(op, data, shape, groups);
  const weight = {
    name: `${op.name}.weight`,
    out: shape[1] * groups,
    data: `${span}` === `${kernel}` ? flipped : widened(op, flipped, kernel, dilation),
  };
  const geometry = { kernel: span, stride: [1, 1] as Pair, pads: left, groups };
  return addConv(op, input, geometry, weight, biasOf(op, weight.out));
}

function transposedPads(
  op: Operation,
  isLine: boolean,
  { size, stride, span, extra }: Readonly<Record<'size' | 'stride' | 'span' | 'extra', Pair>>,
): Pads {
  const mode = op.text('auto_pad', 'NOTSET');
  const isSame = mode === 'SAME_UPPER' || mode === 'SAME_LOWER';
  const given = op.integers('output_shape');
  if (given === undefined && !isSame)
    return mode === 'VALID' ? [0, 0, 0, 0] : padsAttribute(op, isLine);
  const plane =
    given === undefined ? undefined : given.length > (isLine ? 1 : 2) ? given.slice(2) : given;
  const wanted: Pair =
    plane === undefined
      ? [size[0] * stride[0], size[1] * stride[1]]
      : isLine
        ? [1, plane[0]!]
        : ([...plane] as Pair);
  const sides = ([0, 1] as const).map((axis) => {
    const total = stride[axis] * (size[axis] - 1) + extra[axis] + span[axis] - wanted[axis];
    const half = Math.floor(total / 2);
    return mode === 'SAME_UPPER' ? [half, total - half] : [total - half, half];
  });
  return [sides[0]![0]!, sides[1]![0]!, sides[0]![1]!, sides[1]![1]!];
}
