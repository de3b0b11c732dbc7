/**
 * Draws the demo's articles of clothing: our own images, as the network for them knows such things: light on black, filling
 * 28 x 28.
 *
 *   npm run build && node dist/models/zoo/garments.js        writes models/zoo/fashion-images/*.png
 */

import { mkdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { replaceFile } from '../../protocol/files.ts';
import { ModelError } from '../errors.ts';
import { grayPng, SIZE } from './draw.ts';
import { inside, overPixel, type Vertex } from './polygon.ts';

/** A polygon and how light it is, 0..255; later ones cover earlier ones. */
type Shape = readonly [light: number, ...points: Vertex[]];

/** The points and, for the other side, the points of the mirrored outline in reverse. */
function mirrored(...half: Vertex[]): Vertex[] {
  return [...half, ...half.map(([x, y]): Vertex => [SIZE - x, y]).reverse()];
}

const garments: Readonly<Record<string, readonly Shape[]>> = {
  'T-shirt': [
    [205, ...mirrored([11, 2], [8, 3], [3, 6], [1, 11], [5, 13], [7.5, 10], [7.5, 26], [14, 26.5])],
    [60, ...mirrored([11, 2], [12.5, 4.2], [14, 4.6])],
  ],
  trouser: [
    [185, ...mirrored([9.5, 1], [9, 8], [8, 27], [12.6, 27], [13.4, 9], [14, 8])],
    [90, ...mirrored([13.7, 1], [13.7, 8])],
  ],
  dress: [
    [190, ...mirrored([11, 1], [10.5, 6], [11.5, 10], [10, 17], [8, 26.5], [14, 27])],
    [40, ...mirrored([12.2, 1], [13, 4.5], [14, 5])],
  ],
  pullover: [
    [
      150,
      ...mirrored(
        [11, 2],
        [7, 4],
        [4, 9],
        [1.5, 24],
        [5.5, 25.5],
        [7.6, 13],
        [7.5, 26],
        [14, 26.5],
      ),
    ],
    [110, ...mirrored([7.5, 24], [7.5, 26.4], [14, 26.8])],
    [90, ...mirrored([11.4, 1.6], [12, 3.4], [14, 3.8])],
  ],
  coat: [
    [
      130,
      ...mirrored([10, 1], [7, 3], [4.5, 9], [3, 23.5], [6.5, 24.5], [8, 13], [7, 27], [14, 27]),
    ],
    [30, [13.6, 7], [14.4, 7], [14.4, 27], [13.6, 27]],
    [200, ...mirrored([10.5, 1], [11, 6], [13.4, 11], [13.8, 5])],
    [60, ...mirrored([12, 1], [13, 4], [14, 5])],
  ],
  sandal: [
    [
      150,
      [1, 20.5],
      [8, 19],
      [17, 21.5],
      [27, 22.5],
      [27, 24],
      [16, 23.6],
      [8, 21.6],
      [5, 24],
      [1.5, 24],
    ],
    [200, [2, 20], [3, 12], [5, 12], [5, 19.4]],
    [200, [3, 13.5], [12, 16], [11.6, 17.6], [3, 15.4]],
    [210, [15, 21], [20, 15.5], [23, 17], [24, 22], [22, 22], [21, 18.4], [17.6, 21.4]],
  ],
  sneaker: [
    [
      170,
      [1.5, 14],
      [4, 14],
      [6, 15],
      [9, 12.5],
      [13, 12],
      [17, 15],
      [23, 16.8],
      [26.5, 18.5],
      [26.5, 20.5],
      [1.5, 20.5],
    ],
    [235, [1.5, 20], [26.5, 20], [26, 21.8], [2, 21.8]],
    [230, [11, 13], [12, 12.4], [16.5, 16], [15, 16.6]],
  ],
  bag: [
    [190, ...mirrored([3, 11], [2, 26], [14, 26.5])],
    [
      150,
      ...mirrored(
        [9, 11],
        [9.5, 6],
        [12, 3.6],
        [14, 3.4],
        [14, 5],
        [12.6, 5.2],
        [11, 7],
        [10.5, 11],
      ),
    ],
    [130, ...mirrored([3, 15], [3, 16.5], [14, 16.5])],
  ],
  'ankle boot': [
    [
      190,
      [6, 3.5],
      [14.5, 3],
      [15, 11],
      [18, 14.5],
      [24.5, 16.5],
      [27, 19.5],
      [27, 22],
      [3, 22],
      [4, 17],
      [5.5, 11],
    ],
    [90, [3, 22], [27, 22], [27, 24.2], [10.5, 24.2], [9.5, 23], [9, 25], [3, 25]],
  ],
};

/** What can be drawn, by the network's names of classes. */
export const GARMENTS: readonly string[] = Object.keys(garments);

/**
 * A garment as 28 x 28 gray pixels, rows first, 0 black.
 * @throws ModelError `argument` when it is none of {@link GARMENTS}
 */
export function drawGarment(name: string): Uint8Array {
  const shapes = garments[name];
  if (shapes === undefined)
    throw new ModelError('argument', `draw one of ${GARMENTS.join(', ')}, not ${name}`);
  return Uint8Array.from({ length: SIZE * SIZE }, (_, i) => {
    let sum = 0;
    const count = overPixel(i % SIZE, Math.floor(i / SIZE), (x, y) => {
      const top = shapes.findLast(([, ...points]) => inside(x, y, points));
      sum += top?.[0] ?? 0;
    });
    return Math.round(sum / count);
  });
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const folder = 'models/zoo/fashion-images';
  mkdirSync(folder, { recursive: true });
  for (const name of GARMENTS) {
    await replaceFile(`${folder}/${name.replace(' ', '-')}.png`, grayPng(drawGarment(name)));
  }
}
