/** Seals of a peer that means what it sends, whatever that is. */

import { Decorator } from '../../protocol/channel/decorator.ts';
import { laneOf } from '../../protocol/channel/frames.ts';
import type { Channel } from '../../protocol/channel/index.ts';
import { SEAL_BYTES } from '../../protocol/channel/sealed.ts';
import { Kind } from '../../protocol/inference/messages.ts';
import { RunningDigest } from '../../protocol/random/running.ts';

/** Seals of what comes out of `channel`, in place of those that went in: whoever changes frames can change seals. */
export function resealing(channel: Channel): void {
  const lanes = [new RunningDigest(), new RunningDigest()] as const;
  const add = (kind: number, payload: Uint8Array) => {
    lanes[laneOf(kind)].add(payload);
    return payload;
  };
  const { receive, receiveUpTo } = channel;
  channel.receiveUpTo = async (kind, limit) =>
    add(kind, await receiveUpTo.call(channel, kind, limit));
  channel.receive = async (kind, bytes) => {
    const payload = await receive.call(channel, kind, bytes);
    return isSeal(kind) ? lanes[laneOf(kind)].take().slice(0, SEAL_BYTES) : add(kind, payload);
  };
}

const isSeal = (kind: number) => kind === Kind.seal || kind === Kind.onlineSeal;

/** What is sent in place of a frame's payload, which is left as it is. */
export type Change = (kind: number, payload: Uint8Array) => Uint8Array;

/** `channel` for a party that sends something else than it computes, and seals that. */
export function changing(channel: Channel, change: Change): Channel {
  return new Changer(channel, change);
}

class Changer extends Decorator {
  readonly #change: Change;
  readonly #lanes = [new RunningDigest(), new RunningDigest()] as const;

  constructor(channel: Channel, change: Change) {
    super(channel);
    this.#change = change;
  }

  override send(kind: number, payload: Uint8Array): Promise<void> {
    const running = this.#lanes[laneOf(kind)];
    if (isSeal(kind)) {
      return super.send(kind, this.#change(kind, running.take().slice(0, SEAL_BYTES)));
    }
    const changed = this.#change(kind, payload);
    running.add(changed);
    return super.send(kind, changed);
  }
}
