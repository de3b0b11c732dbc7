/**
 * One connection's session: what it does, and why it ended. A link prepares one bundle and runs one inference at a time, side by side;
 * who does what when is the business of session.ts, which outlives links.
 */

import { type CountedChannel, counted, trafficBetween } from '../protocol/channel/counted.ts';
import { type ChannelLane, laneOf } from '../protocol/channel/frames.ts';
import type { Channel } from '../protocol/channel/index.ts';
import { withSignal, withTimeout } from '../protocol/channel/lifetime.ts';
import { ProtocolError } from '../protocol/errors.ts';
import { BundleStore, type ClientBundle } from '../protocol/inference/bundle.ts';
import type { Bytes } from '../protocol/inference/cost.ts';
import { drawClient } from '../protocol/inference/draw.ts';
import { nameable, TICKET_BYTES } from '../protocol/inference/hello.ts';
import { Kind, sayGoodbye } from '../protocol/inference/messages.ts';
import { prepareClient } from '../protocol/inference/offline.ts';
import { inferClient } from '../protocol/inference/online.ts';
import { reserveClient } from '../protocol/inference/reserve.ts';
import {
  type ClientSession,
  type HintSource,
  openClient,
  type Progress,
  type ProtocolRunner,
} from '../protocol/inference/session.ts';
import { otKFor } from '../protocol/ot/groups.ts';
import { type Random, randomBytes, systemRandom } from '../protocol/random/index.ts';
import {
  type ClientLimits,
  checkCost,
  checkOffer,
  clientLimits,
  type Expectation,
} from './accept.ts';
import { type OnProgress, Reporter } from './reporter.ts';

/** The lanes of preparations and of inferences. */
export const OFFLINE: ChannelLane = laneOf(Kind.command);
export const ONLINE: ChannelLane = laneOf(Kind.infer);

/** Options of opening a link. */
export interface LinkOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnProgress;
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

/** What a link stands on. */
export interface LinkParts {
  readonly channel: Channel;
  readonly pool: ProtocolRunner;
  /** Where its secrets come from; default: the system. */
  readonly random?: Random | undefined;
  /** Where the model's hint may be kept; it comes over the channel otherwise. */
  readonly hints?: HintSource | undefined;
}

/** What one phase of one inference took. */
export interface PhaseStats {
  readonly ms: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Round trips on the critical path. */
  readonly rounds: number;
}

/** A prepared inference, and what preparing it took. */
export interface ReadyBundle {
  readonly number: number;
  readonly bundle: ClientBundle;
  readonly stats: PhaseStats;
}

/** What a session keeps from one link to the next. */
export interface Resumption {
  /** What the server knows the client by, secret. */
  readonly ticket: Uint8Array;
  readonly bundles: BundleStore<ReadyBundle>;
}

/** What a session begins with. */
export function freshResumption(random: Random = systemRandom): Resumption {
  return { ticket: randomBytes(random, TICKET_BYTES), bundles: new BundleStore() };
}

const bytesOf = ({ up, down }: Bytes): number => up + down;

export class Link {
  readonly session: ClientSession;
  readonly traffic: CountedChannel;
  /** Resolves with the reason when it has ended. */
  readonly closed: Promise<Error>;
  #settle!: (reason: Error) => void;
  #alive = true;
  /** Bundles that are reserved and not yet prepared. */
  #granted = 0;

  private constructor(session: ClientSession, traffic: CountedChannel) {
    this.session = session;
    this.traffic = traffic;
    this.closed = new Promise((resolve) => {
      this.#settle = (reason) => {
        this.#alive = false;
        resolve(reason);
      };
    });
    // An orderly end is this side's, which says why.
    void traffic.closed.then((reason) => reason && this.#settle(reason));
  }

