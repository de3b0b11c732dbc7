/** `sotto serve`: offers models until it is told to stop. */

import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { printable } from '../protocol/channel/frames.ts';
import { showOnTerminal } from './hint-command.ts';
import { loadModelFile, type ModelCard, type ServerEvent, serve } from './index.ts';

interface ServeCommandOptions {
  readonly model?: readonly string[];
  readonly port: number;
  readonly host?: string;
  readonly workers?: number;
  readonly maxSessions?: number;
  readonly maxBundles?: number;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly insecure?: boolean;
  /** Seconds. */
  readonly grace: number;
  readonly demo?: boolean;
  readonly json?: boolean;
}

export function serveCommand(): Command {
  return new Command('serve')
    .description('offer models for private inference, until interrupted')
    .option('--model <FILE>', 'a .sotto file; repeat it for more models', collect)
    .requiredOption('--port <N>', 'TCP port; 0 for any that is free')
    .option('--host <HOST>', 'address to listen on; 127.0.0.1 unless given')
    .option('--workers <N>', 'threads; as many as the machine runs at a time unless given')
    .option('--max-sessions <N>', 'clients at a time')
    .option('--max-bundles <N>', 'prepared inferences that a client may keep waiting')
    .option('--tls-cert <FILE>', 'certificate chain (PEM)')
    .option('--tls-key <FILE>', "the certificate's key (PEM)")
    .option('--insecure', 'listen beyond this machine without TLS, such as behind a proxy')
    .option('--grace <N>', 'seconds in which prepared inferences may still run after SIGTERM', '30')
    .option('--demo', 'serve the demo page as well; without --model, the models that ship')
    .option('--json', 'log events as JSON, one a line')
    .action(run);
}

const collect = (value: string, previous: readonly string[] = []): string[] => [...previous, value];

async function run(options: ServeCommandOptions, command: Command): Promise<void> {
  // An unhandled rejection is one too.
  process.on('uncaughtException', abandon);
  const { tlsCert, tlsKey, maxSessions, maxBundles } = options;
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw new TypeError('--tls-cert and --tls-key are needed together');
  }
  const tls =
    tlsCert !== undefined && tlsKey !== undefined
      ? { cert: await readPem(tlsCert), key: await readPem(tlsKey) }
      : undefined;
  const paths = options.model ?? (options.demo ? await shippedModels() : []);
  if (paths.length === 0) command.error("error: required option '--model <FILE>' not specified");
  const models = await Promise.all(paths.map(loadModelFile));
  const cards = new Map(
    await Promise.all(
      models.map(async ({ name }, i) => [name, await readCard(paths[i]!)] as const),
    ),
  );
  const format = options.json ? JSON.stringify : sentence;
  const server = await serve(models, {
    port: options.port,
    host: options.host,
    workers: options.workers,
    tls,
    insecure: options.insecure,
    demo: options.demo ? cards : undefined,
    limits: {
      ...(maxSessions === undefined ? {} : { sessions: maxSessions }),
      ...(maxBundles === undefined ? {} : { bundlesPerSession: maxBundles }),
    },
    onHint: (model, done, total) =>
      showOnTerminal(`hint of ${model}: ${Math.round((100 * done) / total)} %`),
    onEvent(event) {
      showOnTerminal('');
      process.stderr.write(`${format(event)}\n`);
    },
  });
  void server.failed.then(abandon);
  await new Promise<void>((resolve) => {
    process.once('SIGINT', resolve);
    process.once('SIGTERM', () => void server.drain(1000 * options.grace).then(resolve));
  });
  await server.close();
}

/** Ends the process at once: one that may answer nothing any more is worth less than none, which is started again. */
function abandon(error: unknown): never {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  process.stderr.write(`sotto: ${process.env['SOTTO_DEBUG'] ? stack : message}\n`);
  process.exit(1);
}

/** The models of the package, those with the fewest bytes first. */
async function shippedModels(): Promise<string[]> {
  const folder = fileURLToPath(new URL('../../models/zoo/', import.meta.url));
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sotto'));
  const files = await Promise.all(
    names.map(async (name) => ({
      path: `${folder}${name}`,
      bytes: (await readFile(`${folder}${name}`)).length,
    })),
  );
  return files.sort((a, b) => a.bytes - b.bytes).map(({ path }) => path);
}

/** What the card beside a model file, NAME.json for NAME.sotto, says; nothing when there is none. */
async function readCard(path: string): Promise<ModelCard> {
  let card: Record<string, unknown>;
  try {
    card = JSON.parse(await readFile(path.replace(/\.sotto$/, '.json'), 'utf8'));
  } catch {
    return {};
  }
  const { about, fixedPointTestAccuracy: accuracy } = card;
  return {
    about: typeof about === 'string' ? about : undefined,
    accuracy: typeof accuracy === 'number' ? accuracy : undefined,
  };
}

async function readPem(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new Error(`${path}: it cannot be read`, { cause });
  }
}

/** An event as one line for people. Some of its words are the client's, which must not move an operator's cursor. */
function sentence(event: ServerEvent): string {
  const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
  const moved = ({ bytesUp, bytesDown }: { bytesUp: number; bytesDown: number }) =>
    `${(bytesUp / 1e6).toFixed(2)} MB up, ${(bytesDown / 1e6).toFixed(2)} MB down`;
  switch (event.type) {
    case 'listening':
      return `listening on ${event.url} (${event.models.join(', ')})${event.page ? `, demo page at ${event.page}` : ''}`;
    case 'hint':
      return `hint of ${event.model}: ${(event.bytes / 1e6).toFixed(1)} MB made in ${seconds(event.ms)}${event.unkept === undefined ? '' : `, not kept: ${event.unkept}`}`;
    case 'session':
      return `session ${event.session}: ${event.address} runs ${event.model}, ${seconds(event.ms)}`;
    case 'bundle':
      return `session ${event.session}: prepared ${event.bundle}, ${seconds(event.ms)}, ${moved(event)}`;
    case 'inference':
      return `session ${event.session}: answered ${event.bundle}, ${seconds(event.ms)}, ${moved(event)}`;
    case 'error':
      return `session ${event.session}: ${event.code}: ${printable(event.message)}`;
    case 'draining':
      return `draining: ${event.sessions} sessions may finish what is prepared`;
    case 'refused':
      return `session ${event.session}: ${event.inferences} preparations refused: ${event.reason}`;
    case 'closed':
      return `session ${event.session}: closed after ${event.inferences} inferences, ${event.unused} unused`;
  }
}
