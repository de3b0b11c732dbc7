/** Images of bytes in other sizes. */

/** An image, channels last: [row][column][channel]. */
export interface Raster {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly data: Uint8Array;
}

/**
 * Bilinear, over wider windows where the image shrinks, as Pillow resizes: columns first, and each pass rounds to bytes by
 * the same fixed point.
 */
export function resizeRaster(image: Raster, height: number, width: number): Raster {
  const across = width === image.width ? image : transposed(resizeRows(transposed(image), width));
  return height === image.height ? across : resizeRows(across, height);
}

function transposed({ width, height, channels, data }: Raster): Raster {
  const out = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (y * width + x) * channels;
      const to = (x * height + y) * channels;
      for (let c = 0; c < channels; c++) out[to + c] = data[from + c]!;
    }
  }
  return { width: height, height: width, channels, data: out };
}

/** Fractional bits of Pillow's weights. */
const PRECISION = 22;

function resizeRows({ width, height, channels, data }: Raster, rows: number): Raster {
  const scale = height / rows;
  const stretch = Math.max(scale, 1);
  const line = width * channels;
  const out = new Uint8Array(rows * line);
  const sums = new Float64Array(line);
  for (let row = 0; row < rows; row++) {
    const middle = (row + 0.5) * scale;
    const from = Math.max(0, Math.trunc(middle - stretch + 0.5));
    const to = Math.min(height, Math.trunc(middle + stretch + 0.5));
    const weights = Array.from({ length: to - from }, (_, i) =>
      Math.max(0, 1 - Math.abs((i + from - middle + 0.5) / stretch)),
    );
    const total = weights.reduce((sum, w) => sum + w, 0);
    sums.fill(2 ** (PRECISION - 1));
    for (const [i, w] of weights.entries()) {
      const weight = Math.floor((w / total) * 2 ** PRECISION + 0.5);
      const start = (from + i) * line;
      for (let j = 0; j < line; j++) sums[j]! += weight * data[start + j]!;
    }
    for (let j = 0; j < line; j++) {
      out[row * line + j] = Math.max(0, Math.min(255, Math.floor(sums[j]! / 2 ** PRECISION)));
    }
  }
  return { width, height: rows, channels, data: out };
}
