/** A slow network: the outgoing half of a link with a given latency and bandwidth. */

import { ProtocolError } from '../errors.ts';
import { Decorator } from './decorator.ts';
import { FRAME_HEADER_BYTES } from './frames.ts';
import type { Channel } from './index.ts';

/** A link in one direction. */
export interface OneWayLink {
  /** From one party to the other, one way, in ms. */
  readonly latencyMs: number;
  /** Bits per second; Infinity for a link that is never busy. */
  readonly bitsPerSecond: number;
}

/** Tells the time, in ms, and waits: the machine's clock by default, or one that moves only when everybody waits. */
export interface Clock {
  now(): number;
  sleepUntil(time: number): Promise<void>;
}

const systemClock: Clock = {
  now: () => performance.now(),
  async sleepUntil(time) {
    const left = time - performance.now();
    if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
  },
};

/** Bytes that the sending side's buffers take before send() waits. LOCAL, part of the emulation. */
const SEND_BUFFER_BYTES = 4 * 1024 * 1024;

/**
 * Puts `link` in front of what this side sends; wrap both ends for a whole network. A frame occupies the link for its
 * bits' time, in order, and arrives `latencyMs` after its last bit has left. Times are absolute, so that rounding of
 * timers (about 1 ms) does not add up. An orderly close() travels behind the frames; a close for a reason overtakes.
 */
export function delayed(channel: Channel, link: OneWayLink, clock: Clock = systemClock): Channel {
  if (!(link.latencyMs >= 0 && link.bitsPerSecond > 0)) {
    throw new RangeError(
      `link: expected latencyMs >= 0 and bitsPerSecond > 0, got ${link.latencyMs} and ${link.bitsPerSecond}`,
    );
  }
  return new Delay(channel, link, clock);
}

class Delay extends Decorator {
  readonly #link: OneWayLink;
  readonly #clock: Clock;
  /** When the link has moved everything so far. */
  #free = 0;
  /** Settles when the last frame so far has arrived. */
  #arrival: Promise<unknown> = Promise.resolve();
  #closing = false;

  constructor(inner: Channel, link: OneWayLink, clock: Clock) {
    super(inner);
    this.#link = link;
    this.#clock = clock;
  }

  override async send(kind: number, payload: Uint8Array): Promise<void> {
    if (this.#closing) throw new ProtocolError('closed', 'the channel was closed on this side');
    const msPerByte = 8000 / this.#link.bitsPerSecond;
    const start = Math.max(this.#clock.now(), this.#free);
    this.#free = start + (FRAME_HEADER_BYTES + payload.length) * msPerByte;
    const arrival = this.#free + this.#link.latencyMs;
    this.#arrival = this.#arrival
      .then(() => this.#clock.sleepUntil(arrival))
      .then(() => this.inner.send(kind, payload))
      // The send() this belongs to has returned long ago: a frame that cannot go out ends the channel.
      .catch((error: Error) => this.inner.close(error));
    await this.#clock.sleepUntil(this.#free - SEND_BUFFER_BYTES * msPerByte);
  }

  override close(reason?: Error): void {
    if (this.#closing) return;
    this.#closing = true;
    if (reason) {
      this.inner.close(reason);
    } else {
      void this.#arrival.then(() => this.inner.close());
    }
  }
}
