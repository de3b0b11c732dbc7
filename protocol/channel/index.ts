/**
 * Channels: how frames travel between the two parties.
 *
 * Contract
 * - A channel carries frames in order, each with a kind (0..253, the layer above gives them meaning) and a payload.
 *   It knows nothing of what it carries. Kinds from 32 to 63 are a lane of their own: two conversations may go on at a time, each received in its own order.
 * - The receiver always knows what comes next: {@link Channel.receive} names the kind and the exact length, computed
 *   from our own parameters and never read from the peer. Anything else is a {@link ProtocolError} `bad-message`.
 * - One reader of each lane: a second receive() while one is waiting is our own mistake, a TypeError; the channel lives on.
 *   send() may overlap with anything; frames leave in the order of the calls.
 * - After an error the channel is dead: the peer is told in one general sentence (an ERROR frame), the transport closes,
 *   and every call, waiting or later, rejects with that same error. A session on a dead channel is over; what it had
 *   started to use of its one-time material is spent.
 * - When the *peer* ends the channel, what it sent before is still delivered; then calls reject with its reason.
 * - Memory is bounded: a sender waits when the transport is full, a receiver's transport pauses when frames pile up.
 *
 * Implementations: `memoryPair` (memory.ts), `socketChannel` (websocket.ts, the WebSocket of a browser or of `ws`).
 * Decorators: `counted`, `delayed`, `sealed`; lifetimes: `withSignal`, `withTimeout` (lifetime.ts).
 * Control messages, the few that are not fixed-layout bytes, are encoded by codec.ts.
 */

export {
  FRAME_HEADER_BYTES,
  MAX_FRAME_BYTES,
  MAX_PAYLOAD_BYTES,
} from './frames.ts';

/** One end of a two-party connection. */
export interface Channel {
  /**
   * Sends one frame. The payload is the channel's from here on: it may leave later, and nobody may change it any more.
   * @param kind - 0..253
   * @param payload - at most `MAX_PAYLOAD_BYTES`
   * @returns when the transport accepts more
   * @throws TypeError, RangeError for a kind or payload that no frame can hold
   * @throws the channel's error when it is dead or dies while the transport is full
   */
  send(kind: number, payload: Uint8Array): Promise<void>;

  /**
   * The payload of the next frame, which must have this kind and exactly this many bytes.
   * It is the caller's own: 16-byte aligned, in a buffer that nothing else refers to.
   * @throws ProtocolError `bad-message` when another frame comes: the channel is dead then
   */
  receive(kind: number, bytes: number): Promise<Uint8Array>;

  /** Like receive, for a control frame of any length up to `limit` bytes. */
  receiveUpTo(kind: number, limit: number): Promise<Uint8Array>;

  /**
   * Ends the channel from this side; a second call does nothing.
   * @param reason - what waiting and later calls reject with, told to the peer in general terms; without it the end is
   * orderly: frames already sent still arrive, and calls reject with ProtocolError `closed`
   */
  close(reason?: Error): void;

  /** Resolves once the channel has ended: with the error that ended it, or undefined after an orderly close(). */
  readonly closed: Promise<Error | undefined>;
}
