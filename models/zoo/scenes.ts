/**
 * Draws the demo's colour pictures: our own images, as the networks of CIFAR-10 know such things: one thing that fills
 * 32 x 32, before what is usually behind it. Cat and dog were drawn like the others, then their numbers were moved a little at
 * random, keeping what made the networks surer: as first drawn not all of them knew them.
 *
 *   npm run build && node dist/models/zoo/scenes.js        writes models/zoo/cifar10-images/*.png
 */

import { mkdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PNG } from 'pngjs';
import { replaceFile } from '../../protocol/files.ts';
import { ModelError } from '../errors.ts';
import { inside, overPixel, type Vertex } from './polygon.ts';

/** Width and height of the images, pixels. */
const SIDE = 32;

type Colour = readonly [red: number, green: number, blue: number];

/** A polygon with its colours at its top and at its bottom; later ones cover earlier ones. */
interface Area {
  readonly top: Colour;
  readonly bottom: Colour;
  readonly points: readonly Vertex[];
}

const area = (top: Colour, bottom: Colour, ...points: Vertex[]): Area => ({ top, bottom, points });

/** A band over the whole width. */
const band = (from: number, to: number, top: Colour, bottom: Colour): Area =>
  area(top, bottom, [-1, from], [SIDE + 1, from], [SIDE + 1, to], [-1, to]);

const ellipse = (
  [cx, cy]: Vertex,
  [rx, ry]: Vertex,
  top: Colour,
  bottom: Colour,
  turn = 0,
): Area => {
  const points = Array.from({ length: 28 }, (_, i): Vertex => {
    const angle = (2 * Math.PI * i) / 28;
    const [x, y] = [rx * Math.cos(angle), ry * Math.sin(angle)];
    return [
      cx + x * Math.cos(turn) - y * Math.sin(turn),
      cy + x * Math.sin(turn) + y * Math.cos(turn),
    ];
  });
  return area(top, bottom, ...points);
};

const BLACK: Colour = [22, 22, 24];
const wheel = (x: number, y: number, r: number): Area[] => [
  ellipse([x, y], [r, r], BLACK, BLACK),
  ellipse([x, y], [r * 0.5, r * 0.5], [170, 172, 176], [110, 112, 116]),
];

const SKY: readonly [Colour, Colour] = [
  [110, 165, 225],
  [205, 226, 244],
];

