/** Damage to files of any kind, for readers that should stand it. */

import { expect } from 'vitest';
import { isLong } from './long.ts';

/** How many damaged files a reader should stand. */
export const DAMAGED = 10_000;
/** How many of those a quick run of the tests tries. */
export const QUICK = isLong('onnx') ? DAMAGED : 600;
/** No file here may take more of the processor to read or refuse, in milliseconds; the wall clock would count others' work. */
const MOST_TIME = 50;
/** Nor make more bytes of arrays live, for files of a few thousand. */
const MOST_MEMORY = 2 ** 28;

/**
 * Damages files in turn and reads them; a value and a RangeError are both fine, nothing else is.
 * @param count of damaged files
 * @returns how many were refused
 */
export function readDamaged(
  files: readonly Uint8Array[],
  read: (bytes: Uint8Array) => unknown,
  count = DAMAGED,
): number {
  const next = integers(2026);
  let refused = 0;
  for (let i = 0; i < count; i++) {
    const bytes = damage(files[i % files.length]!, next);
    const before = process.memoryUsage().arrayBuffers;
    const attempt = () => {
      const start = process.cpuUsage();
      try {
        read(bytes);
      } catch (error) {
        if (!(error instanceof RangeError) || /call stack/.test(error.message)) throw error;
        refused++;
      }
      const { user, system } = process.cpuUsage(start);
      return (user + system) / 1000;
    };
    // Other threads of this process, which collect garbage and compile, may count in one attempt, but not in all of them.
    let time = attempt();
    for (let again = 0; again < 3 && time > MOST_TIME; again++) time = Math.min(time, attempt());
    expect(time, `file ${i}`).toBeLessThan(MOST_TIME);
    expect(process.memoryUsage().arrayBuffers - before, `file ${i}`).toBeLessThan(MOST_MEMORY);
  }
  return refused;
}

/** A small deterministic stream of integers 0 <= n < limit. */
export function integers(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    const mixed = Math.imul(state ^ (state >>> 13), 0x297a2d39) >>> 0;
    return ((mixed ^ (mixed >>> 16)) >>> 0) % limit;
  };
}

/** Numbers that break length fields: huge, negative, or just off. */
const EXTREMES: readonly (readonly number[])[] = [
  [0xff, 0xff, 0xff, 0xff, 0x0f],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
  [0xff, 0xff, 0xff, 0x7f],
  [0x00],
  [0x7f],
];

/** The file, damaged once to four times: bytes changed, cut, doubled, moved, or blown up. */
export function damage(file: Uint8Array, next: (limit: number) => number): Uint8Array {
  // A copy: slices of Node's buffers are views.
  let bytes = new Uint8Array(file);
  const splice = (at: number, remove: number, added: ArrayLike<number>) => {
    const changed = new Uint8Array(bytes.length - remove + added.length);
    changed.set(bytes.subarray(0, at));
    changed.set(Array.from(added), at);
    changed.set(bytes.subarray(at + remove), at + added.length);
    bytes = changed;
  };
  for (let times = 1 + next(4); times > 0 && bytes.length > 0; times--) {
    const at = next(bytes.length);
    const span = Math.min(1 + next(16), bytes.length - at);
    switch (next(8)) {
      case 0:
        bytes[at]! ^= 1 << next(8);
        break;
      case 1:
        bytes[at] = next(256);
        break;
      case 2:
        bytes[at]! += next(2) === 0 ? 1 : -1;
        break;
      case 3:
        bytes = bytes.slice(0, at);
        break;
      case 4:
        splice(at, span, []);
        break;
      case 5:
        splice(at, 0, bytes.slice(at, at + span));
        break;
      case 6:
        splice(at, 1, EXTREMES[next(EXTREMES.length)]!);
        break;
      default:
        splice(at, span, bytes.slice(next(bytes.length)).subarray(0, span));
    }
  }
  return bytes;
}
