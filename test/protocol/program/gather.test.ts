/** Steps that move elements: what of their tables travels, and which tables nobody reads. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkProgram } from '../../../protocol/program/check.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import { decodeProgram, encodeProgram } from '../../../protocol/program/encode.ts';
import type { Program } from '../../../protocol/program/program.ts';
import { OUTSIDE, transposing } from '../../../protocol/ring/gather.ts';
import { type Shape, sizeOf } from '../../../protocol/ring/shape.ts';

const INPUT: Shape = [2, 3, 4];

/** A program that moves the elements of its input, and reveals them. */
function moving(tables: readonly Int32Array[], size: Shape): Program {
  return {
    name: 'moving',
    input: { shape: INPUT, fractionBits: 8, mean: [0, 0], std: [1, 1] },
    comparison: 'encoded',
    steps: [
      { op: 'gather', name: 'moved', fractionBits: 8, input: 0, size, tables },
      {
        op: 'output',
        name: 'output',
        fractionBits: 8,
        input: 1,
        reveal: 'logits',
        rangeBits: 20,
        tolerance: 0,
      },
    ],
    results: [{ name: 'logits', shape: [sizeOf(size)], bits: 8 }],
    labels: [],
  };
}

/** The program's bytes with other runs. */
function withRuns(tables: unknown): Uint8Array {
  const bytes = encodeProgram(moving([Int32Array.of(0)], [1, 1, 1]));
  const program = JSON.parse(new TextDecoder().decode(bytes));
  program.steps[0].tables = tables;
  return new TextEncoder().encode(JSON.stringify(program));
}

const tables = fc.array(
  fc
    .array(fc.integer({ min: OUTSIDE, max: 5 }), { minLength: 1, maxLength: 9 })
    .map((entries) => Int32Array.from(entries)),
  { minLength: 1, maxLength: 4 },
);

describe('a gather', () => {
  it('moves elements to where its tables say', () => {
    const program = moving(transposing(INPUT, [2, 0, 1]), [4, 2, 3]);
    const input = Int32Array.from({ length: 24 }, (_, i) => i);
    const moved = runClear({ program, weights: [undefined, undefined] }, input);
    expect([...moved.subarray(0, 7)]).toEqual([0, 4, 8, 12, 16, 20, 1]);
  });

  it('comes back from bytes as it was, whatever its tables', () => {
    fc.assert(
      fc.property(tables, (own) => {
        const program = moving(own, [own.reduce((size, { length }) => size * length, 1), 1, 1]);
        expect(decodeProgram(encodeProgram(program)).program).toEqual(program);
      }),
    );
  });

  it('is a few runs on the wire', () => {
    const bytes = encodeProgram(moving(transposing(INPUT, [2, 0, 1]), [4, 2, 3]));
    const [step] = JSON.parse(new TextDecoder().decode(bytes)).steps;
    expect(step.tables).toEqual([[[0, 1, 4]], [[0, 12, 2]], [[0, 4, 3]]]);
  });

  it.each<[string, readonly Int32Array[], Shape, string]>([
    [
      'makes another size',
      [Int32Array.of(0, 1)],
      [3, 1, 1],
      'its tables make 2 elements, no tensor 3x1x1',
    ],
    [
      'makes half a row',
      [Int32Array.of(0)],
      [2, 1, 0.5],
      'its tables make 1 elements, no tensor 2x1x0.5',
    ],
    [
      'reads beyond its input',
      [Int32Array.of(12), Int32Array.of(12)],
      [1, 1, 1],
      'reads element 24 of 24',
    ],
    ['has a strange entry', [Int32Array.of(-2)], [1, 1, 1], 'has the entry -2 in a table'],
    ['has no table', [], [1, 1, 1], 'has an empty table'],
    [
      'has nine tables',
      Array.from({ length: 9 }, () => Int32Array.of(0)),
      [1, 1, 1],
      'has 9 tables, at most 8 are read',
    ],
  ])('is refused when it %s', (_, own, size, what) => {
    expect(() => checkProgram(moving(own, size))).toThrow(`program step "moved" (gather): ${what}`);
  });

  it.each<[string, unknown, string]>([
    ['a run of nothing', [[[0, 1, 0]]], 'program: steps.0.tables.0.0.2: '],
    ['no run', [[]], 'program: steps.0.tables.0: '],
    ['no table', [], 'program: steps.0.tables: '],
    ['nine tables', new Array(9).fill([[0, 0, 1]]), 'program: steps.0.tables: '],
    ['half an entry', [[[0.5, 0, 1]]], 'program: steps.0.tables.0.0.0: '],
    ['a run below the range', [[[2, -1, 5]]], 'steps.0.tables.0.0: a run leaves the range of what'],
    ['a run beyond it', [[[0, 2 ** 30, 4]]], 'steps.0.tables.0.0: a run leaves the range of what'],
    [
      'more entries than anybody reads',
      [[[0, 0, 2 ** 24]], [[0, 0, 1]]],
      `program step "moved" (gather): the tables up to it have more than 16777216 entries`,
    ],
  ])('in bytes is refused with %s', (_, runs, what) => {
    expect(() => decodeProgram(withRuns(runs))).toThrow(what);
  });
});
