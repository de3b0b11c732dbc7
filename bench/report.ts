/** The results as data (JSON) and as a page (Markdown). */

import type { InferenceResult } from './inference.ts';
import type { KernelResult } from './kernels.ts';
import type { Machine } from './machine.ts';
import type { Summary } from './measure.ts';
import { REFERENCE_MACHINE } from './references.ts';

export interface Report {
  readonly machine: Machine;
  /** ISO 8601. */
  readonly date: string;
  /** Load averages over a minute, before and after. */
  readonly load: { readonly before: number; readonly after: number };
  readonly inference: InferenceResult;
  readonly kernels: readonly KernelResult[];
}

/** A number with three digits that mean something, four above a thousand. */
export function figure(value: number): string {
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 6));
}

function spread({ lower, upper }: Summary): string {
  return `${figure(lower)} to ${figure(upper)}`;
}

/** A Markdown table; numbers (all columns but the first) to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, i) => (i === 0 ? '---' : '---:'));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

/** The page that is kept as bench/RESULTS.md. */
export function markdown({ machine, date, load, inference, kernels }: Report): string {
  const { model, relus, activations, phases, plain } = inference;
  const repetitions = phases.at(-1)!.ms.samples;
  const bytes = (count: number) => count.toLocaleString('en');
  const phaseRows = phases.map(({ name, ms, bytesUp, bytesDown, rounds }) => [
    name,
    figure(ms.median),
    spread(ms),
    bytes(bytesUp),
    bytes(bytesDown),
    String(rounds),
  ]);
  const plainText =
    typeof plain === 'string'
      ? `The plaintext baseline was not run: ${plain}.`
      : `The same network in onnxruntime-web (WebAssembly, one thread), in turn with the private runs: ` +
        `${figure(plain.ms.median)} ms (${spread(plain.ms)}). Online / plain, the median of the pairs: ` +
        `**${figure(plain.ratio.median)}** (${spread(plain.ratio)}).`;
  const kernelRows = kernels.map(({ name, unit, value, bytes: moved, reference }) => [
    name,
    `${figure(value.median)} ${unit}`,
    spread(value),
    moved ?? '',
    reference ?? '',
  ]);
  return `# Results

Written by \`npm run bench -- --results bench/RESULTS.md\`; what is measured and how: README.md beside it.

${table(
  ['', 'this run'],
  [
    ['date', date],
    ['commit', machine.commit ?? 'unknown'],
    ['CPU', `${machine.cpu}, ${machine.cores} threads`],
    ['memory', `${machine.memoryGb} GB`],
    ['Node', machine.node],
    ['load before / after', `${figure(load.before)} / ${figure(load.after)}`],
  ],
)}

A load before the run of more than a few tenths is other work on the same cores: times are then too long, and the
quartiles say by how much they moved. Bytes and rounds are exact and the same on every machine.

## A private inference: ${model}, ${bytes(relus)} ReLUs of ${bytes(activations)} activations

Client and server are two processes on loopback; median and quartiles of ${repetitions} repetitions.

${table(['phase', 'ms', 'quartiles', 'bytes up', 'bytes down', 'round trips'], phaseRows)}

${plainText}

## Parts, on one core

Median and quartiles. Peers: ${REFERENCE_MACHINE}.

${table(['part', 'median', 'quartiles', 'bytes', 'native peers'], kernelRows)}
`;
}
