import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { PNG } from 'pngjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pixelsOf, readImage } from '../../client/image.ts';
import { interlacedPng, peakMebibytes, pngBomb } from '../support/pictures.ts';
import { serveFolder } from '../system/serving.ts';
import { failureOf } from '../system/support.ts';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-image-'));
});

afterAll(() => rmSync(folder, { recursive: true }));

/** Writes a 3x2 PNG of a colour type: 0 gray, 2 RGB, 4 gray and alpha, 6 RGB and alpha. */
function writePng(name: string, colors: readonly number[][], colorType: 0 | 2 | 4 | 6): string {
  const png = new PNG({ width: 3, height: 2 });
  colors.forEach((color, i) => {
    png.data.set(color, 4 * i);
  });
  const path = join(folder, name);
  writeFileSync(path, PNG.sync.write(png, { colorType }));
  return path;
}

const grays = [0, 1, 127, 128, 254, 255];
const colors = [
  [255, 0, 0, 255],
  [0, 255, 0, 255],
  [0, 0, 255, 255],
  [10, 20, 30, 255],
  [255, 255, 255, 0],
  [0, 0, 0, 7],
];

describe('an image', () => {
  it.each([0, 2, 4, 6] as const)(
    'of colour type %i: gray pixels stay exactly what they are',
    async (type) => {
      const gray = grays.map((v) => [v, v, v, 255]);
      const image = await readImage(writePng(`gray${type}.png`, gray, type));
      expect(image).toMatchObject({ name: `gray${type}.png`, width: 3, height: 2 });
      const exact = Float32Array.from(grays, (v) => v / 255);
      expect(pixelsOf(image, [1, 2, 3])).toEqual(exact);
      expect(pixelsOf(image, [3, 2, 3])).toEqual(Float32Array.of(...exact, ...exact, ...exact));
    },
  );

  it('of colours gives its planes, or its luminance', async () => {
    const image = await readImage(writePng('colour.png', colors, 6));
    const planes = [0, 1, 2].flatMap((c) => colors.map((color) => color[c]! / 255));
    expect(pixelsOf(image, [3, 2, 3])).toEqual(Float32Array.from(planes));
    const luminance = [0.299, 0.587, 0.114, (2.99 + 11.74 + 3.42) / 255, 1, 0];
    pixelsOf(image, [1, 2, 3]).forEach((pixel, i) => {
      expect(pixel).toBeCloseTo(luminance[i]!, 6);
    });
  });

  it('of another size, or for a model without images, is refused in one sentence', async () => {
    const image = await readImage(writePng('size.png', colors, 2));
    expect(() => pixelsOf(image, [1, 3, 2])).toThrow(/^size.png is 3x2, the model takes 2x3$/);
    expect(() => pixelsOf(image, [4, 2, 3])).toThrow(
      /^the model takes 4 channels, an image has 1 or 3$/,
    );
  });

  it('of another size is cut, framed or stretched where that is asked for', async () => {
    const image = await readImage(writePng('fit.png', colors, 6));
    // The middle column, doubled; red of the rows above and below, 0 or 1 or between.
    const middle = pixelsOf(image, [3, 2, 1], 'cover');
    expect([...middle]).toEqual([0, 1, 1, 1, 0, 1]);
    const framed = pixelsOf(image, [3, 4, 3], 'contain');
    const planes = pixelsOf(image, [3, 2, 3]);
    for (let c = 0; c < 3; c++) {
      const rows = [...framed.subarray(12 * c, 12 * c + 12)];
      expect(rows).toEqual([0, 0, 0, ...planes.subarray(6 * c, 6 * c + 6), 0, 0, 0]);
    }
    const stretched = pixelsOf(image, [3, 2, 6], 'fill');
    expect(stretched[0]).toBe(planes[0]);
    expect(stretched[5]).toBe(planes[2]);
    expect(stretched[2]).toBeCloseTo(0.25 * planes[0]! + 0.75 * planes[1]!, 2);
    expect(pixelsOf(image, [3, 2, 3], 'cover')).toEqual(planes);
    const pixels = { width: 3, height: 2, data: Uint8Array.from(colors.flat()) };
    expect(pixelsOf(pixels, [3, 2, 6], 'fill')).toEqual(stretched);
  });

  it('that is too large to be made to fit is refused before it is decoded', async () => {
    const path = join(folder, 'large.png');
    writeFileSync(path, pngBomb(8192, 4097, 1));
    const image = await readImage(path);
    expect(() => pixelsOf(image, [1, 28, 28], 'cover')).toThrow(
      /^large.png is 8192x4097: more than 32 Mpixel$/,
    );
  });

  it('that is none is refused in one sentence', async () => {
    const write = (name: string, bytes: Uint8Array) => {
      writeFileSync(join(folder, name), bytes);
      return join(folder, name);
    };
    const missing = join(folder, 'missing.png');
    expect((await failureOf(readImage(missing))).message).toBe(`${missing}: there is no such file`);
    expect((await failureOf(readImage(folder))).message).toBe(
      `${folder}: it is a folder, not a file`,
    );
    const text = write('text.png', new TextEncoder().encode('this is a text, not an image'));
    expect((await failureOf(readImage(text))).message).toBe('text.png is not a PNG file');
    const empty = write('empty.png', new Uint8Array());
    expect((await failureOf(readImage(empty))).message).toBe('empty.png is not a PNG file');
    const whole = (await readImage(writePng('whole.png', colors, 2))).bytes;
    const cut = await readImage(write('cut.png', whole.subarray(0, whole.length - 20)));
    expect(() => pixelsOf(cut, [3, 2, 3])).toThrow(/^cut.png is a damaged PNG file$/);
  });

  it.each([
    [1, 1],
    [3, 2],
    [5, 9],
    [28, 28],
  ])('that is interlaced gives its pixels: %ix%i', async (width, height) => {
    const path = join(folder, 'interlaced.png');
    writeFileSync(path, interlacedPng(width, height));
    const expected = Float32Array.from({ length: width * height }, (_, i) => (i % 256) / 255);
    expect(pixelsOf(await readImage(path), [1, height, width])).toEqual(expected);
  });

  it.each([true, false])(
    'that unpacks to more than its pixels is refused before it does',
    async (interlaced) => {
      const path = join(folder, 'bomb.png');
      writeFileSync(path, pngBomb(28, 28, 1500, { interlaced }));
      const image = await readImage(path);
      const before = peakMebibytes();
      expect(() => pixelsOf(image, [1, 28, 28])).toThrow(
        /^bomb.png is a damaged PNG file: it unpacks to more than 28x28 pixels$/,
      );
      expect(peakMebibytes() - before).toBeLessThan(100);
    },
  );

  it('of a colour type that PNG does not have is refused by its name', async () => {
    const path = join(folder, 'strange.png');
    const bytes = interlacedPng(2, 2);
    bytes[25] = 5;
    writeFileSync(path, bytes);
    const image = await readImage(path);
    expect(() => pixelsOf(image, [1, 2, 2])).toThrow(
      /^strange.png is a damaged PNG file: there are no pixels of colour type 5 with 8 bits$/,
    );
  });

  it('that is too large a file is not read', async () => {
    const path = join(folder, 'long.png');
    writeFileSync(path, '');
    truncateSync(path, 2 ** 26 + 1);
    expect((await failureOf(readImage(path))).message).toBe(
      `${path}: it has 67108865 bytes, files up to 67108864 bytes are read`,
    );
  });

  it('is the same from its path, its URL, over HTTP, as a blob and as a file', async () => {
    const path = join(folder, 'same.png');
    writeFileSync(path, interlacedPng(4, 3));
    const bytes = readFileSync(path);
    const site = await serveFolder(folder);
    try {
      const sources = [
        path,
        pathToFileURL(path),
        `${site.url}same.png`,
        new URL('same.png', site.url),
        new Blob([bytes]),
        new File([bytes], 'same.png'),
      ];
      const images = await Promise.all(sources.map(readImage));
      for (const image of images) {
        expect(pixelsOf(image, [1, 3, 4])).toEqual(pixelsOf(images[0]!, [1, 3, 4]));
      }
      expect(images.map(({ name }) => name)).toEqual([
        ...Array(4).fill('same.png'),
        'the image',
        'same.png',
      ]);
      await expect(readImage(`${site.url}none.png`)).rejects.toThrow(/none.png answers 404$/);
    } finally {
      site.close();
    }
    await expect(readImage('http://127.0.0.1:9/x.png')).rejects.toThrow(/x.png cannot be reached$/);
  });

  it('may be RGBA pixels or a tensor, and nothing else', () => {
    const data = Uint8Array.of(255, 255, 255, 255);
    expect(pixelsOf({ width: 1, height: 1, data }, [1, 1, 1])).toEqual(Float32Array.of(1));
    expect(pixelsOf({ dims: [1, 1, 1], data: data.subarray(3) }, [1, 1, 1])).toEqual(
      Float32Array.of(1),
    );
    expect(() => pixelsOf({ width: 1, height: 1 }, [1, 1, 1])).toThrow(
      new TypeError('image: expected what readImage gave, RGBA pixels or a tensor'),
    );
  });
});
