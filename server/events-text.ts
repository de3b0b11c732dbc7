/** What `sotto serve` logs: the server's events and notices of the command, for people or as JSON. */

import { printable } from '../protocol/channel/frames.ts';
import type { ModelNames, ServerEvent, ServerLimits, Who } from './index.ts';
import type { Work } from './limits.ts';

/** A model, and the file that it was read from. */
export interface ServedModel extends ModelNames {
  readonly file: string;
}

/** What a server runs with. Nothing in it is secret. */
export interface Configuration {
  /** Of this program, and of the protocol. */
  readonly version: string;
  readonly protocol: number;
  readonly node: string;
  readonly pid: number;
  readonly url: string;
  readonly models: readonly ServedModel[];
  readonly workers: number;
  readonly limits: ServerLimits;
  readonly graceMs: number;
  readonly insecure: boolean;
  /** Paths of the certificate and its key. */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
  /** Path of the records of grants. */
  readonly audit?: string | undefined;
  /** Where metrics are. */
  readonly metrics?: string | undefined;
}

/** What a server has done. */
export interface Counts {
  sessions: number;
  bundles: number;
  inferences: number;
  errors: number;
}

/** What stands in the log beside events of the server. */
export type Notice =
  /** The server is up, and what it runs with. */
  | ({ readonly type: 'started' } & Configuration)
  /** The server ends: for a signal, or because it failed, as `message` says. */
  | ({
      readonly type: 'stopped';
      readonly why: 'SIGINT' | 'SIGTERM' | 'failed';
      readonly message?: string;
    } & Counts)
  /** A file has changed and is used now; which model it holds, if it is one. */
  | { readonly type: 'reloaded'; readonly file: string; readonly model?: ModelNames }
  /** A file cannot be used; what was there before it still is. */
  | { readonly type: 'kept'; readonly file: string; readonly message: string }
  /** For lines that the log's reader did not take in time. */
  | { readonly type: 'dropped'; readonly lines: number }
  /** Why systemd is not told how the server is. */
  | { readonly type: 'systemd'; readonly message: string }
  /** Why clients refuse the certificate. */
  | { readonly type: 'certificate'; readonly message: string };

/** Makes lines of events as JSON: each with its time, and with a name of this run, so that numbers of sessions are unique. */
export function jsonLines(run: string): (event: ServerEvent | Notice) => string {
  return (event) => JSON.stringify({ time: new Date().toISOString(), run, ...event });
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(2)} MB`;

const took = ({ ms, bytesUp, bytesDown }: Work): string =>
  `${seconds(ms)}, ${megabytes(bytesUp)} up, ${megabytes(bytesDown)} down`;

const named = ({ address, principal }: Who): string =>
  principal === address ? address : `${principal} (${address})`;

/** An event as one line for people. Some of its words are the client's, which must not move an operator's cursor. */
export function sentence(event: ServerEvent | Notice): string {
  switch (event.type) {
    case 'started':
      return `sotto ${event.version}, protocol ${event.protocol}, process ${event.pid}, ${event.workers} threads${event.metrics === undefined ? '' : `, metrics at ${event.metrics}`}`;
    case 'listening':
      return `listening on ${event.url} (${event.models.join(', ')})${event.page ? `, demo page at ${event.page}` : ''}`;
    case 'hint':
      return `hint of ${event.model}: ${(event.bytes / 1e6).toFixed(1)} MB made in ${seconds(event.ms)}${event.unkept === undefined ? '' : `, not kept: ${event.unkept}`}`;
    case 'session':
      return `session ${event.session}: ${named(event)} runs ${event.model}, ${event.resumed > 0 ? `goes on with ${event.resumed} prepared, ` : ''}${seconds(event.ms)}`;
    case 'bundle':
      return `session ${event.session}: prepared ${event.bundle}, ${took(event)}`;
    case 'inference':
      return `session ${event.session}: answered ${event.bundle}, ${took(event)}`;
    case 'download':
      return `${event.session === undefined ? 'by HTTP' : `session ${event.session}`}: got a hint, ${megabytes(event.bytes)}`;
    case 'error':
      return `session ${event.session}: ${event.code}: ${printable(event.message)}`;
    case 'refused':
      return `session ${event.session}: ${event.inferences} preparations refused: ${event.message ?? event.reason}`;
    case 'busy':
      return `session ${event.session}: not let in for lack of room: ${event.reason}`;
    case 'closed':
      return `session ${event.session}: closed (${event.reason}) after ${event.inferences} inferences, ${event.unused} unused${event.kept > 0 ? `, ${event.kept} kept` : ''}`;
    case 'uncounted':
      return `session ${event.session}: ${event.message}`;
    case 'draining':
      return `draining: ${event.sessions} sessions may finish what is prepared`;
    case 'reloaded':
      return `${event.file} has changed and is used now`;
    case 'kept':
      return `${event.file} is not used, what was there before it stays: ${event.message}`;
    case 'stopped':
      return `stopped (${event.message ?? event.why}) after ${event.sessions} sessions, ${event.inferences} inferences, ${event.errors} errors`;
    case 'dropped':
      return `${event.lines} lines dropped: the reader of this log was too slow`;
    case 'spill':
    case 'systemd':
    case 'certificate':
      return event.message;
  }
}
