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

const OPENING = 0;

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
  #next = OPENING + 1;
  #state: SessionState | undefined;
  #program: Program | undefined;
  /** Why the session is over. */
  #end: Error | undefined;
  #started = false;
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
      const broke = new Error(`the session's worker broke: ${event.message}`);
      void this.#finish(this.#started ? broke : unloaded(parts.url, failureToStart(event.message)));
      if (this.#program !== undefined) parts.options.onStatus?.('closed');
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
    return this.#end === undefined ? this.#state!.available : 0;
  }

  async prepare(options: PrepareOptions = {}): Promise<void> {
    checkOptions(options, PREPARE_OPTIONS);
    const { inferences } = options;
    await this.#call('the preparation', { name: 'prepare', inferences }, options);
  }

  async infer(pixels: Float32Array | Uint8Array, options: CallOptions = {}): Promise<Inference> {
    checkOptions(options, CALL_OPTIONS);
    const call = { name: 'infer', pixels: floatsOf(this.program, pixels) } as const;
    return (await this.#call('the inference', call, options)) as Inference;
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
      options: {
        model,
        expect,
        limits,
        bitsPerSecond,
        ...(keepReady === undefined ? {} : { keepReady }),
      },
      hints: hints === undefined ? 'stored' : hints === false ? 'none' : 'page',
      progress: onProgress !== undefined,
      messages: options.onMessage !== undefined,
      ports: this.#shared.ports,
    } as const;
    const ports = opening.ports as unknown as MessagePort[];
    try {
      const opened = await this.#settled(OPENING, 'connecting', { signal, onProgress }, () =>
        this.#post({ do: 'open', opening }, ports),
      );
      this.#program = (opened as Opened).program;
    } catch (error) {
      await this.#finish(error as Error);
      throw error;
    }
  }

  #call(what: string, call: RemoteCall, options: CallOptions): Promise<unknown> {
    const { onProgress = this.#parts.options.onProgress, signal } = options;
    const id = this.#next++;
    return this.#settled(id, what, { signal, onProgress }, () =>
      this.#post({ do: 'call', id, call, progress: onProgress !== undefined }),
    );
  }

  /** Posts a call and waits for what comes of it. */
  #settled(
    id: number,
    what: string,
    { signal, onProgress }: CallOptions,
    post: () => void,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) throw this.#end;
      if (signal?.aborted) throw abortError(what, signal.reason);
      const cancel = (): void => this.#post({ do: 'cancel', id });
      const done = (settle: () => void): void => {
        signal?.removeEventListener('abort', cancel);
        if (signal?.aborted) reject(abortError(what, signal.reason));
        else settle();
      };
      post();
      signal?.addEventListener('abort', cancel, { once: true });
      this.#calls.set(id, {
        // Nobody is told of what a cancelled call finishes.
        onProgress: onProgress && ((progress) => signal?.aborted || onProgress(progress)),
        resolve: (output) => done(() => resolve(output)),
        reject: (error) => done(() => reject(error)),
      });
    });
  }

  #post(asked: FromPage, transfer: Transferable[] = []): void {
    if (this.#end === undefined) this.#worker.postMessage(asked, transfer);
  }

  #hear(told: FromWorker): void {
    if (this.#end !== undefined) return;
    if ('state' in told) this.#state = told.state ?? this.#state;
    const { options } = this.#parts;
    if (told.told === 'status') options.onStatus?.(told.status);
    else if (told.told === 'message') options.onMessage?.(told.message);
    else if (told.told === 'progress') this.#progress(told.id, told.progress);
    else if (told.told === 'settled') this.#take(told.id, told.outcome);
    else if (told.told === 'load' || told.told === 'save') void this.#askHints(told);
    else if (told.told === 'closed') void this.#finish(told.error && unpackError(told.error));
  }

  #progress(id: number, progress: SessionProgress): void {
    const call = this.#calls.get(id);
    try {
      call?.onProgress?.(progress);
    } catch (error) {
      this.#post({ do: 'stop', id, error: packError(error) });
      this.#calls.delete(id);
      call?.reject(error as Error);
    }
  }

  #take(id: number, outcome: Outcome): void {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if (outcome.ok) call?.resolve(outcome.output);
    else call?.reject(unpackError(outcome.error));
  }

  /** Asks the page's cache for the worker. */
  async #askHints(told: Extract<FromWorker, { told: 'load' | 'save' }>): Promise<void> {
    const { id, digest } = told;
    const hints = this.#parts.options.hints as HintCache;
    let outcome: Outcome;
    try {
      const output =
        told.told === 'load'
          ? await hints.load(digest, told.bytes)
          : await hints.save(digest, told.hint);
      outcome = { ok: true, output };
    } catch (error) {
      outcome = { ok: false, error: packError(error) };
    }
    this.#post({ do: 'hint', id, outcome });
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
    this.#end = why ?? new ProtocolError('closed', 'the session was closed');
    this.#shared.end();
    this.#worker.terminate();
    for (const { reject } of this.#calls.values()) reject(this.#end);
    this.#calls.clear();
    await this.#parts.release?.();
    this.#settle(why);
  }
}
