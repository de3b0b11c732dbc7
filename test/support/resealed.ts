/** Seals of a peer that means what it sends, whatever that is. */

import type { Channel } from '../../protocol/channel/index.ts';
import { SEAL_BYTES } from '../../protocol/channel/sealed.ts';
import { Kind } from '../../protocol/inference/messages.ts';
import { BLAKE3_BYTES, blake3 } from '../../protocol/random/blake3.ts';

/** Seals of what comes out of `channel`, in place of those that went in: whoever changes frames can change seals. */
export function resealing(channel: Channel): void {
  let running: Uint8Array = new Uint8Array(BLAKE3_BYTES);
  const add = (payload: Uint8Array) => {
    running = blake3(payload, running);
    return payload;
  };
  const { receive, receiveUpTo } = channel;
  channel.receiveUpTo = async (...args) => add(await receiveUpTo.apply(channel, args));
  channel.receive = async (kind, bytes) => {
    const payload = await receive.call(channel, kind, bytes);
    return kind === Kind.seal ? running.slice(0, SEAL_BYTES) : add(payload);
  };
}
