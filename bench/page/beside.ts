/** Our networks beside published ones, at equal ReLUs and at equal bytes. */

import { ACCURACY_SOURCES } from '../published.ts';
import type { PointResult } from '../results.ts';
import { argued } from './argument.ts';
import { count, megabytes, type Table } from './text.ts';

/** Bytes of one inference, both phases and directions; the hint is kept and not in it. */
const bytesOf = ({ costs: { offline, online } }: PointResult): number =>
  offline.upBytes + offline.downBytes + online.upBytes + online.downBytes;

/** A share and its standard error, in percent: the error says what other images of the same kind would change. */
function accuracyText({ share, images }: NonNullable<PointResult['accuracy']>): string {
  const error =
    images === undefined
      ? ''
      : ` ± ${(100 * Math.sqrt((share * (1 - share)) / images)).toFixed(1)}`;
  return `${(100 * share).toFixed(1)}${error}`;
}

/** The most accurate of ours among those that cost no more. */
function bestWithin(
  ours: readonly PointResult[],
  cost: (point: PointResult) => number,
  most: number,
): string {
  const within = ours.filter((point) => cost(point) <= most);
  if (within.length === 0) return '';
  const best = within.reduce((a, b) => (b.accuracy!.share > a.accuracy!.share ? b : a));
  const name = best.id.replace('zoo/', '');
  return `${accuracyText(best.accuracy!)} (${name}, ${megabytes(bytesOf(best))} MB)`;
}

export function besideTable(points: readonly PointResult[]): Table {
  const ours = argued(points).filter(({ comparison }) => comparison === 'encoded');
  const published = points.filter(({ weights }) => weights === 'published');
  const sources = Object.entries(ACCURACY_SOURCES).map(
    ([method, { network, source }]) => `${method}: ${network} (${source})`,
  );
  return {
    title: 'Beside published networks, CIFAR-10',
    note:
      'Accuracies in percent of test images, with the standard error that so many images have: 10,000 of the published, of ours ' +
      'those on the cards. Bytes of a published network are what our formulas say of a ResNet-18 with as many ReLUs, what is ' +
      'none being identities, of AutoReP squares; its authors did not measure them. ' +
      `${sources.join('; ')}.`,
    head: ['method, ReLUs', '%', 'MB', 'ours, no more ReLUs', 'ours, no more bytes'],
    rows: published.map((point) => [
      `${point.network}, ${count(point.relus)}`,
      accuracyText(point.accuracy!),
      megabytes(bytesOf(point)),
      bestWithin(ours, ({ relus }) => relus, point.relus),
      bestWithin(ours, bytesOf, bytesOf(point)),
    ]),
  };
}
