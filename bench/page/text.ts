/** Numbers and tables as text. */

import type { Summary } from '../measure.ts';

/** A number with three digits that mean something, four above a thousand. */
export function significantDigits(value: number): string {
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 6));
}

export const count = (value: number): string => value.toLocaleString('en');

export const megabytes = (bytes: number | undefined): string =>
  bytes === undefined ? '' : significantDigits(bytes / 1e6);

/** Median and, of more than one sample, the quartiles. */
export function spread({ lower, median, upper, samples }: Summary): string {
  return samples < 2
    ? significantDigits(median)
    : `${significantDigits(median)} (${significantDigits(lower)} to ${significantDigits(upper)})`;
}

export interface Table {
  readonly title: string;
  readonly note: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** A Markdown table with aligned columns, numbers (all columns but the first) to the right: as the formatter wants it. */
export function markdownTable({ head, rows }: Pick<Table, 'head' | 'rows'>): string {
  const widths = head.map((_, i) => Math.max(3, ...[head, ...rows].map((row) => row[i]!.length)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`;
  const rule = widths.map((width, i) =>
    i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  );
  return [head, rule, ...rows].map(line).join('\n');
}