const scenes: Readonly<Record<string, readonly Area[]>> = {
  airplane: [
    band(-1, 33, ...SKY),
    area([150, 158, 170], [110, 118, 130], [12, 16], [20, 15], [11, 25.5], [8, 25.5]),
    area(
      [238, 240, 244],
      [150, 158, 170],
      [2, 15],
      [5, 13.5],
      [25, 12.5],
      [29, 13.6],
      [30.5, 15],
      [28, 16.4],
      [22, 17.6],
      [7, 17.6],
      [3, 16.6],
    ),
    area([222, 226, 232], [170, 176, 186], [2, 14.6], [1.2, 7], [3.8, 7], [8, 14]),
    area([205, 210, 218], [165, 172, 182], [13, 13.2], [10, 7.4], [12, 7.4], [19, 13]),
    area([60, 70, 90], [60, 70, 90], [26, 13.3], [28.4, 13.6], [28.8, 14.3], [26, 14.3]),
  ],
  ship: [
    band(-1, 20, [150, 190, 228], [214, 226, 236]),
    band(20, 33, [44, 92, 134], [24, 58, 96]),
    area([240, 240, 240], [205, 208, 212], [9, 17], [9, 12.5], [22, 12.5], [24, 17]),
    area([236, 236, 236], [210, 212, 216], [12, 12.5], [12, 9], [19, 9], [20, 12.5]),
    area([200, 60, 50], [150, 40, 36], [14, 9], [14, 5], [17, 5], [17, 9]),
    area([60, 66, 80], [60, 66, 80], [10, 14], [21, 14], [21.4, 15], [10, 15]),
    area([52, 56, 74], [120, 34, 34], [2, 16.6], [30.5, 16.2], [27, 23], [5, 23]),
    band(23, 24, [120, 160, 190], [70, 116, 152]),
  ],
  automobile: [
    band(-1, 14, [190, 204, 214], [214, 220, 222]),
    band(14, 20, [110, 128, 96], [92, 108, 82]),
    band(20, 33, [132, 132, 134], [98, 98, 100]),
    area([26, 28, 30], [60, 60, 62], [3, 25], [29, 25], [30, 27.5], [2, 27.5]),
    area(
      [206, 34, 34],
      [140, 16, 20],
      [1.6, 21],
      [2.4, 16.6],
      [8, 15.4],
      [11, 10.4],
      [21.4, 10.2],
      [25, 15.2],
      [29.4, 16.6],
      [30.4, 21],
      [30, 24.4],
      [2, 24.4],
    ),
    area([70, 84, 100], [40, 50, 62], [9.6, 15.4], [11.8, 11.4], [15.8, 11.4], [15.8, 15.4]),
    area([70, 84, 100], [40, 50, 62], [16.8, 15.4], [16.8, 11.4], [20.8, 11.4], [23.4, 15.4]),
    area([250, 236, 190], [240, 210, 150], [28.2, 17.4], [29.8, 17.8], [30, 19.2], [28.4, 19.2]),
    ...wheel(8, 24.4, 3.3),
    ...wheel(24, 24.4, 3.3),
  ],
  truck: [
    band(-1, 17, ...SKY),
    band(17, 24, [120, 130, 104], [104, 112, 92]),
    band(24, 33, [130, 130, 130], [104, 104, 104]),
    area([238, 238, 234], [188, 188, 186], [1, 6], [20.5, 6], [20.5, 22.4], [1, 22.4]),
    area(
      [36, 92, 168],
      [22, 58, 116],
      [21, 10],
      [27, 10],
      [30, 16],
      [30.6, 17.4],
      [30.6, 24.4],
      [21, 24.4],
    ),
    area([62, 78, 96], [46, 58, 74], [23, 11.6], [26.4, 11.6], [28.6, 16], [23, 16]),
    area([44, 46, 50], [36, 38, 42], [1, 22.4], [30.6, 22.4], [30.6, 25], [1, 25]),
    ...wheel(6, 25.4, 2.9),
    ...wheel(12.6, 25.4, 2.9),
    ...wheel(26, 25.4, 2.9),
  ],
  frog: [
    band(-1, 33, [120, 98, 66], [88, 70, 46]),
    ellipse([16, 27], [13, 4.4], [70, 54, 36], [60, 46, 30]),
    ellipse([7, 23], [5, 5.4], [86, 120, 42], [60, 84, 30], 0.4),
    ellipse([25, 23], [5, 5.4], [86, 120, 42], [60, 84, 30], -0.4),
    ellipse([16, 20], [10, 8.6], [112, 150, 54], [150, 156, 92]),
    ellipse([16, 13], [9, 6], [124, 164, 60], [96, 132, 46]),
    ellipse([9.6, 8.6], [2.8, 2.8], [124, 164, 60], [96, 132, 46]),
    ellipse([22.4, 8.6], [2.8, 2.8], [124, 164, 60], [96, 132, 46]),
    ellipse([9.6, 8.4], [1.6, 1.7], [24, 24, 16], [20, 20, 12]),
    ellipse([22.4, 8.4], [1.6, 1.7], [24, 24, 16], [20, 20, 12]),
    area([58, 80, 30], [58, 80, 30], [8.6, 14.6], [16, 16.6], [23.4, 14.6], [16, 17.6]),
  ],
  bird: [
    band(-1, 33, [96, 130, 70], [150, 170, 104]),
    area([92, 68, 44], [70, 50, 32], [-1, 25], [33, 23.4], [33, 25.6], [-1, 27.4]),
    area([70, 78, 96], [60, 66, 82], [3, 25], [11, 17], [14, 20.5], [5.4, 27]),
    ellipse([15, 17], [8, 5.6], [86, 104, 132], [206, 176, 134], -0.5),
    ellipse([21.6, 10.6], [4.2, 4], [84, 104, 134], [120, 136, 156]),
    area([60, 72, 96], [48, 58, 78], [8, 21], [13, 13], [18, 14], [17, 18.5]),
    area([220, 160, 50], [200, 140, 40], [25.2, 9.8], [29, 11], [25.2, 12]),
    ellipse([22.6, 9.8], [0.8, 0.8], BLACK, BLACK),
    area([90, 66, 40], [90, 66, 40], [15, 21.6], [16, 21.6], [16.4, 25], [15.4, 25]),
  ],
  horse: [
    band(-1, 13, [176, 206, 232], [206, 222, 234]),
    band(13, 33, [112, 150, 72], [86, 122, 54]),
    area([50, 30, 18], [36, 22, 14], [5, 12], [2.4, 14], [2, 21], [3.6, 21], [6.4, 14.6]),
    area([112, 66, 34], [70, 40, 20], [6.6, 17], [9, 17.4], [8.6, 29], [6.6, 29]),
    area([92, 54, 28], [60, 34, 18], [9.4, 18], [11.2, 18], [11, 28.4], [9.4, 28.4]),
    area([112, 66, 34], [70, 40, 20], [18.6, 18], [20.8, 17.4], [20.6, 29], [18.6, 29]),
    area([92, 54, 28], [60, 34, 18], [16, 18], [18, 18], [17.8, 28.4], [16.2, 28.4]),
    ellipse([13, 15], [8.6, 4.6], [146, 90, 48], [104, 60, 32]),
    area([146, 90, 48], [120, 70, 38], [17, 13], [22.6, 4.6], [26.4, 6], [21.4, 17]),
    area([140, 86, 46], [110, 64, 34], [22.4, 4], [25, 3.4], [30, 9.4], [28.6, 11.6], [24.4, 9]),
    area([44, 26, 16], [36, 22, 14], [16.4, 12], [21.6, 3], [23.4, 4], [18.4, 12]),
  ],
  deer: [
    band(-1, 14, [96, 116, 70], [120, 136, 80]),
    band(14, 33, [150, 150, 82], [126, 124, 66]),
    area([150, 104, 62], [110, 76, 46], [8, 18], [10, 18], [9.6, 30], [8, 30]),
    area([130, 90, 54], [96, 66, 40], [11, 18], [12.6, 18], [12.4, 29.4], [11, 29.4]),
    area([150, 104, 62], [110, 76, 46], [19.4, 18], [21.4, 18], [21.2, 30], [19.6, 30]),
    area([130, 90, 54], [96, 66, 40], [17, 18], [18.6, 18], [18.4, 29.4], [17, 29.4]),
    ellipse([14.4, 16.6], [8, 4.2], [178, 126, 78], [150, 110, 72]),
    area([178, 126, 78], [160, 112, 70], [18, 15], [21.4, 7.4], [24, 8], [22.4, 17.6]),
    ellipse([24, 7.6], [3.8, 2], [174, 122, 76], [150, 104, 64], 0.4),
    area([104, 82, 58], [104, 82, 58], [22, 6], [20, 0.6], [21, 0.4], [22.8, 5.6]),
    area([104, 82, 58], [104, 82, 58], [23.4, 6], [25.4, 0.6], [26.4, 0.8], [24.4, 6]),
    area([240, 234, 220], [230, 222, 206], [6.2, 14.6], [7.6, 14], [7.4, 18], [6.4, 17.4]),
  ],
  cat: [
    band(-1, 33, [221, 205, 185], [179, 157, 133]),
    band(25, 33, [117, 89, 67], [94, 70, 52]),
    ellipse([16.4, 26.8], [8.2, 9], [208, 195, 183], [127, 109, 80]),
    area([119, 122, 103], [146, 157, 145], [7.4, 2.6], [14.2, 7.6], [8.2, 13.6]),
    area([111, 108, 102], [134, 124, 114], [24.8, 3], [17.6, 7.4], [24, 14]),
    area([217, 163, 153], [191, 141, 131], [8.6, 5.6], [12.1, 8], [9, 11]),
    area([199, 131, 130], [181, 136, 127], [22.8, 5.3], [20, 8.7], [23.2, 10.9]),
    ellipse([16, 13.5], [9, 7.7], [164, 152, 140], [126, 118, 125]),
    ellipse([16.2, 18], [4.5, 3.3], [230, 238, 233], [240, 232, 222]),
    area([77, 62, 63], [93, 81, 71], [15.4, 6], [16.6, 6], [16.4, 9.6], [15.6, 9.6]),
    area([92, 73, 67], [102, 90, 80], [12.6, 6.6], [13.6, 6.4], [13.8, 9.4], [13.6, 10]),
    area([76, 77, 60], [106, 94, 84], [18.4, 6.4], [18.9, 6.1], [18.1, 8.9], [18, 9]),
    ellipse([12, 12.8], [1.9, 1.7], [197, 217, 107], [139, 145, 70]),
    ellipse([19.9, 13.1], [2, 1.5], [179, 199, 89], [151, 171, 71]),
    ellipse([12, 12.8], [0.7, 1.6], [22, 22, 24], [20, 8, 22]),
    ellipse([20, 12.8], [0.7, 1.4], [14, 14, 16], [12, 12, 14]),
    area([219, 135, 135], [190, 110, 110], [15, 16.2], [17.1, 15.4], [16.1, 16.5]),
    ellipse([16, 26], [4.1, 5], [221, 215, 207], [228, 215, 198]),
  ],
  dog: [
    band(-1, 33, [154, 184, 124], [120, 177, 117]),
    band(10.8, 33, [72, 128, 49], [79, 124, 67]),
    ellipse([15.9, 27.6], [8.3, 9.7], [217, 158, 102], [123, 75, 33]),
    ellipse([16, 13], [7.3, 7.7], [169, 112, 54], [156, 102, 52]),
    ellipse([7.8, 12.7], [2.8, 7.4], [122, 78, 42], [96, 60, 32], 0.25),
    ellipse([24.9, 12.9], [3, 6.5], [96, 50, 11], [105, 80, 61], -0.25),
    ellipse([16, 17.6], [4.7, 4.6], [224, 208, 189], [241, 197, 208]),
    ellipse([16, 15.6], [2.1, 1.4], [37, 32, 39], [33, 39, 30]),
    ellipse([12, 11.8], [1, 1.6], [48, 48, 50], [35, 35, 37]),
    ellipse([19.6, 11.4], [1.1, 1.2], [33, 25, 49], [33, 33, 35]),
    area([24, 27, 22], [8, 8, 8], [15.7, 17], [16.3, 17], [16.3, 19.4], [15.6, 18.8]),
    area([202, 98, 108], [248, 149, 159], [13.8, 20.4], [16.6, 20.4], [16.2, 23.2], [14.2, 23.2]),
    ellipse([16.1, 27.8], [3.5, 4.3], [221, 224, 194], [214, 194, 168]),
  ],
};

