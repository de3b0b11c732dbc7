/** What the compiler decided, layer by layer. */

import { layoutOf } from '../../protocol/inference/layout.ts';
import { bundleBytes, hintBytes, type Masks } from '../../protocol/linear/index.ts';
import { KINDS, type KindCounts, kindOf } from '../../protocol/program/kinds.ts';
import type { Program, Step } from '../../protocol/program/program.ts';
import { ModelError } from '../errors.ts';
import type { ComparisonReport } from './comparisons.ts';
import { type Fidelity, formatFidelity } from './fidelity.ts';

/** How a linear layer is prepared (protocol/linear/hint). */
export interface Preparation {
  readonly masks: Masks;
  /** Bits of the ring it is computed in, and of a coefficient of its hint. */
  readonly ringBits: number;
  readonly hintBits: number;
  /** Bytes of each inference, offline, and of the hint, once a client. */
  readonly bytes: number;
  readonly hintBytes: number;
}

/**
 * Numbers of one step, of an activation layer also its elements by kind. Only the owner of the model sees them: calibrated
 * ranges are not public.
 */
export interface LayerReport extends Partial<KindCounts> {
  readonly name: string;
  readonly op: Step['op'];
  /** Index of the step in the program. */
  readonly step: number;
  readonly fractionBits: number;
  /** Linear layers: fractional bits of the weights, and those they gave to their range. */
  readonly weightBits?: number;
  readonly givenBits?: number;
  /** Linear layers: whether it was inserted between values of different scales. */
  readonly isInserted?: boolean;
  /** Activation layers and the output: k, and t. */
  readonly rangeBits?: number;
  readonly dropBits?: number;
  /** Largest calibrated number as a part of the largest one allowed. */
  readonly used?: number;
  /** Linear layers: how they are prepared. */
  readonly preparation?: Preparation | undefined;
  /** Root mean square of what this layer's rounding in a private run comes to at the output, in logits; see errorImages. */
  readonly error?: number;
}

/**
 * How the linear layers of a program are prepared, by the index of their step; several steps may be one layer, told of the
 * first.
 * @throws ModelError `fixed-point` naming the layer when its weights fit no plan
 */
export function preparationsOf(program: Program): Map<number, Preparation> {
  try {
    return new Map(
      layoutOf(program).linears.map(({ parts, plan }) => [
        parts[0]!.index,
        {
          masks: plan.masks,
          ringBits: plan.ringBits,
          hintBits: plan.hintBits,
          bytes: bundleBytes(plan),
          hintBytes: hintBytes(plan),
        },
      ]),
    );
  } catch (cause) {
    throw new ModelError('fixed-point', `${(cause as Error).message}; use fewer weightBits`, {
      cause,
    });
  }
}

/** What is known before anything is run. */
export interface EmitReport {
  /** Images that ranges were measured on. */
  readonly images: number;
  /** Of them, those of which a value leaves its range. */
  readonly outside: number;
  /** Fractional bits of the input and, but for what is pooled, of activations. */
  readonly activationBits: number;
  readonly layers: readonly LayerReport[];
}

export interface CompileReport extends EmitReport {
  /** What the ReLUs' comparisons cost, and what simulated private runs of calibration images come to. */
  readonly comparisons: ComparisonReport;
  /** With `compareBits: 'auto'`, the same before it changed anything: with 12 fractional bits. */
  readonly comparedBefore?: ComparisonReport | undefined;
  /** What the model makes of sample images beside what the float network does. */
  readonly fidelity: Fidelity;
  /** How far a private logit may lie from the clear one, in units of the output's last place. */
  readonly tolerance: number;
}

type Column = readonly [string, (layer: LayerReport) => string | number | undefined];

const COLUMNS: readonly Column[] = [
  ['layer', (layer) => layer.name],
  ['step', (layer) => layer.op],
  ['fraction', (layer) => layer.fractionBits],
  ['weights', (layer) => layer.weightBits],
  ['k', (layer) => layer.rangeBits],
  ['t', (layer) => layer.dropBits],
  ['compared', (layer) => (layer.relus ? layer.rangeBits! - 1 - layer.dropBits! : undefined)],
  ['used', (layer) => (layer.used === undefined ? undefined : `${Math.round(100 * layer.used)}%`)],
  ...KINDS.map((kind): Column => {
    const { name, count } = kindOf(kind);
    return [name.toLowerCase(), (layer) => layer[count]];
  }),
  ['masks', ({ preparation }) => preparation?.masks],
  ['hint bits', ({ preparation }) => preparation?.hintBits],
  ['kB up', ({ preparation }) => preparation && kilobytes(preparation.bytes)],
  ['kB hint', ({ preparation }) => preparation && kilobytes(preparation.hintBytes)],
  ['error', (layer) => layer.error?.toExponential(1)],
];

const kilobytes = (bytes: number) => Math.ceil(bytes / 1000);

/** The report as a table of text, one line a layer; numbers are bits or elements. Columns that nothing is in are left out. */
export function formatReport(report: CompileReport): string {
  const columns = COLUMNS.filter(([, cell]) => report.layers.some((l) => cell(l) !== undefined));
  const rows = [
    columns.map(([title]) => title),
    ...report.layers.map((layer) => columns.map(([, cell]) => `${cell(layer) ?? ''}`)),
  ];
  const widths = columns.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) =>
    row
      .map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd(),
  );
  const { images, outside, activationBits } = report;
  lines.push(`ranges from ${images} images; ${activationBits} fractional bits`);
  if (images === 1) {
    lines.push('one image says little of ranges: measure on a hundred typical ones');
  }
  if (outside > 0) {
    lines.push(`${outside} of ${images} images reach far beyond all others and leave a range`);
  }
  const lowered = report.layers.filter(({ givenBits = 0 }) => givenBits > 0);
  if (lowered.length > 0) {
    const names = lowered.map(({ name }) => name).join(', ');
    lines.push(`coarser weights, for their ranges: ${names}`);
  }
  const inserted = report.layers.filter(({ isInserted }) => isInserted);
  if (inserted.length > 0) {
    const names = inserted.map(({ name }) => name).join(', ');
    lines.push(`layers inserted where scales are far apart: ${names}`);
  }
  lines.push(...formatComparisons(report.comparisons, report.comparedBefore));
  lines.push(formatFidelity(report.fidelity));
  return lines.join('\n');
}

/** What comparisons cost, in bytes and in labels; with auto, in brackets what they cost with 12 fractional bits. */
export function formatComparisons(
  comparisons: ComparisonReport,
  before?: ComparisonReport | undefined,
): string[] {
  const { images, runs } = comparisons;
  if (comparisons.bytes === 0) return [];
  const both = (text: (report: ComparisonReport) => string) =>
    before === undefined
      ? text(comparisons)
      : `${text(comparisons)} (with 12 fractional bits: ${text(before)})`;
  return [
    `a ReLU compares ${both((r) => r.comparedBits.toFixed(1))} bits on average, in ${both((r) => r.bytes.toFixed(0))} bytes`,
    `simulated private runs, ${runs} of each of ${images} calibration images: ${both((r) => `${r.changed}`)} images change their label, logits are off by ${both((r) => `${(100 * r.error).toPrecision(2)} %`)} of the distance between the two largest`,
  ];
}
