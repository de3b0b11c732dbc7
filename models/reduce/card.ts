/** What is written beside a reduced network: how it was made and what it is worth, as JSON. */

import { countKinds } from '../../protocol/program/kinds.ts';
import { countGraph, type Graph, inferShapes } from '../graph/index.ts';
import { activationsOf } from './elements.ts';
import type { Point } from './frontier.ts';
import type { GroupTable } from './groups.ts';
import type { Stability } from './stability.ts';

export interface Card {
  readonly name: string;
  readonly method: string;
  readonly budget: number;
  readonly seed: number;
  /** Where training and validation images came from. */
  readonly data: readonly string[];
  readonly command: string;
  /** Accuracies on the validation images, 0..1. */
  readonly accuracy: {
    readonly dense: number;
    readonly reduced: number;
    /** Of the compiled program, on as many images as say. */
    readonly fixedPoint: number;
    readonly fixedPointImages: number;
  };
  /** All networks that were trained on the way. */
  readonly points: readonly Point[];
  readonly groups: Readonly<
    Record<string, { readonly dense: GroupTable; readonly reduced: GroupTable }>
  >;
  readonly stability: Stability;
}

/** Elements by kind, layer by layer. */
export function mapOf(graph: Graph) {
  const shapes = inferShapes(graph);
  return activationsOf(graph).map(({ id, kinds }) => ({
    id,
    shape: shapes.get(id)!,
    ...countKinds(kinds),
  }));
}

/** The text of a card, with the counts of the network. */
export function formatCard({ stability, points, ...card }: Card, graph: Graph): string {
  const layers = stability.layers.map(({ id, min, max, growth, outside, headroom, escaped }) => ({
    ...{ id, min, max, growth, outside, headroom, escaped },
  }));
  const plain = points.map(({ name, relus, accuracy }) => ({ name, relus, accuracy }));
  const all = {
    ...card,
    ...countGraph(graph),
    points: plain,
    layers: mapOf(graph),
    ranges: { images: stability.images, layers },
  };
  return `${JSON.stringify(all, null, 2)}\n`;
}
