/** Loaded before `sotto serve`: breaks something in it at SIGUSR2, or a thread at the start. Which is said by the variable FAULT. */

import { openSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isMainThread } from 'node:worker_threads';

/** The module as `require` gives it, where piscina looks. */
const threads = createRequire(import.meta.url)('node:worker_threads');
const workers = new Set();

const faults = {
  /** Threads end. */
  crash() {
    for (const worker of workers) void worker.terminate();
  },
  /** Threads end, and no file can be opened, which one in their place has to. */
  descriptors() {
    try {
      for (;;) openSync('/dev/null');
    } catch {
      faults.crash();
    }
  },
  exception() {
    throw new Error('nobody expected this');
  },
  rejection() {
    void Promise.reject(new Error('nobody waited for this'));
  },
};

if (isMainThread) {
  threads.Worker = class extends threads.Worker {
    constructor(...args) {
      super(...args);
      workers.add(this);
      this.once('exit', () => workers.delete(this));
      // The other one is well.
      if (process.env.FAULT === 'start' && workers.size === 2) void this.terminate();
    }
  };
  process.on('SIGUSR2', () => faults[process.env.FAULT]());
}
