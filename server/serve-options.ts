/** The options of `sotto serve`. */

import { Command, Option } from 'commander';
import { MAX_TIMER_MS } from '../protocol/channel/lifetime.ts';
import { millisecondsOf } from '../protocol/units.ts';
import { addIdentityOptions, type IdentityOptions } from './identity-options.ts';

/** What the command was given. */
export interface ServeCommandOptions extends IdentityOptions {
  readonly model?: readonly string[];
  readonly port: number;
  readonly host?: string;
  readonly workers?: number;
  readonly maxSessions?: number;
  readonly maxBundles?: number;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly insecure?: boolean;
  /** In ms. */
  readonly grace: number;
  /** In ms. */
  readonly resume?: number;
  readonly spill?: string;
  readonly spillKey?: string;
  readonly demo?: boolean;
  readonly json?: boolean;
  readonly metricsPort?: number;
  readonly metricsHost: string;
  readonly audit?: string;
}

/** The command, without what it does. */
export function serveOptions(): Command {
  const command = new Command('serve')
    .description('offer models for private inference, until interrupted')
    .option(
      '--model <MODEL>',
      'a .sotto file, or the name of a model that ships; repeat it for more models',
      collect,
    )
    .requiredOption('--port <N>', 'TCP port; 0 for any that is free')
    .option('--host <HOST>', 'address to listen on; default: 127.0.0.1')
    .option('--workers <COUNT>', 'threads; default: as many as the machine runs at a time')
    .option('--max-sessions <COUNT>', 'clients at a time')
    .option('--max-bundles <COUNT>', 'prepared inferences that a client may keep waiting')
    .option('--tls-cert <FILE>', 'certificate chain (PEM)')
    .option('--tls-key <FILE>', "the certificate's key (PEM)")
    .option('--insecure', 'listen beyond this machine without TLS, such as behind a proxy')
    .addOption(
      new Option(
        '--grace <TIME>',
        'for which prepared inferences may still run after SIGTERM, like 30s; a bare number is in s',
      )
        .argParser(graceOf)
        .default(30_000, '30s'),
    )
    .option(
      '--resume <TIME>',
      'for which prepared inferences wait for a client whose link was lost, like 5min (default); a bare number is in min',
      (text) => Math.ceil(millisecondsOf(text, 'min')),
    )
    .option(
      '--spill <FOLDER>',
      'keep prepared inferences on disk as well, encrypted, so that they outlive the process',
    )
    .option('--spill-key <FILE>', 'key of --spill; made when it is not there')
    .option('--metrics-port <N>', 'TCP port of /metrics, /healthz and /readyz; 0 for any')
    .option('--metrics-host <HOST>', 'address to listen on for those', '127.0.0.1')
    .option('--audit <FILE>', 'append a record of each grant; what cannot be recorded is refused')
    .option('--demo', 'serve the demo page as well; without --model, the models that ship')
    .option('--json', 'log events on stderr as JSON, one object a line');
  return addIdentityOptions(command);
}

function graceOf(text: string): number {
  const ms = Math.ceil(millisecondsOf(text, 's'));
  if (ms <= MAX_TIMER_MS) return ms;
  throw new RangeError('It must be 24 days at most.');
}

const collect = (value: string, previous: readonly string[] = []): string[] => [...previous, value];
