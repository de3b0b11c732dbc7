/** Images of bytes, and what brings them to the size that a network takes. */

/** An image, channels last: [row][column][channel]. */
export interface Raster {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly data: Uint8Array;
}

/** How images of another size become what a network takes. */
export interface Fit {
  /** The shorter side is made so long, and the other one in proportion. */
  readonly resize?: number | undefined;
  /** The middle is cut out. */
  readonly crop?: boolean | undefined;
}

/**
 * Makes an image fit.
 * @param name what the image is called in a message
 * @throws RangeError when it has another size than is wanted, with what would help
 */
export function fitted(
  image: Raster,
  height: number,
  width: number,
  { resize, crop = false }: Fit,
  name: string,
): Raster {
  const resized = resize === undefined ? image : resizeShorter(image, resize);
  if (resized.height === height && resized.width === width) return resized;
  const is = `${resized.width}x${resized.height}`;
  const wanted = `${width}x${height}`;
  const shorter = Math.min(height, width);
  if (crop) {
    if (resized.height >= height && resized.width >= width) return cropped(resized, height, width);
    throw new RangeError(
      `${name} is ${is} where ${wanted} are to be cut out: use --resize ${Math.max(height, width)}`,
    );
  }
  throw new RangeError(
    resize === undefined
      ? `${name} is ${is}, the network takes ${wanted}: use --resize ${shorter} --crop, or what its training did`
      : `${name} is ${is} after resizing, the network takes ${wanted}: use --crop`,
  );
}

/** The middle of an image, as torchvision's CenterCrop finds it. */
function cropped({ channels, data, ...from }: Raster, height: number, width: number): Raster {
  const top = halfToEven(from.height - height);
  const left = halfToEven(from.width - width);
  const out = new Uint8Array(height * width * channels);
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * from.width + left) * channels;
    out.set(data.subarray(start, start + width * channels), y * width * channels);
  }
  return { width, height, channels, data: out };
}

/** Half of a whole number, rounded as Python does. */
function halfToEven(n: number): number {
  const half = Math.floor(n / 2);
  return n % 2 === 1 && half % 2 === 1 ? half + 1 : half;
}

/** The shorter side as long as told, the other one in proportion, rounded down as torchvision does. */
function resizeShorter(image: Raster, shorter: number): Raster {
  const { width, height } = image;
  const longer = Math.floor((shorter * Math.max(width, height)) / Math.min(width, height));
  return width <= height ? resize(image, longer, shorter) : resize(image, shorter, longer);
}

/**
 * Bilinear, over wider windows where the image shrinks, as Pillow resizes: columns first, and each pass rounds to bytes by
 * the same fixed point.
 */
export function resize(image: Raster, height: number, width: number): Raster {
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

/** The planes [channel][row][column] of an image. */
export function planesOf({ width, height, channels, data }: Raster): Uint8Array {
  const out = new Uint8Array(data.length);
  const plane = width * height;
  for (let c = 0, o = 0; c < channels; c++) {
    for (let i = 0; i < plane; i++, o++) out[o] = data[i * channels + c]!;
  }
  return out;
}
