import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkProgram } from '../../../protocol/program/check.ts';
import { roundShift, runClear } from '../../../protocol/program/clear.ts';
import { decodeProgram, encodeProgram } from '../../../protocol/program/encode.ts';
import { decodeLogits, encodeInput } from '../../../protocol/program/input.ts';
import { IDENTITY, kindsIn, RELU, SQUARE } from '../../../protocol/program/kinds.ts';
import { runLocal } from '../../../protocol/program/local.ts';
import type { Model } from '../../../protocol/program/model.ts';
import type { ActivationStep, LocalStep } from '../../../protocol/program/program.ts';
import { padding, slicing } from '../../../protocol/ring/gather.ts';
import { indexOfLargest } from '../../../protocol/ring/tensor.ts';
import { everyStep, integers } from './models.ts';

const MIN = -(2 ** 31);
const MAX = 2 ** 31 - 1;

/** One dense layer that copies its input, one activation layer, the output. */
function single(change: Partial<ActivationStep>, before: number, after: number): Model {
  const n = change.kinds!.length;
  const activation: ActivationStep = {
    op: 'activation',
    name: 'act',
    fractionBits: 4,
    input: 0,
    kinds: new Uint8Array(n),
    constants: true,
    rangeBits: 16,
    dropBits: 0,
    shift: 4,
    squareShift: 4,
    ...change,
  };
  // Constants of squares alone.
  const own = kindsIn(activation.kinds).map((kind) => (kind === SQUARE ? 1 : 0));
  const constants = {
    before: Int32Array.from(own, (one) => one * before),
    after: Int32Array.from(own, (one) => one * after),
  };
  return {
    program: {
      name: 'single',
      input: { shape: [1, 1, n], fractionBits: 8, mean: [0.25], std: [0.5] },
      comparison: 'encoded',
      steps: [
        activation,
        {
          op: 'output',
          name: 'out',
          fractionBits: 4,
          input: 1,
          reveal: 'logits',
          rangeBits: 31,
          tolerance: 0,
        },
      ],
      results: [{ name: 'logits', shape: [n], bits: 4 }],
      labels: [],
    },
    weights: [constants, undefined],
  };
}

describe('rounding', () => {
  it.each([
    [7, 3, 1],
    [4, 3, 1],
    [3, 3, 0],
    [-4, 3, 0],
    [-5, 3, -1],
    [-12, 3, -1],
    [MAX, 1, 2 ** 30],
    [MIN, 31, -1],
    [MAX, 31, 1],
    [MAX, 0, MAX],
  ])('rounds %i over 2^%i to %i', (x, bits, expected) => {
    expect(roundShift(x, bits)).toBe(expected);
  });

  it('rounds halves up, whatever the number', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: MIN, max: MAX }),
        fc.integer({ min: 0, max: 31 }),
        (x, bits) => {
          expect(roundShift(x, bits)).toBe(Math.floor(x / 2 ** bits + 0.5));
        },
      ),
    );
  });

  it('finds the first of the largest', () => {
    expect(indexOfLargest(Int32Array.of(-3, 5, 5, MIN))).toBe(1);
    expect(indexOfLargest(Int32Array.of(MIN, MIN))).toBe(0);
  });
});

