/**
 * A client's session with a server, over any channel and pool: the same code in Node and in browsers.
 *
 * Contract
 * - {@link openSession} -> any number of prepare() and infer() -> close(). Calls may be made at any time; they wait for
 *   each other inside and run in the order they were made.
 * - prepare() makes bundles ahead, each good for one inference; infer() takes the oldest, or makes one first.
 * - A mistake in an argument (a TypeError or RangeError) costs nothing. An error of the protocol, or an abort of a call
 *   that has begun, ends the session: every later call rejects with that same error. Aborting a call that still waits for its turn
 *   ends that call alone, and so does a server that refuses to prepare (`refused`, `quota`, `draining`): what is ready stays ready.
 * - After a lost link or an abort, reconnect() goes on with the bundles that the server still has too. The one in use is spent.
 * - `onProgress` is called between steps of the protocol; what it throws ends the session.
 */

import { type CountedChannel, counted, trafficBetween } from '../protocol/channel/counted.ts';
import type { Channel } from '../protocol/channel/index.ts';
import { withSignal, withTimeout } from '../protocol/channel/lifetime.ts';
import { abortError, ProtocolError } from '../protocol/errors.ts';
import { BundleStore, type ClientBundle } from '../protocol/inference/bundle.ts';
import type { Bytes } from '../protocol/inference/cost.ts';
import { drawClient } from '../protocol/inference/draw.ts';
import { nameable, TICKET_BYTES } from '../protocol/inference/hello.ts';
import { sayGoodbye } from '../protocol/inference/messages.ts';
import { prepareClient } from '../protocol/inference/offline.ts';
import { inferClient } from '../protocol/inference/online.ts';
import { reserveClient } from '../protocol/inference/reserve.ts';
import {
  type ClientSession,
  type HintSource,
  openClient,
  type ProtocolRunner,
} from '../protocol/inference/session.ts';
import { otKFor } from '../protocol/ot/groups.ts';
import { argmax } from '../protocol/program/clear.ts';
import { decodeLogits, encodeInput } from '../protocol/program/input.ts';
import type { Program } from '../protocol/program/program.ts';
import {
  decodeResults,
  type ResultTensor,
  readOut,
  revealsLabel,
} from '../protocol/program/results.ts';
import { type Random, randomBytes, systemRandom } from '../protocol/random/index.ts';
import {
  type ClientLimits,
  checkCost,
  checkOffer,
  clientLimits,
  type Expectation,
  hexOf,
} from './accept.ts';
import { type OnProgress, Reporter } from './reporter.ts';

export type { ResultTensor } from '../protocol/program/results.ts';
export type { SessionPhase, SessionProgress } from './reporter.ts';

/** Options of every call. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress;
}

/** Options of a session. Its `onProgress` serves every call that has none of its own; its `signal` the opening alone. */
export interface SessionOptions extends CallOptions {
  /** Name of the wanted model; the server's first one when left out. */
  readonly model?: string | undefined;
  readonly expect?: Expectation | undefined;
  readonly limits?: Partial<ClientLimits> | undefined;
  /**
   * Bits a second of the slower direction of the link to the server, where that is known: below 100e6 (100 Mbit/s) the
   * preparation moves fewer bytes for more work on both sides, below 10e6 fewer still. Default: a fast link.
   */
  readonly bitsPerSecond?: number | undefined;
}

/** Options of {@link Session.prepare}. */
export interface PrepareOptions extends CallOptions {
  /** How many inferences to prepare; one unless given. */
  readonly inferences?: number | undefined;
}

/** What one phase of one inference took. */
export interface PhaseStats {
  readonly ms: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Round trips on the critical path. */
  readonly rounds: number;
}

/** What a model made of an input. */
export interface Inference {
  /** Index of the largest logit of a program with one result; undefined when it has several. */
  readonly label: number | undefined;
  /** Its name, when the program names its classes. */
  readonly labelName: string | undefined;
  /** All logits, before readouts, one result after the other; undefined when the program reveals the label alone. */
  readonly logits: Float32Array | undefined;
  /** The results as the model's file has them, with their readouts done; of a program that reveals the label, that label. */
  readonly results: readonly ResultTensor[];
  /** `offline`: the preparation of the bundle it used. */
  readonly stats: { readonly offline: PhaseStats; readonly online: PhaseStats };
}

