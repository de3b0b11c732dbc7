import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkProgram } from '../../../protocol/program/check.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import { errorBound } from '../../../protocol/program/error.ts';
import { runLocal } from '../../../protocol/program/local.ts';
import type { LinearWeights, Model, SquareConstants } from '../../../protocol/program/model.ts';
import type { ActivationStep, Program } from '../../../protocol/program/program.ts';
import { inputsOf, RELU, SQUARE } from '../../../protocol/program/program.ts';
import { walk } from '../../../protocol/program/walk.ts';
import { linear } from '../../../protocol/ring/linear.ts';
import { everyStep, integers } from './models.ts';

/** A run with the errors of a private one, each drawn among all that the protocol allows. */
function runPrivately(model: Model, input: Int32Array, seed: number): Int32Array {
  const { program, weights } = model;
  const shapes = checkProgram(program);
  const next = integers(seed);
  const bit = () => (next(1 << 20) >= 0 ? 1 : 0);
  // Cutting two shares and adding one: the floor of the quotient, or one more.
  const cut = (x: number, bits: number) => (bits === 0 ? x : (x >> bits) + bit());
  const activate = (step: ActivationStep, x: number, i: number, index: number) => {
    if (step.kinds[i] === SQUARE) {
      const { before, after } = weights[index] as SquareConstants;
      const channel = Math.floor(i / 16);
      const root = cut(x + before[channel]!, step.squareShift);
      return Math.imul(root, root) + after[channel]!;
    }
    if (step.kinds[i] !== RELU) return cut(x, step.shift);
    const positive = x >= 2 ** step.dropBits || (x >= 0 && bit() === 1);
    return positive ? cut(x, step.shift) : 0;
  };
  return walk<Int32Array>(program, {
    input: () => input,
    linear: (step, x, i) => {
      const { kernel, bias } = weights[i] as LinearWeights;
      return linear(step.shape, x, kernel, bias).map((v) => v + next(1));
    },
    local: (step, inputs) =>
      runLocal(
        step,
        inputs,
        inputsOf(step).map((value) => shapes[value]!),
      ),
    activation: (step, x, i) => x.map((v, e) => activate(step, v, e, i)),
    output: (_step, x) => x,
  });
}

describe('error bound', () => {
  it.each([0, 4, 9])('holds for a run with a private run’s errors, t = %i', (dropBits) => {
    fc.assert(
      fc.property(fc.nat(1e6), fc.nat(1e6), (seed, noise) => {
        const model = everyStep(seed, dropBits);
        const next = integers(noise);
        const input = Int32Array.from({ length: 16 }, () => next(256));
        const clear = runClear(model, input);
        const bound = errorBound(model.program);
        const error = runPrivately(model, input, noise).map((v, i) => Math.abs(v - clear[i]!));
        expect(Math.max(...error)).toBeGreaterThan(0);
        expect(Math.max(...error)).toBeLessThanOrEqual(bound);
      }),
      { numRuns: 60 },
    );
  });

  /** A program of one linear layer and one activation, whose bound is that of the activation. */
  const bound = (kinds: number[], change: Partial<ActivationStep>, norm1 = 0): number => {
    const shape = { kind: 'dense', inputs: kinds.length, outputs: kinds.length } as const;
    const common = { fractionBits: 8, norm1, norm2: norm1, shape } as const;
    const activation: ActivationStep = {
      op: 'activation',
      name: 'act',
      fractionBits: 4,
      input: 1,
      kinds: Uint8Array.from(kinds),
      rangeBits: 12,
      dropBits: 0,
      shift: 4,
      squareShift: 4,
      ...change,
    };
    const program: Program = {
      name: 'one',
      input: { shape: [1, 1, kinds.length], fractionBits: 4, mean: [0], std: [1] },
      steps: [
        { op: 'linear', name: 'fc', input: 0, ...common },
        activation,
        { op: 'output', name: 'out', fractionBits: 4, input: 2, reveal: 'logits', rangeBits: 20 },
      ],
      labels: [],
    };
    return errorBound(program);
  };

  it('is one unit after a truncation of an error below half', () => {
    expect(bound([0], {})).toBe(1);
    expect(bound([1], { dropBits: 4 })).toBe(1);
    expect(bound([1, 0], { dropBits: 4 })).toBe(1);
  });

  it('passes errors on where nothing is cut', () => {
    expect(bound([0], { shift: 0, fractionBits: 8 })).toBe(1);
    expect(bound([1], { shift: 0, fractionBits: 8, dropBits: 3 })).toBe(9);
  });

  it('grows with dropped bits beyond the shift, for ReLUs alone', () => {
    expect(bound([1], { dropBits: 7 })).toBe(8);
    expect(bound([0], { dropBits: 7 })).toBe(1);
  });

  it('takes squares at the end of their range', () => {
    // |X| <= 2^(12 - 1 - 4) = 128, one unit off: 129^2 - 128^2.
    expect(bound([2], {})).toBe(257);
  });

  it('counts the clear rounding for half a unit', () => {
    // An error of 9 and x = 7, cut by 4 bits: (7 + 9) / 16 + 1 = 2 against round(7 / 16) = 0.
    const shape = { kind: 'dense', inputs: 1, outputs: 1 } as const;
    const program: Program = {
      name: 'nine',
      input: { shape: [1, 1, 1], fractionBits: 8, mean: [0], std: [1] },
      steps: [
        { op: 'linear', name: 'a', input: 0, fractionBits: 8, norm1: 0, norm2: 0, shape },
        { op: 'linear', name: 'b', input: 0, fractionBits: 11, norm1: 0, norm2: 0, shape },
        { op: 'add', name: 'nine', fractionBits: 11, inputs: [1, 2], shifts: [3, 0] },
        {
          op: 'activation',
          name: 'act',
          fractionBits: 7,
          input: 3,
          kinds: Uint8Array.of(0),
          rangeBits: 12,
          dropBits: 0,
          shift: 4,
          squareShift: 0,
        },
        { op: 'output', name: 'o', fractionBits: 7, input: 4, reveal: 'logits', rangeBits: 20 },
      ],
      labels: [],
    };
    expect(errorBound(program)).toBe(2);
  });
});
