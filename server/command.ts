/** `sotto serve`: offers models until it is told to stop. */

import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { type Command, InvalidArgumentError } from 'commander';
import { PROTOCOL_VERSION } from '../protocol/inference/hello.ts';
import { showStatus } from '../protocol/terminal.ts';
import { type AuditFile, openAudit } from './audit.ts';
import {
  type Configuration,
  type Counts,
  jsonLines,
  type Notice,
  sentence,
} from './events-text.ts';
import { identityOf } from './identity-options.ts';
import {
  type OnGrant,
  type RunningServer,
  type ServeOptions,
  type ServerEvent,
  serve,
} from './index.ts';
import { lineLog } from './log.ts';
import { type ServeCommandOptions, serveOptions } from './serve-options.ts';
import { reportingFailure, ServedFiles } from './served-files.ts';
import { notifier } from './systemd.ts';

/** How long a stopping server waits for the reader of its log, in ms. LOCAL. */
const FLUSHING_MS = 1000;

/** The models that ship. */
export interface Shipped {
  /** Paths of those that are served where none are named, with the demo page. */
  readonly paths: () => string[];
  /** The path of a model that is named by its file or by its name. */
  readonly pathOf: (text: string) => string;
}

export function serveCommand(shipped: Shipped): Command {
  return serveOptions().action((options: ServeCommandOptions, command: Command) =>
    run(options, command, shipped),
  );
}

async function run(
  options: ServeCommandOptions,
  command: Command,
  shipped: Shipped,
): Promise<void> {
  const journal = openJournal(options.json ?? false);
  const { tell } = journal;
  const abandon = (error: unknown): never => fail(error, journal);
  // An unhandled rejection is one too.
  process.on('uncaughtException', abandon);
  const models = options.model?.map(shipped.pathOf) ?? (options.demo ? shipped.paths() : []);
  if (models.length === 0) command.error("error: required option '--model <MODEL>' not specified");
  const spill = spillOf(options);
  const files = await ServedFiles.read({
    ...{ models, tls: tlsPaths(options) },
    halfGates: options.demo ?? false,
  });
  if (files.tls?.warning !== undefined) tell({ type: 'certificate', message: files.tls.warning });
  const audit = options.audit === undefined ? undefined : await openAudit(options.audit);
  const watch = options.metricsPort === undefined ? undefined : await import('./watch.ts');
  const metrics = watch?.serverMetrics();
  const { maxSessions, maxBundles, resume } = options;
  const server = await serve(files.offered, {
    port: options.port,
    host: options.host,
    workers: options.workers,
    tls: files.tls,
    insecure: options.insecure,
    ...identityOf(options),
    spill,
    demo: options.demo ? files.cards : undefined,
    limits: {
      ...(maxSessions === undefined ? {} : { sessions: maxSessions }),
      ...(maxBundles === undefined ? {} : { bundlesPerSession: maxBundles }),
      ...(resume === undefined ? {} : { resumeMs: resume }),
    },
    onHint: (model, done, total) =>
      showStatus(`hint of ${model}: ${Math.round((100 * done) / total)} %`),
    onGrant: audit && recordIn(audit, journal.run),
    onTask: metrics?.onTask,
    onEvent(event) {
      showStatus('');
      metrics?.onEvent(event);
      tell(event);
    },
  });
  void server.failed.then(abandon);
  const place = { host: options.metricsHost, port: options.metricsPort ?? 0 };
  const port = await (metrics && watch?.listenWatch(place, server, metrics))?.catch(
    async (error) => {
      await server.close();
      throw error;
    },
  );
  // Signals are heard before anybody is told that it has started, and may send some.
  const stopped = untilStopped(server, files, audit, tell, options.grace);
  tell({ type: 'started', ...configurationOf(options, files, server), metrics: port?.url });
  const why = await stopped;
  await port?.close();
  await audit?.close();
  tell({ type: 'stopped', why, ...journal.counts });
  // Where nobody reads the log, what is left of it would keep the process.
  if (!(await journal.flush(FLUSHING_MS))) process.exit();
}

