/** `sotto infer` classifies images privately, `sotto models` says what a server offers. */

import { X509Certificate } from 'node:crypto';
import { Command } from 'commander';
import { printable } from '../protocol/channel/frames.ts';
import { readWhole } from '../protocol/files.ts';
import { bitsPerSecondOf } from '../protocol/units.ts';
import type { PngImage } from './image.ts';
import {
  connect,
  type Inference,
  type ListedModel,
  models,
  type PhaseBytes,
  pixelsOf,
  readImage,
} from './index.ts';
import { bytesText, ProgressLine, timeText } from './progress.ts';

interface InferOptions {
  readonly server: string;
  readonly model?: string;
  readonly digest?: string;
  readonly bandwidth?: number;
  readonly workers?: number;
  readonly ca?: string;
  readonly json?: boolean;
}

export function inferCommand(): Command {
  return new Command('infer')
    .description(
      'classify images privately: the server does not see them, you do not see its model',
    )
    .argument('<image...>', 'PNG files of the size the model takes')
    .requiredOption('--server <URL>', 'ws://HOST:PORT or wss://HOST:PORT')
    .option('--model <NAME>', "which of the server's models; default: its first one")
    .option('--digest <HEX>', 'accept the program with this SHA-256 alone')
    .option(
      '--bandwidth <RATE>',
      'of the link to the server, like 20mbit: a slow one is sent fewer bytes for more work',
      bitsPerSecondOf,
    )
    .option('--workers <COUNT>', 'threads; default: as many as the machine runs at a time')
    .option('--ca <FILE>', 'certificates (PEM) to trust instead of the well-known ones')
    .option('--json', 'print one JSON document')
    .action(infer);
}

async function infer(paths: readonly string[], options: InferOptions): Promise<void> {
  // Everything that can be wrong on this side is found before the server is asked.
  const images = await Promise.all(paths.map(readImage));
  const ca = options.ca === undefined ? undefined : await readCertificates(options.ca);
  const line = new ProgressLine(process.stderr, process.env);
  const cancel = new AbortController();
  const interrupt = (): void => cancel.abort();
  process.once('SIGINT', interrupt);
  const call = {
    signal: cancel.signal,
    onProgress: line.update.bind(line),
  };
  try {
    const session = await connect(options.server, {
      ...call,
      model: options.model,
      expect: { digest: options.digest },
      bitsPerSecond: options.bandwidth,
      workers: options.workers,
      ca,
    });
    try {
      const { shape } = session.program.input;
      const inputs = images.map((image) => pixelsOf(image, shape));
      const results: Inference[] = [];
      for (const [i, pixels] of inputs.entries()) {
        const result = await session.infer(pixels, call);
        results.push(result);
        if (!options.json) process.stdout.write(`${describe(images[i]!, result)}\n`);
      }
      if (options.json) {
        const { model, digest } = session;
        const document = {
          server: options.server,
          model,
          digest,
          results: results.map((result, i) => ({
            image: paths[i],
            ...result,
            logits: result.logits && [...result.logits],
            results: result.results.map((own) => ({ ...own, data: [...own.data] })),
          })),
        };
        process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
      }
    } finally {
      await session.close();
    }
  } finally {
    line.clear();
    process.removeListener('SIGINT', interrupt);
  }
}

interface ModelsCommandOptions {
  readonly server: string;
  readonly ca?: string;
  readonly json?: boolean;
}

export function modelsCommand(): Command {
  return new Command('models')
    .description('list what a server offers, and what it costs; its first model is the default')
    .requiredOption('--server <URL>', 'ws://HOST:PORT or wss://HOST:PORT')
    .option('--ca <FILE>', 'certificates (PEM) to trust instead of the well-known ones')
    .option('--json', 'print one JSON document')
    .action(listModels);
}

async function listModels({ server, ca, json }: ModelsCommandOptions): Promise<void> {
  const list = await models(server, {
    ca: ca === undefined ? undefined : await readCertificates(ca),
  });
  const text = json ? JSON.stringify({ server, models: list }, null, 2) : formatModels(list);
  process.stdout.write(`${text}\n`);
}

/** A row for each model; the names are the server's. */
export function formatModels(list: readonly ListedModel[]): string {
  const moved = ({ bytesUp, bytesDown }: PhaseBytes) => [bytesText(bytesUp), bytesText(bytesDown)];
  const rows = [
    [
      'model',
      'input',
      'classes',
      'hint, once',
      'prepare up',
      'down',
      'answer up',
      'down',
      'rounds',
      'bundles',
      'program',
    ],
    ...list.map(({ name, shape, classes, hintBytes, offline, online, maxBundles, digest }) => [
      printable(name),
      shape.join('x'),
      `${classes ?? '-'}`,
      bytesText(hintBytes),
      ...moved(offline),
      ...moved(online),
      `${offline.rounds} + ${online.rounds}`,
      `${maxBundles}`,
      `${digest.slice(0, 12)}…`,
    ]),
  ];
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)));
  return rows.map((row) => line(row).join('  ')).join('\n');
}

/** @throws Error with one sentence that names the file when it cannot be read or holds no certificate */
async function readCertificates(path: string): Promise<string> {
  const text = Buffer.from(await readWhole(path)).toString();
  try {
    new X509Certificate(text);
  } catch (cause) {
    throw new Error(`${path} should hold certificates in PEM: BEGIN CERTIFICATE and so on`, {
      cause,
    });
  }
  return text;
}

function describe({ name }: PngImage, { label, labelName, results, stats }: Inference): string {
  const { offline, online } = stats;
  const several = results.map((result) => `${result.name} of ${result.shape.join('x')}`).join(', ');
  const phase = ({ ms, bytesUp, bytesDown }: typeof online) =>
    `${timeText(ms)}, ${bytesText(bytesUp + bytesDown)}`;
  return `${name}: ${labelName ?? label ?? several}  (prepared in ${phase(offline)}; answered in ${phase(online)})`;
}
