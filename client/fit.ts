/** Images in memory, brought to the size that a program takes. Browsers use their canvas instead. */

import type { RgbaImage } from '../protocol/program/pixels.ts';
import { type Raster, resizeRaster } from '../protocol/program/resize.ts';
import type { Fit } from './images.ts';

/** An image of `height` rows and `width` columns. */
export function fitRgba(image: RgbaImage, height: number, width: number, fit: Fit): RgbaImage {
  const raster: Raster = { ...image, channels: 4, data: Uint8Array.from(image.data) };
  if (fit === 'fill') return resizeRaster(raster, height, width);
  const scales = [width / image.width, height / image.height];
  if (fit === 'cover') {
    const scale = Math.max(...scales);
    const cut = { width: width / scale, height: height / scale };
    return resizeRaster(cutMiddle(raster, rounded(cut, image)), height, width);
  }
  const scale = Math.min(...scales);
  const inner = { width: image.width * scale, height: image.height * scale };
  const size = rounded(inner, { width, height });
  return framed(resizeRaster(raster, size.height, size.width), height, width);
}

interface Size {
  readonly width: number;
  readonly height: number;
}

/** Whole pixels, at least one and at most `most`. */
function rounded(size: Size, most: Size): Size {
  return {
    width: Math.min(most.width, Math.max(1, Math.round(size.width))),
    height: Math.min(most.height, Math.max(1, Math.round(size.height))),
  };
}

function cutMiddle({ data, ...from }: Raster, { width, height }: Size): Raster {
  const { channels } = from;
  const out = new Uint8Array(width * height * channels);
  const left = Math.floor((from.width - width) / 2);
  const top = Math.floor((from.height - height) / 2);
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * from.width + left) * channels;
    out.set(data.subarray(start, start + width * channels), y * width * channels);
  }
  return { width, height, channels, data: out };
}

/** In the middle, with black around. */
function framed({ data, channels, ...inner }: Raster, height: number, width: number): RgbaImage {
  const out = new Uint8Array(width * height * channels);
  const left = Math.floor((width - inner.width) / 2);
  const top = Math.floor((height - inner.height) / 2);
  for (let y = 0; y < inner.height; y++) {
    const start = y * inner.width * channels;
    const row = data.subarray(start, start + inner.width * channels);
    out.set(row, ((top + y) * width + left) * channels);
  }
  return { width, height, data: out };
}