/** What a session stands on. */
export interface SessionParts {
  readonly channel: Channel;
  readonly pool: ProtocolRunner;
  /** Where its secrets come from; the system unless given. */
  readonly random?: Random | undefined;
  /** Where the model's hint may be kept; it comes over the channel otherwise. */
  readonly hints?: HintSource | undefined;
  /** Called once when the session has ended, however it did. */
  readonly release?: (() => Promise<void>) | undefined;
  /** What an earlier session with the same server has left. @internal */
  readonly resume?: Resumption | undefined;
  /**
   * Opens another session with the same server: what {@link Session.reconnect} does.
   * @internal
   */
  readonly again?: ((options: SessionOptions, resume: Resumption) => Promise<Session>) | undefined;
}

/** What a session leaves for one that goes on with it. */
export interface Resumption {
  /** What the server knows the client by, secret. */
  readonly ticket: Uint8Array;
  readonly bundles: BundleStore<ReadyBundle>;
}

interface ReadyBundle {
  readonly number: number;
  readonly bundle: ClientBundle;
  readonly stats: PhaseStats;
}

/**
 * Handshake and setup over `channel`, which belongs to the session from here on.
 * @throws RangeError when `bitsPerSecond` is not a positive number, or a limit is out of its range
 * @throws ProtocolError when the server refuses, breaks the protocol, or offers what this client does not accept
 * @throws AbortError when the signal fires first
 */
export async function openSession(
  parts: SessionParts,
  options: SessionOptions = {},
): Promise<Session> {
  const { model, expect = {}, signal, onProgress } = options;
  const traffic = counted(parts.channel);
  const reporter = new Reporter(traffic, onProgress);
  let fetching = false;
  try {
    const limits = clientLimits(options.limits);
    const channel = withTimeout(traffic, limits.stallMs);
    const { random = systemRandom } = parts;
    const party = { channel, pool: parts.pool, random };
    const left = parts.resume ?? freshResumption(random);
    const { numbers, next } = left.bundles;
    const resume = { ticket: left.ticket, bundles: nameable(numbers), next };
    const otK = otKFor(options.bitsPerSecond);
    reporter.begin('connect');
    reporter.report(0, 1);
    const session = await withSignal(channel, signal, 'connecting', () =>
      openClient(party, {
        model,
        otK,
        resume,
        acceptProgram: (program, digest) => checkOffer(program, digest, expect, limits),
        acceptCost(cost) {
          checkCost(cost, limits);
          reporter.begin('setup');
          reporter.report(0, 1);
        },
        hints: parts.hints,
        onHint(bytes, total) {
          if (!fetching) reporter.begin('hint', total);
          fetching = true;
          reporter.report(bytes, total);
        },
      }),
    );
    const wanted = expect.model ?? model;
    if (wanted !== undefined && session.model !== wanted) {
      throw new ProtocolError(
        'program-mismatch',
        `the server offers "${session.model}", expected "${wanted}"`,
      );
    }
    await withSignal(channel, signal, 'connecting', () => drawClient(session));
    reporter.finish();
    left.bundles.retain(session.resumed);
    return new Session(session, traffic, options, { ...parts, resume: left });
  } catch (error) {
    traffic.close(error as Error);
    await parts.release?.();
    throw error;
  }
}

const bytesOf = ({ up, down }: Bytes): number => up + down;

/** An open session; see the contract above. Made by {@link openSession}. */
export class Session implements AsyncDisposable {
  readonly #session: ClientSession;
  readonly #traffic: CountedChannel;
  readonly #left: Resumption;
  /** Why the session is over. */
  #end: Error | undefined;
  /** Settles when the calls so far have ended. */
  #tail: Promise<unknown> = Promise.resolve();
  #calls = 0;
  #closing: Promise<void> | undefined;
  readonly #released: Promise<void>;
  readonly #options: SessionOptions;
  readonly #again: SessionParts['again'];

  /** @internal */
  constructor(
    session: ClientSession,
    traffic: CountedChannel,
    options: SessionOptions,
    { release, again, resume }: Pick<SessionParts, 'release' | 'again'> & { resume: Resumption },
  ) {
    this.#left = resume;
    this.#session = session;
    this.#traffic = traffic;
    this.#options = options;
    this.#again = again;
    this.#released = traffic.closed.then(async (reason) => {
      this.#end ??= reason ?? closedHere();
      if (!isLost(this.#end)) resume.bundles.retain([]);
      await release?.();
    });
  }

  /** The public program that both sides run. */
  get program(): Program {
    return this.#session.layout.program;
  }

