/** Counting what a channel carries, to hold a run to its cost formulas. */

import { Decorator } from './decorator.ts';
import { FRAME_HEADER_BYTES } from './frames.ts';
import type { Channel } from './index.ts';

/** What one side sent and received; bytes include the 16-byte frame headers. */
export interface Traffic {
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly framesSent: number;
  readonly framesReceived: number;
  /** Times a receive followed a send in this side's program order: each waits for the network twice. */
  readonly roundTrips: number;
}

/** A channel that counts. */
export interface CountedChannel extends Channel {
  /** The totals so far. Take one before and one after a phase and give both to {@link trafficBetween}. */
  snapshot(): Traffic;
}

/** Counts the frames of `channel`. ERROR frames are not counted: they carry nothing of the protocol. */
export function counted(channel: Channel): CountedChannel {
  return new Counter(channel);
}

/** What was carried between two snapshots of one channel. */
export function trafficBetween(before: Traffic, after: Traffic): Traffic {
  return {
    bytesSent: after.bytesSent - before.bytesSent,
    bytesReceived: after.bytesReceived - before.bytesReceived,
    framesSent: after.framesSent - before.framesSent,
    framesReceived: after.framesReceived - before.framesReceived,
    roundTrips: after.roundTrips - before.roundTrips,
  };
}

class Counter extends Decorator implements CountedChannel {
  #bytesSent = 0;
  #bytesReceived = 0;
  #framesSent = 0;
  #framesReceived = 0;
  #roundTrips = 0;
  #lastWasSend = false;

  snapshot(): Traffic {
    return {
      bytesSent: this.#bytesSent,
      bytesReceived: this.#bytesReceived,
      framesSent: this.#framesSent,
      framesReceived: this.#framesReceived,
      roundTrips: this.#roundTrips,
    };
  }

  override send(kind: number, payload: Uint8Array): Promise<void> {
    this.#framesSent++;
    this.#bytesSent += FRAME_HEADER_BYTES + payload.length;
    this.#lastWasSend = true;
    return super.send(kind, payload);
  }

  override receive(kind: number, bytes: number): Promise<Uint8Array> {
    return this.#received(super.receive(kind, bytes));
  }

  override receiveUpTo(kind: number, limit: number): Promise<Uint8Array> {
    return this.#received(super.receiveUpTo(kind, limit));
  }

  async #received(arrival: Promise<Uint8Array>): Promise<Uint8Array> {
    // Decided when the call is made, not when the frame arrives: program order is what costs time.
    if (this.#lastWasSend) this.#roundTrips++;
    this.#lastWasSend = false;
    const payload = await arrival;
    this.#framesReceived++;
    this.#bytesReceived += FRAME_HEADER_BYTES + payload.length;
    return payload;
  }
}
