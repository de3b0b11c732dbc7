/** Labelled images for `sotto reduce` and `sotto audit`, in the formats that people have them in, sound and not. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { zipSync } from 'fflate';
import { encode } from 'jpeg-js';
import { PNG } from 'pngjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { holdOut, readLabelled } from '../../../models/reduce/data.ts';
import { npy } from '../../support/arrays.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-labelled-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: Uint8Array | string): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

/** A gray PNG file of one value. */
function png(width: number, height: number, value: number): Uint8Array {
  const image = new PNG({ width, height });
  image.data.fill(value);
  return PNG.sync.write(image);
}

const bytes = (n: number) => Uint8Array.from({ length: n }, (_, i) => i & 255);
const SHAPE = [1, 2, 3] as const;
const SIZE = 6;

/** Three images, of classes 2, 0 and 1. */
const LABELS = Uint8Array.of(2, 0, 1);
const images = npy([3, 2, 3], bytes(3 * SIZE), '|u1');
const classes = npy([3], LABELS, '|u1');

/** Records of CIFAR-100. */
function fineRecords(labels: readonly (readonly [number, number])[]): Uint8Array {
  return Buffer.concat(
    labels.map(([coarse, fine]) => Buffer.concat([Uint8Array.of(coarse, fine), bytes(3072)])),
  );
}

describe('labelled images', () => {
  it.each<[string, () => string]>([
    ['an archive', () => file('set.npz', zipSync({ 'x.npy': images, 'y.npy': classes }))],
    [
      'two arrays beside each other',
      () => {
        file('train_labels.npy', classes);
        return file('train_images.npy', images);
      },
    ],
    [
      'a table',
      () =>
        file(
          'set.csv',
          `label,${[...bytes(SIZE)].map((i) => `p${i}`)}\n${[...LABELS]
            .map(
              (label, i) => `${label},${[...bytes(3 * SIZE).subarray(i * SIZE, (i + 1) * SIZE)]}`,
            )
            .join('\n')}\n`,
        ),
    ],
  ])('come from %s', async (_name, path) => {
    expect(await readLabelled([path()], SHAPE)).toEqual({
      shape: SHAPE,
      pixels: bytes(3 * SIZE),
      labels: LABELS,
    });
  });

  it('come from a folder for each class, spread so that any tenth has its share of each', async () => {
    for (let i = 0; i < 20; i++) file(`pets/cat/${100 + i}.png`, png(3, 2, i));
    for (let i = 0; i < 10; i++) file(`pets/ant/${100 + i}.png`, png(3, 2, 100 + i));
    const { pixels, labels } = await readLabelled([join(folder, 'pets')], SHAPE);
    const { validation } = holdOut({ shape: SHAPE, pixels, labels });
    expect([...validation.labels].sort()).toEqual([0, 1, 1]);
    // Each class in the order of its files.
    const values = (k: number) =>
      [...labels].flatMap((l, i) => (l === k ? [pixels[i * SIZE]] : []));
    expect(values(0)).toEqual([...bytes(10)].map((i) => 100 + i));
    expect(values(1)).toEqual([...bytes(20)]);
  });

  it('are resized and cut as compilation does it', async () => {
    file('large/a/1.png', png(9, 4, 50));
    const data = new Uint8Array(4 * 9 * 4).fill(60);
    file('large/b/2.jpg', encode({ width: 9, height: 4, data }, 100).data);
    const path = join(folder, 'large');
    await expect(readLabelled([path], SHAPE)).rejects.toThrow(
      /1\.png is 9x4, the network takes 3x2: use --resize 2 --crop/,
    );
    const { pixels, labels } = await readLabelled([path], SHAPE, { resize: 2, crop: true });
    expect(labels).toEqual(Uint8Array.of(0, 1));
    expect([...pixels.subarray(0, SIZE)]).toEqual(new Array(SIZE).fill(50));
    expect(Math.abs(pixels[SIZE]! - 60)).toBeLessThan(3);
  });

  it('come from the files and the folder of CIFAR-100 with the fine labels, compressed or not', async () => {
    const set = fineRecords([
      [19, 99],
      [0, 3],
    ]);
    const paths = [
      file('c/train.bin', set),
      file('c.bin.gz', gzipSync(set)),
      file('c.bin.br', brotliCompressSync(set)),
      join(folder, 'c'),
    ];
    for (const path of paths) {
      const { pixels, labels } = await readLabelled([path], [3, 32, 32]);
      expect(labels).toEqual(Uint8Array.of(99, 3));
      expect(pixels.subarray(3072)).toEqual(bytes(3072));
    }
  });

  it('of several paths follow one another', async () => {
    const one = file('one.npz', zipSync({ 'x.npy': images, 'y.npy': classes }));
    const { pixels, labels } = await readLabelled([one, one], SHAPE);
    expect(labels).toEqual(Uint8Array.of(...LABELS, ...LABELS));
    expect(pixels).toHaveLength(6 * SIZE);
  });
});

