/**
 * The check of a transcript: what arrived is what was sent, or the session ends.
 *
 * Each party keeps a running digest (random/running.ts) of the payloads it has sent and another of those it has received. A
 * seal is a frame with the first 16 bytes of its sender's digest, of all that went before it; the receiver compares it with the
 * digest of what it has received. A header needs none: kind and number of every frame are known before it arrives, and its
 * length is the frame's.
 *
 * A party seals at the end of a flight whose effect the other is about to believe. A flight without frames has no seal, and
 * both parties see that alike. Seals are not hashed themselves, and neither are ERROR frames.
 *
 * This finds damage, wherever between the two sessions it was done. It has no secret: against an attacker on the network
 * there is TLS.
 */

import { corrupted } from '../errors.ts';
import { RunningDigest } from '../random/running.ts';
import { Decorator } from './decorator.ts';
import type { Channel } from './index.ts';

/** Bytes of a seal's payload. AGREEMENT. */
export const SEAL_BYTES = 16;

/** A channel whose frames are sealed. */
export interface SealedChannel extends Channel {
  /** Seals what was sent so far; does nothing when nothing was sent since the last seal. */
  seal(): Promise<void>;

  /**
   * Takes the peer's seal of what has arrived so far; does nothing when nothing has arrived since the last one.
   * @throws ProtocolError `corrupted` when that is not what the peer sent: the channel is dead then
   */
  expectSeal(): Promise<void>;

  /** Another view of the same channel, with another patience say, under the same digests. */
  over(channel: Channel): SealedChannel;
}

/**
 * Seals the frames of `channel`, from the first on.
 * @param kind - of the frames that are seals
 */
export function sealed(channel: Channel, kind: number): SealedChannel {
  return new Sealer(channel, kind, { sent: new Running(), received: new Running() });
}

/** The digest of one direction. */
class Running {
  readonly #digest = new RunningDigest();
  /** Whether there is anything behind the last seal. */
  #open = false;

  add(payload: Uint8Array): void {
    this.#digest.add(payload);
    this.#open = true;
  }

  /** What the next seal must be; undefined when none is due. */
  take(): Uint8Array | undefined {
    const due = this.#open;
    this.#open = false;
    return due ? this.#digest.take().slice(0, SEAL_BYTES) : undefined;
  }
}

class Sealer extends Decorator implements SealedChannel {
  readonly #kind: number;
  readonly #directions: { readonly sent: Running; readonly received: Running };

  constructor(inner: Channel, kind: number, directions: { sent: Running; received: Running }) {
    super(inner);
    this.#kind = kind;
    this.#directions = directions;
  }

  over(channel: Channel): SealedChannel {
    return new Sealer(channel, this.#kind, this.#directions);
  }

  override send(kind: number, payload: Uint8Array): Promise<void> {
    const sending = super.send(kind, payload);
    // After the frame is on its way, which it travels meanwhile. Nobody may change a payload that was sent.
    if (payload instanceof Uint8Array) this.#directions.sent.add(payload);
    return sending;
  }

  override receive(kind: number, bytes: number): Promise<Uint8Array> {
    return this.#received(super.receive(kind, bytes));
  }

  override receiveUpTo(kind: number, limit: number): Promise<Uint8Array> {
    return this.#received(super.receiveUpTo(kind, limit));
  }

  async #received(arrival: Promise<Uint8Array>): Promise<Uint8Array> {
    const payload = await arrival;
    // Before the caller has it, who may change it.
    this.#directions.received.add(payload);
    return payload;
  }

  async seal(): Promise<void> {
    const seal = this.#directions.sent.take();
    if (seal !== undefined) await super.send(this.#kind, seal);
  }

  async expectSeal(): Promise<void> {
    const seal = this.#directions.received.take();
    if (seal === undefined) return;
    const claimed = await super.receive(this.#kind, SEAL_BYTES);
    if (claimed.every((byte, i) => byte === seal[i])) return;
    const error = corrupted();
    this.close(error);
    throw error;
  }
}
