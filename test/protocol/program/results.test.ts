/** Results of a program: how its output is cut, and what is read out of them. */

import { describe, expect, it } from 'vitest';
import { checkProgram } from '../../../protocol/program/check.ts';
import { decodeProgram, encodeProgram } from '../../../protocol/program/encode.ts';
import { decodeLogits } from '../../../protocol/program/input.ts';
import type { Program, ProgramResult } from '../../../protocol/program/program.ts';
import { decodeResults, readOut } from '../../../protocol/program/results.ts';
import { revealing } from '../../../protocol/program/simulate.ts';

/** A program that reveals its input of 8 numbers as these results. */
function giving(results: readonly ProgramResult[], labels: readonly string[] = []): Program {
  return {
    name: 'giving',
    input: {
      shape: [8, 1, 1],
      fractionBits: 4,
      mean: new Array(8).fill(0),
      std: new Array(8).fill(1),
    },
    comparison: 'encoded',
    steps: [
      {
        op: 'output',
        name: 'output',
        fractionBits: 4,
        input: 0,
        reveal: 'logits',
        rangeBits: 20,
        tolerance: 0,
      },
    ],
    results,
    labels,
  };
}

const whole: ProgramResult = { name: 'all', shape: [8], bits: 4 };
const boxes: ProgramResult = { name: 'boxes', shape: [3, 2], bits: 4 };
const scores: ProgramResult = { name: 'scores', shape: [2], bits: 1 };
const raw = Int32Array.of(16, 32, -16, 0, 8, 4, 3, -6);

describe('the results of a program', () => {
  it('are its output, cut, each at its scale', () => {
    const program = giving([boxes, scores]);
    expect(decodeProgram(encodeProgram(program)).program).toEqual(program);
    expect(decodeResults(program, raw)).toEqual([
      { name: 'boxes', shape: [3, 2], data: Float32Array.of(1, 2, -1, 0, 0.5, 0.25) },
      { name: 'scores', shape: [2], data: Float32Array.of(1.5, -3) },
    ]);
    expect([...decodeLogits(program, raw)]).toEqual([1, 2, -1, 0, 0.5, 0.25, 1.5, -3]);
    const small = giving([{ ...whole, bits: -3 }]);
    expect([...decodeLogits(small, raw)].slice(0, 2)).toEqual([128, 256]);
  });

  it('are one label where the program reveals no more', () => {
    const readout = { kind: 'softmax', axis: 0 } as const;
    const program = revealing(giving([{ ...whole, readout }]), { reveal: 'label' });
    checkProgram(program);
    const results = decodeResults(program, Int32Array.of(5));
    expect(results).toEqual([{ name: 'all', shape: [], data: Float32Array.of(5) }]);
    expect(readOut(program, results)).toEqual(results);
  });

  it.each<[string, Program, string]>([
    ['too few numbers', giving([boxes]), 'program: its results have 6 numbers, its output 8'],
    ['none', giving([]), 'program: its results have 0 numbers, its output 8'],
    [
      'two of one name',
      giving([boxes, { ...scores, name: 'boxes' }]),
      'program: two results have the same name',
    ],
    [
      'half a shape',
      giving([{ ...whole, shape: [16, 0.5] }]),
      'program result "all": 16x0.5 is no shape',
    ],
    ['bits beyond the range', giving([{ ...whole, bits: 81 }]), 'program result "all": 81 bits'],
    ['bits below it', giving([{ ...whole, bits: -41 }]), 'program result "all": -41 bits'],
    ['half a bit', giving([{ ...whole, bits: 0.5 }]), 'program result "all": 0.5 bits'],
    [
      'an axis that it has not',
      giving([{ ...whole, readout: { kind: 'argmax', axis: 1 } }]),
      'program result "all": argmax along axis 1 of 1',
    ],
    [
      'an axis of what has none',
      giving([{ ...whole, shape: [2, 4], readout: { kind: 'tanh', axis: 1 } }]),
      'program result "all": tanh along axis 1 of 1',
    ],
    [
      'a label of two',
      revealing(giving([boxes, scores]), { reveal: 'label' }),
      'program: it reveals one label, and has 2 results',
    ],
    ['too few labels', giving([whole], ['a']), 'program: 1 labels for 8 outputs'],
    ['labels of two', giving([boxes, scores], [...'abcdefgh']), 'program: 8 labels for 2 results'],
  ])('are refused with %s', (_, program, what) => {
    expect(() => checkProgram(program)).toThrow(what);
  });
});

describe('readouts', () => {
  const read = (result: ProgramResult, numbers: readonly number[]) => {
    const program = giving([result]);
    checkProgram(program);
    const data = Float32Array.from(numbers);
    return readOut(program, [{ name: result.name, shape: result.shape, data }])[0]!;
  };
  const square = { name: 'x', shape: [2, 4], bits: 4 } as const;
  const numbers = [1, 2, 3, 4, 100, 2, 99, 5];

  it('take the index of the largest along an axis, which is gone then', () => {
    const rows = read({ ...square, readout: { kind: 'argmax', axis: 1 } }, numbers);
    expect(rows).toEqual({ name: 'x', shape: [2], data: Float32Array.of(3, 0) });
    const columns = read({ ...square, readout: { kind: 'argmax', axis: 0 } }, numbers);
    // The first of equals.
    expect(columns).toEqual({ name: 'x', shape: [4], data: Float32Array.of(1, 0, 1, 1) });
  });

  it('are probabilities along an axis, and their logarithms', () => {
    const soft = read({ ...square, readout: { kind: 'softmax', axis: 1 } }, numbers);
    expect(soft.shape).toEqual([2, 4]);
    const sums = [0, 4].map((at) => soft.data.subarray(at, at + 4).reduce((a, b) => a + b, 0));
    for (const sum of sums) expect(sum).toBeCloseTo(1, 6);
    expect(soft.data[4]).toBeCloseTo(1 / (1 + Math.exp(-1)), 6);
    const logs = read({ ...square, readout: { kind: 'logSoftmax', axis: 0 } }, numbers);
    expect(logs.data[1]).toBeCloseTo(Math.log(0.5), 6);
    expect(logs.data[0]).toBeCloseTo(-99, 4);
  });

  it('bend each number alone', () => {
    const bent = read({ ...square, readout: { kind: 'sigmoid', axis: 0 } }, numbers);
    expect(bent.data[0]).toBeCloseTo(1 / (1 + Math.exp(-1)), 6);
    const tanh = read({ ...square, readout: { kind: 'tanh', axis: 0 } }, numbers);
    expect(tanh.data[1]).toBeCloseTo(Math.tanh(2), 6);
    expect(read(square, numbers).data).toEqual(Float32Array.from(numbers));
  });
});
