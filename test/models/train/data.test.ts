import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { Stream } from '../../../models/random.ts';
import { augmenter, smallMotions } from '../../../models/train/data/augment.ts';
import { readIdx } from '../../../models/train/data/idx.ts';
import { makeBatch, slice } from '../../../models/train/data/images.ts';
import { whiteningFilters } from '../../../models/train/data/whitening.ts';
import { numbers } from '../builder.ts';
import { bars, everyOperator } from '../networks.ts';

describe('data', () => {
  const idx = (bytes: number[]) => Uint8Array.from(bytes);
  const good = [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6];

  it('reads IDX files, packed or not', () => {
    for (const file of [idx(good), gzipSync(idx(good))]) {
      const { shape, data } = readIdx(file, 'x');
      expect(shape).toEqual([2, 3]);
      expect([...data]).toEqual([1, 2, 3, 4, 5, 6]);
    }
  });

  it('refuses IDX files that are cut, long, of another kind or damaged', () => {
    for (let n = 0; n < good.length; n++) {
      expect(() => readIdx(idx(good.slice(0, n)), 'x'), `${n}`).toThrow(RangeError);
    }
    expect(() => readIdx(idx([...good, 7]), 'x')).toThrow(/x should hold 2 x 3 bytes.*holds 7/);
    expect(() => readIdx(idx([0, 1, ...good.slice(2)]), 'x')).toThrow(/two zero bytes/);
    expect(() => readIdx(idx([0, 0, 13, ...good.slice(3)]), 'x')).toThrow(/type 13/);
    expect(() => readIdx(gzipSync(idx(good)).subarray(0, -9), 'x')).toThrow(/unpacked/);
    // Sizes whose product is no whole number of bytes that could exist.
    const huge = [0, 0, 8, 3, ...new Array<number>(12).fill(255), 1];
    expect(() => readIdx(idx(huge), 'x')).toThrow(RangeError);
  });

  it('gathers preprocessed batches', () => {
    const set = bars(10);
    const { input } = everyOperator();
    const { images, labels } = makeBatch(set, input, [7, 2]);
    expect([...labels]).toEqual([2, 2]);
    expect(images[126]).toBeCloseTo((set.pixels[2 * 126]! / 255 - 0.5) / 0.25, 5);
    expect(slice(set, 2, 4).labels).toEqual(Uint8Array.of(2, 3));
  });

  it('moves images a little: not at all at zero, and by whole pixels exactly', () => {
    const pixels = Uint8Array.from({ length: 12 }, (_, i) => 20 * i);
    const out = new Float32Array(12);
    const still = smallMotions(new Stream(1), { shift: 0, rotation: 0, scale: 0, shear: 0 });
    still(pixels, [1, 3, 4], out, 0);
    expect([...out]).toEqual([...pixels]);
    const fixed = { symmetric: (bound: number) => bound } as Stream;
    const moved = smallMotions(fixed, { shift: 1, rotation: 0, scale: 0, shear: 0 });
    moved(pixels, [1, 3, 4], out, 0);
    expect([...out]).toEqual([100, 120, 140, 0, 180, 200, 220, 0, 0, 0, 0, 0]);
  });

  it('crops and mirrors by whole pixels', () => {
    const pixels = Uint8Array.from({ length: 12 }, (_, i) => 10 + i);
    const augment = augmenter({ kind: 'cropFlip', pad: 1 }, [4, 0]);
    const seen = new Set<string>();
    for (let i = 0; i < 400; i++) {
      const out = new Float32Array(12);
      augment(pixels, [1, 3, 4], out, i);
      seen.add(out.join());
    }
    expect(seen.size).toBe(18);
    expect(seen.has(pixels.join())).toBe(true);
    expect(seen.has('13,12,11,10,17,16,15,14,21,20,19,18')).toBe(true);
    expect(seen.has('15,16,17,0,19,20,21,0,0,0,0,0')).toBe(true);
  });

  it('moves images over mirrored borders, and turns each around in every second epoch', () => {
    const pixels = Uint8Array.from({ length: 12 }, (_, i) => 10 + i);
    const epochs = [0, 1].map((epoch) => {
      const augment = augmenter({ kind: 'shiftTurns', shift: 1 }, [4, epoch]);
      const sides = Array.from({ length: 400 }, (_, image) => {
        const out = new Float32Array(12);
        augment(pixels, [1, 3, 4], out, image);
        return out.join();
      });
      return sides;
    });
    const seen = new Set(epochs.flat());
    expect(seen.size).toBe(18);
    expect(seen).toContain(pixels.join());
    expect(seen).toContain('13,12,11,10,17,16,15,14,21,20,19,18');
    // Down and right by one: behind the border stands what is before it.
    expect(seen).toContain('15,14,15,16,11,10,11,12,15,14,15,16');
  });

  it('turns around half of the images, and each of them every second time', () => {
    const pixels = Uint8Array.of(1, 2, 3, 4);
    const turned = (seed: number, epoch: number) => {
      const augment = augmenter({ kind: 'shiftTurns', shift: 0 }, [seed, epoch, 7, 1]);
      return Array.from({ length: 1000 }, (_, image) => {
        const out = new Float32Array(4);
        augment(pixels, [1, 1, 4], out, image);
        expect(['1,2,3,4', '4,3,2,1']).toContain(out.join());
        return out[0] === 4;
      });
    };
    const first = turned(1, 0);
    expect(Math.abs(first.filter(Boolean).length - 500)).toBeLessThan(60);
    expect(turned(1, 1)).toEqual(first.map((side) => !side));
    expect(turned(1, 2)).toEqual(first);
    expect(turned(2, 0)).not.toEqual(first);
  });

  it('cuts a grey square out of images, whose middle is anywhere inside', () => {
    const pixels = new Uint8Array(2 * 5 * 6).fill(7);
    const augment = augmenter({ kind: 'shiftTurns', shift: 0, cutout: 3 }, [1, 0]);
    const places = new Set<string>();
    for (let image = 0; image < 3000; image++) {
      const out = new Float32Array(60);
      augment(pixels, [2, 5, 6], out, image);
      const grey = [...out.keys()].filter((i) => out[i] === 120);
      expect(grey.length + out.filter((v) => v === 7).length).toBe(60);
      const plane = grey.filter((i) => i < 30);
      expect(grey).toEqual([...plane, ...plane.map((i) => i + 30)]);
      const [rows, columns] = [(i: number) => Math.floor(i / 6), (i: number) => i % 6].map((of) =>
        plane.map(of),
      ) as [number[], number[]];
      const spans = [rows, columns].map((of) => Math.max(...of) - Math.min(...of) + 1);
      expect(plane).toHaveLength(spans[0]! * spans[1]!);
      places.add(plane.join());
    }
    // A middle for each pixel, and as many squares.
    expect(places.size).toBe(30);
  });

  it('whitens patches: their filtered numbers have unit variances and nothing in common', () => {
    const next = numbers(5);
    const set = {
      shape: [2, 8, 8] as const,
      pixels: Uint8Array.from({ length: 60 * 128 }, (_, i) => {
        const within = i % 64;
        return 128 + 60 * Math.sin(i / 400) + 30 * Math.sin(within / 3) + 30 * next();
      }),
      labels: new Uint8Array(60),
    };
    const input = { id: 'in', shape: set.shape, mean: [0.5, 0.4], std: [0.2, 0.3] };
    const filters = whiteningFilters(set, input, 2);
    const responses: number[][] = [];
    for (let b = 0; b < 60; b++) {
      const x = makeBatch(set, input, [b]).images;
      for (let y = 0; y < 7; y++) {
        for (let col = 0; col < 7; col++) {
          const patch = [0, 1].flatMap((c) =>
            [0, 1].flatMap((dy) => [0, 1].map((dx) => x[(c * 8 + y + dy) * 8 + col + dx]!)),
          );
          responses.push(
            Array.from({ length: 8 }, (_, f) =>
              patch.reduce((sum, v, i) => sum + v * filters[8 * f + i]!, 0),
            ),
          );
        }
      }
    }
    for (let f = 0; f < 8; f++) {
      for (let g = 0; g < 8; g++) {
        const mean = responses.reduce((sum, r) => sum + r[f]! * r[g]!, 0) / responses.length;
        expect(Math.abs(mean - (f === g ? 1 : 0)), `${f} ${g}`).toBeLessThan(0.02);
      }
    }
  });
});
