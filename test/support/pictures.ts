/** PNG files, also such as pngjs does not write: interlaced ones, and those that unpack to far more than their size. */

import { constants, crc32, deflateRawSync, deflateSync } from 'node:zlib';
import { PNG } from 'pngjs';
import type { RgbaImage } from '../../protocol/program/pixels.ts';

/** A chunk of a PNG file. */
function chunk(type: string, contents: Uint8Array): Buffer {
  const typed = Buffer.concat([Buffer.from(type), contents]);
  const out = Buffer.alloc(8 + typed.length);
  out.writeUInt32BE(contents.length);
  typed.copy(out, 4);
  out.writeUInt32BE(crc32(typed), 4 + typed.length);
  return out;
}

/** A gray PNG file with these packed rows. */
function grayPng(width: number, height: number, interlaced: boolean, packed: Uint8Array): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header.set([8, 0, 0, 0, interlaced ? 1 : 0], 8);
  return Buffer.concat([
    Buffer.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
    chunk('IHDR', header),
    chunk('IDAT', packed),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** Which of the seven passes holds each pixel of an 8x8 square, as the specification draws it. */
const PASSES = [
  '16462646',
  '77777777',
  '56565656',
  '77777777',
  '36463646',
  '77777777',
  '56565656',
  '77777777',
];

/** A PNG file of an image. */
export function pngOf(image: RgbaImage): Buffer {
  const png = new PNG({ width: image.width, height: image.height });
  png.data.set(image.data);
  return PNG.sync.write(png);
}

/** An interlaced gray PNG file whose pixels count from 0. */
export function interlacedPng(width: number, height: number): Buffer {
  const rows = Array.from('1234567').flatMap((pass) =>
    Array.from({ length: height }, (_, y) =>
      Array.from({ length: width }, (_, x) => x)
        .filter((x) => PASSES[y % 8]![x % 8] === pass)
        .map((x) => (y * width + x) % 256),
    )
      .filter((row) => row.length > 0)
      .map((row) => [0, ...row]),
  );
  return grayPng(width, height, true, deflateSync(Uint8Array.from(rows.flat())));
}

/** A gray PNG file whose rows unpack to so many mebibytes of zeros: a thousandth of that is its size. */
export function pngBomb(
  width: number,
  height: number,
  mebibytes: number,
  { interlaced = true } = {},
): Buffer {
  const one = deflateRawSync(Buffer.alloc(1 << 20), { finishFlush: constants.Z_FULL_FLUSH });
  const packed = [Buffer.of(0x78, 0x9c), ...new Array<Buffer>(mebibytes).fill(one)];
  return grayPng(width, height, interlaced, Buffer.concat(packed));
}

/** The memory of this process at its largest so far, in MiB. */
export const peakMebibytes = (): number => process.resourceUsage().maxRSS / 1024;
