/** Options of a session and of its calls. */

import type { LinkOptions } from './link.ts';
import type { OnProgress } from './reporter.ts';

/** Options of every call. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress;
}

/**
 * How a session is. `connecting`; `ready`; `draining`: the server is about to stop and prepares nothing more; `lost`: the link is, and the
 * session tries to come back; `resumed`: it has; `closed`: it is over.
 */
export type SessionStatus = 'connecting' | 'ready' | 'draining' | 'lost' | 'resumed' | 'closed';

/** Options of a session. Its `onProgress` serves every call that brings none; its `signal` the opening alone. */
export interface SessionOptions extends LinkOptions {
  /** Inferences that are kept prepared in the background; default: none. At most what the server keeps for a session. */
  readonly keepReady?: number | undefined;
  /** Status callback. Must not throw. */
  readonly onStatus?: ((status: SessionStatus) => void) | undefined;
}

/** Options of `prepare()`. */
export interface PrepareOptions extends CallOptions {
  /** How many inferences to prepare; default: one. */
  readonly inferences?: number | undefined;
}

/** Names of the options of a session. */
export const SESSION_OPTIONS: readonly string[] = [
  ...['signal', 'onProgress', 'model', 'expect', 'limits', 'bitsPerSecond'],
  ...['keepReady', 'onStatus'],
];

export const CALL_OPTIONS: readonly string[] = ['signal', 'onProgress'];
/** Names of the options of connecting. */
export const CONNECT_OPTIONS: readonly string[] = [
  ...[...SESSION_OPTIONS, 'workers', 'workerUrl', 'pool', 'hints', 'decorate', 'onMessage'],
  ...['ca', 'headers'],
];

export const PREPARE_OPTIONS: readonly string[] = [...CALL_OPTIONS, 'inferences'];

/** @throws TypeError for an option that there is not: misspelt, it would do nothing */
export function checkOptions(options: object, known: readonly string[]): void {
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) {
      throw new TypeError(`there is no option "${name}"; there are ${known.join(', ')}`);
    }
  }
}