describe('activation elements', () => {
  it('computes known answers of each kind', () => {
    const kinds = Uint8Array.of(RELU, RELU, RELU, RELU, IDENTITY, IDENTITY, SQUARE, SQUARE);
    const model = single({ kinds, rangeBits: 12 }, 10, 3);
    // Squares: (38 + 10) / 16 = 3, (-90 + 10) / 16 = -5.
    const input = Int32Array.of(-100, 0, 7, 24, -24, 25, 38, -90);
    expect([...runClear(model, input)]).toEqual([0, 0, 0, 2, -1, 2, 12, 28]);
  });

  it('takes constants of the element’s channel', () => {
    const model: Model = {
      program: {
        ...single({ kinds: new Uint8Array(4).fill(SQUARE) }, 0, 0).program,
        input: { shape: [2, 1, 2], fractionBits: 8, mean: [0, 0], std: [1, 1] },
      },
      weights: [{ before: Int32Array.of(0, 16), after: Int32Array.of(0, 100) }, undefined],
    };
    expect([...runClear(model, Int32Array.of(32, 48, 32, 48))]).toEqual([4, 9, 109, 116]);
  });

  it('takes those of its kind, whichever kinds the layer has', () => {
    const kinds = Uint8Array.of(RELU, IDENTITY, SQUARE, RELU);
    const { program } = single({ kinds }, 0, 0);
    // In the order of KINDS: ReLUs, squares, identities.
    const before = Int32Array.of(16, 32, -64);
    const after = Int32Array.of(100, 200, 300);
    const model: Model = { program, weights: [{ before, after }, undefined] };
    expect([...runClear(model, Int32Array.of(32, 32, 32, -32))]).toEqual([103, 298, 216, 100]);
    const relus = single({ kinds: new Uint8Array(4).fill(RELU) }, 0, 0);
    const own = { before: Int32Array.of(-16), after: Int32Array.of(7) };
    const shifted: Model = { ...relus, weights: [own, undefined] };
    expect([...runClear(shifted, Int32Array.of(32, 16, 0, 96))]).toEqual([8, 7, 7, 12]);
  });

  it('holds the sum of number and constant to its range, of every kind', () => {
    for (const kind of [RELU, IDENTITY, SQUARE]) {
      const { program } = single({ kinds: Uint8Array.of(kind), rangeBits: 8 }, 0, 0);
      const own = { before: Int32Array.of(27), after: Int32Array.of(0) };
      const model: Model = { program, weights: [own, undefined] };
      // |x + 27| < 2^7 - 1.
      expect(() => runClear(model, Int32Array.of(99))).not.toThrow();
      expect(() => runClear(model, Int32Array.of(100))).toThrow(/"act": 1 inputs leave/);
      expect(() => runClear(model, Int32Array.of(-153))).not.toThrow();
    }
  });

  it('counts what leaves its range, and refuses it when nobody observes', () => {
    const kinds = Uint8Array.of(RELU, RELU, RELU, SQUARE);
    const model = single({ kinds, rangeBits: 8, dropBits: 4 }, 12, 0);
    // The range is |x| < 2^7 - 2^4 = 112; for a square, after its constant is added.
    const seen: [string, number][] = [];
    const observe = (step: { name: string }, _: Int32Array, out: number) =>
      seen.push([step.name, out]);
    runClear(model, Int32Array.of(111, -111, 0, 99), observe);
    runClear(model, Int32Array.of(112, -112, 0, 100), observe);
    expect(seen).toEqual([
      ['act', 0],
      ['out', 0],
      ['act', 3],
      ['out', 0],
    ]);
    expect(() => runClear(model, Int32Array.of(112, 0, 0, 0))).toThrow(/"act": 1 inputs leave/);
    expect(() => runClear(model, Int32Array.of(111, 0, 0, 0))).not.toThrow();
  });

  it('refuses an input of another size', () => {
    const model = single({ kinds: Uint8Array.of(RELU, RELU) }, 0, 0);
    expect(() => runClear(model, new Int32Array(3))).toThrow(/has 2 elements, got 3/);
  });
});

describe('a whole model', () => {
  it('shows every step in order and returns what the last one made', () => {
    const model = everyStep(7);
    const names: string[] = [];
    let last: Int32Array | undefined;
    const next = integers(5);
    const input = Int32Array.from({ length: 16 }, () => next(256));
    const logits = runClear(model, input, (step, value) => {
      names.push(step.name);
      last = value;
    });
    expect(names).toEqual(model.program.steps.map((step) => step.name));
    expect(logits).toEqual(last);
    expect(logits).toHaveLength(3);
  });

  it('reveals the label alone when the program says so', () => {
    const logits = everyStep(7);
    const steps = [...logits.program.steps];
    const output = steps.pop()!;
    steps.push({ ...output, reveal: 'label' } as typeof output);
    const label = { ...logits, program: { ...logits.program, steps } };
    const input = new Int32Array(16).fill(100);
    expect([...runClear(label, input)]).toEqual([indexOfLargest(runClear(logits, input))]);
  });
});

