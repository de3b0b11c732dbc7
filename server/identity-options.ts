/** The options of `sotto serve` that say who is let in, and how much each may have. */

import { type Command, InvalidArgumentError } from 'commander';
import { bytesPer, countPer } from '../protocol/units.ts';
import { authorizeByUrl, type ServeOptions } from './index.ts';

/** What {@link addIdentityOptions} adds. */
export interface IdentityOptions {
  readonly authorizeUrl?: string;
  readonly origin?: readonly string[];
  readonly trustProxy?: readonly string[];
  readonly quotaAnswers?: number;
  readonly quotaSessions?: number;
  readonly quotaBytes?: number;
  readonly quotaStore?: string;
}

export function addIdentityOptions(command: Command): Command {
  return command
    .option('--authorize-url <URL>', 'asked by POST who a client is; default: its address says so')
    .option('--origin <URL>', 'let pages of this origin in, no others; repeat it for more', collect)
    .option('--trust-proxy <CIDR>', 'believe its X-Forwarded-For; repeat it for more', collect)
    .option(
      '--quota-answers <RATE>',
      'prepared inferences of a principal, like 1000/day',
      countPer('day'),
    )
    .option('--quota-sessions <RATE>', 'sessions of a principal, like 60/hour', countPer('hour'))
    .option(
      '--quota-bytes <RATE>',
      'bytes that these inferences move, like 10GB/day',
      bytesPer('day'),
    )
    .option('--quota-store <URL>', 'redis://HOST:PORT, to count for several processes');
}

/** The options of `serve` that these are. */
export function identityOf(
  options: IdentityOptions,
): Pick<ServeOptions, 'authorize' | 'origins' | 'trustProxies' | 'quotas'> {
  const { authorizeUrl, origin, trustProxy, quotaStore } = options;
  const quotas = {
    answersPerDay: options.quotaAnswers,
    sessionsPerHour: options.quotaSessions,
    bytesPerDay: options.quotaBytes,
  };
  const some = Object.values(quotas).some((most) => most !== undefined);
  if (quotaStore !== undefined && !some) {
    throw new InvalidArgumentError(
      '--quota-store counts nothing without a quota, such as --quota-answers',
    );
  }
  return {
    authorize: authorizeUrl === undefined ? undefined : authorizeByUrl(authorizeUrl),
    origins: origin,
    trustProxies: trustProxy,
    quotas: some ? { ...quotas, store: quotaStore } : undefined,
  };
}

const collect = (value: string, previous: readonly string[] = []): string[] => [...previous, value];
