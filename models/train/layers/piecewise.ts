/** Continuous functions of straight pieces, one per channel. They are not learnt. */

import type { PiecewiseNode } from '../../graph/index.ts';
import { type Builder, type Layer, paddedLength } from './layer.ts';

export function piecewiseLayer(builder: Builder<PiecewiseNode>): Layer {
  const { node, memory, batch, output } = builder;
  const input = builder.inputs[0]!;
  const { channels } = output;
  const pixels = batch * output.height * output.width;
  const row = paddedLength(channels);
  const knots = builder.tensor(node.knots);
  const count = knots.length / channels;
  /** A tensor [channels, columns] as `columns` rows. */
  const rows = (values: Float32Array, columns: number): number => {
    const floats = memory.floats(Math.max(row, row * columns));
    for (let c = 0; c < channels; c++) {
      for (let j = 0; j < columns; j++) floats.data[j * row + c] = values[c * columns + j]!;
    }
    return floats.at;
  };
  const offset = rows(builder.tensor(node.offset), 1);
  const slope = rows(builder.tensor(node.slope), 1);
  const bent = [
    rows(knots, count),
    rows(builder.tensor(node.bends), count),
    count,
    4 * row,
  ] as const;
  const { maps } = memory;
  return {
    forward() {
      const y = output.value.at;
      maps.piecewise(input.value.at, offset, slope, ...bent, y, pixels, channels);
    },
    backward() {
      if (input.gradient === undefined) return;
      const dy = output.gradient!.at;
      const dx = input.gradient.at;
      maps.piecewiseGradient(input.value.at, slope, ...bent, dy, dx, pixels, channels);
    },
  };
}
