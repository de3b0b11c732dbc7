/**
 * A session in this thread, over any channel and pool. contract.ts has what its users are promised.
 */

import type { Channel } from '../protocol/channel/index.ts';
import { MAX_TIMER_MS } from '../protocol/channel/lifetime.ts';
import { abortError, isProtocolError, ProtocolError } from '../protocol/errors.ts';
import type { HintSource, ProtocolRunner } from '../protocol/inference/session.ts';
import { hexOf } from '../protocol/program/encode.ts';
import { encodeInput } from '../protocol/program/input.ts';
import type { Program } from '../protocol/program/program.ts';
import { type Random, randomBytes, systemRandom } from '../protocol/random/index.ts';
import { answerOf, floatsOf, type Inference } from './answers.ts';
import { type Call, CallQueue, Occasion } from './call-queue.ts';
import { type Classification, type ClassifyOptions, classifyImage } from './classify.ts';
import type { Session } from './contract.ts';
import { type ImageArgument, type PixelReader, readRaw } from './images.ts';
import {
  freshResumption,
  Link,
  type LinkOptions,
  OFFLINE,
  ONLINE,
  type ReadyBundle,
  type Resumption,
} from './link.ts';
import {
  CALL_OPTIONS,
  type CallOptions,
  checkOptions,
  PREPARE_OPTIONS,
  type PrepareOptions,
  SESSION_OPTIONS,
  type SessionOptions,
  type SessionStatus,
} from './options.ts';
import { Reporter } from './reporter.ts';

/** What a session over a channel of the caller's stands on. */
export interface SessionParts {
  readonly channel: Channel;
  readonly pool: ProtocolRunner;
  /** Where its secrets come from; default: the system. */
  readonly random?: Random | undefined;
  /** Where the model's hint may be kept; it comes over the channel otherwise. */
  readonly hints?: HintSource | undefined;
  /**
   * What an earlier session with the same server has left.
   * @internal
   */
  readonly resume?: Resumption | undefined;
  /**
   * How `classify()` reads images; default: RGBA pixels and tensors alone.
   * @internal
   */
  readonly readPixels?: PixelReader | undefined;
  /** Called once when the session has ended, however it did. */
  readonly release?: (() => Promise<void>) | undefined;
}

/** How a session gets its links. */
export interface SessionSource {
  readonly left: Resumption;
  /** Opens the first link, or another after it was lost. */
  open(options: LinkOptions): Promise<Link>;
  readonly readPixels: PixelReader;
  /** Whether there is another link after the first. */
  readonly lasting: boolean;
  /** Frees what all links share. */
  readonly release?: (() => Promise<void>) | undefined;
}

/** How long a session tries to come back, in ms: as long as servers keep what is prepared, by default. LOCAL. */
const COMING_BACK_MS = 5 * 60_000;

/** Between two tries to come back, in ms: the first and the longest pause. LOCAL. */
const PAUSE_MS = { first: 250, longest: 10_000 };

/** Until preparations in the background are tried again that were refused without a time, in ms. LOCAL. */
const REFUSED_MS = 30_000;

/**
 * Handshake and setup over `channel`, which belongs to the session from here on. It ends with that channel.
 * @throws TypeError for an option that there is not
 * @throws RangeError when `bitsPerSecond` is not a positive number, or a limit is out of its range
 * @throws ProtocolError when the server refuses, breaks the protocol, or offers what this client does not accept
 * @throws AbortError when the signal fires first
 */
export async function sessionOver(
  parts: SessionParts,
  options: SessionOptions = {},
): Promise<LocalSession> {
  checkOptions(options, SESSION_OPTIONS);
  const { resume: left = freshResumption(parts.random), readPixels = readRaw, release } = parts;
  const open = (own: LinkOptions) => Link.open(parts, own, left);
  return LocalSession.begin({ left, open, readPixels, lasting: false, release }, options);
}

