/** Keeping a copy of what a channel carries: wire baselines, transcript tests. It holds everything in memory. */

import { Decorator } from '../../protocol/channel/decorator.ts';
import type { Channel } from '../../protocol/channel/index.ts';

/** One frame as this side saw it. */
export interface RecordedFrame {
  readonly direction: 'sent' | 'received';
  readonly kind: number;
  readonly payload: Uint8Array;
}

/** A channel with its transcript so far, in this side's order. */
export interface RecordedChannel extends Channel {
  readonly transcript: readonly RecordedFrame[];
}

/** Records the frames of `channel`, each payload as a copy. */
export function recorded(channel: Channel): RecordedChannel {
  return new Recorder(channel);
}

class Recorder extends Decorator implements RecordedChannel {
  readonly transcript: RecordedFrame[] = [];

  override send(kind: number, payload: Uint8Array): Promise<void> {
    this.transcript.push({ direction: 'sent', kind, payload: payload.slice() });
    return super.send(kind, payload);
  }

  override async receive(kind: number, bytes: number): Promise<Uint8Array> {
    return this.#note(kind, await super.receive(kind, bytes));
  }

  override async receiveUpTo(kind: number, limit: number): Promise<Uint8Array> {
    return this.#note(kind, await super.receiveUpTo(kind, limit));
  }

  #note(kind: number, payload: Uint8Array): Uint8Array {
    this.transcript.push({ direction: 'received', kind, payload: payload.slice() });
    return payload;
  }
}
