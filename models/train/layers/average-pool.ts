/** Means over windows. Cells of a window that lie in the padding are not counted. */

import type { AveragePoolNode } from '../../graph/index.ts';
import { PaddedImages } from './images.ts';
import { type Builder, type Layer, valueSize } from './layer.ts';

const NO_PADS = [0, 0, 0, 0] as const;

/** Cells of a window of `kernel` that lie inside of `size`, for `count` windows behind `before` pads. */
function cellsInside(size: number, kernel: number, stride: number, before: number, count: number) {
  return Array.from({ length: count }, (_, i) => {
    const from = i * stride - before;
    return Math.min(from + kernel, size) - Math.max(from, 0);
  });
}

/** Whether a pooling has something around its input. */
export function isPadded({ pads = NO_PADS }: Pick<AveragePoolNode, 'pads'>): boolean {
  return pads.some((n) => n > 0);
}

export function averagePoolLayer(
  {
    memory,
    batch,
    inputs,
    output,
  }: Pick<Builder<AveragePoolNode>, 'memory' | 'batch' | 'inputs' | 'output'>,
  { kernel, stride, pads = NO_PADS }: Pick<AveragePoolNode, 'kernel' | 'stride' | 'pads'>,
): Layer {
  const input = inputs[0]!;
  const { channels } = input;
  const { maps } = memory;
  const image = new PaddedImages(memory, { ...input, batch, floats: input.value }, pads);
  const offset = (y: number, x: number) => (y * image.width + x) * channels;
  const offsets = (rows: number, columns: number, dy: number, dx: number) =>
    Array.from({ length: rows * columns }, (_, i) =>
      offset(Math.floor(i / columns) * dy, (i % columns) * dx),
    );
  const table = memory.table(offsets(output.height, output.width, stride[0], stride[1]));
  const window = memory.table(offsets(kernel[0], kernel[1], 1, 1));
  const size = kernel[0] * kernel[1];
  const pixels = output.height * output.width;
  const fixed = [pixels, channels, batch, 4 * image.imageSize] as const;

  const rows = cellsInside(input.height, kernel[0], stride[0], pads[0], output.height);
  const columns = cellsInside(input.width, kernel[1], stride[1], pads[1], output.width);
  /** Pixels whose windows reach into the padding, and what their means over whole windows are multiplied by. */
  const partial = rows.flatMap((down, y) =>
    columns.flatMap((across, x) =>
      down * across === size ? [] : [[y * output.width + x, size / (down * across)] as const],
    ),
  );
  const correct = (data: Float32Array): void => {
    for (let b = 0; b < batch; b++) {
      for (const [pixel, factor] of partial) {
        const first = (b * pixels + pixel) * channels;
        for (let i = first; i < first + channels; i++) data[i]! *= factor;
      }
    }
  };

  const padded = isPadded({ pads });
  // The gradient of the padded images, of which only the input's own places are kept, and that of whole windows' means.
  const around = input.gradient && padded ? memory.floats(batch * image.imageSize) : undefined;
  const whole = around && memory.floats(batch * valueSize(output));
  return {
    forward() {
      image.refresh();
      maps.pool(image.at, table, window, size, 1 / size, output.value.at, ...fixed);
      correct(output.value.data);
    },
    backward() {
      if (input.gradient === undefined) return;
      if (around === undefined || whole === undefined) {
        const dy = output.gradient!.at;
        maps.poolGradient(input.gradient.at, table, window, size, 1 / size, dy, ...fixed);
        return;
      }
      around.data.fill(0);
      whole.data.set(output.gradient!.data);
      correct(whole.data);
      maps.poolGradient(around.at, table, window, size, 1 / size, whole.at, ...fixed);
      const row = 4 * image.width * channels;
      maps.addRows(
        input.gradient.at,
        4 * valueSize(input),
        around.at + pads[0] * row + 4 * pads[1] * channels,
        row,
        4 * image.imageSize,
        4 * input.width * channels,
        input.height,
        batch,
      );
    },
  };
}
