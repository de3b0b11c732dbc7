import { sha256 } from '@noble/hashes/sha2.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkProgram } from '../../../protocol/program/check.ts';
import { decodeProgram, digestOf, encodeProgram } from '../../../protocol/program/encode.ts';
import { checkModel, decodeModel, encodeModel } from '../../../protocol/program/model.ts';
import type { Program, Step } from '../../../protocol/program/program.ts';
import { DAMAGED, readDamaged } from '../../support/damage.ts';
import { everyStep } from './models.ts';

/** The program with one step changed. */
function patch(index: number, change: object): Program {
  const { program } = everyStep(1);
  const steps = program.steps.map((step, i) =>
    i === index ? ({ ...step, ...change } as Step) : step,
  );
  return { ...program, steps };
}

describe('program bytes', () => {
  it('come back as they were', () => {
    const { program } = everyStep(3);
    const bytes = encodeProgram(program);
    expect(decodeProgram(bytes).program).toEqual(program);
    expect(digestOf(encodeProgram(decodeProgram(bytes).program))).toEqual(digestOf(bytes));
  });

  it('keep any map of kinds', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(0, 1, 2), { minLength: 1, maxLength: 70 }), (kinds) => {
        const steps: Step[] = [
          {
            op: 'activation',
            name: 'act',
            fractionBits: 4,
            input: 0,
            kinds: Uint8Array.from(kinds),
            constants: true,
            rangeBits: 16,
            dropBits: 0,
            shift: 4,
            squareShift: 4,
          },
          {
            op: 'output',
            name: 'o',
            fractionBits: 4,
            input: 1,
            reveal: 'logits',
            rangeBits: 20,
            tolerance: 0,
          },
        ];
        const shape = [1, 1, kinds.length] as const;
        const input = { shape, fractionBits: 8, mean: [0], std: [1] };
        const program: Program = {
          name: 'map',
          input,
          comparison: 'encoded',
          steps,
          results: [{ name: 'logits', shape: [kinds.length], bits: 4 }],
          labels: [],
        };
        expect(decodeProgram(encodeProgram(program)).program).toEqual(program);
      }),
    );
  });

  it('are refused when they are not a program', () => {
    const text = (s: string) => new TextEncoder().encode(s);
    expect(() => decodeProgram(text('{'))).toThrow(/not JSON/);
    expect(() => decodeProgram(Uint8Array.of(0xff))).toThrow(/not JSON/);
    expect(() => decodeProgram(text('{}'))).toThrow(/^program: format/);
    const extra = JSON.parse(new TextDecoder().decode(encodeProgram(everyStep(1).program)));
    extra.steps[0].more = 1;
    expect(() => decodeProgram(text(JSON.stringify(extra)))).toThrow(/steps\.0/);
    extra.steps = [];
    expect(() => decodeProgram(text(JSON.stringify(extra)))).toThrow(/steps/);
  });

  it('say how ReLUs compare: what is unknown is refused', () => {
    const program = JSON.parse(new TextDecoder().decode(encodeProgram(everyStep(1).program)));
    const bytesOf = (value: object) => new TextEncoder().encode(JSON.stringify(value));
    program.comparison = 'garbled';
    expect(decodeProgram(bytesOf(program)).program.comparison).toBe('garbled');
    program.comparison = 'guessed';
    expect(() => decodeProgram(bytesOf(program))).toThrow(
      'program: comparison: Invalid option: expected one of "encoded"|"garbled"',
    );
  });
});

