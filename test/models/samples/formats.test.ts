import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { zipSync } from 'fflate';
import { encode } from 'jpeg-js';
import { PNG } from 'pngjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readImages, readPixels } from '../../../models/samples/index.ts';
import { readNpy, readNpz } from '../../../models/samples/numpy.ts';
import { fitted } from '../../../models/samples/raster.ts';
import { resizeRaster } from '../../../protocol/program/resize.ts';
import { npy } from '../../support/arrays.ts';
import { peakMebibytes, pngBomb } from '../../support/pictures.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-samples-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: Uint8Array | string): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
}

/** A PNG file whose red channel counts from `first` on. */
function png(width: number, height: number, first = 0): Uint8Array {
  const image = new PNG({ width, height });
  for (let i = 0; i < width * height; i++) {
    image.data.set([(first + i) & 255, 100, 200, 255], 4 * i);
  }
  return PNG.sync.write(image);
}

const count = (n: number) => Uint8Array.from({ length: n }, (_, i) => i);
const numbers = (shape: readonly [number, number, number]) => ({ shape, numbers: true }) as const;

const PILLOW_3X2 = [
  109, 137, 121, 119, 88, 122, 90, 116, 95, 157, 149, 103, 110, 81, 121, 127, 95, 112,
];
const PILLOW_4X8 = [
  60, 114, 133, 140, 120, 146, 117, 139, 144, 119, 139, 130, 111, 88, 151, 81, 83, 115, 126, 150,
  78, 130, 104, 76,
];

describe('pictures', () => {
  it('are JPEG files, too', async () => {
    const [width, height] = [16, 8];
    const data = new Uint8Array(4 * width * height);
    for (let i = 0; i < width * height; i++) data.set([200, 40, 90, 255], 4 * i);
    const path = file('one/x.JPEG', encode({ width, height, data }, 100).data);
    const { pixels, count: found, names } = await readPixels(path, [3, 8, 16]);
    expect(found).toBe(1);
    expect(names).toEqual([path]);
    for (const [i, value] of pixels.entries()) {
      expect(Math.abs(value - [200, 40, 90][Math.floor(i / 128)]!)).toBeLessThan(4);
    }
    await expect(
      readPixels(file('one/y.jpg', Uint8Array.of(255, 216, 1)), [3, 8, 16]),
    ).rejects.toThrow(/y.jpg is a damaged JPEG file/);
  });

  it('are not decoded beyond bounds', async () => {
    const before = peakMebibytes();
    const read = (name: string, bytes: Uint8Array) => readPixels(file(name, bytes), [1, 28, 28]);
    await expect(read('bounds/a.png', pngBomb(28, 28, 1500))).rejects.toThrow(
      /a.png is a damaged PNG file: it unpacks to more than 28x28 pixels$/,
    );
    const more = /has more than 64 million pixels: make a smaller picture of it first$/;
    const wide = { interlaced: false };
    await expect(read('bounds/b.png', pngBomb(60000, 60000, 1, wide))).rejects.toThrow(more);
    const jpeg = encode({ width: 8, height: 8, data: new Uint8Array(256) }, 50).data;
    const large = Buffer.from(jpeg);
    // Height and width, behind the marker, the length and the precision.
    const size = large.indexOf(Buffer.of(0xff, 0xc0)) + 5;
    large.fill(0x7f, size, size + 4);
    await expect(read('bounds/c.jpg', large)).rejects.toThrow(more);
    const scans = Buffer.concat([jpeg, ...new Array<Buffer>(64).fill(Buffer.of(0xff, 0xda))]);
    await expect(read('bounds/d.jpg', scans)).rejects.toThrow(/d.jpg has more than 64 scans: /);
    expect(peakMebibytes() - before).toBeLessThan(200);
  });

  it('are shrunk and grown as Pillow does it', () => {
    const source = (width: number, height: number) => ({
      ...{ width, height, channels: 3 },
      data: Uint8Array.from({ length: 3 * width * height }, (_, i) => (i * i * 7 + i * 13) % 251),
    });
    // Image.fromarray(...).resize((3, 2), Image.BILINEAR) of Pillow 9.4
    expect([...resizeRaster(source(7, 5), 2, 3).data]).toEqual(PILLOW_3X2);
    expect([...resizeRaster(source(9, 6), 8, 4).data].slice(0, 24)).toEqual(PILLOW_4X8);
  });

  it('lose what is beside the middle when cropped', async () => {
    const path = file('crop/a.png', png(5, 4));
    const { pixels } = await readPixels(path, [3, 2, 2], { crop: true });
    // Rows 1 and 2, columns 2 and 3: half of three rounds to two.
    expect([...pixels.subarray(0, 4)]).toEqual([7, 8, 12, 13]);
    const smaller = await readPixels(path, [3, 2, 2], { resize: 2, crop: true });
    expect(smaller.pixels).toHaveLength(12);
    await expect(readPixels(path, [3, 2, 2])).rejects.toThrow(
      /a.png is 5x4, the network takes 2x2: use --resize 2 --crop/,
    );
    await expect(readPixels(path, [3, 2, 2], { resize: 3 })).rejects.toThrow(
      /a.png is 3x3 after resizing, the network takes 2x2: use --crop/,
    );
    await expect(readPixels(path, [3, 6, 2], { crop: true })).rejects.toThrow(
      /a.png is 5x4 where 2x6 are to be cut out: use --resize 6/,
    );
    const tall = { width: 2, height: 5, channels: 1, data: count(10) };
    expect(fitted(tall, 10, 4, { resize: 4 }, 'tall').data).toHaveLength(40);
  });

  it('are refused where the network takes numbers, or other channels', async () => {
    const path = file('crop/a.png', png(5, 4));
    await expect(readImages(path, numbers([3, 4, 5]))).rejects.toThrow(/a.png is a picture/);
    await expect(readPixels(path, [2, 4, 5])).rejects.toThrow(
      /takes 2 channels, .*a.png has 1 or 3/,
    );
  });
});

