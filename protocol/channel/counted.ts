/** Counting what a channel carries, to hold a run to its cost formulas. */

import { Decorator } from './decorator.ts';
import { FRAME_HEADER_BYTES, laneOf } from './frames.ts';
import type { Channel } from './index.ts';

/** What one side sent and received; bytes include the 16-byte frame headers. */
export interface Traffic {
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly framesSent: number;
  readonly framesReceived: number;
  /** Times a receive followed a send of its lane in this side's program order: each waits for the network twice. */
  readonly roundTrips: number;
}

/** A channel that counts. */
export interface CountedChannel extends Channel {
  /** The totals so far, of one lane or both. Take one before and one after a phase and give both to {@link trafficBetween}. */
  snapshot(lane?: 0 | 1): Traffic;
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
  readonly #lanes = [new Tally(), new Tally()] as const;

  snapshot(lane?: 0 | 1): Traffic {
    const [first, second] = this.#lanes;
    return lane === undefined ? sum(first, second) : sum(this.#lanes[lane], new Tally());
  }

  override send(kind: number, payload: Uint8Array): Promise<void> {
    const tally = this.#lanes[laneOf(kind)];
    tally.framesSent++;
    tally.bytesSent += FRAME_HEADER_BYTES + payload.length;
    tally.lastWasSend = true;
    return super.send(kind, payload);
  }

  override receive(kind: number, bytes: number): Promise<Uint8Array> {
    return this.#received(laneOf(kind), super.receive(kind, bytes));
  }

  override receiveUpTo(kind: number, limit: number): Promise<Uint8Array> {
    return this.#received(laneOf(kind), super.receiveUpTo(kind, limit));
  }

  async #received(lane: 0 | 1, arrival: Promise<Uint8Array>): Promise<Uint8Array> {
    const tally = this.#lanes[lane];
    // Decided when the call is made, not when the frame arrives: program order is what costs time.
    if (tally.lastWasSend) tally.roundTrips++;
    tally.lastWasSend = false;
    const payload = await arrival;
    tally.framesReceived++;
    tally.bytesReceived += FRAME_HEADER_BYTES + payload.length;
    return payload;
  }
}

/** What one lane has carried. */
class Tally {
  bytesSent = 0;
  bytesReceived = 0;
  framesSent = 0;
  framesReceived = 0;
  roundTrips = 0;
  lastWasSend = false;
}

function sum(a: Traffic, b: Traffic): Traffic {
  return {
    bytesSent: a.bytesSent + b.bytesSent,
    bytesReceived: a.bytesReceived + b.bytesReceived,
    framesSent: a.framesSent + b.framesSent,
    framesReceived: a.framesReceived + b.framesReceived,
    roundTrips: a.roundTrips + b.roundTrips,
  };
}
