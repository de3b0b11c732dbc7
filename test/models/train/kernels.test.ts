import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { TrainingMemory } from '../../../models/train/kernels/index.ts';
import { relaxed } from '../../../models/train/kernels/wasm/gather.ts';
import { Gather, type GatherShape } from '../../../models/train/layers/gather.ts';
import { numbers } from '../builder.ts';

/** Memories are large and never shrink: one of each kind serves all cases. */
const memories = new Map<string, TrainingMemory>();

function memoryWith(fma: string): TrainingMemory {
  process.env['SOTTO_TRAIN_FMA'] = fma;
  const memory = memories.get(fma) ?? new TrainingMemory();
  memories.set(fma, memory);
  return memory;
}

afterEach(() => {
  delete process.env['SOTTO_TRAIN_FMA'];
});

interface Case {
  readonly batch: number;
  readonly pixels: number;
  readonly segments: number;
  readonly segmentLength: number;
  readonly channels: number;
  readonly seed: number;
}

const cases: fc.Arbitrary<Case> = fc.record({
  batch: fc.integer({ min: 1, max: 3 }),
  // Below, at and above the pixels of a tile, of images taken together, and of a block.
  pixels: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 60, max: 70 })),
  segments: fc.integer({ min: 1, max: 3 }),
  segmentLength: fc.integer({ min: 1, max: 9 }),
  channels: fc.integer({ min: 1, max: 18 }),
  seed: fc.nat(),
});

/** Rows overlap as patches do. */
function shapeOf({ pixels, segments, segmentLength, channels }: Case): GatherShape {
  const range = (n: number) => Array.from({ length: n }, (_, i) => i);
  return {
    xOffsets: range(pixels).map((p) => 2 * p),
    yOffsets: range(pixels).map((p) => p * channels),
    segments: range(segments).map((s) => 11 * s),
    segmentLength,
    channels,
    xImage: 2 * pixels + 11 * segments,
    yImage: pixels * channels,
    weight: (s, j, c) => (s * segmentLength + j) * channels + c,
  };
}

/** Calls with every product's places in x, the weights and y. */
function eachTerm(of: Case, shape: GatherShape, call: (x: number, w: number, y: number) => void) {
  for (let image = 0; image < of.batch; image++) {
    for (let p = 0; p < of.pixels; p++) {
      for (let s = 0; s < of.segments; s++) {
        for (let j = 0; j < of.segmentLength; j++) {
          for (let c = 0; c < of.channels; c++) {
            call(
              image * shape.xImage + shape.xOffsets[p]! + shape.segments[s]! + j,
              shape.weight(s, j, c),
              image * shape.yImage + shape.yOffsets[p]! + c,
            );
          }
        }
      }
    }
  }
}

const worst = (got: Float32Array, wanted: Float64Array) =>
  got.reduce((most, v, i) => Math.max(most, Math.abs(v - wanted[i]!)), 0);

describe.each([
  ['each product rounded', '0'],
  ['products fused with sums', '1'],
])('gathered products, %s', (_, fma) => {
  it('are the sums they are defined as, and so are the gradients of their weights', () => {
    fc.assert(
      fc.property(cases, (of) => {
        const memory = memoryWith(fma);
        const shape = shapeOf(of);
        const next = numbers(of.seed);
        const random = (length: number) => Float32Array.from({ length }, next);
        const gather = new Gather(memory, of.batch, shape);
        const x = memory.floats(of.batch * shape.xImage);
        const y = memory.floats(of.batch * shape.yImage);
        x.data.set(random(x.data.length));
        y.data.set(random(y.data.length));
        const weights = random(of.segments * of.segmentLength * of.channels);
        const gradient = random(weights.length);

        const wantedY = Float64Array.from(y.data);
        const wantedGradient = Float64Array.from(gradient);
        eachTerm(of, shape, (xi, wi, yi) => {
          wantedY[yi]! += x.data[xi]! * weights[wi]!;
          wantedGradient[wi]! += x.data[xi]! * y.data[yi]!;
        });
        gather.addWeightGradient(x.at, y.at, gradient);
        gather.addProducts(x.at, weights, y.at);
        expect(worst(y.data, wantedY)).toBeLessThan(1e-5);
        expect(worst(gradient, wantedGradient)).toBeLessThan(1e-4);
      }),
      { seed: 1, numRuns: 60 },
    );
  });
});

describe('the choice of kernels', () => {
  /** A sum that is exactly zero unless the product keeps more bits than a float has. */
  function residue(fma: string): number {
    const memory = memoryWith(fma);
    const of = { batch: 1, pixels: 4, segments: 1, segmentLength: 1, channels: 8, seed: 0 };
    const gather = new Gather(memory, 1, shapeOf(of));
    const x = memory.floats(64);
    const y = memory.floats(32);
    x.data.fill(1 + 2 ** -12);
    y.data.fill(-(1 + 2 ** -11));
    gather.addProducts(x.at, new Float32Array(8).fill(1 + 2 ** -12), y.at);
    return y.data[0]!;
  }

  it('rounds every product unless it is told otherwise, so that results are the same everywhere', () => {
    expect(residue('0')).toBe(0);
  });

  it('takes a module with fused products when told and able to', (context) => {
    const fused = residue('1');
    const bytes = Uint8Array.from(atob(relaxed), (c) => c.charCodeAt(0));
    if (!WebAssembly.validate(bytes)) context.skip('the engine has no relaxed SIMD');
    // A processor without such an instruction rounds twice.
    expect([0, 2 ** -24]).toContain(fused);
  });
});
