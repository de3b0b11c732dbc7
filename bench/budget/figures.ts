/** The plots of the report. */

import { LINKS, LOOPBACK } from '../../protocol/inference/links.ts';
import { type Figure, isDefined } from './drawing.ts';
import {
  accuracyFigure,
  loadFigure,
  paretoFigure,
  plannerFigure,
  publishedFigure,
} from './figures-beside.ts';
import {
  attributionFigure,
  bytesFigure,
  latencyFigure,
  phasesFigure,
  sweptNetworks,
  zooAttributionFigure,
} from './figures-costs.ts';
import { type BudgetReport, PHASES } from './results.ts';

/** All figures there is data for, in the order in which they are read. */
export function figuresOf({ points, throughput }: BudgetReport): Figure[] {
  const loads = throughput?.loads ?? [];
  const simulated = [...new Set(loads.map(({ network }) => network))];
  return [
    ...sweptNetworks(points).map((network) => latencyFigure(network, points)),
    paretoFigure(points),
    accuracyFigure(points),
    ...[LOOPBACK.name, LINKS.at(-2)!.name].flatMap((over) =>
      [...PHASES].reverse().map((phase) => attributionFigure(phase, over, points)),
    ),
    ...[...PHASES].reverse().map((phase) => zooAttributionFigure(phase, points)),
    phasesFigure(points),
    bytesFigure(points),
    publishedFigure(points),
    plannerFigure(points),
    loadFigure('zoo/digits', 'answers', loads),
    ...simulated.map((network) => loadFigure(network, 'latency', loads)),
  ].filter(isDefined);
}
