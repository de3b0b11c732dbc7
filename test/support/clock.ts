/** Time that passes only when everybody waits: what a network takes, without the computing and without the waiting. */

import type { Clock } from '../../protocol/channel/delayed.ts';

export class VirtualClock implements Clock {
  #now = 0;
  #waiting: { time: number; wake: () => void }[] = [];
  #turning = false;

  now(): number {
    return this.#now;
  }

  sleepUntil(time: number): Promise<void> {
    if (time <= this.#now) return Promise.resolve();
    return new Promise((wake) => {
      this.#waiting.push({ time, wake });
      this.#turn();
    });
  }

  /** When nothing is left to do in this turn of the event loop, the time of the next who waits has come. */
  #turn(): void {
    if (this.#turning) return;
    this.#turning = true;
    setImmediate(() => {
      this.#turning = false;
      this.#now = Math.min(...this.#waiting.map(({ time }) => time));
      const due = this.#waiting.filter(({ time }) => time <= this.#now);
      this.#waiting = this.#waiting.filter(({ time }) => time > this.#now);
      for (const { wake } of due) wake();
      if (this.#waiting.length > 0) this.#turn();
    });
  }
}