/** What can be drawn, by the networks' names of classes. */
export const SCENES: readonly string[] = Object.keys(scenes);

/**
 * A scene as 32 x 32 colour pixels, [row][column][red, green, blue].
 * @throws ModelError `argument` when it is none of {@link SCENES}
 */
export function drawScene(name: string): Uint8Array {
  const areas = scenes[name];
  if (areas === undefined)
    throw new ModelError('argument', `draw one of ${SCENES.join(', ')}, not ${name}`);
  const pixels = new Uint8Array(3 * SIDE * SIDE);
  for (let i = 0; i < SIDE * SIDE; i++) {
    const sums = [0, 0, 0];
    const count = overPixel(i % SIDE, Math.floor(i / SIDE), (x, y) => {
      const { top, bottom, points } = areas.findLast((area) => inside(x, y, area.points))!;
      const heights = points.map(([, height]) => height);
      const [first, last] = [Math.min(...heights), Math.max(...heights)];
      const down = (y - first) / (last - first);
      for (let c = 0; c < 3; c++) sums[c]! += top[c]! + down * (bottom[c]! - top[c]!);
    });
    pixels.set(
      sums.map((sum) => Math.round(sum / count)),
      3 * i,
    );
  }
  return pixels;
}

function colourPng(pixels: Uint8Array): Uint8Array {
  const png = new PNG({ width: SIDE, height: SIDE });
  for (let i = 0; i < SIDE * SIDE; i++) {
    png.data.set([...pixels.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  }
  return PNG.sync.write(png, { colorType: 2 });
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const folder = 'models/zoo/cifar10-images';
  mkdirSync(folder, { recursive: true });
  for (const name of SCENES) await replaceFile(`${folder}/${name}.png`, colourPng(drawScene(name)));
}
