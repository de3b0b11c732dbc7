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
      const expected = reference.linear({ kind: 'dense', inputs: n, outputs: rows }, x, weights);
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
    const expected = reference.linear(shape, input, weights);
    const offsets = Uint32Array.of(0, 1, 2, pitch, pitch + 1, pitch + 2).map((at) => 4 * at);
    const size = rows * width;
    const plane = 4 * size + 32;
    arena.scope(() => {
      const x = arena.alloc(4 * input.length + 32);
      arena.i32(x, input.length).set(input);
      const taps = arena.put(offsets);
      const w = arena.put(weights);
      const y = arena.alloc(4 * plane + 16);
      arena.i32(y + 4 * plane, 4).fill(7);
      ring.convolve4(y, plane, 4 * width, x, 4 * pitch, rows, width, taps, 6, w);
      for (let m = 0; m < 4; m++) {
        const own = expected.slice(m * size, (m + 1) * size);
        expect(arena.i32(y + m * plane, size).slice()).toEqual(own);
        ring.convolve1(y + m * plane, 4 * width, x, 4 * pitch, rows, width, taps, 6, w + 24 * m);
        expect(arena.i32(y + m * plane, size).slice()).toEqual(own);
      }
      expect([...arena.i32(y + 4 * plane, 4)]).toEqual([7, 7, 7, 7]);
    });
  });
});
