/**
 * A session in a worker of a browser, so that its page's thread is free. One worker has one session; remote.ts has the page's side of it.
 *
 *     page                                              worker
 *       |  ---- open, ports to the task workers ----->  |   connects; tells statuses, progress, messages
 *       |  <--- settled: open -----------------------   |
 *       |  ---- prepare, infer, close, each numbered ->  |   those run as they would here; cancel ends one
 *       |  <--- progress, settled --------------------   |   with how the session is by then
 *       |  <--- closed -------------------------------   |   last of all
 */

import type * as tasks from '../protocol/inference/tasks.ts';
import { createPortPool, type Port, type SharedNews } from '../protocol/pool/ports.ts';
import { type Outcome, type PackedError, packError, unpackError } from '../protocol/pool/task.ts';
import type { WorkerScope } from '../protocol/pool/web.ts';
import type { Program } from '../protocol/program/program.ts';
import { connectOn } from './connect.ts';
import type { Session } from './contract.ts';
import type { HintCache } from './hints.ts';
import { readRaw } from './images.ts';
import type { SessionOptions, SessionStatus } from './options.ts';
import type { SessionProgress } from './reporter.ts';
import type { LocalSession } from './session.ts';
import type { WireMessage } from './watched.ts';
import { browser, socketsClosed } from './web-platform.ts';

/** How a session is. */
export type SessionState = Pick<
  Session,
  'digest' | 'weights' | 'model' | 'maxBundles' | 'available'
>;

/** What opens a session. */
export interface Opening {
  readonly url: string;
  /** Those that are data. */
  readonly options: Omit<SessionOptions, 'signal' | 'onProgress' | 'onStatus'>;
  /** Where hints are kept: by the browser, by the page, nowhere. */
  readonly hints: 'stored' | 'page' | 'none';
  /** Whether the page wants progress of the opening, and the messages. */
  readonly progress: boolean;
  readonly messages: boolean;
  /** To the workers that run tasks. */
  readonly ports: readonly Port[];
}

/** Calls of a session by name, with what they take. */
export type RemoteCall =
  | { readonly name: 'prepare'; readonly inferences: number | undefined }
  | { readonly name: 'infer'; readonly pixels: Float32Array | Uint8Array }
  | { readonly name: 'close' };

/** What a page posts. */
export type FromPage =
  | { readonly do: 'open'; readonly id: number; readonly opening: Opening }
  | {
      readonly do: 'call';
      readonly id: number;
      readonly call: RemoteCall;
      readonly progress: boolean;
    }
  | { readonly do: 'cancel'; readonly id: number }
  | { readonly do: 'hint'; readonly id: number; readonly outcome: Outcome }
  | { readonly do: 'workers'; readonly news: SharedNews };

/** What it gets. */
export type FromWorker =
  | { readonly told: 'status'; readonly status: SessionStatus; readonly state?: SessionState }
  | { readonly told: 'state'; readonly state?: SessionState }
  | { readonly told: 'progress'; readonly id: number; readonly progress: SessionProgress }
  | { readonly told: 'message'; readonly message: WireMessage }
  | {
      readonly told: 'settled';
      readonly id: number;
      readonly outcome: Outcome;
      readonly state?: SessionState;
    }
  /** Wanted of the page's cache of hints. */
  | {
      readonly told: 'load';
      readonly id: number;
      readonly digest: string;
      readonly bytes: number;
    }
  | {
      readonly told: 'save';
      readonly id: number;
      readonly digest: string;
      readonly hint: Uint8Array;
    }
  | { readonly told: 'closed'; readonly error: PackedError | undefined };

/** What opening gives. */
export interface Opened {
  readonly program: Program;
}

/** Serves the page that opens a session in this worker. */
export function hostSession(scope: WorkerScope): void {
  let host: Host | undefined;
  scope.addEventListener('message', ({ data }) => {
    const asked = data as FromPage;
    if (asked.do === 'open') host ??= new Host(scope, asked);
    else if (asked.do !== undefined) host?.hear(asked);
  });
}

class Host {
  readonly #scope: WorkerScope;
  readonly #pool: ReturnType<typeof createPortPool<typeof tasks>>;
  /** What cancels each call that runs. */
  readonly #running = new Map<number, AbortController>();
  readonly #hints = new Map<number, (outcome: Outcome) => void>();
  #asked = 0;
  #session: Session | undefined;