describe('local steps', () => {
  const ring = fc.integer({ min: MIN, max: MAX });
  const tensor = fc.array(ring, { minLength: 32, maxLength: 32 }).map((v) => Int32Array.from(v));
  const steps: LocalStep[] = [
    { op: 'add', name: 'add', fractionBits: 9, inputs: [0, 1], shifts: [3, 0], subtract: false },
    {
      op: 'sumPool',
      name: 'pool',
      fractionBits: 0,
      input: 0,
      kernel: [2, 4],
      stride: [2, 2],
      pads: [0, 0, 0, 0],
    },
    {
      op: 'sumPool',
      name: 'padded pool',
      fractionBits: 0,
      input: 0,
      kernel: [2, 4],
      stride: [1, 2],
      pads: [1, 2, 1, 1],
    },
    { op: 'add', name: 'sub', fractionBits: 9, inputs: [0, 1], shifts: [0, 2], subtract: true },
    {
      op: 'gather',
      name: 'slice',
      fractionBits: 0,
      input: 0,
      size: [1, 2, 3],
      tables: slicing([2, 2, 8], [1, 0, 1], [1, 1, 3], [1, 2, 3]),
    },
    {
      op: 'gather',
      name: 'pad',
      fractionBits: 0,
      input: 0,
      size: [3, 3, 10],
      tables: padding([2, 2, 8], [1, 0, 2], [0, 1, 0]),
    },
    { op: 'concat', name: 'concat', fractionBits: 0, inputs: [0, 1] },
  ];

  it.each(steps)('do the same to shares as to the value: $name', (step) => {
    const shapes = [
      [2, 2, 8],
      [2, 2, 8],
    ] as const;
    const sum = (a: Int32Array, b: Int32Array) => a.map((x, i) => x + b[i]!);
    fc.assert(
      fc.property(tensor, tensor, tensor, tensor, (a0, a1, c0, c1) => {
        const shared = sum(runLocal(step, [a0, a1], shapes), runLocal(step, [c0, c1], shapes));
        expect(shared).toEqual(runLocal(step, [sum(a0, c0), sum(a1, c1)], shapes));
      }),
      { numRuns: 30 },
    );
  });

  it('compute known answers', () => {
    const x = Int32Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    const shapes = [
      [1, 2, 4],
      [1, 2, 4],
    ] as const;
    const pool = { ...steps[1]!, kernel: [2, 2], stride: [2, 2] } as LocalStep;
    expect([...runLocal(pool, [x], shapes)]).toEqual([14, 22]);
    expect([...runLocal(steps[0]!, [x, x], shapes)]).toEqual([9, 18, 27, 36, 45, 54, 63, 72]);
    expect([...runLocal(steps[3]!, [x, x], shapes)]).toEqual(
      [1, 2, 3, 4, 5, 6, 7, 8].map((v) => -3 * v),
    );
    const part = {
      ...steps[4]!,
      size: [1, 1, 2],
      tables: slicing([1, 2, 4], [0, 1, 0], [1, 1, 3], [1, 1, 2]),
    } as LocalStep;
    expect([...runLocal(part, [x], shapes)]).toEqual([5, 8]);
    const frame = {
      ...steps[5]!,
      size: [2, 3, 5],
      tables: padding([1, 2, 4], [1, 0, 1], [0, 1, 0]),
    } as LocalStep;
    const zeros = [0, 0, 0, 0, 0];
    expect([...runLocal(frame, [x], shapes)]).toEqual(
      [zeros, zeros, zeros, [0, 1, 2, 3, 4], [0, 5, 6, 7, 8], zeros].flat(),
    );
    expect([...runLocal(steps[6]!, [x, x], shapes)]).toEqual([...x, ...x]);
  });
});

describe('the ends of a program', () => {
  const { program } = single({ kinds: new Uint8Array(3) }, 0, 0);

  it('encodes pixels as (p - mean) / std, rounded', () => {
    expect([...encodeInput(program, Float32Array.of(0, 0.25, 1))]).toEqual([-128, 0, 384]);
    expect(encodeInput(program, Float32Array.of(0.251, 0.252, 0))[1]).toBe(1);
  });

  it.each([Number.NaN, -0.01, 1.01, 255, Number.POSITIVE_INFINITY])(
    'refuses a pixel of %d',
    (p) => {
      expect(() => encodeInput(program, Float32Array.of(0, p, 0))).toThrow(/pixel 1 is not/);
    },
  );

  it('encodes any numbers where the program has a limit, which is kept after mean and deviation', () => {
    // (x - 0.25) / 0.5.
    const input = { ...program.input, limit: 3 };
    const numbers = { ...program, input };
    expect([...encodeInput(numbers, Float32Array.of(-1.25, 1.75, 0.25))]).toEqual([-768, 768, 0]);
    const refused = (x: number) => () => encodeInput(numbers, Float32Array.of(0, 0, x));
    expect(refused(2.25)).toThrow(
      'number 2 of the input is 2.25, normalised 4: it must lie within +-3',
    );
    expect(refused(-1.5)).toThrow('number 2 of the input is -1.5, normalised -3.5');
    expect(refused(Number.NaN)).toThrow('number 2 of the input is NaN, normalised NaN');
    expect(refused(Number.NEGATIVE_INFINITY)).toThrow('is -Infinity, normalised -Infinity');
    expect(() => encodeInput(numbers, new Float32Array(2))).toThrow('3 numbers (1x1x3), got 2');
    expect(decodeProgram(encodeProgram(numbers)).program).toEqual(numbers);
    for (const limit of [2 ** 23, 0, -1, Number.NaN]) {
      const wide = { ...program, input: { ...input, limit } };
      expect(() => checkProgram(wide)).toThrow(
        `program input: numbers up to ${limit} with 8 fractional bits do not fit 32 bits`,
      );
    }
  });

  it('refuses too few pixels', () => {
    expect(() => encodeInput(program, new Float32Array(2))).toThrow(/3 pixels \(1x1x3\), got 2/);
  });

  it('decodes logits at the output’s scale', () => {
    expect([...decodeLogits(program, Int32Array.of(16, -8, 0))]).toEqual([1, -0.5, 0]);
  });
});
