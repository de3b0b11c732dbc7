/**
 * Samples for calibration and scoring, from what people have them in: PNG and JPEG files, folders of them, folders of such
 * folders (one for each class), NumPy's `.npy` and `.npz`, tables as CSV, IDX files, CIFAR's files, and the folders of
 * published sets. Node only.
 */

import type { Raster } from '../../protocol/program/resize.ts';
import { ModelError } from '../errors.ts';
import type { Triple } from '../graph/graph.ts';
import type { GraphInput } from '../graph/index.ts';
import { type Fit, fitted, planesOf } from './raster.ts';
import {
  isLast,
  type Sample,
  type SampleSource,
  sameWithoutOnes,
  sampleSources,
} from './sources.ts';

export type { Fit } from './raster.ts';

/** Samples of one shape, [sample][C][H][W]. */
export interface Images {
  readonly count: number;
  /** Pixels 0..255, or what a network of numbers takes. */
  readonly pixels: Uint8Array | Float32Array;
  /** The class of each, where the sources say; 16 bits where there are more than 256. */
  readonly labels?: Uint8Array | Uint16Array;
  /** Of the file that each came from, with its number in it. */
  readonly names: readonly string[];
}

/** {@link Images} for a network that takes pixels. */
export interface PixelImages extends Images {
  readonly pixels: Uint8Array;
}

