import { describe, expect, it } from 'vitest';
import { kernels } from '../../../protocol/kernels/index.ts';
import { Prg, randomRing } from '../../../protocol/random/index.ts';
import * as reference from '../../../protocol/ring/reference.ts';

const { arena, ring } = kernels();
const random = new Prg(new Uint8Array(16).fill(8));

describe('ring kernels', () => {
  it.each([1, 3, 7, 8, 9, 64, 67])('multiply rows of %i elements with a vector', (n) => {
    const rows = 5;
    const weights = randomRing(random, rows * n);
    const x = randomRing(random, n);
    arena.scope(() => {
      const y = arena.alloc(4 * rows + 16);
      arena.i32(y, rows + 4).fill(7);
      ring.dense(y, arena.put(weights), rows, arena.put(x), n);
      const expected = reference.referenceLinear(
        { kind: 'dense', inputs: n, outputs: rows },
        x,
        weights,
      );
      expect(arena.i32(y, rows).slice()).toEqual(expected);
      expect([...arena.i32(y + 4 * rows, 4)]).toEqual([7, 7, 7, 7]);
    });
  });

  it.each([1, 7, 8, 9, 20])('convolve rows of %i pixels and stay inside the slack', (width) => {
    const rows = 3;
    const pitch = width + 2;
    const shape = {
      kind: 'conv',
      channels: 1,
      height: rows + 1,
      width: pitch,
      outChannels: 4,
      kernel: [2, 3],
      stride: [1, 1],
      pads: [0, 0, 0, 0],
      groups: 1,
    } as const;
    const input = randomRing(random, (rows + 1) * pitch);
    const weights = randomRing(random, 24);
    const bias = randomRing(random, 4);
    const expected = reference.referenceLinear(shape, input, weights, bias);
    const offsets = Uint32Array.of(0, 1, 2, pitch, pitch + 1, pitch + 2).map((at) => 4 * at);
    const size = rows * width;
    const plane = 4 * size + 32;
    arena.scope(() => {
      const x = arena.alloc(4 * input.length + 32);
      arena.i32(x, input.length).set(input);
      const taps = arena.put(offsets);
      const w = arena.put(weights);
      const b = arena.put(bias);
      const y = arena.alloc(4 * plane + 16);
      arena.i32(y + 4 * plane, 4).fill(7);
      ring.convolve4(y, plane, 4 * width, x, 4 * pitch, rows, width, taps, 6, w, b);
      for (let m = 0; m < 4; m++) {
        const own = expected.slice(m * size, (m + 1) * size);
        expect(arena.i32(y + m * plane, size).slice()).toEqual(own);
        const [own1, bias1] = [w + 24 * m, b + 4 * m];
        const size1 = [4 * pitch, rows, width] as const;
        ring.convolve1(y + m * plane, 4 * width, x, ...size1, taps, 6, own1, bias1);
        expect(arena.i32(y + m * plane, size).slice()).toEqual(own);
      }
      expect([...arena.i32(y + 4 * plane, 4)]).toEqual([7, 7, 7, 7]);
    });
  });

  it.each([16, 32, 80])('multiply rows of %i 16-bit weights with a vector in halves', (n) => {
    const rows = 5;
    const weights = randomRing(random, rows * n).map((word) => word >> 16);
    const x = randomRing(random, n);
    arena.scope(() => {
      const y = arena.alloc(4 * rows + 16);
      arena.i32(y, rows + 4).fill(7);
      const [from, low, high] = [arena.put(x), arena.alloc(2 * n), arena.alloc(2 * n)];
      ring.halve(low, high, from, from + 4, n / 2, 2);
      ring.denseHalves(y, arena.put(Int16Array.from(weights)), rows, low, high, n);
      const expected = reference.referenceLinear(
        { kind: 'dense', inputs: n, outputs: rows },
        x,
        weights,
      );
      expect(arena.i32(y, rows).slice()).toEqual(expected);
      expect([...arena.i32(y + 4 * rows, 4)]).toEqual([7, 7, 7, 7]);
    });
  });

  it.each([
    [1, 1],
    [3, 1],
    [4, 1],
    [9, 1],
    [1, 2],
    [5, 3],
  ])('gather and halve %i numbers, every one in %i, and write no more', (count, stride) => {
    const length = count * stride;
    const edges = [0x7fff, 0x8000, -1, 0x7fff8000, 0x7fffffff, -0x80000000, 0xffff, 0x17fff];
    const a = randomRing(random, length).map((word, i) => edges[i] ?? word);
    const b = randomRing(random, length).map((word, i) => edges[length - i] ?? word);
    arena.scope(() => {
      const [pa, pb] = [arena.put(a), arena.put(b)];
      const [low, high, copy] = [0, 0, 0].map(() => arena.alloc(4 * count + 4)) as [
        number,
        number,
        number,
      ];
      for (const p of [low, high, copy]) arena.i32(p, count + 1).fill(7);
      ring.halve(low, high, pa, pb, count, stride);
      ring.gather(copy, pa, count, stride);
      for (let i = 0; i < count; i++) {
        const [x, y] = [a[i * stride]!, b[i * stride]!];
        const [l, h] = [arena.i32(low, count)[i]!, arena.i32(high, count)[i]!];
        const halves = [(l << 16) >> 16, l >> 16, (h << 16) >> 16, h >> 16] as const;
        expect(((halves[2] << 16) + halves[0]) | 0).toBe(x);
        expect(((halves[3] << 16) + halves[1]) | 0).toBe(y);
        expect(arena.i32(copy, count)[i]).toBe(x);
      }
      for (const p of [low, high, copy]) expect(arena.i32(p, count + 1)[count]).toBe(7);
    });
  });

  it.each([1, 3, 4, 5, 11])('convolve rows of %i pixels in halves inside the slack', (width) => {
    const rows = 3;
    const pitch = width + 1;
    const shape = {
      kind: 'conv',
      channels: 2,
      height: rows,
      width: pitch,
      outChannels: 4,
      kernel: [1, 2],
      stride: [1, 1],
      pads: [0, 0, 0, 0],
      groups: 1,
    } as const;
    const plane = rows * pitch;
    const input = randomRing(random, 2 * plane);
    const weights = randomRing(random, 16).map((word) => word >> 16);
    const bias = randomRing(random, 4);
    const expected = reference.referenceLinear(shape, input, weights, bias);
    const size = rows * width;
    const outPlane = 4 * size + 32;
    // [channel][kernel element] of each output channel in pairs of channels.
    const pairs = [0, 1, 2, 3].flatMap((m) => [0, 2, 1, 3].map((i) => weights[4 * m + i]!));
    arena.scope(() => {
      const from = arena.put(input);
      const x = arena.alloc(8 * plane + 32);
      ring.halve(x, x + 4 * plane, from, from + 4 * plane, plane, 1);
      const w = arena.put(Int16Array.from(pairs));
      const taps = arena.put(Uint32Array.of(0, 4));
      const y = arena.alloc(4 * outPlane + 16);
      arena.i32(y + 4 * outPlane, 4).fill(7);
      const sizes = [4 * pitch, rows, width, taps, 2, w, arena.put(bias)] as const;
      ring.convolveHalves4(y, outPlane, 4 * width, x, 4 * plane, ...sizes);
      for (let m = 0; m < 4; m++) {
        const own = expected.slice(m * size, (m + 1) * size);
        expect(arena.i32(y + m * outPlane, size).slice()).toEqual(own);
      }
      expect([...arena.i32(y + 4 * outPlane, 4)]).toEqual([7, 7, 7, 7]);
    });
  });
});
