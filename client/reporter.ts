/** What a session tells of its progress. */

import type { CountedChannel } from '../protocol/channel/counted.ts';

/**
 * What a session is doing. `connect`: reaching the server; `setup`: making keys; `hint`: fetching the model's hint, of which
 * `done` and `total` are bytes; `done`: a call has ended well.
 */
export type SessionPhase = 'connect' | 'setup' | 'hint' | 'prepare' | 'infer' | 'done';

/** How far it is. */
export interface SessionProgress {
  readonly phase: SessionPhase;
  /** Name of the program's step that is over; undefined where that is not what is counted. */
  readonly layer: string | undefined;
  /** Steps of the phase that are over, of `total`. */
  readonly done: number;
  readonly total: number;
  /** Bytes of the phase that have moved, both ways, of `bytesTotal`; that is undefined before the program is known. */
  readonly bytes: number;
  readonly bytesTotal: number | undefined;
  /** Bytes sent and received since the connection began. */
  readonly bytesUp: number;
  readonly bytesDown: number;
}

/** Progress callback. */
export type OnProgress = ((progress: SessionProgress) => void) | undefined;

/** Tells the progress of one call, phase after phase. */
export class Reporter {
  readonly #onProgress: OnProgress;
  #traffic: CountedChannel | undefined;
  #lane: 0 | 1 = 0;
  #phase: SessionPhase = 'connect';
  /** What had moved when the phase began, and what it will move. */
  #before = 0;
  #bytesTotal: number | undefined;

  constructor(onProgress: OnProgress) {
    this.#onProgress = onProgress;
  }

  /**
   * Counts what moves here from now on.
   * @param lane - the lane of the call (`OFFLINE` or `ONLINE` of link.ts), whose bytes are those of its phases
   */
  over(traffic: CountedChannel, lane: 0 | 1): void {
    this.#traffic = traffic;
    this.#lane = lane;
  }

  begin(phase: SessionPhase, bytesTotal?: number): void {
    this.#phase = phase;
    this.#before = this.#moved();
    this.#bytesTotal = bytesTotal;
  }

  report(done: number, total: number, layer?: string): void {
    if (this.#onProgress === undefined) return;
    const { bytesSent = 0, bytesReceived = 0 } = this.#traffic?.snapshot() ?? {};
    this.#onProgress({
      phase: this.#phase,
      layer,
      done,
      total,
      bytes: this.#moved() - this.#before,
      bytesTotal: this.#bytesTotal,
      bytesUp: bytesSent,
      bytesDown: bytesReceived,
    });
  }

  finish(): void {
    this.begin('done', 0);
    this.report(1, 1);
  }

  #moved(): number {
    const { bytesSent = 0, bytesReceived = 0 } = this.#traffic?.snapshot(this.#lane) ?? {};
    return bytesSent + bytesReceived;
  }
}