describe('folders', () => {
  it('of folders are classes, a sample of each in turn', async () => {
    const root = join(folder, 'classes');
    for (const [name, first] of [
      ['cat/1.png', 1],
      ['cat/2.png', 2],
      ['ant/3.png', 3],
    ] as const) {
      file(`classes/${name}`, png(2, 2, first));
    }
    mkdirSync(join(root, 'bee'));
    const all = await readPixels(root, [3, 2, 2]);
    expect(all.names.map((name) => name.slice(root.length + 1))).toEqual([
      'ant/3.png',
      'cat/1.png',
      'cat/2.png',
    ]);
    expect(all.labels).toEqual(Uint8Array.of(0, 2, 2));
    expect([0, 12, 24].map((at) => all.pixels[at])).toEqual([3, 1, 2]);
    const both = await readPixels([join(root, 'cat'), join(root, 'ant')], [3, 2, 2], { most: 2 });
    expect(both.labels).toBeUndefined();
    expect(both.pixels[12]).toBe(3);
  });

  it('may hold arrays', async () => {
    file('arrays/a.npy', npy([2, 2], Float32Array.of(1, 2, 3, -4.5), '<f4'));
    file('arrays/b.npy', npy([1, 1, 2, 2], Float32Array.of(5, 6, 7, 8), '<f4'));
    const { pixels } = await readImages(join(folder, 'arrays'), numbers([1, 2, 2]));
    expect([...pixels]).toEqual([1, 2, 3, -4.5, 5, 6, 7, 8]);
  });
});

