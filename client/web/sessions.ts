/** The page's session: one at a time, with the model that was asked for last, and one call at a time. */

import {
  connect,
  createPool,
  ProtocolError,
  type Session,
  type SessionProgress,
} from '../browser.ts';
import { refuses } from './faults.ts';
import type { Wire } from './wire.ts';

export class Sessions {
  readonly #server: string;
  readonly #wire: Wire;
  readonly #progress: (progress: SessionProgress) => void;
  readonly #pool = createPool();
  #session: Session | undefined;
  /** Ends the call that runs. */
  #running: AbortController | undefined;

  constructor(server: string, wire: Wire, progress: (progress: SessionProgress) => void) {
    this.#server = server;
    this.#wire = wire;
    this.#progress = progress;
  }

  get workers(): number {
    return this.#pool.workers;
  }

  get busy(): boolean {
    return this.#running !== undefined;
  }

  /** Inferences that are prepared. */
  get available(): number {
    return this.#session?.available ?? 0;
  }

  /** SHA-256 of the program that runs, in hexadecimal; undefined before there is a session. */
  get digest(): string | undefined {
    return this.#session?.digest;
  }

  cancel(): void {
    this.#running?.abort();
  }

  /**
   * Runs calls of sessions; cancel() ends them.
   * @param work - gets what opens the session with a model
   * @returns false when it was cancelled
   * @throws what the calls throw; the session is over then, unless the server only refused
   */
  async run(
    work: (open: (model: string) => Promise<Session>, signal: AbortSignal) => Promise<void>,
  ): Promise<boolean> {
    this.#running = new AbortController();
    const { signal } = this.#running;
    const open = (model: string) => this.#open(model, signal);
    const idle = this.#session;
    try {
      try {
        await work(open, signal);
      } catch (error) {
        // The server may have closed a session that rested, or been started anew: that session is over, not the wish.
        const lost = error instanceof ProtocolError && error.code === 'closed';
        if (!lost || idle === undefined || idle !== this.#session) throw error;
        this.#session = undefined;
        await work(open, signal);
      }
      return true;
    } catch (error) {
      if (!refuses(error as Error)) {
        await this.#session?.close();
        this.#session = undefined;
      }
      if (signal.aborted) return false;
      throw error;
    } finally {
      this.#running = undefined;
    }
  }

  /** The session with a model: the one there is, or a new one. */
  async #open(model: string, signal: AbortSignal): Promise<Session> {
    if (this.#session?.model === model) return this.#session;
    await this.#session?.close();
    this.#session = undefined;
    this.#session = await connect(this.#server, {
      model,
      pool: this.#pool,
      signal,
      onProgress: this.#progress,
      decorate: (channel) => this.#wire.watch(channel),
    });
    return this.#session;
  }
}
