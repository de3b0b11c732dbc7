/** Seals of a peer that means what it sends, whatever that is. */

import type { Channel } from '../../protocol/channel/index.ts';
import { SEAL_BYTES } from '../../protocol/channel/sealed.ts';
import { Kind } from '../../protocol/inference/messages.ts';
import { RunningDigest } from '../../protocol/random/running.ts';

/** Seals of what comes out of `channel`, in place of those that went in: whoever changes frames can change seals. */
export function resealing(channel: Channel): void {
  const running = new RunningDigest();
  const add = (payload: Uint8Array) => {
    running.add(payload);
    return payload;
  };
  const { receive, receiveUpTo } = channel;
  channel.receiveUpTo = async (...args) => add(await receiveUpTo.apply(channel, args));
  channel.receive = async (kind, bytes) => {
    const payload = await receive.call(channel, kind, bytes);
    return kind === Kind.seal ? running.take().slice(0, SEAL_BYTES) : add(payload);
  };
}
