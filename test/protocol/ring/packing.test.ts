import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lowBits, pack, packedBytes, signed, unpack } from '../../../protocol/ring/packing.ts';

describe('packed integers', () => {
  it('put value i at bit i * width, lowest bit first', () => {
    expect([...pack(Int32Array.of(1, 2, 3), 3)]).toEqual([0b11_010_001, 0]);
    expect([...pack(Int32Array.of(-1, 0x0102), 16)]).toEqual([0xff, 0xff, 2, 1]);
    expect([...pack(Int32Array.of(0x04030201), 32)]).toEqual([1, 2, 3, 4]);
  });

  it('come back without their high bits (property)', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer(), { maxLength: 100 }),
        fc.integer({ min: 1, max: 32 }),
        (values, width) => {
          const bytes = pack(Int32Array.from(values), width);
          expect(bytes.length).toBe(Math.ceil((values.length * width) / 8));
          expect(bytes.length).toBe(packedBytes(values.length, width));
          const back = unpack(bytes, values.length, width);
          expect([...back]).toEqual(values.map((value) => value & lowBits(width)));
        },
      ),
      { numRuns: 300, seed: 1 },
    );
  });

  it('are read as signed numbers of their width', () => {
    expect([3, 4, 7, -1, 8, -9].map((value) => signed(value, 3))).toEqual([3, -4, -1, -1, 0, -1]);
    expect([signed(5, 1), signed(2 ** 31, 32), signed(2 ** 32 + 7, 32)]).toEqual([
      -1,
      -(2 ** 31),
      7,
    ]);
  });

  it('refuse a length or a width that does not fit', () => {
    expect(() => unpack(new Uint8Array(3), 1, 32)).toThrow(RangeError);
    for (const width of [0, 33, 1.5]) {
      expect(() => pack(new Int32Array(1), width)).toThrow(RangeError);
      expect(() => unpack(new Uint8Array(1), 1, width)).toThrow(RangeError);
    }
  });
});