  /**
   * Handshake and setup over `channel`, which belongs to the link from here on. What the server no longer has is taken out of `left`.
   * @throws RangeError when `bitsPerSecond` is not a positive number, or a limit is out of its range
   * @throws ProtocolError when the server refuses, breaks the protocol, or offers what this client does not accept
   * @throws AbortError when the signal fires first
   */
  static async open(parts: LinkParts, options: LinkOptions, left: Resumption): Promise<Link> {
    const { pool, random = systemRandom, hints } = parts;
    const { signal } = options;
    const traffic = counted(parts.channel);
    try {
      const limits = clientLimits(options.limits);
      const channel = withTimeout(traffic, limits.stallMs);
      const reporter = new Reporter(options.onProgress);
      reporter.over(traffic, OFFLINE);
      const session = await withSignal(channel, signal, 'connecting', async () => {
        const own = await openOn({ channel, pool, random }, options, {
          left,
          limits,
          hints,
          reporter,
        });
        await drawClient(own);
        return own;
      });
      left.bundles.retain(session.resumed);
      reporter.finish();
      return new Link(session, traffic);
    } catch (error) {
      traffic.close(error as Error);
      throw error;
    }
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** Bytes that preparing so many is going to move: the choices of the first may be there already. */
  bytesToPrepare(bundles: number): number {
    const { cost, drawn } = this.session;
    return bundles * bytesOf(cost.offline) - (drawn === undefined ? 0 : bytesOf(cost.draw));
  }

  /** Asks for room for so many, beside what is reserved; why not, when the server says no. */
  reserve(bundles: number): Promise<ProtocolError | undefined> {
    return this.#guarded(async () => {
      const more = bundles - this.#granted;
      if (more <= 0) return undefined;
      const refusal = await reserveClient(this.session.channel, more);
      if (refusal === undefined) this.#granted += more;
      return refusal;
    });
  }

  /** @param drawNext - whether another one follows, whose choices may ride along */
  prepare(progress: Progress, drawNext: boolean): Promise<ReadyBundle> {
    const { cost, drawn } = this.session;
    const ahead = drawn !== undefined;
    const rounds = cost.offline.rounds + (ahead ? 0 : 1);
    return this.#guarded(async () => {
      this.#granted--;
      const { result: bundle, stats } = await this.#measured(OFFLINE, rounds, () =>
        prepareClient(this.session, progress, drawNext),
      );
      // What is drawn ahead counts where it is used.
      const draws = (ahead ? 1 : 0) - (drawNext ? 1 : 0);
      const bytesUp = stats.bytesUp + draws * cost.draw.up;
      const bytesDown = stats.bytesDown + draws * cost.draw.down;
      return { number: bundle.number, bundle, stats: { ...stats, bytesUp, bytesDown } };
    });
  }

  /** @param bundle - has been taken from its store */
  infer(
    { bundle }: ReadyBundle,
    input: Int32Array,
    progress: Progress,
  ): Promise<{ result: Int32Array; stats: PhaseStats }> {
    return this.#guarded(() =>
      this.#measured(ONLINE, this.session.cost.online.rounds, () =>
        this.session.pool.first(() => inferClient(this.session, bundle, input, progress)),
      ),
    );
  }

  /** Says goodbye. */
  async leave(reason: Error): Promise<void> {
    await sayGoodbye(this.session.channel);
    this.#settle(reason);
  }

  /** Ends it without a goodbye. */
  end(reason: Error): void {
    this.traffic.close(reason);
  }

  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.traffic.close(error as Error);
      // The channel knows why it died first. It knows nothing where a refused result has closed it without a word of why.
      const death = await this.traffic.closed;
      this.#settle(death ?? (error as Error));
      throw await this.closed;
    }
  }

  async #measured<T>(
    lane: 0 | 1,
    rounds: number,
    work: () => Promise<T>,
  ): Promise<{ result: T; stats: PhaseStats }> {
    const before = this.traffic.snapshot(lane);
    const start = performance.now();
    const result = await work();
    const { bytesSent, bytesReceived } = trafficBetween(before, this.traffic.snapshot(lane));
    const ms = performance.now() - start;
    return { result, stats: { ms, bytesUp: bytesSent, bytesDown: bytesReceived, rounds } };
  }
}

/** The handshake, with what this client accepts. */
async function openOn(
  party: { readonly channel: Channel; readonly pool: ProtocolRunner; readonly random: Random },
  { model, expect = {}, bitsPerSecond }: LinkOptions,
  own: {
    readonly left: Resumption;
    readonly limits: ClientLimits;
    readonly hints: HintSource | undefined;
    readonly reporter: Reporter;
  },
): Promise<ClientSession> {
  const { left, limits, hints, reporter } = own;
  const { ticket, bundles } = left;
  let fetching = false;
  reporter.begin('connect');
  reporter.report(0, 1);
  const session = await openClient(party, {
    model,
    otK: otKFor(bitsPerSecond),
    resume: { ticket, bundles: nameable(bundles.numbers), next: bundles.next },
    acceptProgram: (program, digest) => checkOffer(program, digest, expect, limits),
    acceptCost(cost) {
      checkCost(cost, limits);
      reporter.begin('setup');
      reporter.report(0, 1);
    },
    hints,
    onHint(bytes, total) {
      if (!fetching) reporter.begin('hint', total);
      fetching = true;
      reporter.report(bytes, total);
    },
  });
  const wanted = expect.model ?? model;
  if (wanted === undefined || session.model === wanted) return session;
  throw new ProtocolError(
    'program-mismatch',
    `the server offers "${session.model}", expected "${wanted}"`,
  );
}