export interface ReadOptions extends Fit {
  /** Samples to read, at most; all by default. Of several sources, each gives one in turn. */
  readonly most?: number | undefined;
  /** Of several sources, every part of the result has as many of each as it is large: where parts are held out. */
  readonly evenly?: true | undefined;
  /** Called with how many samples have been read, and of how many. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Reads samples as a network takes them.
 * @param paths in turn, see sources.ts
 * @throws ModelError with one sentence that names the file: `data` when there is no sample or one does not fit the network, `file`
 *   when it is damaged or of a format that is not read
 */
export async function readImages(
  paths: string | readonly string[],
  input: Pick<GraphInput, 'shape' | 'numbers'>,
  options: ReadOptions = {},
): Promise<Images> {
  if (!input.numbers) return readPixels(paths, input.shape, options);
  return read(paths, input.shape, options, Float32Array, (sample, name) =>
    numbersOf(sample, input.shape, name),
  );
}

/** Reads samples as pixels; otherwise as {@link readImages}. */
export async function readPixels(
  paths: string | readonly string[],
  shape: Triple,
  options: ReadOptions = {},
): Promise<PixelImages> {
  return read(paths, shape, options, Uint8Array, (sample, name) =>
    pixelsOf(sample, shape, options, name),
  );
}

async function read<T extends Uint8Array | Float32Array>(
  paths: string | readonly string[],
  shape: Triple,
  { most = Number.POSITIVE_INFINITY, evenly, onProgress }: ReadOptions,
  type: new (length: number) => T,
  convert: (sample: Sample, name: string) => T,
): Promise<Images & { readonly pixels: T }> {
  const list = typeof paths === 'string' ? [paths] : paths;
  const sources = list.flatMap((path) => sampleSources(path, shape));
  const chosen = (evenly ? spread(sources) : inTurn(sources, most)).slice(0, most);
  if (chosen.length === 0) throw new ModelError('data', `${list.join(' and ')} has no samples`);
  const size = shape[0] * shape[1] * shape[2];
  const pixels = new type(chosen.length * size);
  const names = chosen.map(({ source, index }) => source.name(index));
  for (const [i, { source, index }] of chosen.entries()) {
    pixels.set(convert(source.sample(index), names[i]!), i * size);
    onProgress?.(i + 1, chosen.length);
  }
  const labelled = sources.every(({ labels }) => labels !== undefined);
  if (!labelled) return { count: chosen.length, pixels, names };
  const labels = labelsOf(
    chosen.map(({ source, index }) => source.labels![index]!),
    names,
  );
  return { count: chosen.length, pixels, labels, names };
}

/** A sample of a source by its number. */
interface Place {
  readonly source: SampleSource;
  readonly index: number;
}

/** All samples, those of each source at even distances. */
function spread(sources: readonly SampleSource[]): Place[] {
  const at = ({ source, index }: Place) => (index + 0.5) / source.count;
  const places = sources.flatMap((source) =>
    Array.from({ length: source.count }, (_, index): Place => ({ source, index })),
  );
  return places.sort((a, b) => at(a) - at(b));
}

/** The first sample of each source, the second of each, and so on: a few samples then show many classes. */
function inTurn(sources: readonly SampleSource[], most: number): Place[] {
  const chosen: Place[] = [];
  const longest = Math.max(0, ...sources.map(({ count }) => count));
  for (let index = 0; index < longest; index++) {
    for (const source of sources) {
      if (chosen.length >= most) return chosen;
      if (index < source.count) chosen.push({ source, index });
    }
  }
  return chosen;
}

function labelsOf(labels: readonly number[], names: readonly string[]): Uint8Array | Uint16Array {
  const wrong = labels.findIndex(
    (label) => !(Number.isInteger(label) && label >= 0 && label < 65536),
  );
  if (wrong >= 0) {
    throw new ModelError(
      'data',
      `${names[wrong]} has the label ${labels[wrong]}: labels should be whole numbers from 0 to 65535`,
    );
  }
  return labels.every((label) => label < 256) ? Uint8Array.from(labels) : Uint16Array.from(labels);
}

/** A sample as pixels [C][H][W]. */
function pixelsOf(sample: Sample, shape: Triple, fit: Fit, name: string): Uint8Array {
  const [, height, width] = shape;
  const { resize } = fit;
  if (sample.kind === 'numbers' && sample.data instanceof Uint8Array && resize === undefined) {
    // The whole of a published set comes this way.
    if (sameWithoutOnes(sample.shape, shape)) return sample.data;
  }
  const image = sample.kind === 'picture' ? sample.raster : rasterOf(sample, shape, name);
  return planesOf(fitted(image, height, width, fit, name));
}

/** Numbers as an image of the network's channels, of any size. */
function rasterOf(
  { shape: own, type, data }: Extract<Sample, { kind: 'numbers' }>,
  shape: Triple,
  name: string,
): Raster {
  const wrong = data.findIndex((v) => !(Number.isInteger(v) && v >= 0 && v <= 255));
  if (wrong >= 0) {
    throw new ModelError(
      'data',
      `${name} has the ${type} value ${data[wrong]}, the network takes pixels: they should be whole numbers from 0 to 255`,
    );
  }
  const [channels, height, width] = shape;
  const raster = (h: number, w: number, last: boolean): Raster => ({
    ...{ width: w, height: h, channels },
    data: Uint8Array.from(last ? data : turned(data, channels, h * w)),
  });
  if (sameWithoutOnes(own, shape)) return raster(height, width, false);
  if (isLast(own, shape)) return raster(height, width, true);
  const [a, b, c] = own as [number, number, number];
  // Of another size.
  if (own.length === 2 && channels === 1) return raster(a, b, true);
  if (own.length === 3 && a === channels && c !== channels) return raster(b, c, false);
  if (own.length === 3 && c === channels && a !== channels) return raster(a, b, true);
  throw misfit(own, shape, name);
}

/** Planes as channels last. */
function turned(data: ArrayLike<number>, channels: number, plane: number): Float64Array {
  const at = (i: number) => (i % channels) * plane + Math.floor(i / channels);
  return Float64Array.from(data, (_, i) => data[at(i)]!);
}

/** A sample as numbers [C][H][W]. */
function numbersOf(sample: Sample, shape: Triple, name: string): Float32Array {
  if (sample.kind === 'picture') {
    throw new ModelError(
      'data',
      `${name} is a picture, the network takes numbers: they should be in a .npy, .npz or .csv file`,
    );
  }
  const { shape: own, data } = sample;
  const wrong = data.findIndex((v) => !Number.isFinite(v));
  if (wrong >= 0)
    throw new ModelError('data', `${name} has the value ${data[wrong]}, which is not finite`);
  if (sameWithoutOnes(own, shape)) return Float32Array.from(data);
  if (!isLast(own, shape)) throw misfit(own, shape, name);
  const [channels, height, width] = shape;
  const plane = height * width;
  return Float32Array.from(data, (_, i) => data[(i % plane) * channels + Math.floor(i / plane)]!);
}

function misfit(own: readonly number[], shape: Triple, name: string): ModelError {
  return new ModelError(
    'data',
    `${name} is ${own.join('x')}, the network takes ${shape.join('x')}`,
  );
}
