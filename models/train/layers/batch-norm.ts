/**
 * Batch normalisation (Ioffe and Szegedy, ICML 2015).
 *
 * Training: y = scale * (x - mean) / sqrt(variance + epsilon) + shift with the batch's mean and (biased) variance, in two
 * passes, since E[x^2] - mean^2 loses the variance of a channel whose mean is large. The batch's mean and unbiased variance
 * are kept for the running statistics, which move after a step. Evaluating: the running statistics.
 *
 * Every pass over the data is linear per channel: y = a*x + b, and dx = a*dy + b*x + d.
 */

import type { BatchNormNode, ScaleNode } from '../../graph/index.ts';
import { type Builder, type Layer, paddedLength } from './layer.ts';

export function batchNormLayer(builder: Builder<BatchNormNode>): Layer {
  const { node, memory, batch, output } = builder;
  const input = builder.inputs[0]!;
  const scale = builder.parameter(node.scale, 'vector');
  const shift = builder.parameter(node.shift, 'vector');
  const running = {
    mean: builder.statistic(node.mean),
    variance: builder.statistic(node.variance),
  };
  const { channels } = output;
  const pixels = batch * output.height * output.width;
  const vector = () => memory.floats(paddedLength(channels));
  const mean = vector();
  const zero = vector();
  const sums = vector();
  const dots = vector();
  const a = vector();
  const b = vector();
  const d = vector();
  const inverse = new Float32Array(channels);
  const { maps } = memory;

  function batchStatistics(): void {
    maps.channelSum(input.value.at, pixels, channels, sums.at);
    for (let c = 0; c < channels; c++) mean.data[c] = sums.data[c]! / pixels;
    const x = input.value.at;
    maps.channelDot(x, mean.at, x, mean.at, pixels, channels, dots.at);
    for (let c = 0; c < channels; c++) {
      const variance = dots.data[c]! / pixels;
      inverse[c] = 1 / Math.sqrt(variance + node.epsilon);
      const unbiased = dots.data[c]! / Math.max(1, pixels - 1);
      running.mean.batch[c] = mean.data[c]!;
      running.variance.batch[c] = unbiased;
    }
  }

  return {
    forward(mode) {
      if (mode === 'train') batchStatistics();
      else {
        mean.data.set(running.mean.value);
        for (let c = 0; c < channels; c++) {
          inverse[c] = 1 / Math.sqrt(running.variance.value[c]! + node.epsilon);
        }
      }
      for (let c = 0; c < channels; c++) {
        a.data[c] = scale.value[c]! * inverse[c]!;
        b.data[c] = shift.value[c]! - a.data[c]! * mean.data[c]!;
      }
      maps.channelAffine(input.value.at, a.at, b.at, output.value.at, pixels, channels);
    },
    backward(mode) {
      const x = input.value.at;
      const dy = output.gradient!.at;
      maps.channelSum(dy, pixels, channels, sums.at);
      maps.channelDot(x, mean.at, dy, zero.at, pixels, channels, dots.at);
      for (let c = 0; c < channels; c++) {
        const normalised = dots.data[c]! * inverse[c]!;
        shift.gradient[c]! += sums.data[c]!;
        scale.gradient[c]! += normalised;
        const factor = scale.value[c]! * inverse[c]!;
        a.data[c] = factor;
        // dx = factor * (dy - mean(dy) - xhat * mean(dy * xhat)); running statistics are constants.
        const slope = mode === 'train' ? (factor * inverse[c]! * normalised) / pixels : 0;
        const offset = mode === 'train' ? (factor * sums.data[c]!) / pixels : 0;
        b.data[c] = -slope;
        d.data[c] = slope * mean.data[c]! - offset;
      }
      if (input.gradient !== undefined) {
        maps.channelCombine(dy, x, a.at, b.at, d.at, input.gradient.at, pixels, channels);
      }
    },
  };
}

/** y = scale * x + shift, per channel. */
export function scaleLayer(builder: Builder<ScaleNode>): Layer {
  const { node, memory, batch, output } = builder;
  const input = builder.inputs[0]!;
  const scale = builder.parameter(node.scale, 'vector');
  const shift = builder.parameter(node.shift, 'vector');
  const { channels } = output;
  const pixels = batch * output.height * output.width;
  const vector = () => memory.floats(paddedLength(channels));
  const [a, b, zero, sums, dots] = [vector(), vector(), vector(), vector(), vector()] as const;
  const { maps } = memory;
  return {
    forward() {
      a.data.set(scale.value);
      b.data.set(shift.value);
      maps.channelAffine(input.value.at, a.at, b.at, output.value.at, pixels, channels);
    },
    backward() {
      const x = input.value.at;
      const dy = output.gradient!.at;
      maps.channelSum(dy, pixels, channels, sums.at);
      maps.channelDot(x, zero.at, dy, zero.at, pixels, channels, dots.at);
      for (let c = 0; c < channels; c++) {
        shift.gradient[c]! += sums.data[c]!;
        scale.gradient[c]! += dots.data[c]!;
      }
      if (input.gradient === undefined) return;
      const dx = input.gradient.at;
      maps.channelCombine(dy, x, a.at, zero.at, zero.at, dx, pixels, channels);
    },
  };
}
