/** `sotto infer` classifies images privately, `sotto models` says what a server offers. */

import { X509Certificate } from 'node:crypto';
import { Command } from 'commander';
import { printable } from '../protocol/channel/frames.ts';
import { readWhole } from '../protocol/files.ts';
import { revealsLabel } from '../protocol/program/results.ts';
import { bitsPerSecondOf } from '../protocol/units.ts';
import { classesOf } from './classify.ts';
import {
  type CallOptions,
  type Classification,
  connect,
  type Inference,
  type ListedModel,
  models,
  type PhaseBytes,
  pixelsOf,
  readImage,
  type Session,
} from './index.ts';
import { bytesText, ProgressLine, timeText } from './progress.ts';

interface InferOptions {
  readonly server: string;
  readonly model?: string;
  readonly digest?: string;
  readonly bandwidth?: number;
  readonly workers?: number;
  readonly ca?: string;
  readonly top?: number;
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
    .option('--top <COUNT>', 'print so many classes of each image, with their softmax')
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
      const { program, model, digest } = session;
      if (options.top !== undefined && (revealsLabel(program) || program.results.length > 1)) {
        throw new Error(`--top: the model "${printable(model)}" tells no logits of one result`);
      }
      const inputs = images.map((image) => pixelsOf(image, program.input.shape));
      const results: Answered[] = [];
      for await (const result of answers(session, inputs, call, line)) {
        const { top: topK } = options;
        const classes = topK && classesOf(program, result, { topK, temperature: 1 });
        const answered = { ...result, ...(classes && { classes }) };
        const { name } = images[results.length]!;
        results.push(answered);
        line.clear();
        if (!options.json) process.stdout.write(`${describe(name, answered)}\n`);
      }
      if (options.json) {
        const { server } = options;
        const document = {
          server,
          model,
          digest,
          results: results.map((result, i) => plain(paths[i]!, result)),
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

/** An answer, with the likeliest classes where they were asked for. */
interface Answered extends Inference {
  readonly classes?: readonly Classification[];
}

/** Answers in the order of the images; as each is answered the next one's inference is prepared, and no more than there are. */
async function* answers(
  session: Session,
  inputs: readonly Float32Array[],
  call: CallOptions,
  line: ProgressLine,
): AsyncGenerator<Inference> {
  const prepare = (): Promise<void> => {
    const preparing = session.prepare(call);
    // It may fail while an image is answered; who waits for it hears of that.
    preparing.catch(() => {});
    return preparing;
  };
  let ready = prepare();
  for (const [i, pixels] of inputs.entries()) {
    if (inputs.length > 1) line.title = `image ${i + 1} of ${inputs.length}: `;
    await ready;
    const last = i + 1 === inputs.length;
    if (!last) ready = prepare();
    // The line is the preparation's, which takes longer.
    yield await session.infer(pixels, last ? call : { ...call, onProgress: () => {} });
  }
}

/** As JSON has it. */
function plain(image: string, { logits, results, ...rest }: Answered): object {
  return {
    image,
    ...rest,
    logits: logits && [...logits],
    results: results.map((own) => ({ ...own, data: [...own.data] })),
  };
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

function describe(
  name: string,
  { label, labelName, results, stats, classes = [] }: Answered,
): string {
  const { offline, online } = stats;
  const several = results.map((result) => `${result.name} of ${result.shape.join('x')}`).join(', ');
  const phase = ({ ms, bytesUp, bytesDown }: typeof online) =>
    `${timeText(ms)}, ${bytesText(bytesUp + bytesDown)}`;
  const ranked = classes.map(
    (one) => `\n  ${(100 * one.score!).toFixed(1).padStart(5)} %  ${one.label}`,
  );
  return (
    `${name}: ${labelName ?? label ?? several}  (prepared in ${phase(offline)}; answered in ${phase(online)})` +
    ranked.join('')
  );
}
