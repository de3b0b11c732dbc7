/**
 * The results of a program as numbers: its flat output cut into them, and what is read out of each.
 *
 * A readout is public and needs no secret: the client does it alone, on numbers that it knows.
 */

import type { OutputStep, Program, ProgramReadout } from './program.ts';

/** One result, its numbers in row-major order. */
export interface ResultTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Elements of a result. */
export function resultSize(shape: readonly number[]): number {
  return shape.reduce((size, n) => size * n, 1);
}

/** Whether the client learns nothing of the output but the index of its largest number. */
export function revealsLabel({ steps }: Pick<Program, 'steps'>): boolean {
  return (steps.at(-1) as OutputStep).reveal === 'label';
}

/**
 * The results as the program computes them, before any readout: ring elements divided by their scale.
 * @param raw what a run of the program gives: all results one after the other, or the label's index
 */
export function decodeResults(program: Program, raw: Int32Array): ResultTensor[] {
  if (revealsLabel(program)) {
    return [{ name: program.results[0]!.name, shape: [], data: Float32Array.from(raw) }];
  }
  let from = 0;
  return program.results.map(({ name, shape, bits }) => {
    const own = raw.subarray(from, (from += resultSize(shape)));
    return { name, shape, data: Float32Array.from(own, (number) => number / 2 ** bits) };
  });
}

/** What the program's readouts make of its results; a label is read out already. */
export function readOut(program: Program, results: readonly ResultTensor[]): ResultTensor[] {
  if (revealsLabel(program)) return [...results];
  return results.map((result, i) => {
    const { readout } = program.results[i]!;
    return readout === undefined ? result : apply(readout, result);
  });
}

function apply({ kind, axis }: ProgramReadout, result: ResultTensor): ResultTensor {
  const { shape, data } = result;
  switch (kind) {
    case 'sigmoid':
      return { ...result, data: data.map((x) => 1 / (1 + Math.exp(-x))) };
    case 'tanh':
      return { ...result, data: data.map(Math.tanh) };
    case 'softmax':
    case 'logSoftmax': {
      const out = new Float32Array(data.length);
      for (const line of linesOf(shape, axis)) {
        const most = line.reduce((largest, at) => Math.max(largest, data[at]!), -Infinity);
        const sum = line.reduce((total, at) => total + Math.exp(data[at]! - most), 0);
        for (const at of line) {
          const x = data[at]! - most;
          out[at] = kind === 'softmax' ? Math.exp(x) / sum : x - Math.log(sum);
        }
      }
      return { ...result, data: out };
    }
    case 'argmax': {
      const best = Array.from(linesOf(shape, axis), (line) =>
        line.reduce((first, at, i) => (data[at]! > data[line[first]!]! ? i : first), 0),
      );
      return {
        ...result,
        shape: shape.filter((_, i) => i !== axis),
        data: Float32Array.from(best),
      };
    }
  }
}

/** The elements of each line along an axis, line by line. */
function* linesOf(shape: readonly number[], axis: number): Generator<number[]> {
  const step = resultSize(shape.slice(axis + 1));
  const length = shape[axis]!;
  const outer = resultSize(shape.slice(0, axis));
  for (let i = 0; i < outer; i++) {
    for (let j = 0; j < step; j++) {
      yield Array.from({ length }, (_, at) => (i * length + at) * step + j);
    }
  }
}
