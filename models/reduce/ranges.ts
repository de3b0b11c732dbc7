/** How large the inputs of activation layers get over images, channel by channel and as a whole. */

import type { ActivationNode, Graph } from '../graph/index.ts';
import { elements } from '../graph/index.ts';
import { Stream } from '../random.ts';
import { type LabelledImages, makeBatch, Network } from '../train/index.ts';
import { activationsOf } from './elements.ts';
import type { ChannelMoments } from './parabola.ts';

/** What reached one activation layer. */
export interface LayerRange {
  readonly id: string;
  readonly min: number;
  readonly max: number;
  /** Smallest and largest value of each image, by the order they were looked at. */
  readonly extremes: readonly { readonly min: number; readonly max: number }[];
  /** Of all values. */
  readonly mean: number;
  readonly std: number;
  /** By channel. */
  readonly channels: ChannelMoments;
  /** Values below which a share of `QUANTILES` lies, from a sample of at least 4,096. */
  readonly quantiles: readonly number[];
  /** Values that were no finite number; nothing else here counts them. */
  readonly lost: number;
  /** Share of the values beyond `FITTED_DEVIATIONS` of what was measured before, see MeasureOptions.fitted. */
  readonly outside: number;
}

/** Deviations from a channel's mean within which its parabola fits a ReLU. */
export const FITTED_DEVIATIONS = 3;

export const QUANTILES = [0.001, 0.01, 0.5, 0.99, 0.999] as const;

/** Values a layer's quantiles are of, at least, if there are as many. LOCAL */
const SAMPLE = 4096;

/** Running sums over one layer. */
class Track {
  readonly id: string;
  readonly from: string;
  readonly #channels: number;
  readonly #image: number;
  readonly #extremes: { min: number; max: number }[] = [];
  readonly #sums: Float64Array;
  readonly #squares: Float64Array;
  readonly #counts: Float64Array;
  readonly #every: number;
  readonly #sample: number[] = [];
  readonly #fitted: ChannelMoments | undefined;
  #seen = 0;
  #outside = 0;
  #lost = 0;

  constructor(
    { id, inputs, kinds }: ActivationNode,
    channels: number,
    images: number,
    fitted: ChannelMoments | undefined,
  ) {
    this.id = id;
    this.#fitted = fitted;
    this.from = inputs[0];
    this.#channels = channels;
    this.#image = kinds.length;
    const zeros = () => new Float64Array(channels);
    [this.#sums, this.#squares, this.#counts] = [zeros(), zeros(), zeros()];
    // Odd, so that it does not fall into step with the channels.
    this.#every = Math.floor((images * kinds.length) / (2 * SAMPLE)) | 1;
  }

  /** @param x of whole images, channels last */
  add(x: Float32Array): void {
    const none = { min: Number.POSITIVE_INFINITY, max: Number.NEGATIVE_INFINITY };
    let image = none;
    for (let i = 0; i < x.length; i++) {
      if (i % this.#image === 0) {
        image = { ...none };
        this.#extremes.push(image);
      }
      const v = x[i]!;
      if (!Number.isFinite(v)) {
        this.#lost++;
        continue;
      }
      const c = i % this.#channels;
      this.#sums[c]! += v;
      this.#squares[c]! += v * v;
      this.#counts[c]!++;
      if (v < image.min) image.min = v;
      if (v > image.max) image.max = v;
      if (this.#seen++ % this.#every === 0) this.#sample.push(v);
      if (this.#fitted === undefined) continue;
      const { mean, std } = this.#fitted;
      if (Math.abs(v - mean[c]!) > FITTED_DEVIATIONS * std[c]!) this.#outside++;
    }
  }

  result(): LayerRange {
    const sum = (of: Float64Array) => of.reduce((a, b) => a + b, 0);
    const moments = (s: number, q: number, n: number) => {
      const mean = s / n;
      return { mean, std: Math.sqrt(Math.max(0, q / n - mean * mean)) };
    };
    const own = Array.from(this.#sums, (s, c) => moments(s, this.#squares[c]!, this.#counts[c]!));
    const sorted = Float64Array.from(this.#sample).sort();
    return {
      id: this.id,
      min: Math.min(...this.#extremes.map(({ min }) => min)),
      max: Math.max(...this.#extremes.map(({ max }) => max)),
      extremes: this.#extremes,
      ...moments(sum(this.#sums), sum(this.#squares), sum(this.#counts)),
      channels: { mean: own.map(({ mean }) => mean), std: own.map(({ std }) => std) },
      quantiles: QUANTILES.map((q) => sorted[Math.floor(q * sorted.length)] ?? Number.NaN),
      lost: this.#lost,
      outside: this.#seen === 0 ? 0 : this.#outside / this.#seen,
    };
  }
}

export interface MeasureOptions {
  /** Images to look at, chosen by the seed. Default: all. */
  readonly images?: number;
  readonly batch: number;
  readonly seed: number;
  /** What was measured on the images that polynomials were fitted to. */
  readonly fitted?: readonly LayerRange[];
}

/** Measures the inputs of all activation layers, in evaluation mode, in running order. */
export function measureRanges(
  graph: Graph,
  set: LabelledImages,
  { images = set.labels.length, batch, seed, fitted }: MeasureOptions,
): LayerRange[] {
  const network = new Network(graph, batch);
  const chosen = new Stream(seed).permutation(set.labels.length).subarray(0, images);
  const tracks = activationsOf(graph).map((node) => {
    const { channels } = network.value(node.id);
    const known = fitted?.find(({ id }) => id === node.id)?.channels;
    return new Track(node, channels, chosen.length, known);
  });
  for (let from = 0; from < chosen.length; from += batch) {
    const { images } = makeBatch(set, network.input, chosen.subarray(from, from + batch));
    network.forward(images, 'evaluate');
    const count = images.length / elements(network.input.shape);
    for (const track of tracks) {
      const { data } = network.value(track.from).value;
      track.add(data.subarray(0, (data.length / batch) * count));
    }
  }
  return tracks.map((track) => track.result());
}

/** Of a layer's deviation, what a channel's counts at least: one that hardly moves may begin to. LOCAL */
const LEAST_SHARE = 0.1;

/**
 * Largest |x| that training should let reach each channel of each layer: so many deviations from zero, the mean's distance
 * included. A channel that moves less than others has a steeper parabola, so that what is large for it is what escapes.
 */
export function rangeLimits(
  ranges: readonly LayerRange[],
  deviations: number,
): Record<string, number[]> {
  return Object.fromEntries(
    ranges.map(({ id, std, channels }) => [
      id,
      Array.from(
        channels.mean,
        (mean, c) => Math.abs(mean) + deviations * Math.max(channels.std[c]!, LEAST_SHARE * std),
      ),
    ]),
  );
}
