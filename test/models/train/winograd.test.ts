import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { ConvNode } from '../../../models/graph/index.ts';
import { TrainingMemory } from '../../../models/train/kernels/index.ts';
import { convLayer } from '../../../models/train/layers/conv.ts';
import type { Value } from '../../../models/train/layers/layer.ts';
import { suitsWinograd } from '../../../models/train/layers/winograd.ts';
import { numbers } from '../builder.ts';

interface Case {
  readonly batch: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly height: number;
  readonly width: number;
  readonly pads: readonly [number, number, number, number];
}

const nodeOf = ({ pads }: Pick<Case, 'pads'>, more: Partial<ConvNode> = {}): ConvNode => ({
  ...{ op: 'conv', id: 'conv', inputs: ['x'], weight: 'weight', groups: 1, pads },
  ...{ kernel: [3, 3], stride: [1, 1], ...more },
});

/** Height and width of the results. */
const planeOf = ({ height, width, pads }: Case) => ({
  height: height + pads[0] + pads[2] - 2,
  width: width + pads[1] + pads[3] - 2,
});

/** Memories are large and never shrink: one serves many cases. */
const memories = new Map<string, { memory: TrainingMemory; uses: number }>();

function memoryFor(fma: string): TrainingMemory {
  process.env['SOTTO_TRAIN_FMA'] = fma;
  const known = memories.get(fma);
  if (known !== undefined && ++known.uses < 20) return known.memory;
  const memory = new TrainingMemory();
  memories.set(fma, { memory, uses: 0 });
  return memory;
}

afterEach(() => {
  delete process.env['SOTTO_TRAIN_FMA'];
});

/** A layer over random numbers, after a forward and a backward pass. */
function run(of: Case, fma: string) {
  const { batch, inputs, outputs } = of;
  const memory = memoryFor(fma);
  const next = numbers(5);
  const value = (channels: number, height: number, width: number): Value => {
    const floats = () => memory.floats(batch * channels * height * width);
    return { channels, height, width, value: floats(), gradient: floats() };
  };
  const plane = planeOf(of);
  const x = value(inputs, of.height, of.width);
  const y = value(outputs, plane.height, plane.width);
  for (let i = 0; i < x.value.data.length; i++) x.value.data[i] = next();
  for (let i = 0; i < y.value.data.length; i++) y.gradient!.data[i] = next();
  const spread = 1 / Math.sqrt(9 * inputs);
  const weight = {
    ...{ name: 'weight', kind: 'weight' as const },
    value: Float32Array.from({ length: 9 * inputs * outputs }, () => spread * next()),
    gradient: new Float32Array(9 * inputs * outputs),
  };
  const layer = convLayer({
    ...{ node: nodeOf(of), memory, batch, inputs: [x], output: y },
    parameter: () => weight,
    tensor: () => new Float32Array(),
    statistic: () => {
      throw new Error('convolutions have none');
    },
  });
  layer.forward('train');
  layer.backward('train');
  return { x, y, weight };
}

/** Results, input and weight gradients as they are defined, in double precision. */
function wanted(of: Case, { x, y, weight }: ReturnType<typeof run>) {
  const { batch, inputs, outputs, pads } = of;
  const results = new Float64Array(y.value.data.length);
  const dx = new Float64Array(x.value.data.length);
  const dw = new Float64Array(weight.value.length);
  for (let pixel = 0; pixel < batch * y.height * y.width; pixel++) {
    const [image, at] = [Math.floor(pixel / y.height / y.width), pixel % (y.height * y.width)];
    for (let cell = 0; cell < 9; cell++) {
      const row = Math.floor(at / y.width) + Math.floor(cell / 3) - pads[0];
      const column = (at % y.width) + (cell % 3) - pads[1];
      if (row < 0 || column < 0 || row >= x.height || column >= x.width) continue;
      const from = ((image * x.height + row) * x.width + column) * inputs;
      for (let c = 0; c < outputs; c++) {
        const to = pixel * outputs + c;
        const d = y.gradient!.data[to]!;
        for (let j = 0; j < inputs; j++) {
          const w = (c * inputs + j) * 9 + cell;
          results[to]! += weight.value[w]! * x.value.data[from + j]!;
          dx[from + j]! += weight.value[w]! * d;
          dw[w]! += x.value.data[from + j]! * d;
        }
      }
    }
  }
  return { results, dx, dw };
}

