import { describe, expect, it } from 'vitest';
import {
  channelsRead,
  gather,
  gatheredSize,
  gatherFault,
  keeping,
  OUTSIDE,
  padding,
  runsOf,
  slicing,
  tableOf,
  transposing,
} from '../../../protocol/ring/gather.ts';

const counted = (size: number) => Int32Array.from({ length: size }, (_, i) => i + 1);
const run = (tables: readonly Int32Array[], x: Int32Array) =>
  Array.from(gather(tables, x, new Int32Array(gatheredSize(tables))));

describe('gather', () => {
  it('takes a slice, pads with zeros, transposes and keeps', () => {
    const x = counted(6);
    expect(run(slicing([1, 2, 3], [0, 1, 0], [1, 1, 2], [1, 1, 2]), x)).toEqual([4, 6]);
    expect(run(padding([1, 2, 3], [0, 1, 0], [0, 0, 1]), x)).toEqual([
      0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 0,
    ]);
    expect(run(transposing([2, 3], [1, 0]), x)).toEqual([1, 4, 2, 5, 3, 6]);
    expect(run(keeping([2, 3]), x)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('mirrors and repeats', () => {
    const x = counted(3);
    expect(run([Int32Array.of(2, 1, 0, 1, 2)], x)).toEqual([3, 2, 1, 2, 3]);
    expect(run([Int32Array.of(0, 1, 2), Int32Array.of(0, 0)], x)).toEqual([1, 1, 2, 2, 3, 3]);
  });

  it('says what is wrong with tables', () => {
    expect(gatherFault([Int32Array.of(0, 5)], 6)).toBeUndefined();
    expect(gatherFault([Int32Array.of(0, 6)], 6)).toBe('reads element 6 of 6');
    expect(gatherFault([Int32Array.of(3), Int32Array.of(3)], 6)).toBe('reads element 6 of 6');
    expect(gatherFault([Int32Array.of(-2)], 6)).toBe('has the entry -2 in a table');
    expect(gatherFault([], 6)).toBe('has an empty table');
    expect(gatherFault([new Int32Array(0)], 6)).toBe('has an empty table');
  });

  it('tables survive as runs', () => {
    const tables = [
      Int32Array.of(0, 1, 2, 3),
      Int32Array.of(OUTSIDE, OUTSIDE, 0, 4, 8, OUTSIDE),
      Int32Array.of(7),
      Int32Array.of(2, 1, 0, 1, 2, 2, 2),
    ];
    for (const table of tables) expect(tableOf(runsOf(table), 10)).toEqual(table);
    expect(runsOf(Int32Array.of(0, 1, 2, 3))).toEqual([[0, 1, 4]]);
    expect(() => tableOf([[0, 1, 11]], 10)).toThrow('a table of 11 entries, at most 10 are read');
  });

  it('tells which channels each channel of the result reads', () => {
    expect(
      channelsRead(slicing([3, 2, 2], [1, 0, 0], [1, 1, 1], [2, 2, 2]), [3, 2, 2], [2, 2, 2]),
    ).toEqual([[1], [2]]);
    expect(channelsRead(keeping([2, 1, 2]), [2, 1, 2], [1, 1, 4])).toEqual([[0, 1]]);
    expect(channelsRead(padding([1, 1, 1], [1, 0, 0], [0, 0, 0]), [1, 1, 1], [2, 1, 1])).toEqual([
      [],
      [0],
    ]);
  });
});