  /** SHA-256 of the program, 64 hexadecimal digits: what `expect.digest` takes the next time. */
  get digest(): string {
    return hexOf(this.#session.digest);
  }

  /**
   * What the server says that its weights are, 64 hexadecimal digits: the same as long as they and the secret of the hint are. It
   * shows that a model was changed, and proves nothing against a server that deviates.
   */
  get weights(): string {
    return hexOf(this.#session.weights);
  }

  /** Name under which the server offers the model. */
  get model(): string {
    return this.#session.model;
  }

  /** Prepared inferences that the server keeps for a session. */
  get maxBundles(): number {
    return this.#session.maxBundles;
  }

  /** Inferences that are prepared, and ready as long as the session lives. */
  get available(): number {
    return this.#end === undefined ? this.#left.bundles.available : 0;
  }

  /**
   * Prepares inferences, so that infer() has only its online phase left.
   * @throws RangeError when `inferences` is not a positive integer, or more than the server keeps for a session, `maxBundles`
   * @throws ProtocolError `refused`, `quota` or `draining` when the server prepares none: the session goes on
   * @throws other ProtocolErrors, AbortError: the session is over then
   */
  async prepare(options: PrepareOptions = {}): Promise<void> {
    const { inferences = 1 } = options;
    if (!(Number.isInteger(inferences) && inferences >= 1)) {
      throw new RangeError(`inferences: expected a positive integer, got ${inferences}`);
    }
    if (inferences > this.maxBundles) {
      throw new RangeError(
        `inferences: expected at most ${this.maxBundles}, which the server keeps for a session, got ${inferences}`,
      );
    }
    await this.#inTurn('the preparation', options, async (reporter) => {
      await this.#reserve(inferences);
      reporter.begin('prepare', this.#bytesToPrepare(inferences));
      for (let i = 0; i < inferences; i++) {
        await this.#prepareOne(reporter, i, inferences);
      }
    });
  }

  /**
   * One private inference.
   * @param pixels - [channels, height, width] of the program's input: Float32Array in 0..1, or Uint8Array in 0..255. Where the
   *   program's input has a `limit`, a Float32Array of any numbers that keep it after mean and std (`program.input`)
   * @throws TypeError, RangeError when the pixels are not that; nothing is spent then
   * @throws ProtocolError, AbortError: the session is over then
   */
  async infer(pixels: Float32Array | Uint8Array, options: CallOptions = {}): Promise<Inference> {
    const input = encodeInput(this.program, floatsOf(this.program, pixels));
    return this.#inTurn('the inference', options, async (reporter) => {
      if (this.available === 0) {
        await this.#reserve(1);
        reporter.begin('prepare', this.#bytesToPrepare(1));
        await this.#prepareOne(reporter, 0, 1);
      }
      const { bundle, stats: offline } = this.#left.bundles.take();
      reporter.begin('infer', bytesOf(this.#session.cost.online));
      const { result, stats: online } = await this.#measured(this.#session.cost.online.rounds, () =>
        inferClient(this.#session, bundle, input, (...progress) => reporter.report(...progress)),
      );
      return { ...answerOf(this.program, result), stats: { offline, online } };
    });
  }

  /**
   * Opens another session with the same server, model, program and options: after an error, say. Where this one's link was lost, or a
   * call was cancelled, or it still runs, the other goes on with the prepared inferences that the server still has too; where this one
   * was closed, or failed otherwise, it begins without. This session is over either way. May be tried again when it fails.
   * @throws TypeError when the session was opened over a channel of the caller's
   * @throws ProtocolError, AbortError as `connect` does; `program-mismatch` when the server now runs another program
   */
  async reconnect(options: CallOptions = {}): Promise<Session> {
    if (this.#again === undefined) {
      throw new TypeError('this session was opened over a channel: open another over a new one');
    }
    if (this.#end === undefined) {
      this.#end = new ProtocolError('closed', 'the session goes on over another connection');
      this.#session.channel.close(this.#end);
    }
    await this.#tail;
    await this.#released;
    const changed = {
      ...this.#options,
      signal: options.signal,
      onProgress: options.onProgress ?? this.#options.onProgress,
      model: this.model,
      expect: { model: this.model, digest: this.digest },
    };
    return this.#again(changed, this.#left);
  }

  /** Says goodbye and ends the session. A call that is still running or waiting rejects. Never rejects itself. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const { channel } = this.#session;
    // What is closed is not gone on with.
    this.#left.bundles.retain([]);
    if (this.#end === undefined) {
      this.#end = closedHere();
      if (this.#calls > 0) {
        channel.close(this.#end);
      } else {
        await sayGoodbye(channel);
      }
    }
    await this.#tail;
    await this.#released;
  }

  /** Bytes that preparing so many is going to move: the choices of the first may be there already. */
  #bytesToPrepare(inferences: number): number {
    const { offline, draw } = this.#session.cost;
    const ahead = this.#session.drawn === undefined ? 0 : bytesOf(draw);
    return inferences * bytesOf(offline) - ahead;
  }

  /** @throws Refusal */
  async #reserve(bundles: number): Promise<void> {
    const why = await reserveClient(this.#session.channel, bundles);
    if (why !== undefined) throw new Refusal(why);
  }

  /** @param index - of how many that a call prepares; all but the last draw the next one's choices as well */
  async #prepareOne(reporter: Reporter, index: number, of: number): Promise<void> {
    const { cost, drawn } = this.#session;
    const ahead = drawn !== undefined;
    const drawNext = index + 1 < of;
    const rounds = cost.offline.rounds + (ahead ? 0 : 1);
    const { result, stats } = await this.#measured(rounds, () =>
      prepareClient(
        this.#session,
        (done, total, layer) => reporter.report(index * total + done, of * total, layer),
        drawNext,
      ),
    );
    // What is drawn ahead counts where it is used.
    const draws = (ahead ? 1 : 0) - (drawNext ? 1 : 0);
    const bytesUp = stats.bytesUp + draws * cost.draw.up;
    const bytesDown = stats.bytesDown + draws * cost.draw.down;
    const counted = { ...stats, bytesUp, bytesDown };
    this.#left.bundles.add({ number: result.number, bundle: result, stats: counted });
  }

  async #measured<T>(
    rounds: number,
    work: () => Promise<T>,
  ): Promise<{ result: T; stats: PhaseStats }> {
    const before = this.#traffic.snapshot();
    const start = performance.now();
    const result = await work();
    const { bytesSent, bytesReceived } = trafficBetween(before, this.#traffic.snapshot());
    const ms = performance.now() - start;
    return { result, stats: { ms, bytesUp: bytesSent, bytesDown: bytesReceived, rounds } };
  }

  /** Runs a call when those before it are over. */
  #inTurn<T>(
    what: string,
    { signal, onProgress = this.#options.onProgress }: CallOptions,
    work: (reporter: Reporter) => Promise<T>,
  ): Promise<T> {
    const { channel } = this.#session;
    const reporter = new Reporter(this.#traffic, onProgress);
    this.#calls++;
    return new Promise<T>((resolve, reject) => {
      const cancel = (): void => reject(abortError(what, signal?.reason));
      signal?.addEventListener('abort', cancel, { once: true });
      const turn = this.#tail.then(async () => {
        signal?.removeEventListener('abort', cancel);
        if (this.#end !== undefined) throw this.#end;
        if (signal?.aborted) throw abortError(what, signal.reason);
        try {
          const result = await withSignal(channel, signal, what, () => work(reporter));
          reporter.finish();
          return result;
        } catch (error) {
          if (error instanceof Refusal) throw error.why;
          channel.close(error as Error);
          // The channel knows why it died first; what came here may be a consequence.
          const death = await channel.closed;
          // A result that is refused has closed the channel without a word of why.
          if (death === undefined) {
            this.#end = error as Error;
            this.#left.bundles.retain([]);
          }
          throw death ?? error;
        }
      });
      this.#tail = turn.then(resolve, reject).then(() => this.#calls--);
    });
  }
}

