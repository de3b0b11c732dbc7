/** What the compiler decided, layer by layer. */

import type { Step } from '../../protocol/program/program.ts';

/** Numbers of one step. Only the owner of the model sees them: calibrated ranges are not public. */
export interface LayerReport {
  readonly name: string;
  readonly op: Step['op'];
  /** Index of the step in the program. */
  readonly step: number;
  readonly fractionBits: number;
  /** Linear layers: fractional bits of the weights. */
  readonly weightBits?: number;
  /** Activation layers and the output: k, and t. */
  readonly rangeBits?: number;
  readonly dropBits?: number;
  /** Largest calibrated number as a part of the largest one allowed. */
  readonly used?: number;
  /** Elements of an activation layer. */
  readonly relus?: number;
  readonly squares?: number;
  readonly identities?: number;
}

export interface CompileReport {
  /** Images that ranges were measured on. */
  readonly images: number;
  /** Weight bits that were asked for; layers with less had to give bits to their range. */
  readonly weightBits: number;
  readonly layers: readonly LayerReport[];
  /** How far a private logit may lie from the clear one, in units of the output's last place. */
  readonly tolerance: number;
}

const COLUMNS: readonly (readonly [string, (layer: LayerReport) => string | number | undefined])[] =
  [
    ['layer', (layer) => layer.name],
    ['step', (layer) => layer.op],
    ['fraction', (layer) => layer.fractionBits],
    ['weights', (layer) => layer.weightBits],
    ['k', (layer) => layer.rangeBits],
    ['t', (layer) => layer.dropBits],
    [
      'used',
      (layer) => (layer.used === undefined ? undefined : `${Math.round(100 * layer.used)}%`),
    ],
    ['relu', (layer) => layer.relus],
    ['square', (layer) => layer.squares],
    ['identity', (layer) => layer.identities],
  ];

/** The report as a table of text, one line a step; numbers are bits or elements. */
export function formatReport(report: CompileReport): string {
  const rows = [
    COLUMNS.map(([title]) => title),
    ...report.layers.map((layer) => COLUMNS.map(([, cell]) => `${cell(layer) ?? ''}`)),
  ];
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) =>
    row
      .map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd(),
  );
  const lowered = report.layers.filter(
    (l) => (l.weightBits ?? report.weightBits) < report.weightBits,
  );
  lines.push(`ranges from ${report.images} images`);
  if (lowered.length > 0) {
    const names = lowered.map(({ name }) => name).join(', ');
    lines.push(`fewer than ${report.weightBits} weight bits, for their ranges: ${names}`);
  }
  return lines.join('\n');
}
