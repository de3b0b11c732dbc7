/** What is written beside a reduced network: how it was made and what it is worth, as JSON. */

import { LINKS } from '../../protocol/inference/links.ts';
import { countKinds, type KindCounts } from '../../protocol/program/kinds.ts';
import { countGraph, type Graph, inferShapes, type Shape } from '../graph/index.ts';
import { type Budget, formatBytes } from './budget.ts';
import { spent } from './cost.ts';
import { activationsOf } from './elements.ts';
import { frontier, type Point } from './frontier.ts';
import type { GroupTable } from './groups.ts';
import type { Stability } from './stability.ts';

export interface ReductionCard {
  readonly name: string;
  readonly method: string;
  readonly budget: Budget;
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
  /** All networks that were trained on the way, with what their programs cost. */
  readonly points: readonly Point[];
  readonly groups: Readonly<
    Record<string, { readonly dense: GroupTable; readonly reduced: GroupTable }>
  >;
  readonly stability: Stability;
}

/** Elements by kind, layer by layer. */
export function mapOf(graph: Graph): ({ id: string; shape: Shape } & KindCounts)[] {
  const shapes = inferShapes(graph);
  return activationsOf(graph).map(({ id, kinds }) => ({
    id,
    shape: shapes.get(id)!,
    ...countKinds(kinds),
  }));
}

/** The text of a card, with the counts of the network. */
export function formatCard(
  { stability, points, budget, ...card }: ReductionCard,
  graph: Graph,
): string {
  const layers = stability.layers.map(({ id, min, max, growth, outside, headroom, escaped }) => ({
    ...{ id, min, max, growth, outside, headroom, escaped },
  }));
  const plain = points.map(({ name, relus, accuracy, cost }) => ({
    name,
    relus,
    accuracy,
    ...cost,
  }));
  const all = {
    ...card,
    ...budgetOf(budget),
    ...countGraph(graph),
    points: plain,
    layers: mapOf(graph),
    ranges: { images: stability.images, layers },
  };
  return `${JSON.stringify(all, null, 2)}\n`;
}

/** A budget of ReLUs is a number; others say what they count, and over which link. */
function budgetOf(budget: Budget) {
  const { unit, most } = budget;
  if (unit === 'ReLUs') return { budget: most };
  return { budget: { [unit]: most, ...(budget.link && { link: budget.link.name }) } };
}

/** The frontier of some networks by what a budget counts, as a table: a row for each, the cheapest first. */
export function formatPoints(points: readonly Point[], budget: Budget): string {
  const rows = frontier(points, (point) => spent(point, budget)).map(
    ({ name, relus, accuracy, cost }) => [
      `${relus}`,
      `${(100 * accuracy).toFixed(2)} %`,
      ...(cost === undefined
        ? ['', '', '', ...LINKS.map(() => '')]
        : [
            formatBytes(cost.offlineBytes),
            formatBytes(cost.onlineBytes),
            `${cost.rounds}`,
            ...LINKS.map((link) => `${cost.onlineMs[link.name]!.toFixed(0)} ms`),
          ]),
      name,
    ],
  );
  const head = [
    'ReLUs',
    'accuracy',
    'offline',
    'online',
    'rounds',
    ...LINKS.map(({ name }) => name),
    '',
  ];
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => row[i]!.length)));
  return [head, ...rows]
    .map((row) =>
      row
        .map((cell, i) => (i === row.length - 1 ? cell : cell.padStart(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
