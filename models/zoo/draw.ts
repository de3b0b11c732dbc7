/**
 * Draws the demo's digits: our own images, none of a data set's, so that they may travel with the package.
 *
 *   npm run build && node dist/models/zoo/draw.js        writes models/zoo/digits-images/0.png .. 9.png
 *
 * A digit is a few strokes in a box of 20 x 20, drawn with a soft round pen and put with its centre of mass in the middle
 * of 28 x 28, white on black, which is how the images the network knows were made.
 */

import { mkdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PNG } from 'pngjs';
import { replaceFile } from '../../protocol/files.ts';
import { ModelError } from '../errors.ts';

/** Width and height of the images, pixels. */
export const SIZE = 28;

/** Half the pen's width and the width of its soft edge, pixels. */
const PEN = 1.15;
const EDGE = 1.3;

type Point = readonly [number, number];

/** Points of an elliptic arc by its centre, its radii and its ends; angles in degrees, 0 to the right, 90 down. */
function arc([cx, cy]: Point, [rx, ry]: Point, [from, to]: Point): Point[] {
  const steps = 24;
  return Array.from({ length: steps + 1 }, (_, i) => {
    const angle = ((from + ((to - from) * i) / steps) * Math.PI) / 180;
    return [cx + rx * Math.cos(angle), cy + ry * Math.sin(angle)];
  });
}

/** The strokes of each digit, x to the right and y down, in 0..20. */
const digits: readonly (readonly (readonly Point[])[])[] = [
  [arc([10, 10], [5.6, 8.6], [-70, 290])],
  [
    [
      [11, 1.5],
      [9.2, 18.5],
    ],
  ],
  [[...arc([9.6, 6.2], [5, 4.8], [195, 385]), [4.6, 17.6], [8.5, 17.2], [16, 17.8]]],
  [[...arc([9.2, 5.6], [5, 4.2], [205, 445]), ...arc([9.2, 14], [5.8, 4.5], [275, 505])]],
  [
    [
      [5.6, 2],
      [4.6, 10.2],
      [14.6, 9.8],
    ],
    [
      [14.2, 2.4],
      [13.2, 18.4],
    ],
  ],
  [[[14.6, 2], [7, 2.4], [6.2, 8.6], ...arc([8.8, 13], [5.4, 4.8], [250, 505])]],
  [[[12.6, 1.6], [9.4, 4.6], [6.8, 8.6], ...arc([10, 13.6], [4.6, 4.6], [180, -180])]],
  [
    [
      [4.4, 3.2],
      [15, 2.6],
      [13, 7.4],
      [9.4, 18.4],
    ],
  ],
  [arc([10.3, 5.6], [4, 4], [90, 450]), arc([9.8, 14], [4.7, 4.5], [-90, 270])],
  [[...arc([9.8, 6], [4.5, 4.4], [0, -360]), [14, 10], [12.6, 18.4]]],
];

/** Distance from a point to the segment a-b. */
function distance(x: number, y: number, [ax, ay]: Point, [bx, by]: Point): number {
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy;
  const along = length === 0 ? 0 : ((x - ax) * dx + (y - ay) * dy) / length;
  const t = Math.min(1, Math.max(0, along));
  return Math.hypot(x - ax - t * dx, y - ay - t * dy);
}

/** The strokes, moved, on the pixel grid: 0..255. */
function render(strokes: readonly (readonly Point[])[], dx: number, dy: number): Uint8Array {
  return Uint8Array.from({ length: SIZE * SIZE }, (_, i) => {
    const x = (i % SIZE) - dx;
    const y = Math.floor(i / SIZE) - dy;
    let nearest = Number.POSITIVE_INFINITY;
    for (const stroke of strokes) {
      for (let p = 1; p < stroke.length; p++) {
        nearest = Math.min(nearest, distance(x, y, stroke[p - 1]!, stroke[p]!));
      }
    }
    const cover = 0.5 + (PEN - nearest) / EDGE;
    return Math.round(255 * Math.min(1, Math.max(0, cover)));
  });
}

/**
 * A digit as 28 x 28 gray pixels, rows first, 0 black.
 * @throws ModelError `argument` when `digit` is not 0..9.
 */
export function drawDigit(digit: number): Uint8Array {
  const strokes = digits[digit];
  if (strokes === undefined) throw new ModelError('argument', `a digit is 0 to 9, not ${digit}`);
  const raw = render(strokes, 4, 4);
  let [mass, mx, my] = [0, 0, 0];
  raw.forEach((v, i) => {
    mass += v;
    mx += v * (i % SIZE);
    my += v * Math.floor(i / SIZE);
  });
  const middle = (SIZE - 1) / 2;
  return render(strokes, 4 + middle - mx / mass, 4 + middle - my / mass);
}

/** Gray pixels as the bytes of a PNG file. */
export function grayPng(pixels: Uint8Array): Uint8Array {
  const png = new PNG({ width: SIZE, height: SIZE });
  pixels.forEach((v, i) => {
    png.data.set([v, v, v, 255], 4 * i);
  });
  return PNG.sync.write(png, { colorType: 0 });
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const folder = 'models/zoo/digits-images';
  mkdirSync(folder, { recursive: true });
  for (let digit = 0; digit < 10; digit++)
    await replaceFile(`${folder}/${digit}.png`, grayPng(drawDigit(digit)));
}
