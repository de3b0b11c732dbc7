/**
 * Convolution and dense layers as gathered products.
 *
 * Forward: the row of an output pixel is its patch of the padded input; in a channels-last image a kernel row of a patch
 * is one run of kernel width x channels numbers (with groups: one run per kernel cell).
 *
 * Input gradient: the input pixels whose padded coordinates are congruent to (a, b) modulo the stride see exactly the
 * kernel cells (a + stride*m, b + stride*n). Each such phase is a stride-1 convolution of the padded output gradient
 * with those cells, turned around: no zeros are multiplied, whatever the stride.
 */

import type { ConvNode, DenseNode } from '../../graph/index.ts';
import type { Floats } from '../kernels/index.ts';
import { Gather } from './gather.ts';
import { PaddedImages } from './images.ts';
import { type Builder, type Layer, paddedLength, type Value, valueSize } from './layer.ts';
import { suitsWinograd, tileOverhang, Winograd, type WinogradShape } from './winograd.ts';

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
}

/** Offsets of the grid rows x columns, rows first. */
function grid(rows: readonly number[], columns: readonly number[]): number[] {
  return rows.flatMap((r) => columns.map((c) => r + c));
}

/** One axis of a convolution. */
interface Axis {
  readonly kernel: number;
  readonly stride: number;
  readonly pad: number;
  readonly size: number;
  readonly outputs: number;
}

/** One axis of one phase of the input gradient (see above). */
function phaseAxis(phase: number, { kernel, stride, pad, size, outputs }: Axis) {
  const cells = range(0, Math.ceil((kernel - phase) / stride) - 1).map((m) => phase + stride * m);
  // Padded coordinates phase + stride*i inside [pad, pad + size).
  const first = Math.max(0, Math.ceil((pad - phase) / stride));
  const steps = range(first, Math.floor((pad + size - 1 - phase) / stride));
  // Step i sees outputs i - cells + 1 .. i.
  const from = steps.map((i) => i - cells.length + 1);
  return {
    /** Kernel cells, last first: the order in which outputs from `from` on meet them. */
    cells: cells.reverse(),
    /** First output each step sees. */
    from,
    /** Input coordinate of each step. */
    to: steps.map((i) => phase + stride * i - pad),
    /** Padding of the outputs that this needs. */
    before: Math.max(0, -(from[0] ?? 0)),
    after: Math.max(0, (steps.at(-1) ?? 0) - (outputs - 1)),
  };
}

/**
 * A convolution's forward products, one per group. Offsets count floats from the start of an image (gather.ts); cg and og are the
 * channels that a group reads and makes; the parameter is [result][channel of its group][kernel row][kernel column].
 */
function forwardProducts(
  { memory, batch, node, output }: Builder<ConvNode>,
  image: PaddedImages,
  channels: number,
): Gather[] {
  const { kernel, stride, groups } = node;
  const cg = channels / groups;
  const og = output.channels / groups;
  const rows = range(0, output.height - 1).map((y) => y * stride[0] * image.width * channels);
  const columns = range(0, output.width - 1).map((x) => x * stride[1] * channels);
  const kernelRows = range(0, kernel[0] - 1).map((y) => y * image.width * channels);
  const kernelColumns = range(0, kernel[1] - 1).map((x) => x * channels);
  const [kh, kw] = kernel;
  return range(0, groups - 1).map(
    (g) =>
      new Gather(memory, batch, {
        xOffsets: grid(rows, columns).map((o) => o + g * cg),
        yOffsets: range(0, output.height * output.width - 1).map(
          (p) => p * output.channels + g * og,
        ),
        segments: groups === 1 ? kernelRows : grid(kernelRows, kernelColumns),
        segmentLength: groups === 1 ? kw * cg : cg,
        channels: og,
        xImage: image.imageSize,
        yImage: valueSize(output),
        weight(s, j, c) {
          const cell = groups === 1 ? s * kw + Math.floor(j / cg) : s;
          return ((g * og + c) * cg + (j % cg)) * kh * kw + cell;
        },
      }),
  );
}

