/** What a session sends and gets, for those who show it. */

import { type CountedChannel, counted, type Traffic } from '../protocol/channel/counted.ts';
import { Decorator } from '../protocol/channel/decorator.ts';
import type { Channel } from '../protocol/channel/index.ts';

/** A message of a session, as it is on the wire but for TLS. */
export interface WireMessage {
  /** Whether this side has sent it. */
  readonly sent: boolean;
  /** What it is: a number of `Kind` in protocol/inference/messages.ts. */
  readonly kind: number;
  /** A copy. */
  readonly payload: Uint8Array;
  /** What the link has moved, this message included. */
  readonly traffic: Traffic;
}

/** Shows every message of a channel, as a copy: a payload belongs to the channel once it is sent, and to the session once it has come. */
export function watched(channel: Channel, onMessage: (message: WireMessage) => void): Channel {
  return new Watcher(counted(channel), onMessage);
}

class Watcher extends Decorator {
  readonly #counted: CountedChannel;
  readonly #onMessage: (message: WireMessage) => void;

  constructor(channel: CountedChannel, onMessage: (message: WireMessage) => void) {
    super(channel);
    this.#counted = channel;
    this.#onMessage = onMessage;
  }

  override send(kind: number, payload: Uint8Array): Promise<void> {
    const copy = payload.slice();
    const sent = super.send(kind, payload);
    this.#tell(true, kind, copy);
    return sent;
  }

  override async receive(kind: number, bytes: number): Promise<Uint8Array> {
    const payload = await super.receive(kind, bytes);
    this.#tell(false, kind, payload.slice());
    return payload;
  }

  override async receiveUpTo(kind: number, limit: number): Promise<Uint8Array> {
    const payload = await super.receiveUpTo(kind, limit);
    this.#tell(false, kind, payload.slice());
    return payload;
  }

  #tell(sent: boolean, kind: number, payload: Uint8Array): void {
    this.#onMessage({ sent, kind, payload, traffic: this.#counted.snapshot() });
  }
}