/** Serves, and reads the files again at each SIGHUP, until a signal has ended the server. */
async function untilStopped(
  server: RunningServer,
  files: ServedFiles,
  audit: AuditFile | undefined,
  tell: (notice: Notice) => void,
  graceMs: number,
): Promise<StopSignal> {
  const { interrupted, terminated } = stopSignals();
  const systemd = notifier(process.env, {
    onTrouble: (message) => tell({ type: 'systemd', message }),
  });
  const reload = async (): Promise<void> => {
    await systemd.reloading();
    await files.readAgain(server, tell);
    if (audit !== undefined) await reportingFailure(audit.path, tell, () => audit.reopen());
    await systemd.ready();
  };
  let reloaded: Promise<void> = Promise.resolve();
  process.on('SIGHUP', () => {
    reloaded = reloaded.then(reload);
  });
  // From now on systemd may send that signal.
  await systemd.ready();
  const unwatch = systemd.watch(() => server.healthy());
  let why = await Promise.race([interrupted, terminated]);
  unwatch();
  const told = systemd.stopping();
  if (why === 'SIGTERM') {
    why = await Promise.race([interrupted, server.drain(graceMs).then(() => terminated)]);
  }
  await server.close();
  await told;
  await reloaded;
  return why;
}

type StopSignal = 'SIGINT' | 'SIGTERM';

/** The first signal of each kind. Further SIGTERMs change nothing, as systemd may send several; a second SIGINT kills. */
function stopSignals(): Readonly<Record<'interrupted' | 'terminated', Promise<StopSignal>>> {
  return {
    interrupted: new Promise((resolve) => process.once('SIGINT', resolve)),
    terminated: new Promise((resolve) => process.on('SIGTERM', resolve)),
  };
}

/** The log of a run, and what it has counted. */
interface Journal {
  /** Names the run. */
  readonly run: string;
  readonly counts: Counts;
  tell(event: ServerEvent | Notice): void;
  flush(ms: number): Promise<boolean>;
}

function openJournal(json: boolean): Journal {
  const run = randomUUID();
  const format = json ? jsonLines(run) : sentence;
  const log = lineLog(process.stderr, (lines) => format({ type: 'dropped', lines }));
  const counts = { sessions: 0, bundles: 0, inferences: 0, errors: 0 };
  return {
    run,
    counts,
    tell(event) {
      if (event.type === 'session') counts.sessions++;
      if (event.type === 'bundle') counts.bundles++;
      if (event.type === 'inference') counts.inferences++;
      if (event.type === 'error') counts.errors++;
      log.write(format(event));
    },
    flush: (ms) => log.flush(ms),
  };
}

/** Puts each grant on record before it leaves. */
function recordIn(audit: AuditFile, run: string): OnGrant {
  return (grant) => audit.write({ time: new Date().toISOString(), run, ...grant });
}

function tlsPaths({ tlsCert: cert, tlsKey: key }: ServeCommandOptions) {
  if (cert !== undefined && key !== undefined) return { cert, key };
  if (cert === key) return undefined;
  throw new InvalidArgumentError('--tls-cert and --tls-key are needed together');
}

function spillOf({ spill: folder, spillKey: keyFile }: ServeCommandOptions): ServeOptions['spill'] {
  if (folder !== undefined && keyFile !== undefined) return { folder, keyFile };
  if (folder === keyFile) return undefined;
  throw new InvalidArgumentError('--spill and --spill-key are needed together');
}

function configurationOf(
  { grace: graceMs, insecure = false, audit }: ServeCommandOptions,
  { paths }: ServedFiles,
  { url, models, limits, pool }: RunningServer,
): Configuration {
  const { version } = createRequire(import.meta.url)('../../package.json');
  return {
    version,
    protocol: PROTOCOL_VERSION,
    node: process.version,
    pid: process.pid,
    url,
    // Behind those of the files stands what was made of the first.
    models: models.map((names, i) => ({ ...names, file: paths.models[i] ?? paths.models[0]! })),
    workers: pool.workers,
    limits,
    graceMs,
    insecure,
    tls: paths.tls,
    audit,
  };
}

/** Ends the process at once: one that may answer nothing any more is worth less than none, which is started again. */
function fail(error: unknown, { tell, counts }: Journal): never {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  tell({ type: 'stopped', why: 'failed', message, ...counts });
  process.stderr.write(`sotto: ${process.env['SOTTO_DEBUG'] ? stack : message}\n`);
  process.exit(1);
}
