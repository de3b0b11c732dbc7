/**
 * A convolution of stride 1 and the average pooling behind it, in one layer. Means of what a convolution makes are what it
 * makes of means:
 *
 *   pool(conv(x)) = conv(means of x over the window, at every place), in steps of the pool's stride
 *
 * Windows of 2x2 in steps of two then take a quarter of the convolution's products.
 */

import type { AveragePoolNode, ConvNode } from '../../graph/index.ts';
import { convLayer } from './conv.ts';
import { PaddedImages } from './images.ts';
import { type Builder, type Layer, type Value, valueSize } from './layer.ts';

export function pooledConvLayer(builder: Builder<ConvNode>, pool: AveragePoolNode): Layer {
  const { node, memory, batch, output } = builder;
  const input = builder.inputs[0]!;
  const { channels } = input;
  const [rows, columns] = pool.kernel;
  const [top, left] = node.pads;
  // As far as the convolution's steps reach.
  const height = (output.height - 1) * pool.stride[0] + node.kernel[0];
  const width = (output.width - 1) * pool.stride[1] + node.kernel[1];
  const image = new PaddedImages(memory, { ...input, batch, floats: input.value }, node.pads);
  const floats = () => memory.floats(batch * height * width * channels);
  const means: Value = {
    ...{ channels, height, width, value: floats() },
    ...(input.gradient && { gradient: floats() }),
  };
  const conv = convLayer({
    ...builder,
    node: { ...node, stride: pool.stride, pads: [0, 0, 0, 0] },
    inputs: [means],
  });

  const places = (h: number, w: number) =>
    memory.table(
      Array.from(
        { length: h * w },
        (_, i) => (Math.floor(i / w) * image.width + (i % w)) * channels,
      ),
    );
  const table = places(height, width);
  const window = places(rows, columns);
  const size = rows * columns;
  const pixels = height * width;
  const fixed = [pixels, channels, batch, 4 * image.imageSize] as const;
  // The gradient of the padded images: all of them, where only the input's own places are kept.
  const around = input.gradient && memory.floats(batch * image.imageSize);
  return {
    forward(mode) {
      image.refresh();
      memory.maps.pool(image.at, table, window, size, 1 / size, means.value.at, ...fixed);
      conv.forward(mode);
    },
    backward(mode) {
      means.gradient?.data.fill(0);
      conv.backward(mode);
      if (around === undefined) return;
      const dy = means.gradient!.at;
      around.data.fill(0);
      memory.maps.poolGradient(around.at, table, window, size, 1 / size, dy, ...fixed);
      const row = 4 * image.width * channels;
      memory.maps.addRows(
        input.gradient!.at,
        4 * valueSize(input),
        around.at + top * row + 4 * left * channels,
        row,
        4 * image.imageSize,
        4 * input.width * channels,
        input.height,
        batch,
      );
    },
  };
}
