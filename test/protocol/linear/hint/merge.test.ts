import { describe, expect, it } from 'vitest';
import { mergeShapes, mergeWeights } from '../../../../protocol/linear/hint/index.ts';
import { Prg, randomRing } from '../../../../protocol/random/index.ts';
import type { ConvShape } from '../../../../protocol/ring/shape.ts';
import { linearInputSize, weightCount } from '../../../../protocol/ring/shape.ts';
import { plainLinear, randomWeights, testSeed } from '../layers.ts';

const conv = (kernel: number, stride: number, pad: number, outChannels: number): ConvShape => ({
  kind: 'conv',
  channels: 3,
  height: 8,
  width: 8,
  outChannels,
  kernel: [kernel, kernel],
  stride: [stride, stride],
  pads: [pad, pad, pad, pad],
  groups: 1,
});

describe('convolutions that read one tensor', () => {
  it.each([
    ['a shortcut', [conv(3, 2, 1, 4), conv(1, 2, 0, 4)]],
    ['a fire module', [conv(1, 1, 0, 2), conv(3, 1, 1, 5)]],
    ['three kernels', [conv(5, 1, 2, 1), conv(1, 1, 0, 2), conv(3, 1, 1, 2)]],
  ])('are one layer: %s', (_, shapes) => {
    const random = new Prg(testSeed('merge'));
    const weights = shapes.map((shape) => randomWeights(random, weightCount(shape), 100));
    const input = randomRing(random, linearInputSize(shapes[0]!));
    const merged = mergeShapes(shapes)!;
    expect([...plainLinear(merged, mergeWeights(shapes, weights), input)]).toEqual(
      shapes.flatMap((shape, i) => [...plainLinear(shape, weights[i]!, input)]),
    );
  });

  it('of other strides, outputs or groups are not', () => {
    const base = conv(3, 1, 1, 4);
    for (const other of [
      conv(1, 2, 0, 4),
      conv(3, 1, 2, 4),
      conv(1, 1, 1, 4),
      { ...conv(1, 1, 0, 3), groups: 3 },
      { ...conv(1, 1, 0, 4), channels: 4 },
    ]) {
      expect(mergeShapes([base, other])).toBeUndefined();
      expect(() => mergeWeights([base, other], [])).toThrow(RangeError);
    }
    expect(mergeShapes([])).toBeUndefined();
  });
});