/**
 * An open session. It is in one of three states, which fields tell:
 *
 *     linked       #end, #loss undefined   -- its link is lost, and the source is lasting -->  coming back
 *     coming back  #loss set               -- a try opens a link -->  linked; a pause between tries, which `#hurry` ends
 *     over         #end set                <-- from either: close(), any other error, a loss that lasts too long
 *
 * Whoever needs a link waits for `#tried`, and whoever needs a bundle for `#changed`; both also happen when the session is over.
 */
export class LocalSession implements Session {
  readonly closed: Promise<Error | undefined>;
  readonly #source: SessionSource;
  readonly #options: SessionOptions;
  readonly #offline = new CallQueue();
  readonly #online = new CallQueue();
  /** Fires when the session is over. */
  readonly #over = new AbortController();
  #link: Link;
  /** Why the session is over. */
  #end: Error | undefined;
  /** Why there is no link, while it is lost. */
  #loss: Error | undefined;
  /** A try to come back is over; `#hurry` begins the next at once. */
  readonly #tried = new Occasion();
  #trying = false;
  #hurry = new AbortController();
  #announce!: (why: Error | undefined) => void;
  /** There is a bundle more, or a preparation or link less. */
  readonly #changed = new Occasion();
  #filling = false;
  #closing: Promise<void> | undefined;

  private constructor(source: SessionSource, options: SessionOptions, link: Link) {
    this.#source = source;
    this.#options = options;
    this.#link = link;
    this.closed = new Promise((resolve) => {
      this.#announce = resolve;
    });
    this.#watch(link);
    this.#status('ready');
    this.#fill();
  }

  /** @internal */
  static async begin(source: SessionSource, options: SessionOptions): Promise<LocalSession> {
    try {
      const { keepReady = 0 } = options;
      if (!(Number.isInteger(keepReady) && keepReady >= 0)) {
        throw new RangeError(`keepReady: expected an integer from 0, got ${keepReady}`);
      }
      options.onStatus?.('connecting');
      return new LocalSession(source, options, await source.open(options));
    } catch (error) {
      await source.release?.();
      throw error;
    }
  }

  /** Resolves when `available` may have changed. */
  get changed(): Promise<void> {
    return this.#changed.next;
  }

  get program(): Program {
    return this.#link.session.layout.program;
  }

  get digest(): string {
    return hexOf(this.#link.session.digest);
  }

  get weights(): string {
    return hexOf(this.#link.session.weights);
  }

  get model(): string {
    return this.#link.session.model;
  }

  get maxBundles(): number {
    return this.#link.session.maxBundles;
  }

  get available(): number {
    const usable = this.#end === undefined && this.#link.alive;
    return usable ? this.#source.left.bundles.available : 0;
  }

  async prepare(options: PrepareOptions = {}): Promise<void> {
    checkOptions(options, PREPARE_OPTIONS);
    const { inferences = 1 } = options;
    if (!(Number.isInteger(inferences) && inferences >= 1)) {
      throw new RangeError(`inferences: expected a positive integer, got ${inferences}`);
    }
    if (inferences > this.maxBundles) {
      throw new RangeError(
        `inferences: expected at most ${this.maxBundles}, which the server keeps for a session, got ${inferences}`,
      );
    }
    await this.#inTurn(this.#offline, 'the preparation', options, async (call, reporter) => {
      await this.#prepare(inferences, call, reporter);
      if (!call.cancelled) reporter.finish();
    });
  }

