/** Tables of numbers as text: a row for each sample, with commas, semicolons or tabs between the numbers. */

import { ModelError } from '../errors.ts';
import type { NumberArray } from './numpy.ts';

/** Names of a column that holds the class of each row. */
const LABEL = /^(label|labels|class|target|y)$/i;

/**
 * Reads a table. A first row that is not all numbers names the columns; one of them may be `label`.
 * @throws ModelError `file` with one sentence that names the line
 */
export function readTable(
  text: string,
  name: string,
): { readonly array: NumberArray; readonly labels?: readonly number[] } {
  const lines = text.split(/\r?\n/);
  const numbered = lines
    .map((line, i) => ({ line, number: i + 1 }))
    .filter(({ line }) => line.trim() !== '');
  const [first] = numbered;
  if (first === undefined) throw new ModelError('file', `${name} has no rows`);
  const separator = [';', '\t'].find((mark) => first.line.includes(mark)) ?? ',';
  const split = (line: string) =>
    line.split(separator).map((field) => field.trim().replace(/^"(.*)"$/, '$1'));
  const heads = split(first.line);
  const named = heads.some((field) => field === '' || Number.isNaN(Number(field)));
  const label = named ? heads.findIndex((head) => LABEL.test(head)) : -1;
  const labels: number[] = [];
  const rows = numbered.slice(named ? 1 : 0).map(({ line, number }) => {
    const fields = split(line);
    if (fields.length !== heads.length) {
      throw new ModelError(
        'file',
        `line ${number} of ${name} should have ${heads.length} fields as the first line, but has ${fields.length}`,
      );
    }
    const numbers = fields.map((field) => (field === '' ? Number.NaN : Number(field)));
    const wrong = numbers.findIndex((n) => !Number.isFinite(n));
    if (wrong >= 0) {
      throw new ModelError(
        'file',
        `line ${number} of ${name} has '${fields[wrong]}', which is not a number`,
      );
    }
    if (label < 0) return numbers;
    labels.push(numbers[label]!);
    return numbers.toSpliced(label, 1);
  });
  const columns = heads.length - (label < 0 ? 0 : 1);
  const array: NumberArray = {
    shape: [rows.length, columns],
    type: 'numbers',
    numbers: (from, to) =>
      Float64Array.from(
        { length: to - from },
        (_, i) => rows[Math.floor((from + i) / columns)]![(from + i) % columns]!,
      ),
  };
  return label < 0 ? { array } : { array, labels };
}
