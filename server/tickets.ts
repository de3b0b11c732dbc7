/**
 * What sessions leave when their link is lost: their bundles, for a client that comes back with its ticket.
 *
 *     client                                server
 *       |  ---- hello: ticket, bundles -->  |   ends the session that still has the ticket
 *       |  <--- welcome: those of both ---  |   takes what that or an earlier one left, under the same offer
 *       |  ....  the link is lost  .......  |   leaves what is not spent, for a time
 *
 * - A ticket is 32 bytes of the client's choice. One session at a time has it: a client may miss its link long before the server does.
 * - Only a session that lost its link leaves anything. One that broke the protocol, failed a check or said goodbye leaves nothing.
 * - Whatever is left is taken once. What a session has with its client's numbers is all that is kept: the rest is forgotten.
 * - With a store on disk (spill.ts) bundles outlive the process as well.
 */

import { ProtocolError } from '../protocol/errors.ts';
import { BundleStore, type ServerBundle } from '../protocol/inference/bundle.ts';
import type { Greeting } from '../protocol/inference/hello.ts';
import type { OfferedModel } from './models.ts';
import type { Spill, SpilledTicket } from './spill.ts';

/** Options of {@link Tickets}. */
export interface TicketOptions {
  /** How long bundles wait for their client, in ms; 0: nothing is left. */
  readonly resumeMs: number;
  /** Sessions at a time, with those that have left something: the oldest of these are forgotten first. */
  readonly most: number;
  /** Keeps bundles on disk as well. */
  readonly spill?: Spill | undefined;
}

/** The bundles of a session. */
export interface Holding {
  /** Bundles that are ready. */
  readonly available: number;
  /** Those that an earlier session left, in order. */
  readonly resumed: readonly number[];
  /** Number of the next bundle. */
  readonly next: number;
  /** Keeps a bundle. */
  add(bundle: ServerBundle): Promise<void>;
  /**
   * Takes a bundle out, which spends it: it is gone from the disk too before this resolves.
   * @throws ProtocolError `bad-message` when it is not there
   */
  take(number: number): Promise<ServerBundle>;
  /**
   * The session is over.
   * @param lost - whether its link was lost, and nothing else
   * @returns how many bundles wait for the client
   */
  end(lost: boolean): Promise<number>;
}

/** What an ended session has left. */
interface Left {
  readonly offer: OfferedModel;
  readonly bundles: BundleStore<ServerBundle>;
  readonly spilled: SpilledTicket | undefined;
  readonly timer: ReturnType<typeof setTimeout>;
}

/** A session that has a ticket. */
interface Live {
  readonly over: Promise<void>;
  end(reason: Error): void;
}

/** All tickets of a server. */
export class Tickets {
  readonly #options: TicketOptions;
  readonly #live = new Map<string, Live>();
  /** The oldest first. */
  readonly #left = new Map<string, Left>();

  constructor(options: TicketOptions) {
    this.#options = options;
  }

  /** Tickets under which bundles wait in memory. */
  get waiting(): number {
    return this.#left.size;
  }

  /** Bundles that wait in memory for their clients. */
  get bundles(): number {
    let sum = 0;
    for (const { bundles } of this.#left.values()) sum += bundles.available;
    return sum;
  }

  /**
   * A session begins, which `end` ends. Whoever has its ticket is ended first, and waited for.
   * @returns what frees the ticket
   */
  async enter(ticket: Uint8Array, end: (reason: Error) => void): Promise<() => void> {
    const key = keyOf(ticket);
    for (let live = this.#live.get(key); live !== undefined; live = this.#live.get(key)) {
      live.end(new ProtocolError('lost', 'the client has come back with another connection'));
      await live.over;
    }
    let free!: () => void;
    const over = new Promise<void>((resolve) => {
      free = resolve;
    });
    this.#live.set(key, { over, end });
    return () => {
      this.#live.delete(key);
      free();
    };
  }

  /** What was left under a client's ticket; the session must have entered. */
  async claim(
    { ticket, bundles: named, next: had }: Greeting,
    offer: OfferedModel,
  ): Promise<Holding> {
    const key = keyOf(ticket);
    const left = this.#left.get(key);
    this.#forget(key);
    const fits = left?.offer === offer;
    const bundles = fits ? left.bundles : new BundleStore<ServerBundle>();
    const spilled = fits ? left.spilled : await this.#options.spill?.of(ticket, offer);
    // Another process of this folder may have used some of them meanwhile, and prepared others.
    const spent = fits ? ((await spilled?.look()) ?? []) : [];
    bundles.retain(named.filter((number) => !spent.includes(number)));
    const later = named.filter((number) => number >= bundles.next);
    for (const bundle of (await spilled?.load(later)) ?? []) bundles.add(bundle);
    const next = Math.max(bundles.next, spilled?.next ?? 0, (named.at(-1) ?? -1) + 1, had);
    await spilled?.retain(bundles.numbers);
    this.#trim();
    return this.#holding(key, { offer, bundles, spilled, next });
  }

  /** Forgets what waits in memory. */
  close(): void {
    for (const key of [...this.#left.keys()]) this.#forget(key);
  }

  #holding(key: string, own: Omit<Left, 'timer'> & { next: number }): Holding {
    const { offer, bundles, spilled, next } = own;
    return {
      get available() {
        return bundles.available;
      },
      resumed: bundles.numbers,
      next,
      async add(bundle) {
        await spilled?.keep(bundle);
        bundles.add(bundle);
      },
      async take(number) {
        const bundle = bundles.take(number);
        await spilled?.burn(number);
        return bundle;
      },
      end: async (lost) => {
        const { resumeMs } = this.#options;
        if (!lost || resumeMs === 0 || bundles.available === 0) {
          await spilled?.retain([]);
          return 0;
        }
        const timer = setTimeout(() => this.#forget(key), resumeMs).unref();
        this.#left.set(key, { offer, bundles, spilled, timer });
        this.#trim();
        return bundles.available;
      },
    };
  }

  #forget(key: string): void {
    clearTimeout(this.#left.get(key)?.timer);
    this.#left.delete(key);
  }

  /** What memory holds is bounded by sessions, whether they live or have left something. */
  #trim(): void {
    const most = Math.max(0, this.#options.most - this.#live.size);
    for (const key of this.#left.keys()) {
      if (this.#left.size <= most) return;
      this.#forget(key);
    }
  }
}

const keyOf = (ticket: Uint8Array): string => Buffer.from(ticket).toString('base64');