describe('the check of programs', () => {
  it('accepts what it should and returns all shapes', () => {
    expect(checkProgram(everyStep(1).program)[8]).toEqual([3, 1, 1]);
  });

  it.each<[string, number, object, RegExp]>([
    ['a value not made yet', 0, { input: 1 }, /"conv1".*reads value 1/],
    ['a linear layer on a linear layer', 2, { input: 1 }, /"conv2".*identity activation/],
    ['a layer of other size', 6, { shape: { kind: 'dense', inputs: 9, outputs: 3 } }, /"head".*9/],
    ['scales that do not meet', 3, { shifts: [0, 3] }, /"skip".*11 fractional bits/],
    ['windows larger than the input', 5, { kernel: [9, 9] }, /"pool".*exceed/],
    [
      'windows that may lie beside the input',
      5,
      { kernel: [3, 2], pads: [0, 2, 2, 1] },
      /"pool".*windows 3x2 may lie outside with pads 0, 2, 2, 1/,
    ],
    ['a wide identity layer', 1, { rangeBits: 31 }, /"act1".*k = 31/],
    ['a wide ReLU layer', 4, { rangeBits: 32 }, /"act2".*k = 32/],
    ['squares without constants', 1, { constants: false }, /"act1".*squares need the constants/],
    ['squares that overflow', 1, { squareShift: 2 }, /"act1".*overflow/],
    ['a short map', 4, { kinds: new Uint8Array(31) }, /"act2".*31 elements/],
    ['an unknown kind', 4, { kinds: new Uint8Array(32).fill(3) }, /"act2".*3/],
    ['a comparison of nothing', 4, { dropBits: 30 }, /"act2".*t = 30/],
    ['a scale that does not follow', 4, { fractionBits: 9 }, /"act2".*fractional bits/],
    ['a wide output', 7, { rangeBits: 32 }, /"output".*31/],
  ])('refuses %s', (_what, index, change, message) => {
    expect(() => checkProgram(patch(index, change))).toThrow(message);
  });
});

describe('model files', () => {
  it('come back as they were', () => {
    const model = everyStep(5);
    // Wider than 16 bits: both widths of a tensor occur.
    const wide = model.weights.map((w, i) =>
      i === 6
        ? {
            kernel: Int32Array.from({ length: 24 }, (_, j) => (j - 12) << 27),
            bias: Int32Array.of(-(2 ** 31), 2 ** 31 - 1, 0),
          }
        : w,
    );
    const big = { ...model, weights: wide };
    expect(decodeModel(encodeModel(model))).toEqual(model);
    expect(decodeModel(encodeModel(big))).toEqual(big);
  });

  it('are refused when cut anywhere', () => {
    const bytes = encodeModel(everyStep(5));
    for (let length = 0; length < bytes.length; length += 7) {
      expect(() => decodeModel(bytes.subarray(0, length))).toThrow(RangeError);
    }
  });

  it('are refused when any byte changed', () => {
    const bytes = encodeModel(everyStep(5));
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const changed = bytes.slice();
        changed[at]! ^= by;
        expect(() => decodeModel(changed)).toThrow(RangeError);
      }),
    );
  });

  it(`of which ${DAMAGED} are damaged and signed anew are read or refused, quickly`, () => {
    // Without the checksum, for damage beyond it to reach what it protects.
    const files = [1, 2, 3].map((seed) => encodeModel(everyStep(seed)).subarray(0, -32));
    const refused = readDamaged(files, (bytes) => {
      const signed = new Uint8Array(bytes.length + 32);
      signed.set(bytes);
      signed.set(sha256(bytes), bytes.length);
      return decodeModel(signed);
    });
    expect(refused).toBeGreaterThan(DAMAGED / 4);
    expect(decodeModel(encodeModel(everyStep(1))).program).toEqual(everyStep(1).program);
  });

  it('are refused with bytes behind their end', () => {
    const bytes = encodeModel(everyStep(5));
    const longer = new Uint8Array(bytes.length + 1);
    longer.set(bytes);
    expect(() => decodeModel(longer)).toThrow(RangeError);
  });

  it('need every tensor at its length', () => {
    const model = everyStep(5);
    const without = { ...model, weights: model.weights.map(() => undefined) };
    expect(() => checkModel(without)).toThrow(/"conv1".*18 and 2.*none/);
    const constants = { before: new Int32Array(6), after: new Int32Array(3) };
    const uneven = { ...model, weights: model.weights.map((w, i) => (i === 1 ? constants : w)) };
    expect(() => checkModel(uneven)).toThrow(/"act1".*6 and 6.*6 and 3/);
  });
});