  constructor(scope: WorkerScope, { id, opening }: Extract<FromPage, { do: 'open' }>) {
    this.#scope = scope;
    this.#pool = createPortPool(opening.ports);
    void this.#run(id, opening.progress, (options) => this.#open(opening, options));
  }

  hear(asked: Exclude<FromPage, { do: 'open' }>): void {
    if (asked.do === 'call') {
      const { call } = asked;
      void this.#run(asked.id, asked.progress, (options) => this.#call(call, options));
    } else if (asked.do === 'cancel') this.#running.get(asked.id)?.abort();
    else if (asked.do === 'hint') {
      this.#hints.get(asked.id)?.(asked.outcome);
      this.#hints.delete(asked.id);
    } else this.#pool.hear(asked.news);
  }

  #tell(told: FromWorker, transfer: Transferable[] = []): void {
    this.#scope.postMessage(told, transfer);
  }

  #state(): { state?: SessionState } {
    if (this.#session === undefined) return {};
    const { digest, weights, model, maxBundles, available } = this.#session;
    return { state: { digest, weights, model, maxBundles, available } };
  }

  async #open(opening: Opening, own: CallParts): Promise<Opened> {
    const { url, hints, messages } = opening;
    const session = await connectOn(
      // Images are the page's, and so are the workers.
      { ...browser, createPool: () => this.#pool, readPixels: readRaw },
      url,
      {
        ...opening.options,
        ...own,
        pool: this.#pool,
        hints: hints === 'page' ? this.#pageHints() : hints === 'none' ? false : undefined,
        onStatus: (status) => this.#tell({ told: 'status', status, ...this.#state() }),
        onMessage: messages
          ? (message) =>
              this.#tell({ told: 'message', message }, [message.payload.buffer as ArrayBuffer])
          : undefined,
      },
    ).catch(async (error) => {
      await this.#leave();
      throw error;
    });
    this.#session = session;
    void this.#follow(session);
    void session.closed.then(async (error) => {
      await this.#leave();
      this.#tell({ told: 'closed', error: error && packError(error) });
    });
    return { program: session.program };
  }

  /** Tells what changes, until the worker is ended. */
  async #follow(session: LocalSession): Promise<never> {
    for (;;) {
      await session.changed;
      this.#tell({ told: 'state', ...this.#state() });
    }
  }

  /** Ends what the page does not end with the worker, and waits until what was sent has left. */
  async #leave(): Promise<void> {
    await Promise.all([this.#pool.close(), socketsClosed()]);
  }

  async #call(call: RemoteCall, own: CallParts): Promise<unknown> {
    const session = this.#session!;
    if (call.name === 'prepare') {
      return session.prepare({ ...own, inferences: call.inferences });
    }
    return call.name === 'infer' ? session.infer(call.pixels, own) : session.close();
  }

  async #run(
    id: number,
    progress: boolean,
    work: (own: CallParts) => Promise<unknown>,
  ): Promise<void> {
    const cancel = new AbortController();
    this.#running.set(id, cancel);
    const onProgress = (own: SessionProgress): void => {
      if (progress) this.#tell({ told: 'progress', id, progress: own });
    };
    let outcome: Outcome;
    try {
      outcome = { ok: true, output: await work({ signal: cancel.signal, onProgress }) };
    } catch (thrown) {
      outcome = { ok: false, error: packError(thrown) };
    }
    this.#running.delete(id);
    this.#tell({ told: 'settled', id, outcome, ...this.#state() });
  }

  /** The page's cache, as far as it has one. */
  #pageHints(): HintCache {
    const ask = (told: (id: number) => FromWorker): Promise<unknown> => {
      const id = this.#asked++;
      return new Promise((resolve, reject) => {
        this.#hints.set(id, (outcome) => {
          if (outcome.ok) resolve(outcome.output);
          else reject(unpackError(outcome.error));
        });
        this.#tell(told(id));
      });
    };
    return {
      load: (digest, bytes) =>
        ask((id) => ({ told: 'load', id, digest, bytes })) as ReturnType<HintCache['load']>,
      save: async (digest, hint) => {
        await ask((id) => ({ told: 'save', id, digest, hint }));
      },
    };
  }
}

/** What each call is given here. */
interface CallParts {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: SessionProgress) => void;
}
