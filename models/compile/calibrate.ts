/** Measures how large the values of a network get on sample images, in float arithmetic. */

import { KINDS } from '../../protocol/program/kinds.ts';
import type { Graph } from '../graph/index.ts';
import { IDENTITY, runFloat } from '../graph/index.ts';
import type { ActivationNode, Network } from './network.ts';

/** Smallest and largest value per channel; infinite the wrong way round where there was none. */
export interface Extent {
  readonly low: Float64Array;
  readonly high: Float64Array;
}

export interface Calibration {
  readonly images: number;
  /** Of every value of the network, by id. */
  readonly values: ReadonlyMap<string, Extent>;
  /** Of what activation layers read, by the layer's id: one extent for each kind of element, indexed by kind. */
  readonly read: ReadonlyMap<string, readonly Extent[]>;
}

function emptyExtent(channels: number): Extent {
  return {
    low: new Float64Array(channels).fill(Number.POSITIVE_INFINITY),
    high: new Float64Array(channels).fill(Number.NEGATIVE_INFINITY),
  };
}

function widen({ low, high }: Extent, channel: number, value: number): void {
  if (value < low[channel]!) low[channel] = value;
  if (value > high[channel]!) high[channel] = value;
}

/**
 * Runs the graph on all images.
 * @param images as runFloat takes them (preprocessed)
 * @throws RangeError when there is no image
 */
export function calibrate(
  graph: Graph,
  network: Network,
  images: Iterable<Float32Array>,
): Calibration {
  const values = new Map<string, Extent>();
  const read = new Map<string, readonly Extent[]>();
  const readers = new Map<string, ActivationNode[]>();
  for (const node of network.nodes) {
    values.set(node.id, emptyExtent(node.shape[0]));
    if (node.op !== 'activation') continue;
    read.set(
      node.id,
      KINDS.map(() => emptyExtent(node.shape[0])),
    );
    readers.set(node.inputs[0], [...(readers.get(node.inputs[0]) ?? []), node]);
  }
  values.set(network.input.id, emptyExtent(network.input.shape[0]));

  let count = 0;
  for (const image of images) {
    count++;
    runFloat(graph, image, (id, value) => {
      const extent = values.get(id);
      if (extent === undefined) return;
      const plane = value.length / extent.low.length;
      for (let i = 0; i < value.length; i++) widen(extent, Math.floor(i / plane), value[i]!);
      for (const node of readers.get(id) ?? []) {
        const extents = read.get(node.id)!;
        for (let i = 0; i < value.length; i++) {
          widen(extents[node.kinds[i]!]!, Math.floor(i / plane), value[i]!);
        }
      }
    });
  }
  if (count === 0) throw new RangeError('calibration needs at least one image');
  return { images: count, values, read };
}

/** What an activation layer reads, by kind; an inserted truncation reads a value of the graph as identity elements. */
export function extentsOf(calibration: Calibration, node: ActivationNode): readonly Extent[] {
  const known = calibration.read.get(node.id);
  if (known !== undefined) return known;
  const extents = KINDS.map(() => emptyExtent(node.shape[0]));
  extents[IDENTITY] = calibration.values.get(node.inputs[0])!;
  return extents;
}

/** Largest difference of two values of one channel, the largest over channels, each at its scale. */
export function largestDifference({ low, high }: Extent, scale: Float64Array): number {
  return scale.reduce((largest, factor, channel) => {
    return Math.max(largest, factor * Math.max(0, high[channel]! - low[channel]!));
  }, 0);
}

/** Largest |value + offset| of one channel, 0 where there was none. */
export function magnitude({ low, high }: Extent, channel: number, offset = 0): number {
  if (high[channel]! < low[channel]!) return 0;
  return Math.max(Math.abs(low[channel]! + offset), Math.abs(high[channel]! + offset));
}
