/**
 * How large the values of a network get, from what was measured on sample images: per channel, which decides scales, and
 * per layer and image, which decides ranges.
 */

import { type ActivationKind, kindsIn, SQUARE } from '../../protocol/program/kinds.ts';
import type { Extents, Measured, Wanted } from './measure.ts';
import {
  type ActivationNode,
  affineReading,
  type FixedNetwork,
  type Reading,
  readingsOf,
} from './network.ts';

/** A part of the images that may be left outside of a range: one in a hundred. */
const LEFT_OUT = 0.01;
/** How far beyond all but these a range follows them, as a factor. LOCAL. */
const FOLLOWED = 2;

/** Whether an activation layer's elements of different kinds have to be told apart. */
const isMixed = ({ kinds }: ActivationNode) => kindsIn(kinds).length > 1;

/** Key of what an activation layer of several kinds reads. */
const keyOf = ({ id }: ActivationNode) => `${id} read`;

/** What has to be measured for a network to be compiled. */
export function wantedOf(network: FixedNetwork): Map<string, Wanted> {
  const wanted = new Map<string, Wanted>();
  const readings = readingsOf(network);
  for (const { id } of readings.values()) wanted.set(id, { id });
  for (const node of network.nodes) {
    if (node.op !== 'activation' || !isMixed(node)) continue;
    wanted.set(keyOf(node), { id: readings.get(node.inputs[0])!.id, kinds: node.kinds });
  }
  return wanted;
}

/** Sizes of some numbers on every image, channel by channel: [image][channel]. */
export interface Sizes {
  readonly channels: number;
  readonly values: Float64Array;
}

/** Extents of some values, [image][channel]. */
interface Rows extends Extents {
  readonly channels: number;
}

/** |factor * x + shift + offset| of what `rows` tell. */
function sizesOf(rows: Rows, { factor, shift }: Reading, offset?: Float64Array): Sizes {
  const { channels, low, high } = rows;
  const values = Float64Array.from(low, (least, i) => {
    const most = high[i]!;
    if (most < least) return 0;
    const c = i % channels;
    const a = factor?.[c] ?? 1;
    const b = (shift?.[c] ?? 0) + (offset?.[c] ?? 0);
    return Math.max(Math.abs(a * least + b), Math.abs(a * most + b));
  });
  return { channels, values };
}

/** Reading of a value of the network, and what is known of its size. */
export class Ranges {
  readonly images: number;
  readonly #measured: Measured;
  readonly #readings: ReadonlyMap<string, Reading>;

  constructor(network: FixedNetwork, measured: Measured) {
    this.images = measured.images;
    this.#measured = measured;
    this.#readings = readingsOf(network);
  }

  /** The same for a network that this one became: what was inserted is in terms of the same values. */
  within(network: FixedNetwork): Ranges {
    return new Ranges(network, this.#measured);
  }

  #rows(id: string): Rows {
    const { low, high } = this.#measured.values.get(id)!;
    return { low, high, channels: low.length / this.images };
  }

  /** Extents of the elements of one kind that a mixed layer reads. */
  #kindRows(node: ActivationNode, kind: ActivationKind): Rows {
    const { low, high } = this.#measured.values.get(keyOf(node))!;
    const channels = node.shape[0];
    const row = low.length / this.images;
    const part = (values: Float32Array) => {
      const own = new Float32Array(this.images * channels);
      for (let image = 0; image < this.images; image++) {
        const from = image * row + kind * channels;
        own.set(values.subarray(from, from + channels), image * channels);
      }
      return own;
    };
    return { low: part(low), high: part(high), channels };
  }

  /** Sizes of a value. */
  value(id: string): Sizes {
    const reading = this.#readings.get(id)!;
    return sizesOf(this.#rows(reading.id), reading);
  }

  /** Differences of two elements of one channel at most. */
  differences(id: string): Sizes {
    const reading = this.#readings.get(id)!;
    const { channels, low, high } = this.#rows(reading.id);
    const values = Float64Array.from(low, (least, i) => {
      return Math.max(0, high[i]! - least) * Math.abs(reading.factor?.[i % channels] ?? 1);
    });
    return { channels, values };
  }

  /**
   * Sizes of what an activation layer works on: what it reads and what it adds to that.
   * @param offset per channel, what squares add beside it
   */
  read(node: ActivationNode, offset?: Float64Array): Sizes {
    const source = this.#readings.get(node.inputs[0])!;
    const reading = affineReading(source, undefined, node.before);
    const own = (kind: ActivationKind) => (kind === SQUARE ? offset : undefined);
    const kinds = kindsIn(node.kinds);
    if (!isMixed(node)) return sizesOf(this.#rows(reading.id), reading, own(kinds[0]!));
    return kinds
      .map((kind) => sizesOf(this.#kindRows(node, kind), reading, own(kind)))
      .reduce((a, b) => ({
        channels: a.channels,
        values: a.values.map((v, i) => Math.max(v, b.values[i]!)),
      }));
  }
}

/** The largest size of each channel on all images but the few that reach far beyond all others. */
export function channelSizes(sizes: Sizes): Float64Array {
  const { channels, values } = sizes;
  const ofImages = imageSizes(sizes, new Float64Array(channels).fill(1));
  const limit = followed(ofImages);
  const most = new Float64Array(channels);
  ofImages.forEach((size, image) => {
    if (size > limit) return;
    for (let c = 0; c < channels; c++) most[c] = Math.max(most[c]!, values[image * channels + c]!);
  });
  return most;
}

/** The largest size of each image, its channels at their scales. */
export function imageSizes({ channels, values }: Sizes, scale: Float64Array): Float64Array {
  const images = values.length / channels;
  return Float64Array.from({ length: images }, (_, i) => {
    let most = 0;
    for (let c = 0; c < channels; c++) most = Math.max(most, values[i * channels + c]! * scale[c]!);
    return most;
  });
}

/** The largest of some sizes, or twice what one in a hundred of them is beyond, if that is less. */
export function followed(sizes: Float64Array): number {
  const sorted = sizes.toSorted();
  const common = sorted[sorted.length - 1 - Math.floor(LEFT_OUT * sorted.length)]!;
  return Math.min(sorted.at(-1)!, FOLLOWED * common);
}

export function median(sizes: Float64Array): number {
  return sizes.toSorted()[Math.floor(sizes.length / 2)]!;
}
