/** Lines over ReLU budgets as an SVG picture: accuracy or disparity, one line a method or a group. */

import { ModelError } from '../errors.ts';
import { COLOURS, figure, Plot } from '../plot.ts';

/** One line of a chart. */
export interface Line {
  readonly name: string;
  /** [ReLUs, value], the value in parts of one; by rising ReLUs. */
  readonly points: readonly (readonly [number, number])[];
  /** [ReLUs, least, most] where a point is the mean of several runs. */
  readonly spread?: readonly (readonly [number, number, number])[];
  /** Drawn dashed: figures of others, for other networks. */
  readonly published?: boolean;
}

export interface Chart {
  readonly title: string;
  /** What the vertical axis has, in percent. */
  readonly axis: string;
  readonly lines: readonly Line[];
}

/** The chart as an SVG document: ReLUs on a logarithmic axis. */
export function drawChart({ title, axis, lines }: Chart): string {
  const all = lines.flatMap(({ points }) => points);
  if (all.length === 0) throw new ModelError('argument', 'a chart needs at least one point');
  const colour = (i: number) => COLOURS[i % COLOURS.length]!;
  const marks = lines.flatMap(({ points, spread = [], published = false }, i) => {
    const bars = spread.map(([relus, least, most]) => ({
      relus: Math.max(1, relus),
      least: 100 * least,
      most: 100 * most,
    }));
    const at = points.map(([relus, value]) => ({
      relus: Math.max(1, relus),
      percent: 100 * value,
    }));
    const place = { x: 'relus', y: 'percent' } as const;
    const dash = published ? '5 4' : 'none';
    return [
      Plot.ruleX(bars, {
        x: 'relus',
        y1: 'least',
        y2: 'most',
        stroke: colour(i),
        strokeWidth: 1.5,
      }),
      Plot.line(at, { ...place, stroke: colour(i), strokeWidth: 2, strokeDasharray: dash }),
      Plot.dot(at, { ...place, fill: colour(i), r: 3.5 }),
    ];
  });
  const heading = Plot.text([title], {
    frameAnchor: 'top',
    dy: -26,
    fontSize: 15,
    fontWeight: 'bold',
  });
  return figure(
    {
      x: { type: 'log', label: 'ReLUs', grid: true },
      y: { label: `${axis}, %`, grid: true, nice: true },
      marks: [...marks, heading],
    },
    new Map(lines.map(({ name }, i) => [name, colour(i)])),
  );
}

/** A network of one budget, as cards have it. */
export interface Made {
  readonly method: string;
  readonly relus: number;
  /** 0..1 */
  readonly accuracy: number;
}

/** Accuracy against the ReLU budget: a line for each method, and published ones beside them. */
export function drawBudgets(
  title: string,
  made: readonly Made[],
  published: readonly Line[] = [],
): string {
  const methods = [...new Set(made.map(({ method }) => method))];
  const own = methods.map((name) => ({
    name,
    points: made
      .filter(({ method }) => method === name)
      .sort((a, b) => a.relus - b.relus)
      .map(({ relus, accuracy }) => [relus, accuracy] as const),
  }));
  return drawChart({ title, axis: 'accuracy', lines: [...own, ...published] });
}
