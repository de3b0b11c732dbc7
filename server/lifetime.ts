/** How a server is, and how it ends. */

import { setMaxListeners } from 'node:events';
import { MAX_TIMER_MS } from '../protocol/channel/lifetime.ts';
import type { ProtocolPool } from '../protocol/inference/session.ts';
import type { Connections } from './connections.ts';
import type { ServerEvent, ServerLimits } from './limits.ts';
import type { Listener } from './listen.ts';
import type { Load, Overload } from './load.ts';
import { SHUT_DOWN } from './session.ts';

/** How long workers may take to show that they are there: when the server starts, and when it is asked, in ms. LOCAL. */
const PROBE_MS = { start: 60_000, healthy: 5_000 };

/** Why a loaded server takes no sessions. */
const UNREADY: Readonly<Record<Overload, string>> = {
  queue: "the server's tasks wait longer for a thread than they may",
  memory: 'the server has as much memory as it may',
};

const probe = (pool: ProtocolPool, ms: number): Promise<unknown> =>
  pool.run('probe', undefined, { urgent: true, signal: AbortSignal.timeout(ms) });

/**
 * Waits until every worker of a pool has done a task.
 * @throws Error when one does not
 */
export async function allWorkers(pool: ProtocolPool): Promise<void> {
  try {
    // Started together, they go to a worker each.
    await Promise.all(Array.from({ length: pool.workers }, () => probe(pool, PROBE_MS.start)));
  } catch (cause) {
    if ((cause as Error).name !== 'AbortError') throw cause;
    throw new Error(`pool: not all threads were ready within ${PROBE_MS.start / 1000} s`, {
      cause,
    });
  }
}

/** What is freed when the server has ended, or could not start. */
export class Resources {
  readonly #closers: (() => unknown)[] = [];

  add(close: () => unknown): void {
    this.#closers.push(close);
  }

  async free(): Promise<void> {
    await Promise.all(this.#closers.map((close) => close()));
  }
}

/** What a server's state is told from. */
interface LifetimeParts {
  readonly pool: ProtocolPool;
  readonly limits: ServerLimits;
  readonly load: Pick<Load, 'over'>;
  readonly connections: Connections;
  readonly resources: Resources;
  readonly draining: AbortController;
  readonly onEvent: (event: ServerEvent) => void;
}

/** The state of a server, and its end. */
export class Lifetime {
  readonly #parts: LifetimeParts;
  #failed = false;
  #stopping: Promise<void> | undefined;

  constructor(parts: LifetimeParts) {
    this.#parts = parts;
    // Each session listens.
    setMaxListeners(0, parts.draining.signal);
    void parts.pool.failed.then(() => {
      this.#failed = true;
    });
  }

  /** Whether a worker does a task in time, before all that waits. Never rejects. */
  async healthy(): Promise<boolean> {
    try {
      await probe(this.#parts.pool, PROBE_MS.healthy);
      return true;
    } catch {
      return false;
    }
  }

  /** Why the server takes no sessions at this moment, in one sentence; undefined when it does. */
  unready(): string | undefined {
    const { draining, connections, limits, load } = this.#parts;
    if (draining.signal.aborted || this.#stopping) return 'the server is about to stop';
    if (this.#failed) return "the server's threads have failed";
    if (connections.sessions >= limits.sessions) {
      return 'the server has as many sessions as it may';
    }
    if (connections.size >= limits.connections) {
      return 'the server has as many connections as it may';
    }
    return load.over && UNREADY[load.over];
  }

  /** Ends all sessions and frees everything; never rejects. */
  close(listener: Listener): Promise<void> {
    this.#stopping ??= this.#stop(listener);
    return this.#stopping;
  }

  /** Takes no new sessions, waits for those that there are, `graceMs` at most, and closes. Never rejects. */
  async drain(listener: Listener, graceMs: number): Promise<void> {
    const { connections, draining, onEvent } = this.#parts;
    onEvent({ type: 'draining', sessions: connections.sessions });
    draining.abort();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, Math.min(graceMs, MAX_TIMER_MS));
    });
    await Promise.race([connections.settled(), late]);
    clearTimeout(timer);
    await this.close(listener);
  }

  async #stop(listener: Listener): Promise<void> {
    const { connections, resources } = this.#parts;
    const closed = listener.close();
    connections.end(SHUT_DOWN);
    await connections.settled();
    await closed;
    await resources.free();
  }
}
