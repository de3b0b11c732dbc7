/** The page's session: one at a time, with the model that was asked for last, and one call at a time. */

import { connect, createPool, type Session, type SessionProgress } from '../browser.ts';
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
   * @throws what the calls throw
   */
  async run(
    work: (open: (model: string) => Promise<Session>, signal: AbortSignal) => Promise<void>,
  ): Promise<boolean> {
    this.#running = new AbortController();
    const { signal } = this.#running;
    try {
      await work((model) => this.#open(model, signal), signal);
      return true;
    } catch (error) {
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
    this.#wire.clear();
    const session = await connect(this.#server, {
      model,
      pool: this.#pool,
      signal,
      onProgress: this.#progress,
      onMessage: (message) => this.#wire.take(message),
    });
    this.#session = session;
    void session.closed.then(() => {
      if (this.#session === session) this.#session = undefined;
    });
    return session;
  }
}
