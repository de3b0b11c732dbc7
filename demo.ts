/**
 * A private inference between two processes, from end to end:
 *
 *   npm run demo [-- --json] [--model FILE]
 *
 * It starts a server as a process, connects, classifies the project's own digit images, and compares each answer with the plaintext fixed-point network, which it can run because it also
 * reads the model's file, as the operator would. Fails when a private answer is further off than the program's tolerance explains.
 */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startParty } from './bench/stand/measurement.ts';
import { connect, type Inference, pixelsOf, readImage } from './client/index.ts';
import { bytesText, ProgressLine, timeText } from './client/progress.ts';
import { runClear } from './protocol/program/clear.ts';
import { decodeLogits, encodeInput } from './protocol/program/input.ts';
import type { Model } from './protocol/program/model.ts';
import type { OutputStep, Program } from './protocol/program/program.ts';
import { revealing } from './protocol/program/simulate.ts';
import { sizeOf } from './protocol/ring/shape.ts';
import { indexOfLargest } from './protocol/ring/tensor.ts';
import { loadModelFile } from './server/index.ts';

// The built file lies in dist.
const root = fileURLToPath(new URL('..', import.meta.url));

interface Sample {
  readonly name: string;
  readonly pixels: Float32Array;
  /** What it shows. */
  readonly truth: number;
}

/** One image, classified both ways. */
interface Comparison {
  readonly sample: Sample;
  readonly result: Inference;
  readonly plain: number;
  /** Largest difference of a logit to the plaintext's; undefined when only the label is revealed. */
  readonly difference: number | undefined;
  /** Is the difference within the tolerance, and the label the same wherever the tolerance decides it? */
  readonly explained: boolean;
}

async function ownDigits(program: Program): Promise<Sample[]> {
  const folder = join(root, 'models/zoo/digits-images');
  const names = (await readdir(folder)).filter((name) => /^\d.*\.png$/.test(name)).sort();
  return Promise.all(
    names.map(async (name) => {
      const image = await readImage(join(folder, name));
      return { name, pixels: pixelsOf(image, program.input.shape), truth: Number(name[0]) };
    }),
  );
}

function compare(model: Model, tolerance: number, sample: Sample, result: Inference): Comparison {
  const { program } = model;
  const logits = runClear(model, encodeInput(program, sample.pixels));
  const plain = indexOfLargest(logits);
  const exact = decodeLogits(program, logits);
  const difference =
    result.logits && Math.max(...result.logits.map((value, i) => Math.abs(value - exact[i]!)));
  // Two logits that lie closer than both their errors may change places.
  const near = exact[plain]! - exact[result.label!]! <= 2 * tolerance;
  return { sample, result, plain, difference, explained: (difference ?? 0) <= tolerance && near };
}

/** Rows of text with aligned columns: the first to the left, the others to the right. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ');
  return rows.map((row) => line(row).trimEnd()).join('\n');
}

/** Time, bytes and round trips of a phase, over some images. */
function costCells(comparisons: readonly Comparison[], phase: 'offline' | 'online'): string[] {
  const sum = (pick: (stats: Inference['stats']['online']) => number) =>
    comparisons.reduce((value, { result }) => value + pick(result.stats[phase]), 0);
  const bytes = sum(({ bytesUp, bytesDown }) => bytesUp + bytesDown);
  return [timeText(sum(({ ms }) => ms)), bytesText(bytes), String(sum(({ rounds }) => rounds))];
}

function describe(comparisons: readonly Comparison[], tolerance: number, program: Program): string {
  const costs = (some: readonly Comparison[]) => [
    ...costCells(some, 'offline'),
    ...costCells(some, 'online'),
  ];
  const body = comparisons.map((comparison) => {
    const { sample, result, plain, difference, explained } = comparison;
    return [
      sample.name,
      `${result.label}${result.label === sample.truth ? '' : ` (is ${sample.truth})`}`,
      `${plain}${explained ? '' : ' !'}`,
      difference?.toExponential(1) ?? 'hidden',
      ...costs([comparison]),
    ];
  });
  const head = ['image', 'private', 'plain', 'difference', 'offline', 'bytes', 'rounds'];
  const total = ['total', '', '', '', ...costs(comparisons)];
  return [
    table([[...head, 'online', 'bytes', 'rounds'], ...body, total]),
    '',
    `difference: largest of a logit to the plaintext fixed-point network; the program's tolerance is ${tolerance.toExponential(1)}`,
    `The server saw ${comparisons.length} times ${sizeOf(program.input.shape)} uniformly random numbers in place of pixels, ` +
      'and masked values after every layer: no pixel, no activation, no answer. The client saw no weight.',
  ].join('\n');
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      model: { type: 'string', default: join(root, 'models/zoo/digits.sotto') },
    },
  });
  const { model: shipped } = await loadModelFile(values.model);
  // The plaintext network shows its logits, whatever it reveals to clients.
  const program = revealing(shipped.program, { reveal: 'logits' });
  const model = { ...shipped, program };
  const output = program.steps.at(-1) as OutputStep;
  const tolerance = output.tolerance / 2 ** output.fractionBits;
  const samples = await ownDigits(program);
  const server = startParty(new AbortController().signal);
  const { url } = await server.ask('serve', { path: values.model });
  const progress = new ProgressLine(process.stderr, process.env);
  const comparisons: Comparison[] = [];
  try {
    const session = await connect(url, { onProgress: progress.update.bind(progress) });
    try {
      for (const sample of samples) {
        comparisons.push(compare(model, tolerance, sample, await session.infer(sample.pixels)));
      }
    } finally {
      await session.close();
    }
  } finally {
    progress.clear();
    await server.stop();
  }
  const failed = comparisons.filter(({ explained }) => !explained).length;
  if (values.json) {
    const results = comparisons.map(({ sample, result, ...rest }) => {
      const { label, stats } = result;
      return { image: sample.name, truth: sample.truth, label, ...rest, ...stats };
    });
    process.stdout.write(
      `${JSON.stringify({ program: program.name, tolerance, failed, results })}\n`,
    );
  } else {
    process.stdout.write(`${describe(comparisons, tolerance, program)}\n`);
  }
  if (failed > 0)
    throw new Error(`${failed} answers differ by more than the program's tolerance explains`);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`demo: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