/** Largest difference, of the root of the mean square. */
function errorOf(got: Float32Array, exact: Float64Array): number {
  const size = Math.sqrt(exact.reduce((sum, v) => sum + v * v, 0) / exact.length);
  return got.reduce((most, v, i) => Math.max(most, Math.abs(v - exact[i]!)), 0) / size;
}

function check(of: Case, fma: string): void {
  const got = run(of, fma);
  const exact = wanted(of, got);
  // A sum of as many numbers, each rounded, is about as far away: transforms cost a digit, not more.
  expect(errorOf(got.y.value.data, exact.results)).toBeLessThan(5e-5);
  expect(errorOf(got.x.gradient!.data, exact.dx)).toBeLessThan(5e-5);
  expect(errorOf(got.weight.gradient, exact.dw)).toBeLessThan(5e-5);
}

describe.each([
  ['each product rounded', '0'],
  ['products fused with sums', '1'],
])("Winograd's convolution, %s", (_, fma) => {
  it('and its gradients are what they are defined as, for planes that tiles stick out of', () => {
    const pad = fc.integer({ min: 0, max: 2 });
    const cases = fc
      .record({
        batch: fc.integer({ min: 1, max: 34 }),
        inputs: fc.constantFrom(16, 24),
        outputs: fc.constantFrom(16, 32),
        height: fc.integer({ min: 3, max: 10 }),
        width: fc.integer({ min: 3, max: 10 }),
        pads: fc.tuple(pad, pad, pad, pad),
      })
      .filter((of) => {
        const { height, width } = planeOf(of);
        if (height < 1 || width < 1) return false;
        return suitsWinograd(
          nodeOf(of),
          of.inputs,
          { channels: of.outputs, height, width },
          of.batch,
        );
      });
    fc.assert(
      fc.property(cases, (of) => check(of, fma)),
      { seed: 1, numRuns: 40 },
    );
  });

  it('takes a batch in parts, the last one smaller', () => {
    check({ batch: 70, inputs: 16, outputs: 16, height: 7, width: 7, pads: [1, 1, 1, 1] }, fma);
  });
});

describe('layers that suit it', () => {
  const plane = (size: number, channels = 32) => ({ channels, height: size, width: size });
  const node = nodeOf({ pads: [1, 1, 1, 1] });

  it('have channels enough, and save enough products in a batch', () => {
    const sizes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 32];
    const suiting = (batch: number) =>
      sizes.filter((size) => suitsWinograd(node, 32, plane(size), batch));
    expect(suiting(4)).toEqual([8, 9, 10, 15, 32]);
    expect(suiting(16)).toEqual([4, 6, 7, 8, 9, 10, 15, 32]);
    expect(suiting(64)).toEqual([3, 4, 5, 6, 7, 8, 9, 10, 15, 32]);
    expect(suitsWinograd(node, 8, plane(8), 64)).toBe(false);
    expect(suitsWinograd(node, 32, plane(8, 8), 64)).toBe(false);
    expect(suitsWinograd(node, 36, plane(8), 64)).toBe(false);
  });

  it('are 3x3 convolutions in steps of one and in one group', () => {
    const suits = (more: Partial<ConvNode>) =>
      suitsWinograd({ ...node, ...more }, 32, plane(8), 64);
    expect(suits({})).toBe(true);
    expect(suits({ kernel: [3, 1] })).toBe(false);
    expect(suits({ stride: [1, 2] })).toBe(false);
    expect(suits({ groups: 2 })).toBe(false);
    expect(suits({ pads: [3, 1, 1, 1] })).toBe(false);
  });
});
