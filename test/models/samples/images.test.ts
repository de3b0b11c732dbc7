import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { PNG } from 'pngjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readPixels } from '../../../models/samples/index.ts';
import { readCifar } from '../../../models/train/data/cifar.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-images-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

/** Records whose pixels tell image, plane and place. */
function records(count: number): Uint8Array {
  const bytes = new Uint8Array(count * 3073);
  for (let i = 0; i < count; i++) {
    bytes[i * 3073] = (i * 3) % 10;
    for (let p = 0; p < 3072; p++) bytes[i * 3073 + 1 + p] = (i + p * 7) & 255;
  }
  return bytes;
}

function idx(...shape: number[]): Uint8Array {
  const size = shape.reduce((a, b) => a * b, 1);
  const bytes = new Uint8Array(4 + 4 * shape.length + size);
  bytes.set([0, 0, 8, shape.length]);
  const view = new DataView(bytes.buffer);
  shape.forEach((n, i) => {
    view.setUint32(4 + 4 * i, n);
  });
  for (let i = 0; i < size; i++) bytes[4 + 4 * shape.length + i] = i & 255;
  return bytes;
}

describe('CIFAR-10 files', () => {
  it('are read, compressed or not', () => {
    const bytes = records(3);
    for (const set of [
      readCifar(bytes, 'a.bin'),
      readCifar(brotliCompressSync(bytes), 'a.bin.br'),
    ]) {
      expect(set.shape).toEqual([3, 32, 32]);
      expect([...set.labels]).toEqual([0, 3, 6]);
      expect(set.pixels).toHaveLength(3 * 3072);
      expect(set.pixels[3072 + 5]).toBe((1 + 5 * 7) & 255);
    }
  });

  it('are refused when they are something else', () => {
    expect(() => readCifar(new Uint8Array(), 'a.bin')).toThrow(/a.bin is not.*0 bytes/);
    expect(() => readCifar(records(2).subarray(1), 'a.bin')).toThrow(
      /not a multiple of 3073 or 3074/,
    );
    expect(() => readCifar(records(2).fill(10, 3073, 3074), 'a.bin')).toThrow(
      /record 1 .*label 10/,
    );
    expect(() => readCifar(records(1), 'a.bin.br')).toThrow(/cannot be unpacked/);
    const bomb = brotliCompressSync(new Uint8Array(300 << 20), { params: { 1: 1 } });
    expect(() => readCifar(bomb, 'bomb.bin.br')).toThrow(/too large/);
  });

  it('give images or one sentence for any damage', () => {
    const packed = brotliCompressSync(records(2));
    fc.assert(
      fc.property(
        fc.nat(packed.length - 1),
        fc.nat(255),
        fc.nat(packed.length),
        (at, byte, end) => {
          const damaged = packed.slice(0, end);
          if (at < end) damaged[at] = byte;
          try {
            expect(readCifar(damaged, 'x.bin.br').pixels.length % 3072).toBe(0);
          } catch (error) {
            expect(error).toBeInstanceOf(RangeError);
          }
        },
      ),
      { numRuns: 200, seed: 3 },
    );
  });
});

describe('images', () => {
  it('come from CIFAR-10 files, as many as asked for', async () => {
    const path = file('some.bin', records(4));
    const images = await readPixels(path, [3, 32, 32], { most: 3 });
    expect(images).toMatchObject({ count: 3, labels: Uint8Array.of(0, 3, 6) });
    expect(images.pixels).toHaveLength(3 * 3072);
    expect((await readPixels(path, [3, 32, 32], { most: 9 })).count).toBe(4);
  });

  it('come from IDX files, with the labels beside them', async () => {
    const path = file('x-images-idx3-ubyte.gz', gzipSync(idx(3, 4, 5)));
    expect((await readPixels(path, [1, 4, 5], { most: 9 })).labels).toBeUndefined();
    file('x-labels-idx1-ubyte.gz', gzipSync(idx(3)));
    const images = await readPixels(path, [1, 4, 5], { most: 2 });
    expect(images.count).toBe(2);
    expect([...images.labels!]).toEqual([0, 1]);
    expect([...images.pixels]).toEqual(Array.from({ length: 40 }, (_, i) => i));
  });

  it('come from a folder of PNG files, in the order of their names', async () => {
    for (const [name, red] of [
      ['b.png', 20],
      ['a.PNG', 10],
    ] as const) {
      const png = new PNG({ width: 2, height: 3 });
      for (let i = 0; i < 6; i++) png.data.set([red + i, 100 + i, 200 + i, 255], 4 * i);
      file(name, PNG.sync.write(png));
    }
    const images = await readPixels(folder, [3, 3, 2], { most: 9 });
    expect(images.count).toBe(2);
    expect([...images.pixels.subarray(0, 18)]).toEqual([
      ...[10, 11, 12, 13, 14, 15, 100, 101, 102, 103, 104, 105, 200, 201, 202, 203, 204, 205],
    ]);
    expect(images.pixels[18]).toBe(20);
  });

  it.each<[string, () => string, RegExp]>([
    ['no file', () => join(folder, 'none.bin'), /none.bin: there is no such file/],
    ['other sizes', () => file('y.bin', records(1)), /y.bin is 3x32x32, the network takes 1x28x28/],
    ['something else', () => file('z.txt', Uint8Array.of(80, 75)), /z.txt is not an IDX file/],
    ['labels alone', () => file('l-idx1', idx(3)), /shape 3, not images/],
    [
      'an empty folder',
      () => mkdtempSync(join(folder, 'e')),
      /has no PNG, JPEG or .npy files, nor folders/,
    ],
    [
      'a damaged PNG file',
      () => {
        const damaged = mkdtempSync(join(folder, 'd'));
        writeFileSync(join(damaged, 'x.png'), Uint8Array.of(1, 2, 3));
        return damaged;
      },
      /x.png is not a PNG file/,
    ],
    ['no image', () => file('0-idx3', idx(0, 28, 28)), /has no samples/],
  ])('are refused in one sentence: %s', async (_what, path, message) => {
    await expect(readPixels(path(), [1, 28, 28], { most: 9 })).rejects.toThrow(message);
  });
});