describe('arrays', () => {
  it('are samples along the first axis, channels first or last', async () => {
    const first = file('first.npy', npy([2, 3, 2, 2], count(24), '|u1'));
    expect((await readPixels(first, [3, 2, 2])).pixels).toEqual(count(24));
    const last = file('last.npy', npy([2, 1, 2, 3], count(12), '|u1'));
    expect([...(await readPixels(last, [3, 1, 2])).pixels]).toEqual(
      [0, 3, 1, 4, 2, 5].flatMap((v) => [v]).concat([6, 9, 7, 10, 8, 11]),
    );
    const floats = file('floats.npy', npy([1, 2, 3], Float64Array.of(0.5, 1, 2, 3, 4, -5), '<f8'));
    expect([...(await readImages(floats, numbers([3, 1, 2]))).pixels]).toEqual([
      0.5, 3, 1, 4, 2, -5,
    ]);
    const gray = file('gray.npy', npy([2, 2, 3], count(12), '|u1'));
    expect((await readPixels(gray, [1, 2, 3], { most: 1 })).pixels).toEqual(count(6));
  });

  it('may be one picture of another size', async () => {
    const data = count(5 * 4 * 3);
    const path = file('picture.npy', npy([4, 5, 3], data, '|u1'));
    const { pixels } = await readPixels(path, [3, 2, 2], { crop: true });
    expect([...pixels.subarray(0, 4)]).toEqual([21, 24, 36, 39]);
    await expect(readPixels(path, [3, 2, 2])).rejects.toThrow(/picture.npy is 5x4.*--resize 2/);
  });

  it('hold any whole numbers and floats', async () => {
    const of = async (bytes: Uint8Array) => [
      ...(await readImages(file('any.npy', bytes), numbers([3, 1, 1]))).pixels,
    ];
    expect(await of(npy([3], Int16Array.of(-1, 2, 3), '<i2'))).toEqual([-1, 2, 3]);
    expect(await of(npy([1, 3], BigInt64Array.of(-1n, 2n, 3n), '<i8'))).toEqual([-1, 2, 3]);
    expect(await of(npy([3], Uint8Array.of(0, 1, 1, 0, 255, 255), '>i2'))).toEqual([1, 256, -1]);
  });

  it.each<[string, Uint8Array, RegExp]>([
    ['another file', count(40), /bad.npy is not a .npy file/],
    ['a cut one', npy([4], count(3), '|u1'), /should hold 4 bytes after its header but holds 3/],
    ['no header', npy([4], count(4), '|u1').subarray(0, 40), /bad.npy is cut short or damaged/],
    ['Fortran order', npy([2, 2], count(4), '|u1', 'True'), /bad.npy is in Fortran order/],
    ['half floats', npy([2], count(4), '<f2'), /bad.npy holds '<f2'; read are bool, uint8/],
    ['pixels that are none', npy([4], Float32Array.of(0, 1, 0.5, 1), '<f4'), /float32 value 0.5/],
    [
      'another shape',
      npy([2, 5], count(10), '|u1'),
      /bad.npy, sample 0 is 5, the network takes 1x2x2/,
    ],
  ])('are refused in one sentence: %s', async (_what, bytes, message) => {
    await expect(readPixels(file('bad.npy', bytes), [1, 2, 2])).rejects.toThrow(message);
  });

  it('that are not finite are refused', async () => {
    const path = file('nan.npy', npy([1, 2], Float32Array.of(1, Number.NaN), '<f4'));
    await expect(readImages(path, numbers([2, 1, 1]))).rejects.toThrow(/nan.npy has the value NaN/);
  });

  it.each([0, 6] as const)('come in archives, compressed %i', async (level) => {
    const x = npy([2, 3, 2, 2], count(24), '|u1');
    const y = npy([2], BigInt64Array.of(7n, 300n), '<i8');
    const path = file('set.npz', zipSync({ 'x.npy': x, 'y.npy': y }, { level }));
    const { pixels, labels } = await readPixels(path, [3, 2, 2]);
    expect(pixels).toEqual(count(24));
    expect(labels).toEqual(Uint16Array.of(7, 300));
    const two = file('two.npz', zipSync({ 'x.npy': x, 'z.npy': x }, { level }));
    await expect(readPixels(two, [3, 2, 2])).rejects.toThrow(/has x of 2x3x2x2, z of 2x3x2x2/);
    await expect(readPixels(file('no.npz', x), [3, 2, 2])).rejects.toThrow(/not a sound .npz/);
  });

  it('give numbers or one sentence for any damage', () => {
    const whole = npy([2, 3], count(6), '|u1');
    const archive = zipSync({ 'x.npy': whole });
    fc.assert(
      fc.property(fc.nat(), fc.nat(255), fc.nat(), fc.boolean(), (at, byte, end, zipped) => {
        const bytes = zipped ? archive : whole;
        const damaged = bytes.slice(0, end % (bytes.length + 1));
        if (damaged.length > 0) damaged[at % damaged.length] = byte;
        try {
          const arrays = zipped ? [...readNpz(damaged, 'x').values()] : [readNpy(damaged, 'x')];
          for (const { shape, numbers: read } of arrays) {
            const size = shape.reduce((a, b) => a * b, 1);
            expect(read(0, size)).toHaveLength(size);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
      { numRuns: 500, seed: 4 },
    );
  });
});

describe('tables', () => {
  it('have a row for each sample, heads or none, labels or none', async () => {
    const plain = file('plain.csv', '1,2.5,-3\n\n4,5,6e1\r\n');
    const { pixels, labels } = await readImages(plain, numbers([3, 1, 1]));
    expect([...pixels]).toEqual([1, 2.5, -3, 4, 5, 60]);
    expect(labels).toBeUndefined();
    const named = file('named.csv', '"a";"label";"b"\n1;0;2\n3;1;4\n');
    const read = await readImages(named, numbers([1, 1, 2]), { most: 5 });
    expect([...read.pixels]).toEqual([1, 2, 3, 4]);
    expect(read.labels).toEqual(Uint8Array.of(0, 1));
    expect(read.names[1]).toMatch(/named.csv, sample 1/);
  });

  it.each<[string, string, RegExp]>([
    ['nothing', '\n', /t.csv has no rows/],
    ['a head alone', 'a,b\n', /t.csv has no samples/],
    [
      'a short row',
      '1,2\n3\n',
      /line 2 of .*t.csv should have 2 fields as the first line, but has 1/,
    ],
    ['a word', '1,2\n\n3,x\n', /line 3 of .*t.csv has 'x', which is not a number/],
    ['other columns', '1,2,3\n', /t.csv.* is 3, the network takes 2x1x1/],
    ['half a class', 'label,a,b\n0.5,1,2\n', /the label 0.5: labels should be whole/],
  ])('are refused in one sentence: %s', async (_what, text, message) => {
    await expect(readImages(file('t.csv', text), numbers([2, 1, 1]))).rejects.toThrow(message);
  });
});