/** Carries what ends a call and not its session. */
class Refusal {
  readonly why: ProtocolError;

  constructor(why: ProtocolError) {
    this.why = why;
  }
}

/** @param raw - what the program computed */
function answerOf(program: Program, raw: Int32Array): Omit<Inference, 'stats'> {
  const alone = revealsLabel(program);
  const label = alone ? raw[0]! : program.results.length === 1 ? argmax(raw) : undefined;
  return {
    label,
    labelName: label === undefined ? undefined : program.labels[label],
    logits: alone ? undefined : decodeLogits(program, raw),
    results: readOut(program, decodeResults(program, raw)),
  };
}

function closedHere(): ProtocolError {
  return new ProtocolError('closed', 'the session was closed');
}

/** Whether a session ended without a fault of either side's: its bundles are as good as before. */
function isLost(end: Error): boolean {
  if (end instanceof ProtocolError) return end.code === 'closed' || end.code === 'timeout';
  return end.name === 'AbortError';
}

/** What a session begins with that goes on with none. */
export function freshResumption(random: Random = systemRandom): Resumption {
  return { ticket: randomBytes(random, TICKET_BYTES), bundles: new BundleStore() };
}

function floatsOf({ input }: Program, pixels: Float32Array | Uint8Array): Float32Array {
  if (pixels instanceof Float32Array) return pixels;
  if (input.limit !== undefined) {
    throw new TypeError('the model takes numbers and no pixels: expected a Float32Array');
  }
  if (pixels instanceof Uint8Array) return Float32Array.from(pixels, (pixel) => pixel / 255);
  throw new TypeError('pixels: expected a Float32Array in 0..1 or a Uint8Array in 0..255');
}