/** A convolution's input-gradient products, one per group and phase, and the padded output gradient they read. */
function backwardProducts({ memory, batch, node, inputs, output }: Builder<ConvNode>): Products {
  const input = inputs[0]!;
  const { kernel, stride, pads, groups } = node;
  const [kh, kw] = kernel;
  const cg = input.channels / groups;
  const og = output.channels / groups;
  const vertical = range(0, Math.min(stride[0], kh) - 1).map((a) =>
    phaseAxis(a, {
      kernel: kh,
      stride: stride[0],
      pad: pads[0],
      size: input.height,
      outputs: output.height,
    }),
  );
  const horizontal = range(0, Math.min(stride[1], kw) - 1).map((b) =>
    phaseAxis(b, {
      kernel: kw,
      stride: stride[1],
      pad: pads[1],
      size: input.width,
      outputs: output.width,
    }),
  );
  const top = Math.max(...vertical.map((v) => v.before));
  const left = Math.max(...horizontal.map((h) => h.before));
  const image = new PaddedImages(memory, { ...output, batch, floats: output.gradient! }, [
    top,
    left,
    Math.max(...vertical.map((v) => v.after)),
    Math.max(...horizontal.map((h) => h.after)),
  ]);
  const row = image.width * output.channels;
  const products = range(0, groups - 1).flatMap((g) =>
    vertical.flatMap((v) =>
      horizontal.map((h) => {
        const segmentRows = v.cells.map((_, m) => m * row);
        const segmentColumns = h.cells.map((_, n) => n * output.channels);
        return new Gather(memory, batch, {
          xOffsets: grid(
            v.from.map((y) => (y + top) * row),
            h.from.map((x) => (x + left) * output.channels),
          ).map((o) => o + g * og),
          yOffsets: grid(
            v.to.map((y) => y * input.width * input.channels),
            h.to.map((x) => x * input.channels),
          ).map((o) => o + g * cg),
          segments: groups === 1 ? segmentRows : grid(segmentRows, segmentColumns),
          segmentLength: groups === 1 ? h.cells.length * og : og,
          channels: cg,
          xImage: image.imageSize,
          yImage: valueSize(input),
          weight(s, j, c) {
            const cell = groups === 1 ? s * h.cells.length + Math.floor(j / og) : s;
            const ky = v.cells[Math.floor(cell / h.cells.length)]!;
            const kx = h.cells[cell % h.cells.length]!;
            return ((g * og + (j % og)) * cg + c) * kh * kw + ky * kw + kx;
          },
        });
      }),
    ),
  );
  return { image, products };
}

/** What a convolution and its input gradient are computed by. */
type Product = Pick<Gather, 'addProducts' | 'addWeightGradient'>;

/** Padded images, and the products that read them. */
interface Products {
  readonly image: PaddedImages;
  readonly products: readonly Product[];
}

/** A convolution as {@link suitsWinograd} wants it, and its input gradient, which is another one. */
function winogradProducts({ memory, batch, node, inputs, output }: Builder<ConvNode>): {
  readonly forward: Products;
  readonly back: Products | undefined;
} {
  const input = inputs[0]!;
  const { channels } = input;
  const [top, left, bottom, right] = node.pads;
  const products = (
    source: Value,
    floats: Floats,
    [above, before, below, behind]: readonly [number, number, number, number],
    to: Value,
    weight: WinogradShape['weight'],
  ): Products => {
    const pads = [above, before, below + tileOverhang(to.height), behind + tileOverhang(to.width)];
    const image = new PaddedImages(
      memory,
      { ...source, batch, floats },
      pads as [number, number, number, number],
    );
    const { height, width } = to;
    const shape = { channels: source.channels, results: to.channels, height, width, weight };
    return { image, products: [new Winograd(memory, batch, shape, image)] };
  };
  const forward = products(
    input,
    input.value,
    node.pads,
    output,
    (cell, j, c) => (c * channels + j) * 9 + cell,
  );
  const back =
    input.gradient &&
    products(
      output,
      output.gradient!,
      [2 - top, 2 - left, 2 - bottom, 2 - right],
      input,
      (cell, j, c) => (j * channels + c) * 9 + 8 - cell,
    );
  return { forward, back };
}

/** Any convolution. */
function gatheredProducts(builder: Builder<ConvNode>): {
  readonly forward: Products;
  readonly back: Products | undefined;
} {
  const { memory, batch, node } = builder;
  const input = builder.inputs[0]!;
  const image = new PaddedImages(memory, { ...input, batch, floats: input.value }, node.pads);
  return {
    forward: { image, products: forwardProducts(builder, image, input.channels) },
    back: input.gradient && backwardProducts(builder),
  };
}

/** y += conv(x); the caller's bias or zeros stand in y first. */
export function convLayer(builder: Builder<ConvNode>): Layer {
  const { node, memory, batch, output } = builder;
  const input = builder.inputs[0]!;
  const weight = builder.parameter(node.weight, 'weight');
  const bias = node.bias === undefined ? undefined : builder.parameter(node.bias, 'vector');
  const { forward, back } = suitsWinograd(node, input.channels, output, batch)
    ? winogradProducts(builder)
    : gatheredProducts(builder);
  const vector = memory.floats(paddedLength(output.channels));
  const pixels = batch * output.height * output.width;
  return {
    forward() {
      if (bias !== undefined) vector.data.set(bias.value);
      else vector.data.fill(0);
      memory.maps.channelFill(vector.at, output.value.at, pixels, output.channels);
      const { image, products } = forward;
      image.refresh();
      for (const product of products) product.addProducts(image.at, weight.value, output.value.at);
    },
    backward() {
      const dy = output.gradient!;
      const { image, products } = forward;
      for (const product of products) product.addWeightGradient(image.at, dy.at, weight.gradient);
      if (bias !== undefined) {
        memory.maps.channelSum(dy.at, pixels, output.channels, vector.at);
        for (let c = 0; c < output.channels; c++) bias.gradient[c]! += vector.data[c]!;
      }
      if (back === undefined) return;
      back.image.refresh();
      for (const product of back.products) {
        product.addProducts(back.image.at, weight.value, input.gradient!.at);
      }
    },
  };
}

/** A dense layer is a 1x1 convolution of a one-pixel image. */
export function denseLayer(builder: Builder<DenseNode>): Layer {
  const { node } = builder;
  return convLayer({
    ...builder,
    node: { ...node, op: 'conv', kernel: [1, 1], stride: [1, 1], pads: [0, 0, 0, 0], groups: 1 },
  });
}
