/** `sotto serve`: offers models until it is told to stop. */

import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { printable } from '../protocol/channel/frames.ts';
import { readWhole } from '../protocol/files.ts';
import { showOnTerminal } from './hint-command.ts';
import { addIdentityOptions, type IdentityOptions, identityOf } from './identity-command.ts';
import { loadModelFile, type ModelCard, type ServerEvent, serve, type Who } from './index.ts';
import { lineLog } from './log.ts';
import { notifier } from './systemd.ts';
import { readTls } from './tls.ts';

interface ServeCommandOptions extends IdentityOptions {
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
  /** Minutes. */
  readonly resume?: number;
  readonly spill?: string;
  readonly spillKey?: string;
  readonly demo?: boolean;
  readonly json?: boolean;
}

/** What stands in the log beside events of the server. */
type Notice =
  /** For lines that the log's reader did not take in time. */
  | { readonly type: 'dropped'; readonly lines: number }
  /** Why systemd is not told how the server is. */
  | { readonly type: 'systemd'; readonly message: string }
  /** Why clients refuse the certificate. */
  | { readonly type: 'certificate'; readonly message: string };

export function serveCommand(): Command {
  const command = new Command('serve')
    .description('offer models for private inference, until interrupted')
    .option('--model <FILE>', 'a .sotto file; repeat it for more models', collect)
    .requiredOption('--port <N>', 'TCP port; 0 for any that is free')
    .option('--host <HOST>', 'address to listen on; default: 127.0.0.1')
    .option('--workers <COUNT>', 'threads; default: as many as the machine runs at a time')
    .option('--max-sessions <COUNT>', 'clients at a time')
    .option('--max-bundles <COUNT>', 'prepared inferences that a client may keep waiting')
    .option('--tls-cert <FILE>', 'certificate chain (PEM)')
    .option('--tls-key <FILE>', "the certificate's key (PEM)")
    .option('--insecure', 'listen beyond this machine without TLS, such as behind a proxy')
    .option('--grace <N>', 'seconds in which prepared inferences may still run after SIGTERM', '30')
    .option(
      '--resume <N>',
      'minutes that prepared inferences wait for a client whose link was lost; default: 5',
    )
    .option(
      '--spill <FOLDER>',
      'keep prepared inferences on disk as well, encrypted, so that they outlive the process',
    )
    .option('--spill-key <FILE>', 'key of --spill; made when it is not there')
    .option('--demo', 'serve the demo page as well; without --model, the models that ship')
    .option('--json', 'log events as JSON, one a line')
    .action(run);
  return addIdentityOptions(command);
}

const collect = (value: string, previous: readonly string[] = []): string[] => [...previous, value];

async function run(options: ServeCommandOptions, command: Command): Promise<void> {
  // An unhandled rejection is one too.
  process.on('uncaughtException', abandon);
  const { tlsCert, tlsKey, maxSessions, maxBundles } = options;
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw new TypeError('--tls-cert and --tls-key are needed together');
  }
  const { spill, spillKey, resume } = options;
  if ((spill === undefined) !== (spillKey === undefined)) {
    throw new TypeError('--spill and --spill-key are needed together');
  }
  const tls =
    tlsCert !== undefined && tlsKey !== undefined ? await readTls(tlsCert, tlsKey) : undefined;
  const paths = options.model ?? (options.demo ? await shippedModels() : []);
  if (paths.length === 0) command.error("error: required option '--model <FILE>' not specified");
  const models = await Promise.all(paths.map(loadModelFile));
  const cards = new Map(
    await Promise.all(
      models.map(async ({ name }, i) => [name, await readCard(paths[i]!)] as const),
    ),
  );
  const format: (event: ServerEvent | Notice) => string = options.json ? JSON.stringify : sentence;
  const log = lineLog(process.stderr, (lines) => format({ type: 'dropped', lines }));
  if (tls?.warning !== undefined) {
    log.write(format({ type: 'certificate', message: tls.warning }));
  }
  const server = await serve(models, {
    port: options.port,
    host: options.host,
    workers: options.workers,
    tls,
    insecure: options.insecure,
    ...identityOf(options),
    demo: options.demo ? cards : undefined,
    limits: {
      ...(maxSessions === undefined ? {} : { sessions: maxSessions }),
      ...(maxBundles === undefined ? {} : { bundlesPerSession: maxBundles }),
      ...(resume === undefined ? {} : { resumeMs: 60_000 * resume }),
    },
    ...(spill && spillKey ? { spill: { folder: spill, keyFile: spillKey } } : {}),
    onHint: (model, done, total) =>
      showOnTerminal(`hint of ${model}: ${Math.round((100 * done) / total)} %`),
    onEvent(event) {
      showOnTerminal('');
      log.write(format(event));
    },
  });
  void server.failed.then(abandon);
  const stopped = new Promise<'SIGINT' | 'SIGTERM'>((resolve) => {
    process.once('SIGINT', resolve);
    process.once('SIGTERM', resolve);
  });
  const systemd = notifier(process.env, {
    onTrouble: (message) => log.write(format({ type: 'systemd', message })),
  });
  await systemd.ready();
  const unwatch = systemd.watch(() => server.healthy());
  const signal = await stopped;
  unwatch();
  await Promise.all([
    systemd.stopping(),
    signal === 'SIGTERM' ? server.drain(1000 * options.grace) : server.close(),
  ]);
  // Where nobody reads the log, what is left of it would keep the process.
  if (!(await log.flush(FLUSHING_MS))) process.exit();
}

