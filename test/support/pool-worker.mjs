/** The worker of the thread pool's tests: plain JavaScript, over the built package. */

import { threadId } from 'node:worker_threads';
import { ProtocolError } from '../../dist/protocol/errors.js';
import { serveTasks } from '../../dist/protocol/pool/node.js';

const kept = Int32Array.of(1, 2, 3, 4);

function spin(ms) {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/** Every behaviour, good and bad, a task can have. */
export const tasks = {
  square: (x) => x * x,
  arrays: (length) => ({
    whole: new Int32Array(length).fill(7),
    part: new Uint8Array(length).subarray(1),
    nested: [{ deep: new Float64Array(length) }],
  }),
  lengths: (arrays) => arrays.map(({ length }) => length),
  /** A part of an array that the worker goes on using. */
  lend: () => kept.subarray(1, 3),
  kept: () => kept.length,
  spin: (ms) => {
    spin(ms);
    return ms;
  },
  thread: (ms) => {
    spin(ms);
    return threadId;
  },
  range: () => {
    throw new RangeError('too far');
  },
  type: () => {
    throw new TypeError('not so');
  },
  protocol: () => {
    throw new ProtocolError('bad-point', 'the identity');
  },
  coded: () => {
    throw Object.assign(new RangeError('not there'), { name: 'CodedError', code: 'place' });
  },
  other: () => {
    throw 'a string';
  },
  unclonable: () => () => 1,
  exit: () => process.exit(3),
  /** Never ends, nor lets anything else run in its thread. */
  loop: () => {
    for (;;);
  },
};

export const run = serveTasks(tasks);
