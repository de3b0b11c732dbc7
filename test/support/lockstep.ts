/**
 * A network without time: frames are held until both parties have nothing left to do but wait, then all arrive at once.
 * The number of such deliveries is the number of flights, counted and not declared; two flights are a round trip.
 */

import { Decorator } from '../../protocol/channel/decorator.ts';
import type { Channel } from '../../protocol/channel/index.ts';
import { memoryPair } from '../../protocol/channel/memory.ts';
import type { ProtocolPool } from '../../protocol/inference/session.ts';
import * as tasks from '../../protocol/inference/tasks.ts';
import { createInlinePool } from '../../protocol/pool/inline.ts';
import { withRun } from './pool.ts';

/**
 * Turns of the event loop without any task running after which both parties are taken to be waiting. A client that lays out a
 * program lets some pass.
 */
const QUIET_TURNS = 50;

class Held extends Decorator {
  readonly held: [kind: number, payload: Uint8Array][] = [];

  override async send(kind: number, payload: Uint8Array): Promise<void> {
    this.held.push([kind, payload.slice()]);
  }

  async deliver(): Promise<void> {
    for (const [kind, payload] of this.held.splice(0)) await this.inner.send(kind, payload);
  }
}

export class Lockstep {
  readonly pair: [Channel, Channel];
  readonly pool: ProtocolPool;
  /** Deliveries so far. */
  flights = 0;
  readonly #ends: Held[];
  #running = 0;

  constructor() {
    this.#ends = memoryPair().map((end) => new Held(end));
    this.pair = this.#ends as unknown as [Channel, Channel];
    const pool = createInlinePool(tasks);
    this.pool = withRun(pool, (task, input, options) => {
      this.#running++;
      return pool.run(task, input, options).finally(() => this.#running--);
    });
  }

  /** Runs `work` of both parties to its end, delivering whenever it stands still. */
  async run<T>(work: Promise<T>): Promise<T> {
    let over = false;
    const end = () => {
      over = true;
    };
    work.then(end, end);
    for (let quiet = 0; !over; ) {
      await new Promise((resolve) => setImmediate(resolve));
      quiet = this.#running > 0 ? 0 : quiet + 1;
      if (quiet < QUIET_TURNS || over) continue;
      const waiting = this.#ends.filter((end) => end.held.length > 0);
      if (waiting.length === 0) throw new Error('both parties wait, and no frame is under way');
      this.flights++;
      await Promise.all(waiting.map((end) => end.deliver()));
      quiet = 0;
    }
    return work;
  }
}
