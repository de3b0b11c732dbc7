/** Shapes of tensors and of linear layers, public to both parties. */

/** [channels, height, width]; a vector is [n, 1, 1]. */
export type Shape = readonly [number, number, number];

/** A convolution over [channels, height, width]; pads are [top, left, bottom, right]. */
export interface ConvShape {
  readonly kind: 'conv';
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly outChannels: number;
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly pads: readonly [number, number, number, number];
  readonly groups: number;
}

/** A matrix times the flattened input. */
export interface DenseShape {
  readonly kind: 'dense';
  readonly inputs: number;
  readonly outputs: number;
}

/** Weights are laid out [outChannels, channels / groups, kernel height, kernel width] or [outputs, inputs]. */
export type LinearShape = ConvShape | DenseShape;

/** Elements of a tensor of this shape. */
export function sizeOf(shape: Shape): number {
  return shape[0] * shape[1] * shape[2];
}

/** Elements a linear layer reads. */
export function linearInputSize(shape: LinearShape): number {
  return shape.kind === 'dense' ? shape.inputs : shape.channels * shape.height * shape.width;
}

/** Shape of what a linear layer makes. */
export function linearOutput(shape: LinearShape): Shape {
  if (shape.kind === 'dense') return [shape.outputs, 1, 1];
  const extent = (axis: 0 | 1, size: number, before: number, after: number) =>
    Math.floor((size + before + after - shape.kernel[axis]) / shape.stride[axis]) + 1;
  return [
    shape.outChannels,
    extent(0, shape.height, shape.pads[0], shape.pads[2]),
    extent(1, shape.width, shape.pads[1], shape.pads[3]),
  ];
}

/** Weights that make one output of a linear layer. */
export function fanIn(shape: LinearShape): number {
  if (shape.kind === 'dense') return shape.inputs;
  return (shape.channels / shape.groups) * shape.kernel[0] * shape.kernel[1];
}

/** Number of weights of a linear layer. */
export function weightCount(shape: LinearShape): number {
  return fanIn(shape) * (shape.kind === 'dense' ? shape.outputs : shape.outChannels);
}

/** Multiply-accumulates of a linear layer. */
export function macsOf(shape: LinearShape): number {
  return sizeOf(linearOutput(shape)) * fanIn(shape);
}
