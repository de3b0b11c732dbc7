import { IDENTITY, RELU, SQUARE } from '../../../protocol/program/kinds.ts';
import type { Model } from '../../../protocol/program/model.ts';

/** Whole numbers in -limit..limit, the same for the same seed. */
export function integers(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * (2 * limit + 1)) - limit;
  };
}

/**
 * A model with every step: 1x4x4 -> conv 2 -> activation of all kinds -> conv 2, plus the activation -> ReLU of t bits
 * -> pool 2x2 -> dense 3. Values stay far inside their ranges for inputs up to 2^8.
 */
export function everyStep(seed: number, dropBits = 4): Model {
  const next = integers(seed);
  const fill = (length: number, limit: number) => Int32Array.from({ length }, () => next(limit));
  const conv = (channels: number) =>
    ({
      kind: 'conv',
      channels,
      height: 4,
      width: 4,
      outChannels: 2,
      kernel: [3, 3],
      stride: [1, 1],
      pads: [1, 1, 1, 1],
      groups: 1,
    }) as const;
  const first = fill(18, 15);
  const second = fill(36, 15);
  const last = fill(24, 15);
  const norm1 = (kernel: Int32Array, rows: number) => {
    const fan = kernel.length / rows;
    const sums = Array.from({ length: rows }, (_, row) =>
      kernel.subarray(row * fan, (row + 1) * fan).reduce((sum, w) => sum + Math.abs(w), 0),
    );
    return Math.max(...sums);
  };
  const kinds = Uint8Array.from({ length: 32 }, (_, i) => [RELU, SQUARE, IDENTITY][i % 3]!);
  const relus = new Uint8Array(32).fill(RELU);
  return {
    program: {
      name: 'every step',
      input: { shape: [1, 4, 4], fractionBits: 8, mean: [0.5], std: [0.5] },
      comparison: 'encoded',
      steps: [
        {
          op: 'linear',
          name: 'conv1',
          fractionBits: 12,
          input: 0,
          shape: conv(1),
          bias: 'channel',
          norm1: norm1(first, 2),
          norm2: norm1(first, 2),
          tolerance: 1000,
        },
        {
          op: 'activation',
          name: 'act1',
          fractionBits: 8,
          input: 1,
          kinds,
          constants: true,
          rangeBits: 20,
          dropBits: 4,
          shift: 4,
          squareShift: 8,
        },
        {
          op: 'linear',
          name: 'conv2',
          fractionBits: 12,
          input: 2,
          shape: conv(2),
          bias: 'element',
          norm1: norm1(second, 2),
          norm2: norm1(second, 2),
          tolerance: 1000,
        },
        {
          op: 'add',
          name: 'skip',
          fractionBits: 12,
          inputs: [3, 2],
          shifts: [0, 4],
          subtract: false,
        },
        {
          op: 'activation',
          name: 'act2',
          fractionBits: 8,
          input: 4,
          kinds: relus,
          constants: false,
          rangeBits: 31,
          dropBits,
          shift: 4,
          squareShift: 0,
        },
        {
          op: 'sumPool',
          name: 'pool',
          fractionBits: 10,
          input: 5,
          kernel: [2, 2],
          stride: [2, 2],
          pads: [0, 0, 0, 0],
        },
        {
          op: 'linear',
          name: 'head',
          fractionBits: 14,
          input: 6,
          shape: { kind: 'dense', inputs: 8, outputs: 3 },
          bias: 'channel',
          norm1: norm1(last, 3),
          norm2: norm1(last, 3),
          tolerance: 1000,
        },
        {
          op: 'output',
          name: 'output',
          fractionBits: 14,
          input: 7,
          reveal: 'logits',
          rangeBits: 31,
          tolerance: 0,
        },
      ],
      results: [{ name: 'logits', shape: [3], bits: 14 }],
      labels: ['a', 'b', 'c'],
    },
    weights: [
      { kernel: first, bias: fill(2, 4000) },
      { before: fill(6, 500), after: fill(6, 500) },
      { kernel: second, bias: fill(32, 4000) },
      undefined,
      undefined,
      undefined,
      { kernel: last, bias: fill(3, 4000) },
      undefined,
    ],
  };
}
