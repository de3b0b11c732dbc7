/** Operators that move a window over the planes of an image. */

import { BATCH } from '../layout.ts';
import type { Operation, Planes, Traced } from '../operation.ts';

type Pair = [number, number];
type Pads = [number, number, number, number];

/** A window's geometry, with padding worked out and room for what `ceil_mode` adds at the end. */
interface Windows {
  readonly kernel: Pair;
  readonly stride: Pair;
  /** [top, left, bottom, right] */
  readonly pads: Pads;
  /** Rows and columns beyond the padding that the last windows of `ceil_mode` reach. */
  readonly overhang: Pair;
}

function windowsOf(op: Operation, { shape }: Planes, kernel: Pair): Windows {
  const stride = op.counts('strides', 2, 1) as Pair;
  const dilations = op.counts('dilations', 2, 1);
  if (dilations.some((d, axis) => d !== 1 && kernel[axis] !== 1)) {
    throw new RangeError(`it has dilations [${dilations}]: only undilated windows are supported`);
  }
  const pads = padsOf(op, shape, kernel, stride);
  const overhang = [0, 1].map((axis) => {
    const size = shape[axis + 1]! + pads[axis]!;
    const room = size + pads[axis + 2]! - kernel[axis]!;
    if (op.integer('ceil_mode', 0) === 0 || room < 0) return 0;
    const last = Math.ceil(room / stride[axis]!) * stride[axis]!;
    // A window that would start behind the input is left out.
    return last < size ? last - room : 0;
  }) as Pair;
  return { kernel, stride, pads, overhang };
}

function padsOf(op: Operation, shape: Planes['shape'], kernel: Pair, stride: Pair): Pads {
  const mode = op.text('auto_pad', 'NOTSET');
  if (mode === 'VALID') return [0, 0, 0, 0];
  if (mode === 'SAME_UPPER' || mode === 'SAME_LOWER') {
    const sides = [0, 1].map((axis) => {
      const size = shape[axis + 1]!;
      const span = (Math.ceil(size / stride[axis]!) - 1) * stride[axis]! + kernel[axis]!;
      const total = Math.max(span - size, 0);
      const less = Math.floor(total / 2);
      return mode === 'SAME_UPPER' ? [less, total - less] : [total - less, less];
    });
    return [sides[0]![0]!, sides[1]![0]!, sides[0]![1]!, sides[1]![1]!];
  }
  if (mode !== 'NOTSET') throw new RangeError(`it has the unknown auto_pad '${mode}'`);
  const pads = op.integers('pads') ?? [0, 0, 0, 0];
  if (pads.length !== 4) throw new RangeError(`its pads [${pads}] should be 4 numbers`);
  return [...pads] as Pads;
}

const STANDARD = [BATCH, 0, 1, 2];

export function conv(op: Operation): Traced {
  const { shape } = op.numbers(1, 'weight');
  if (shape.length !== 4) {
    throw new RangeError(`its weight of shape [${shape}] is not that of a 2D convolution`);
  }
  const kernel = shape.slice(2) as Pair;
  const planes = op.standardPlanes(0);
  const { stride, pads } = windowsOf(op, planes, kernel);
  const declared = op.integers('kernel_shape') ?? kernel;
  if (`${declared}` !== `${kernel}`) {
    throw new RangeError(`its kernel_shape [${declared}] is not that of its weight, [${kernel}]`);
  }
  const { writer } = op;
  const weight = writer.tensor(op.node.inputs[1]!, shape, op.weights(1, 'weight'));
  const bias = op.has(2)
    ? { bias: writer.tensor(op.node.inputs[2]!, [shape[0]!], op.weights(2, 'bias')) }
    : {};
  const groups = op.integer('group', 1);
  const id = writer.add(op.name, {
    op: 'conv',
    inputs: [planes.id],
    weight,
    ...bias,
    kernel,
    stride,
    pads,
    groups,
  });
  return op.result(id, STANDARD);
}

export function maxPool(op: Operation): Traced {
  const planes = op.standardPlanes(0);
  const windows = windowsOf(op, planes, op.counts('kernel_shape', 2) as Pair);
  const { kernel, stride, pads, overhang } = windows;
  // What a window finds beyond the input never wins, be it padding or overhang.
  const [top, left, bottom, right] = pads;
  const id = op.writer.add(op.name, {
    op: 'maxPool',
    inputs: [planes.id],
    kernel,
    stride,
    pads: [top, left, bottom + overhang[0], right + overhang[1]],
  });
  return op.result(id, STANDARD);
}

export function averagePool(op: Operation): Traced {
  const planes = op.standardPlanes(0);
  const windows = windowsOf(op, planes, op.counts('kernel_shape', 2) as Pair);
  const { kernel, stride, pads, overhang } = windows;
  if (overhang.some((n) => n > 0)) {
    throw new RangeError(
      'its ceil_mode makes windows that stick out and divide by fewer numbers: export it with ceil_mode 0, or pad the image first',
    );
  }
  let input = planes.id;
  if (pads.some((n) => n > 0)) {
    if (op.integer('count_include_pad', 0) === 0) {
      throw new RangeError(
        'its windows divide by fewer numbers at the border: export it with count_include_pad=1, or without padding',
      );
    }
    const [top, left, bottom, right] = pads;
    input = op.writer.add(`${op.name}.padded`, {
      op: 'pad',
      inputs: [input],
      before: [0, top, left],
      after: [0, bottom, right],
    });
  }
  const id = op.writer.add(op.name, { op: 'averagePool', inputs: [input], kernel, stride });
  return op.result(id, STANDARD);
}

export function globalAveragePool(op: Operation): Traced {
  const { id } = op.standardPlanes(0);
  return op.result(op.writer.add(op.name, { op: 'globalAveragePool', inputs: [id] }), STANDARD);
}

export function globalMaxPool(op: Operation): Traced {
  const { id, shape } = op.standardPlanes(0);
  const kernel: Pair = [shape[1], shape[2]];
  const node = { op: 'maxPool', inputs: [id], kernel, stride: [1, 1], pads: [0, 0, 0, 0] } as const;
  return op.result(op.writer.add(op.name, node), STANDARD);
}
