/**
 * The engine of every channel: sequence numbers, the queue of arrived frames, waiting callers and the one way to die.
 * A transport (memory, WebSocket) moves whole frames and knows nothing else.
 */

import { ProtocolError } from '../errors.ts';
import {
  BEAT_KIND,
  type ChannelFrame,
  decodeError,
  decodeFrame,
  ERROR_KIND,
  encodeError,
  encodeHeader,
  FRAME_HEADER_BYTES,
  laneOf,
  MAX_FRAME_BYTES,
  MAX_PAYLOAD_BYTES,
} from './frames.ts';
import type { Channel } from './index.ts';

/** What an endpoint asks of the thing that moves its frames. */
export interface Transport {
  /**
   * Takes one frame, to be moved in order; false when it is full, and then calls `drained()` once it is not. Both parts
   * are its own from here on: nobody changes them.
   */
  write(header: Uint8Array, payload: Uint8Array): boolean;
  /** Stops delivering, as far as it can; false when it cannot. */
  pause(): boolean;
  /** Delivers again. */
  resume(): void;
  /** Ends: `orderly` still moves what was written, otherwise soon. Nothing is called on the endpoint's side after it. */
  close(orderly: boolean): void;
}

/** Options of an endpoint. */
export interface EndpointOptions {
  /**
   * Bytes of arrived frames that may wait for receive() before the transport is paused. A transport that cannot pause
   * (a browser's WebSocket) is closed instead: give it what one phase of the protocol may send at most. LOCAL.
   */
  readonly maxQueuedBytes?: number;
  /**
   * Sends an empty frame so often, in ms, for a peer that waits for one: a browser sees nothing of a WebSocket's own pings.
   * None by default. LOCAL.
   */
  readonly beatMs?: number;
  /**
   * The channel dies, by `timeout`, when nothing has arrived for so long, in ms: the peer, which beats, or the link to it, is
   * gone. Covers the transfer of a whole frame. Never by default. LOCAL.
   */
  readonly silenceMs?: number;
}

/** Parts in which silence is measured: a thread that was held up for longer than all of them has missed one. LOCAL. */
const SILENCE_PARTS = 7;

const DEFAULT_QUEUED_BYTES = 64 * 1024 * 1024;

/** What a queued frame is counted with beside its bytes, so that a flood of empty frames is bounded too. LOCAL. */
const QUEUED_FRAME_BYTES = 512;

const queuedSize = (frame: ChannelFrame): number =>
  frame.payload.buffer.byteLength + QUEUED_FRAME_BYTES;

interface Waiter {
  resolve(): void;
  reject(error: Error): void;
}

/** Frames of one lane that have arrived, and who waits for the next. */
class Lane {
  readonly frames: ChannelFrame[] = [];
  reading = false;
  reader: Waiter | undefined;
}

/** A channel over a {@link Transport}, which calls `deliver`, `drained` and `ended`. */
export class Endpoint implements Channel {
  readonly closed: Promise<Error | undefined>;
  readonly #transport: Transport;
  readonly #maxQueuedBytes: number;
  /** Arrived frames, lane by lane. */
  readonly #queues: readonly Lane[] = [new Lane(), new Lane()];
  #queuedBytes = 0;
  #paused = false;
  #sent = 0;
  #delivered = 0;
  #writers: Waiter[] = [];
  /** Why the peer's side has ended. Frames that came before are still received. */
  #peerEnd: Error | undefined;
  /** Why this side is dead. */
  #death: Error | undefined;
  #announce!: (reason: Error | undefined) => void;
  readonly #timers: ReturnType<typeof setInterval>[] = [];
  /** Parts of the time of silence that have passed since the last arrival. */
  #silent = 0;

