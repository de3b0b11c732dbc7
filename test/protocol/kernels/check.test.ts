import { describe, expect, it } from 'vitest';
import { kernels } from '../../../protocol/kernels/index.ts';
import { Prg, randomBytes } from '../../../protocol/random/index.ts';

const { arena, bits, check } = kernels();
const random = new Prg(new Uint8Array(16).fill(9));

const MODULUS = (1n << 128n) | 0x87n;

function times(a: bigint, b: bigint): bigint {
  let product = 0n;
  for (let i = 0n; i < 128n; i++) if ((a >> i) & 1n) product ^= b << i;
  for (let i = 254n; i >= 128n; i--) if ((product >> i) & 1n) product ^= MODULUS << (i - 128n);
  return product;
}

const element = (block: Uint8Array): bigint =>
  block.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
const elements = (blocks: Uint8Array): bigint[] =>
  Array.from({ length: blocks.length / 16 }, (_, i) =>
    element(blocks.subarray(16 * i, 16 * i + 16)),
  );
const horner = (point: bigint, coefficients: readonly bigint[]): bigint =>
  coefficients.reduce((sum, c) => times(sum, point) ^ c, 0n);

/** Element `slice` of bit column `column`: bit i is that bit of block 128 slice + i. */
function columnOf(blocks: Uint8Array, column: number): bigint[] {
  return Array.from({ length: blocks.length / 2048 }, (_, slice) => {
    let value = 0n;
    for (let i = 0; i < 128; i++) {
      const byte = blocks[2048 * slice + 16 * i + (column >> 3)]!;
      value |= BigInt((byte >> (column & 7)) & 1) << BigInt(i);
    }
    return value;
  });
}

describe('kernels of the consistency check', () => {
  const points = [
    new Uint8Array(16).fill(255),
    Uint8Array.of(1, ...new Uint8Array(15)),
    randomBytes(random, 16),
  ];

  it.each(points)('multiply and add in GF(2^128) (point %#)', (...point) => {
    const chi = Uint8Array.from(point);
    arena.scope(() => {
      const columns = arena.alloc(2048);
      check.powers(columns, arena.put(chi));
      let power = element(chi);
      for (const own of elements(arena.u8(columns, 2048))) {
        expect(own).toBe(power);
        power = times(power, 2n);
      }
      const matrix = arena.alloc(2048);
      bits.transpose(matrix, columns, 16, 128);
      const table = arena.alloc(8192);
      const picks = arena.alloc(16384);
      check.picks(picks, matrix, table);
      for (const slices of [1, 2, 5]) {
        const blocks = randomBytes(random, 2048 * slices);
        const sums = arena.put(new Uint8Array(2048));
        check.hornerColumns(sums, picks, table, arena.put(blocks), slices);
        const got = arena.u8(sums, 2048).slice();
        for (const column of [0, 1, 63, 64, 127]) {
          expect(columnOf(got, column)).toEqual([horner(element(chi), columnOf(blocks, column))]);
        }
        const choices = randomBytes(random, 16 * slices);
        const sum = arena.put(new Uint8Array(16));
        check.hornerBits(sum, columns, arena.put(choices), slices);
        expect(element(arena.u8(sum, 16))).toBe(horner(element(chi), elements(choices)));
      }
    });
  });
});