/** How long a stopping server waits for the reader of its log, in ms. LOCAL. */
const FLUSHING_MS = 1000;

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
    card = JSON.parse(Buffer.from(await readWhole(path.replace(/\.sotto$/, '.json'))).toString());
  } catch {
    return {};
  }
  const { about, fixedPointTestAccuracy: accuracy } = card;
  const { temperature } = Object(card['certainty']) as { temperature?: unknown };
  return {
    about: typeof about === 'string' ? about : undefined,
    accuracy: typeof accuracy === 'number' ? accuracy : undefined,
    temperature: typeof temperature === 'number' && temperature > 0 ? temperature : undefined,
  };
}

const named = ({ address, principal }: Who): string =>
  principal === address ? address : `${principal} (${address})`;

/** An event as one line for people. Some of its words are the client's, which must not move an operator's cursor. */
function sentence(event: ServerEvent | Notice): string {
  const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
  const moved = ({ bytesUp, bytesDown }: { bytesUp: number; bytesDown: number }) =>
    `${(bytesUp / 1e6).toFixed(2)} MB up, ${(bytesDown / 1e6).toFixed(2)} MB down`;
  switch (event.type) {
    case 'listening':
      return `listening on ${event.url} (${event.models.join(', ')})${event.page ? `, demo page at ${event.page}` : ''}`;
    case 'hint':
      return `hint of ${event.model}: ${(event.bytes / 1e6).toFixed(1)} MB made in ${seconds(event.ms)}${event.unkept === undefined ? '' : `, not kept: ${event.unkept}`}`;
    case 'session':
      return `session ${event.session}: ${named(event)} runs ${event.model}, ${event.resumed > 0 ? `goes on with ${event.resumed} prepared, ` : ''}${seconds(event.ms)}`;
    case 'bundle':
      return `session ${event.session}: prepared ${event.bundle}, ${seconds(event.ms)}, ${moved(event)}`;
    case 'inference':
      return `session ${event.session}: answered ${event.bundle}, ${seconds(event.ms)}, ${moved(event)}`;
    case 'error':
      return `session ${event.session}: ${event.code}: ${printable(event.message)}`;
    case 'spill':
    case 'systemd':
    case 'certificate':
      return event.message;
    case 'dropped':
      return `${event.lines} lines dropped: the reader of this log was too slow`;
    case 'draining':
      return `draining: ${event.sessions} sessions may finish what is prepared`;
    case 'refused':
      return `session ${event.session}: ${event.inferences} preparations refused: ${event.reason}`;
    case 'uncounted':
      return `session ${event.session}: ${event.message}`;
    case 'closed':
      return `session ${event.session}: closed after ${event.inferences} inferences, ${event.unused} unused${event.kept > 0 ? `, ${event.kept} kept` : ''}`;
  }
}
