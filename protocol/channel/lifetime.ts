/** Ending a channel from outside: by an AbortSignal, or because the peer makes no progress. */

import { abortError, ProtocolError } from '../errors.ts';
import { Decorator } from './decorator.ts';
import type { Channel } from './index.ts';

/**
 * Runs `work`, which uses `channel`; when `signal` fires meanwhile, the channel is closed with an AbortError, and so
 * whatever `work` waits for on it rejects. After `work` the signal has no effect any more.
 * @param what - names the cancelled thing: "`what` was cancelled"
 */
export async function withSignal<T>(
  channel: Channel,
  signal: AbortSignal | undefined,
  what: string,
  work: () => Promise<T>,
): Promise<T> {
  if (signal === undefined) return work();
  const abort = (): void => channel.close(abortError(what, signal.reason));
  if (signal.aborted) {
    abort();
    throw abortError(what, signal.reason);
  }
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await work();
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** The longest time that a timer of JavaScript takes, in ms: 24.8 days. A longer one ends at once. */
export const MAX_TIMER_MS: number = 2 ** 31 - 1;

/**
 * A view of `channel` on which no single call may wait longer than `ms`: then the channel is closed with ProtocolError
 * `timeout`. A call waits for one whole frame, so `ms` must cover the transfer of the largest one over the slowest link
 * that is to be served. Phases with different patience each take a view of their own.
 */
export function withTimeout(channel: Channel, ms: number): Channel {
  return new Deadline(channel, ms);
}

class Deadline extends Decorator {
  readonly #ms: number;

  constructor(inner: Channel, ms: number) {
    super(inner);
    this.#ms = ms;
  }

  override send(kind: number, payload: Uint8Array): Promise<void> {
    return this.#within(super.send(kind, payload), 'takes no frame');
  }

  override receive(kind: number, bytes: number): Promise<Uint8Array> {
    return this.#within(super.receive(kind, bytes), 'sent no frame');
  }

  override receiveUpTo(kind: number, limit: number): Promise<Uint8Array> {
    return this.#within(super.receiveUpTo(kind, limit), 'sent no frame');
  }

  async #within<T>(call: Promise<T>, complaint: string): Promise<T> {
    const timer = setTimeout(() => {
      this.inner.close(new ProtocolError('timeout', `the peer ${complaint} for ${this.#ms} ms`));
    }, this.#ms);
    try {
      return await call;
    } finally {
      clearTimeout(timer);
    }
  }
}
