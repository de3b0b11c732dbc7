import { describe, expect, it } from 'vitest';
import { kernels } from '../../../protocol/kernels/index.ts';
import { Prg, randomBytes } from '../../../protocol/random/index.ts';
import * as reference from './reference.ts';

const { arena, bits } = kernels();

describe('bit kernels', () => {
  const random = new Prg(new Uint8Array(16).fill(2));

  it.each([0, 16, 48, 4096])('XORs %i bytes', (length) => {
    const a = randomBytes(random, length);
    const b = randomBytes(random, length);
    const out = arena.scope(() => {
      const dst = arena.alloc(length);
      bits.xor(dst, arena.put(a), arena.put(b), length);
      return arena.u8(dst, length).slice();
    });
    expect(out).toEqual(a.map((byte, i) => byte ^ b[i]!));
  });

  it.each([0, 1, 3, 100])('XORs one block onto %i blocks and applies sigma', (n) => {
    const blocks = randomBytes(random, 16 * n);
    const block = randomBytes(random, 16);
    arena.scope(() => {
      const x = arena.put(blocks);
      bits.xorBlock(x, x, arena.put(block), n);
      expect(arena.u8(x, 16 * n).slice()).toEqual(blocks.map((byte, i) => byte ^ block[i & 15]!));
      const words = arena.alloc(4 * n);
      const original = arena.put(blocks);
      for (let word = 0; word < 4; word++) {
        bits.xorWords(words, x, original, word, n);
        const own = new Int32Array(block.buffer)[word]!;
        expect([...arena.i32(words, n)]).toEqual(new Array(n).fill(own));
      }
      const shifts = arena.put(Uint8Array.from([...new Uint8Array(16), ...block]));
      const inputs = arena.alloc(32 * n);
      bits.hashInputs(inputs, original, shifts, 2, n);
      const sigma = reference.sigma(blocks);
      expect(arena.u8(inputs, 16 * n).slice()).toEqual(sigma);
      const shifted = sigma.map((byte, i) => byte ^ block[i & 15]!);
      expect(arena.u8(inputs + 16 * n, 16 * n).slice()).toEqual(shifted);
      const y = arena.put(blocks);
      bits.sigma(y, y, n);
      expect(arena.u8(y, 16 * n).slice()).toEqual(reference.sigma(blocks));
    });
  });

  it.each([128, 256, 1024])('transposes 128 rows of %i bits and writes nothing else', (m) => {
    const rows = randomBytes(random, 16 * m);
    arena.scope(() => {
      const src = arena.put(rows);
      const dst = arena.alloc(16 * m + 16);
      arena.u8(dst + 16 * m, 16).fill(7);
      bits.transpose(dst, src, m / 8, m);
      expect(arena.u8(dst, 16 * m).slice()).toEqual(reference.transpose(rows, m));
      expect(arena.u8(dst + 16 * m, 16).slice()).toEqual(new Uint8Array(16).fill(7));
    });
  });

  it('transposes rows that lie further apart than their length', () => {
    const rows = randomBytes(random, 16 * 128);
    arena.scope(() => {
      const src = arena.alloc(48 * 128);
      for (let r = 0; r < 128; r++)
        arena.u8(src + 48 * r, 16).set(rows.subarray(16 * r, 16 * r + 16));
      const dst = arena.alloc(16 * 128);
      bits.transpose(dst, src, 48, 128);
      expect(arena.u8(dst, 16 * 128).slice()).toEqual(reference.transpose(rows, 128));
    });
  });

  it.each([1, 2, 4, 8])('folds leaves of depth %i', (k) => {
    const groups = 3;
    const size = 16 << k;
    const leaves = randomBytes(random, groups * size);
    const start = randomBytes(random, groups * (k + 1) * 16);
    const xor = (a: Uint8Array, i: number) => a.map((byte, j) => byte ^ start[16 * i + j]!);
    arena.scope(() => {
      const rows = arena.alloc(groups * k * 16);
      const sums = arena.alloc(groups * 16);
      bits.foldLeaves(rows, sums, arena.put(leaves), arena.put(start), groups, k);
      for (let g = 0; g < groups; g++) {
        const expected = reference.foldLeaves(leaves.subarray(g * size, (g + 1) * size), k);
        expect(arena.u8(sums + 16 * g, 16).slice()).toEqual(xor(expected.sum, groups * k + g));
        for (let b = 0; b < k; b++) {
          const row = g * k + b;
          expect(arena.u8(rows + 16 * row, 16).slice()).toEqual(xor(expected.rows[b]!, row));
        }
      }
    });
  });

  it.each([1, 4])('adds the masked corrections of groups of %i rows', (k) => {
    const groups = 3;
    const rows = randomBytes(random, groups * k * 16);
    const masks = randomBytes(random, groups * k * 16);
    const d = randomBytes(random, groups * 16);
    arena.scope(() => {
      const r = arena.put(rows);
      bits.correctRows(r, arena.put(d), arena.put(masks), groups, k);
      const expected = rows.map(
        (byte, i) => byte ^ (masks[i]! & d[16 * Math.floor(i / (16 * k)) + (i & 15)]!),
      );
      expect(arena.u8(r, rows.length).slice()).toEqual(expected);
    });
  });
});
