/** The page's side of a session in a worker: host.ts has the other, and what passes between them. */

import { abortError, ProtocolError } from '../protocol/errors.ts';
import type * as tasks from '../protocol/inference/tasks.ts';
import { type Outcome, packError, unpackError } from '../protocol/pool/task.ts';
import { failureToStart, type Shared, type WebPool, type WebWorker } from '../protocol/pool/web.ts';
import type { Program } from '../protocol/program/program.ts';
import { place } from './address.ts';
import { floatsOf, type Inference } from './answers.ts';
import type { ConnectOptions } from './api.ts';
import { type Classification, type ClassifyOptions, classifyImage } from './classify.ts';
import type { Session } from './contract.ts';
import type { HintCache } from './hints.ts';
import type { FromPage, FromWorker, Opened, RemoteCall, SessionState } from './host.ts';
import type { ImageArgument, PixelReader } from './images.ts';
import {
  CALL_OPTIONS,
  type CallOptions,
  checkOptions,
  PREPARE_OPTIONS,
  type PrepareOptions,
  type SessionStatus,
} from './options.ts';
import type { OnProgress, SessionProgress } from './reporter.ts';

/** What a session in a worker stands on. */
export interface RemoteParts {
  readonly url: string;
  /** Checked, but for what the worker checks. */
  readonly options: ConnectOptions;
  /** Whose workers run the tasks. */
  readonly pool: WebPool<typeof tasks>;
  readonly readPixels: PixelReader;
  /** Starts the session's own worker. */
  start(): WebWorker;
  /** Called once when the session has ended, however it did. */
  readonly release: (() => Promise<void>) | undefined;
}

/** A call that is not settled. */
interface Pending {
  readonly onProgress: OnProgress;
  resolve(output: unknown): void;
  reject(error: Error): void;
}

/** Why a part of this client was not loaded. */
export function unloaded(url: string, cause: Error): Error {
  if (globalThis.navigator?.onLine !== false) return cause;
  const why = `cannot connect to ${place(url)}: this device is offline`;
  return new ProtocolError('unreachable', why, { cause });
}

export class RemoteSession implements Session {
  readonly closed: Promise<Error | undefined>;
  readonly #parts: RemoteParts;
  readonly #worker: WebWorker;
  readonly #shared: Shared;
  readonly #calls = new Map<number, Pending>();
  #next = 0;
  #state: SessionState | undefined;
  #program: Program | undefined;
  /** Why the session is over. */
  #end: Error | undefined;
  #started = false;
  /** As it was told last. */
  #status: SessionStatus | undefined;
  #finished: Promise<void> | undefined;
  #settle!: (why: Error | undefined) => void;
  #closing: Promise<void> | undefined;