  async infer(pixels: Float32Array | Uint8Array, options: CallOptions = {}): Promise<Inference> {
    checkOptions(options, CALL_OPTIONS);
    const input = encodeInput(this.program, floatsOf(this.program, pixels));
    return this.#inTurn(this.#online, 'the inference', options, async (call, reporter) => {
      const [link, ready] = await this.#take(call, reporter);
      this.#fill();
      const waitMs = performance.now() - call.made;
      const { up, down } = link.session.cost.online;
      reporter.over(link.traffic, ONLINE);
      reporter.begin('infer', up + down);
      const { result, stats: online } = await link.infer(ready, input, (...progress) =>
        reporter.report(...progress),
      );
      reporter.finish();
      const stats = { offline: ready.stats, online, waitMs };
      return { ...answerOf(this.program, result), stats };
    });
  }

  classify(image: ImageArgument, options: ClassifyOptions = {}): Promise<Classification[]> {
    return classifyImage(this, this.#source.readPixels, image, options);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    // What is closed is not gone on with.
    this.#source.left.bundles.retain([]);
    if (this.#end === undefined) {
      const reason = new ProtocolError('closed', 'the session was closed');
      const busy = this.#offline.calls + this.#online.calls > 0;
      const finished = this.#finish(reason, undefined);
      if (busy) this.#link.end(reason);
      else if (this.#link.alive) await this.#link.leave(reason);
      await finished;
    }
    await Promise.all([this.#offline.settled(), this.#online.settled(), this.closed]);
  }

  // ------------------------------------------------------------------------------------------------------- calls

  #inTurn<T>(
    turns: CallQueue,
    what: string,
    { signal, onProgress = this.#options.onProgress }: CallOptions,
    work: (call: Call, reporter: Reporter) => Promise<T>,
  ): Promise<T> {
    return turns.run(what, signal, async (call) => {
      try {
        // Nobody is told of what a cancelled call finishes.
        const reporter = new Reporter(onProgress && ((own) => call.cancelled || onProgress(own)));
        return await work(call, reporter);
      } finally {
        this.#changed.happens();
      }
    });
  }

  /** A link that lives. Where it is lost, one more try is waited for, which begins after this call. */
  async #linked(): Promise<Link> {
    for (let tries = 0; ; ) {
      // Its end has been seen when this has resolved.
      if (!this.#link.alive) await this.#link.closed;
      if (this.#end !== undefined) throw this.#end;
      if (this.#link.alive) return this.#link;
      if (tries > 0 && this.#loss !== undefined) throw this.#loss;
      // What holds now says more of the server than a try that began before.
      if (!this.#trying) tries++;
      const tried = this.#tried.next;
      this.#hurry.abort();
      await tried;
    }
  }

  /** Prepares so many, until the call is cancelled. */
  async #prepare(bundles: number, call: Call, reporter: Reporter): Promise<void> {
    const link = await this.#linked();
    if (call.cancelled) return;
    const refusal = await link.reserve(bundles);
    if (refusal?.code === 'draining') this.#status('draining');
    if (refusal !== undefined) throw refusal;
    reporter.over(link.traffic, OFFLINE);
    reporter.begin('prepare', link.bytesToPrepare(bundles));
    for (let i = 0; i < bundles && !call.cancelled; i++) {
      const ready = await link.prepare(
        (done, total, layer) => reporter.report(i * total + done, bundles * total, layer),
        i + 1 < bundles,
      );
      this.#source.left.bundles.add(ready);
      this.#changed.happens();
    }
  }

  /** The oldest bundle, with the link that it may be used on: one that is ready, that is on its way, or else another. */
  async #take(call: Call, reporter: Reporter): Promise<[Link, ReadyBundle]> {
    for (;;) {
      const link = await this.#linked();
      if (call.cancelled) throw abortError('the inference');
      const change = this.#changed.next;
      if (this.available > 0) {
        const ready = this.#source.left.bundles.take();
        this.#changed.happens();
        return [link, ready];
      }
      if (this.#offline.calls > 0) await change;
      else {
        await this.#offline.run('the preparation', undefined, () =>
          this.#prepare(1, call, reporter),
        );
      }
    }
  }

  /** Prepares in the background what `keepReady` asks for. */
  #fill(): void {
    const most = Math.min(this.#options.keepReady ?? 0, this.maxBundles);
    if (this.#filling || this.available >= most || this.#end !== undefined) return;
    this.#filling = true;
    const { signal } = this.#over;
    const filled = this.#inTurn(
      this.#offline,
      'the preparation',
      { signal, onProgress: () => {} },
      async (call, reporter) => {
        while (this.available < most && !call.cancelled) await this.#prepare(1, call, reporter);
      },
    );
    void filled
      .catch(async (error: Error) => {
        const refused = this.#end === undefined && this.#link.alive;
        if (refused) await pause(retryAfterMs(error) || REFUSED_MS, signal);
      })
      .finally(() => {
        this.#filling = false;
        if (this.#link.alive) this.#fill();
      });
  }

  // ------------------------------------------------------------------------------------------------------- links

  /** When the link is over, so is the session, unless the link was lost and the source can open another. */
  #watch(link: Link): void {
    void link.closed.then((reason) => {
      if (this.#end !== undefined) return;
      if (this.#source.lasting && isLost(reason)) void this.#comeBack(reason);
      else void this.#finish(reason, reason);
    });
  }

  /** Opens another link, as often as it takes. */
  async #comeBack(reason: Error): Promise<void> {
    this.#loss = reason;
    this.#status('lost');
    // A session that rested comes back when it is used.
    if (isProtocolError(reason) && reason.code === 'idle') await this.#pause(MAX_TIMER_MS);
    const until = performance.now() + COMING_BACK_MS;
    for (let wait = PAUSE_MS.first; ; wait = Math.min(2 * wait, PAUSE_MS.longest)) {
      if (this.#end !== undefined) return;
      this.#trying = true;
      await this.#try();
      this.#trying = false;
      this.#tried.happens();
      if (this.#loss === undefined || this.#end !== undefined) return;
      const left = until - performance.now();
      if (left <= 0) break;
      // Not all clients of a server that was started anew at once; and a server that says when to come may say never.
      const spread = 0.5 + randomBytes(systemRandom, 1)[0]! / 255;
      await this.#pause(Math.min(Math.max(wait * spread, retryAfterMs(this.#loss)), left));
    }
    await this.#finish(reason, reason);
  }

  /** Until the next try, which whoever needs a link begins at once. */
  async #pause(ms: number): Promise<void> {
    this.#hurry = new AbortController();
    await pause(ms, this.#hurry.signal);
  }

  async #try(): Promise<void> {
    const { signal } = this.#over;
    const expect = { model: this.model, digest: this.digest };
    const own = { ...this.#options, model: this.model, expect, signal, onProgress: undefined };
    try {
      this.#link = await this.#source.open(own);
      this.#loss = undefined;
      this.#watch(this.#link);
      this.#status('resumed');
      this.#fill();
    } catch (cause) {
      const error = cause as Error;
      this.#loss = error;
      if (this.#end === undefined && !isLost(error)) {
        await this.#finish(error, error);
      }
    }
    this.#changed.happens();
  }

  /**
   * Ends the session.
   * @param end - what calls reject with from here on
   * @param why - what {@link closed} resolves with: undefined after close()
   */
  async #finish(end: Error, why: Error | undefined): Promise<void> {
    this.#end = end;
    if (!isLost(end)) this.#source.left.bundles.retain([]);
    this.#over.abort(end);
    this.#hurry.abort();
    this.#tried.happens();
    this.#changed.happens();
    await this.#link.closed;
    await this.#source.release?.();
    this.#status('closed');
    this.#announce(why);
  }

  #status(status: SessionStatus): void {
    this.#options.onStatus?.(status);
  }
}

/** Whether a link ended without a fault of either side's: bundles are as good as before, and another link may come about. */
const isLost = (end: Error): boolean => isProtocolError(end) && end.retryable;

/** After how many ms it is worth trying again, as far as the server has said so. */
const retryAfterMs = (error: Error | undefined): number =>
  (isProtocolError(error) ? error.retryAfterMs : undefined) ?? 0;

/** Waits, unless the signal fires. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, Math.min(ms, MAX_TIMER_MS));
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done, { once: true });
  });
}