describe('images that cannot be learnt from are refused in one sentence', () => {
  it.each<[string, () => string, RegExp]>([
    [
      'an array without labels',
      () => file('alone.npy', images),
      /alone\.npy has no labels to learn from: they should be a folder for each class, a column named label, /,
    ],
    [
      'an archive without labels',
      () => file('alone.npz', zipSync({ 'x.npy': images })),
      /alone\.npz has no labels to learn from/,
    ],
    [
      'a table without a column of labels',
      () => file('alone.csv', '1,2,3,4,5,6\n'),
      /alone\.csv has no labels to learn from/,
    ],
    [
      'pictures without folders of classes',
      () => dirname(file('flat/1.png', png(3, 2, 1))),
      /flat has no labels to learn from/,
    ],
    [
      'labels of other images',
      () => {
        file('bad_labels.npy', npy([2], LABELS.subarray(1), '|u1'));
        return file('bad_images.npy', images);
      },
      /bad_labels\.npy should have one label for each of the 3 images of .*bad_images\.npy, but has numbers of shape 2$/,
    ],
    [
      'more than 256 classes',
      () => {
        const many = npy([3], BigInt64Array.of(0n, 1n, 256n), '<i8');
        return file('many.npz', zipSync({ 'x.npy': images, 'y.npy': many }));
      },
      /many\.npz has the label 256: training takes 256 classes at most, labels from 0 to 255$/,
    ],
    [
      'negative labels',
      () => file('minus.csv', 'label,a,b,c,d,e,f\n-1,1,2,3,4,5,6\n'),
      /minus\.csv has the label -1: labels should be whole numbers/,
    ],
    [
      'an array of another shape',
      () => {
        const x = npy([3, 2, 2, 2], bytes(24), '|u1');
        return file('shape.npz', zipSync({ 'x.npy': x, 'y.npy': classes }));
      },
      /shape\.npz, sample 0 is 2x2x2, the network takes 1x2x3/,
    ],
    [
      'numbers that are no pixels',
      () => {
        const x = npy([1, 2, 3], Float32Array.of(0, 0.5, 1, 1, 1, 1), '<f4');
        return file(
          'unit.npz',
          zipSync({ 'x.npy': x, 'y.npy': npy([1], LABELS.subarray(1, 2), '|u1') }),
        );
      },
      /unit\.npz.* float32 value 0\.5, the network takes pixels/,
    ],
    [
      'an array that is cut short',
      () => file('cut.npz', zipSync({ 'x.npy': images.subarray(0, images.length - 1) })),
      /array x, should hold 18 bytes after its header but holds 17/,
    ],
    [
      'an archive that is cut short',
      () => file('half.npz', zipSync({ 'x.npy': images }).subarray(0, 80)),
      /half\.npz is not a sound \.npz file/,
    ],
    [
      'a table whose rows differ',
      () => file('rows.csv', 'label,a,b,c,d,e,f\n1,1,2,3,4,5\n'),
      /line 2 of .*rows\.csv should have 7 fields/,
    ],
    ['an empty table', () => file('empty.csv', ''), /empty\.csv has no rows/],
  ])('%s', async (_name, path, sentence) => {
    await expect(readLabelled([path()], SHAPE)).rejects.toThrow(sentence);
  });

  it.each<[string, () => string, RegExp]>([
    [
      'a fine label beyond 99',
      () => file('fine.bin', fineRecords([[0, 100]])),
      /fine\.bin is not a CIFAR-100 file: record 0 has label 100, of 100 classes$/,
    ],
    [
      'a coarse label beyond 19',
      () => file('coarse.bin', fineRecords([[20, 1]])),
      /record 0 has label 20, of 20 classes$/,
    ],
    [
      'a file that is cut short',
      () => file('short.bin', fineRecords([[0, 1]]).subarray(0, 3000)),
      /short\.bin is not a file of CIFAR-10 or CIFAR-100: it has 3000 bytes, not a multiple of 3073 or 3074$/,
    ],
    [
      'a compressed file that is cut short',
      () => file('short.bin.gz', gzipSync(fineRecords([[0, 1]])).subarray(0, 40)),
      /short\.bin\.gz cannot be unpacked: it is cut short, damaged or too large$/,
    ],
    [
      'a folder that lacks a batch of CIFAR-10',
      () => dirname(file('ten/data_batch_1.bin', new Uint8Array(3073))),
      /ten holds no data_batch_2\.bin or data_batch_2\.bin\.br or data_batch_2\.bin\.gz$/,
    ],
  ])('CIFAR: %s', async (_name, path, sentence) => {
    await expect(readLabelled([path()], [3, 32, 32])).rejects.toThrow(sentence);
  });
});

describe('the last tenth', () => {
  const set = (labels: Uint8Array) => ({
    shape: [1, 1, 1] as const,
    pixels: new Uint8Array(labels.length),
    labels,
  });

  it('is refused where images are sorted by class, and a class of few images may be missing', () => {
    const sorted = Uint8Array.from({ length: 400 }, (_, i) => Math.floor(i / 100));
    expect(() => holdOut(set(sorted))).toThrow(
      /^the last tenth of the images, which is held out, has none of the 100 of class 0: mix the images, or name others with --validation$/,
    );
    const few = Uint8Array.from({ length: 400 }, (_, i) => (i < 99 ? 1 : 0));
    expect(holdOut(set(few)).training.labels).toHaveLength(360);
  });
});