  private constructor(parts: RemoteParts) {
    this.#parts = parts;
    this.closed = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#shared = parts.pool.share((news) => {
      this.#post({ do: 'workers', news }, 'port' in news ? [news.port as MessagePort] : []);
    });
    try {
      this.#worker = parts.start();
    } catch (error) {
      this.#shared.end();
      throw error;
    }
    const broken = (event: { message?: string; preventDefault?(): void }): void => {
      event.preventDefault?.();
      const what = event.message || 'what it told cannot be read';
      const broke = new Error(`the session's worker broke: ${what}`);
      void this.#finish(this.#started ? broke : unloaded(parts.url, failureToStart(event.message)));
    };
    this.#worker.addEventListener('error', broken);
    this.#worker.addEventListener('messageerror', broken);
    this.#worker.addEventListener('message', ({ data }) => {
      this.#started = true;
      if (typeof data === 'object') this.#hear(data as FromWorker);
    });
  }

  /** Opens a session; the contract is that of `connect`. */
  static async open(parts: RemoteParts): Promise<RemoteSession> {
    let session: RemoteSession;
    try {
      session = new RemoteSession(parts);
    } catch (error) {
      await parts.release?.();
      throw error;
    }
    await session.#open();
    return session;
  }

  get program(): Program {
    return this.#program!;
  }

  get digest(): string {
    return this.#state!.digest;
  }

  get weights(): string {
    return this.#state!.weights;
  }

  get model(): string {
    return this.#state!.model;
  }

  get maxBundles(): number {
    return this.#state!.maxBundles;
  }

  get available(): number {
    return (this.#end ?? this.#closing) ? 0 : this.#state!.available;
  }

  async prepare(options: PrepareOptions = {}): Promise<void> {
    checkOptions(options, PREPARE_OPTIONS);
    const { inferences } = options;
    await this.#call('the preparation', { name: 'prepare', inferences }, options);
  }

  async infer(pixels: Float32Array | Uint8Array, options: CallOptions = {}): Promise<Inference> {
    checkOptions(options, CALL_OPTIONS);
    // A copy, for the caller may write to its own, and of a part alone: all of a buffer goes along.
    const copy = floatsOf(this.program, pixels).slice();
    const call = { name: 'infer', pixels: copy } as const;
    return (await this.#call('the inference', call, options, [copy.buffer])) as Inference;
  }

  classify(image: ImageArgument, options: ClassifyOptions = {}): Promise<Classification[]> {
    return classifyImage(this, this.#parts.readPixels, image, options);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await this.#call('closing', { name: 'close' }, {}).catch(() => {});
    await this.closed;
  }

  async #open(): Promise<void> {
    const { url, options } = this.#parts;
    const { model, expect, limits, bitsPerSecond, keepReady, hints, signal, onProgress } = options;
    const opening = {
      url,
      options: { model, expect, limits, bitsPerSecond, keepReady },
      hints: hints === undefined ? 'stored' : hints === false ? 'none' : 'page',
      progress: onProgress !== undefined,
      messages: options.onMessage !== undefined,
      ports: this.#shared.ports,
    } as const;
    const ports = opening.ports as unknown as MessagePort[];
    try {
      const opened = await this.#settled('connecting', { signal, onProgress }, (id) =>
        this.#post({ do: 'open', id, opening }, ports),
      );
      this.#program = (opened as Opened).program;
    } catch (error) {
      this.#end ??= error as Error;
      // A worker that has begun leaves the server in order, and says when it has.
      if (!(signal?.aborted && this.#started)) await this.#finish(this.#end);
      throw error;
    }
  }

  #call(
    what: string,
    call: RemoteCall,
    options: CallOptions,
    transfer?: Transferable[],
  ): Promise<unknown> {
    const { onProgress = this.#parts.options.onProgress, signal } = options;
    return this.#settled(what, { signal, onProgress }, (id) =>
      this.#post({ do: 'call', id, call, progress: onProgress !== undefined }, transfer),
    );
  }

  /** Posts a call and waits for what comes of it. */
  #settled(
    what: string,
    { signal, onProgress }: CallOptions,
    post: (id: number) => void,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) throw this.#end;
      if (signal?.aborted) throw abortError(what, signal.reason);
      const id = this.#next++;
      post(id);
      const cancel = (): void => {
        this.#post({ do: 'cancel', id });
        // Nobody is told of what it finishes.
        this.#calls.delete(id);
        reject(abortError(what, signal?.reason));
      };
      const done = (): void => signal?.removeEventListener('abort', cancel);
      signal?.addEventListener('abort', cancel, { once: true });
      this.#calls.set(id, {
        onProgress,
        resolve(output) {
          done();
          resolve(output);
        },
        reject(error) {
          done();
          reject(error);
        },
      });
    });
  }

  #post(asked: FromPage, transfer: Transferable[] = []): void {
    if (this.#finished === undefined) this.#worker.postMessage(asked, transfer);
  }

  #hear(told: FromWorker): void {
    if (this.#finished !== undefined) return;
    if ('state' in told) this.#state = told.state ?? this.#state;
    const { options } = this.#parts;
    if (told.told === 'status') this.#tell(told.status);
    else if (told.told === 'message') options.onMessage?.(told.message);
    else if (told.told === 'progress') this.#progress(told.id, told.progress);
    else if (told.told === 'settled') this.#take(told.id, told.outcome);
    else if (told.told === 'load' || told.told === 'save') void this.#askHints(told);
    else if (told.told === 'closed') {
      void this.#finish(this.#end ?? (told.error && unpackError(told.error)));
    }
  }

  #tell(status: SessionStatus): void {
    this.#status = status;
    this.#parts.options.onStatus?.(status);
  }

  /** What a progress callback throws ends the session. */
  #progress(id: number, progress: SessionProgress): void {
    try {
      this.#calls.get(id)?.onProgress?.(progress);
    } catch (error) {
      this.#rejectAll((this.#end = error as Error));
      // The worker leaves the server in order, and says when it has.
      this.#post({ do: 'call', id: this.#next++, call: { name: 'close' }, progress: false });
    }
  }

  #take(id: number, outcome: Outcome): void {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if (outcome.ok) call?.resolve(outcome.output);
    else call?.reject(unpackError(outcome.error));
    // Opening was cancelled, or has failed.
    if (this.#program === undefined && this.#end !== undefined) void this.#finish(this.#end);
  }

  #rejectAll(error: Error): void {
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
  }

  /** Asks the page's cache for the worker. */
  async #askHints(told: Extract<FromWorker, { told: 'load' | 'save' }>): Promise<void> {
    const { id, digest } = told;
    const hints = this.#parts.options.hints as HintCache;
    try {
      const output =
        told.told === 'load'
          ? await hints.load(digest, told.bytes)
          : await hints.save(digest, told.hint);
      this.#post({ do: 'hint', id, outcome: { ok: true, output } });
    } catch (error) {
      this.#post({ do: 'hint', id, outcome: { ok: false, error: packError(error) } });
    }
  }

  /**
   * Ends the worker and rejects what is not settled.
   * @param why - what ended the session; undefined after close()
   */
  #finish(why: Error | undefined): Promise<void> {
    this.#finished ??= this.#free(why);
    return this.#finished;
  }

  async #free(why: Error | undefined): Promise<void> {
    this.#end ??= why ?? new ProtocolError('closed', 'the session was closed');
    this.#shared.end();
    this.#worker.terminate();
    this.#rejectAll(this.#end);
    await this.#parts.release?.();
    const open = this.#status !== undefined && this.#status !== 'connecting';
    if (open && this.#status !== 'closed') this.#tell('closed');
    this.#settle(why);
  }
}