  constructor(transport: Transport, options: EndpointOptions = {}) {
    this.#transport = transport;
    this.#maxQueuedBytes = options.maxQueuedBytes ?? DEFAULT_QUEUED_BYTES;
    if (!(this.#maxQueuedBytes >= MAX_FRAME_BYTES)) {
      throw new RangeError(
        `maxQueuedBytes: expected room for a frame, at least ${MAX_FRAME_BYTES}, got ${options.maxQueuedBytes}`,
      );
    }
    this.closed = new Promise((resolve) => {
      this.#announce = resolve;
    });
    const { beatMs, silenceMs } = options;
    if (beatMs !== undefined) this.#every(beatMs, () => this.#beat());
    if (silenceMs !== undefined) {
      this.#every(silenceMs / SILENCE_PARTS, () => this.#listen(silenceMs));
    }
  }

  async send(kind: number, payload: Uint8Array): Promise<void> {
    if (!(payload instanceof Uint8Array)) {
      throw new TypeError('payload: expected a Uint8Array');
    }
    if (!(Number.isInteger(kind) && kind >= 0 && kind < BEAT_KIND)) {
      throw new RangeError(`kind: expected an integer from 0 to ${BEAT_KIND - 1}, got ${kind}`);
    }
    if (payload.length > MAX_PAYLOAD_BYTES) {
      throw new RangeError(
        `payload: expected at most ${MAX_PAYLOAD_BYTES} bytes, got ${payload.length}`,
      );
    }
    this.#requireOpen();
    if (this.#write(kind, payload)) return;
    // Writing may itself have found out that the channel is over; nobody would wake a writer then.
    this.#requireOpen();
    await new Promise<void>((resolve, reject) => {
      this.#writers.push({ resolve, reject });
    });
  }

  receive(kind: number, bytes: number): Promise<Uint8Array> {
    return this.#receive(kind, (length) => length === bytes, `${bytes} bytes`);
  }

  receiveUpTo(kind: number, limit: number): Promise<Uint8Array> {
    return this.#receive(kind, (length) => length <= limit, `at most ${limit} bytes`);
  }

  close(reason?: Error): void {
    if (reason) this.#die(reason, 'failed');
    else this.#die(new ProtocolError('closed', 'the channel was closed on this side'), 'orderly');
  }

  /** One frame arrived: `bytes` is alone in its buffer, from offset 0, and now belongs to this endpoint. */
  deliver(bytes: Uint8Array): void {
    this.deliverParts(bytes.subarray(0, FRAME_HEADER_BYTES), bytes.subarray(FRAME_HEADER_BYTES));
  }

  /** One frame arrived in two parts: `payload` is aligned in a separate buffer, which now belongs to this endpoint. */
  deliverParts(header: Uint8Array, payload: Uint8Array): void {
    if (this.#death || this.#peerEnd) return;
    this.#silent = 0;
    let frame: ChannelFrame;
    try {
      frame = decodeFrame(header, payload, this.#delivered);
    } catch (error) {
      this.#die(error as Error, 'failed');
      return;
    }
    this.#delivered = (this.#delivered + 1) >>> 0;
    if (frame.kind === ERROR_KIND) {
      this.ended(decodeError(frame.payload));
      return;
    }
    if (frame.kind === BEAT_KIND) {
      if (frame.payload.length === 0) return;
      this.#die(new ProtocolError('bad-message', 'expected an empty beat'), 'failed');
      return;
    }
    const lane = this.#queues[laneOf(frame.kind)]!;
    lane.frames.push(frame);
    this.#queuedBytes += queuedSize(frame);
    if (this.#queuedBytes > this.#maxQueuedBytes && !this.#paused) {
      this.#paused = this.#transport.pause();
      if (!this.#paused) {
        const limit = `at most ${this.#maxQueuedBytes} bytes ahead of their use`;
        this.#die(new ProtocolError('bad-message', `frames: expected ${limit}`), 'failed');
      }
    }
    const { reader } = lane;
    lane.reader = undefined;
    reader?.resolve();
  }

  /** The transport takes frames again. */
  drained(): void {
    const writers = this.#writers;
    this.#writers = [];
    for (const writer of writers) writer.resolve();
  }

  /** The peer's side or the connection is gone, for this reason. What has arrived is still handed out. */
  ended(reason: Error): void {
    if (this.#death || this.#peerEnd) return;
    this.#peerEnd = reason;
    this.#rejectWriters(reason);
    if (this.#isEmpty) this.#die(reason, 'ended');
    else this.#rejectReaders(reason);
  }

  get #isEmpty(): boolean {
    return this.#queues.every(({ frames }) => frames.length === 0);
  }

  async #receive(
    kind: number,
    fits: (length: number) => boolean,
    expected: string,
  ): Promise<Uint8Array> {
    const lane = this.#queues[laneOf(kind)]!;
    if (lane.reading) {
      throw new TypeError('receive: another receive() is still waiting on this lane');
    }
    lane.reading = true;
    try {
      const { kind: gotKind, payload } = await this.#next(lane);
      if (gotKind !== kind || !fits(payload.length)) {
        const error = new ProtocolError(
          'bad-message',
          `expected a frame of kind ${kind} with ${expected}, got kind ${gotKind} with ${payload.length} bytes`,
        );
        this.#die(error, 'failed');
        throw error;
      }
      if (this.#peerEnd && this.#isEmpty) this.#die(this.#peerEnd, 'ended');
      return payload;
    } finally {
      lane.reading = false;
    }
  }

  async #next(lane: Lane): Promise<ChannelFrame> {
    while (lane.frames.length === 0) {
      this.#requireOpen();
      await new Promise<void>((resolve, reject) => {
        lane.reader = { resolve, reject };
      });
    }
    const frame = lane.frames.shift()!;
    this.#queuedBytes -= queuedSize(frame);
    if (this.#paused && this.#queuedBytes <= this.#maxQueuedBytes / 2) {
      this.#paused = false;
      this.#transport.resume();
    }
    return frame;
  }

  #write(kind: number, payload: Uint8Array): boolean {
    const header = encodeHeader(kind, this.#sent, payload.length);
    this.#sent = (this.#sent + 1) >>> 0;
    return this.#transport.write(header, payload);
  }

  #every(ms: number, work: () => void): void {
    const timer = setInterval(work, ms);
    // What beats and listens keeps no process alive.
    (timer as { unref?(): void }).unref?.();
    this.#timers.push(timer);
  }

  /** A transport that is full has said enough. */
  #beat(): void {
    if (this.#writers.length === 0 && !this.#peerEnd) this.#write(BEAT_KIND, new Uint8Array(0));
  }

  #listen(ms: number): void {
    // A transport that is paused delivers nothing, and that is no fault of the peer's.
    if (this.#paused || ++this.#silent < SILENCE_PARTS) return;
    this.ended(
      new ProtocolError('timeout', `nothing came for ${ms / 1000} s: the connection is lost`),
    );
    this.#transport.close(false);
  }

  #requireOpen(): void {
    const end = this.#death ?? this.#peerEnd;
    if (end) throw end;
  }

  #rejectReaders(reason: Error): void {
    for (const lane of this.#queues) {
      lane.reader?.reject(reason);
      lane.reader = undefined;
    }
  }

  #rejectWriters(reason: Error): void {
    const writers = this.#writers;
    this.#writers = [];
    for (const writer of writers) writer.reject(reason);
  }

  /**
   * The one way to die.
   * @param how - `orderly`: by our close(); `failed`: we give up and tell the peer; `ended`: the peer did
   */
  #die(death: Error, how: 'orderly' | 'failed' | 'ended'): void {
    if (this.#death) return;
    // First of all, for a transport may call back while it is told.
    this.#death = death;
    for (const timer of this.#timers) clearInterval(timer);
    for (const { frames } of this.#queues) frames.length = 0;
    this.#queuedBytes = 0;
    if (how === 'failed' && !this.#peerEnd) this.#write(ERROR_KIND, encodeError(death));
    this.#transport.close(how === 'orderly');
    this.#rejectWriters(death);
    this.#rejectReaders(death);
    this.#announce(how === 'orderly' ? undefined : death);
  }
}
