/**
 * Bit planes: how the comparison keeps and sends the bits of many elements.
 *
 * A group is 128 elements; a plane is one bit of each of them, element i at bit i & 7 of byte i >> 3. In memory a plane is
 * 16 bytes and a group's planes stand one behind the other, group by group. On the wire the last group's planes are only as
 * long as its elements need, so that n elements take ceil(n / 8) bytes a plane.
 */

import { kernels } from '../kernels/index.ts';

/** Elements of a group. */
export const GROUP = 128;

/** Bytes of a plane in memory. */
export const PLANE_BYTES: number = GROUP / 8;

export function groupsOf(n: number): number {
  return Math.ceil(n / GROUP);
}

/** Bytes of `planes` planes of n elements in memory. */
export function heldBytes(planes: number, n: number): number {
  return planes * PLANE_BYTES * groupsOf(n);
}

/** Bytes of `planes` planes of n elements on the wire. */
export function sentBytes(planes: number, n: number): number {
  return planes * Math.ceil(n / 8);
}

/** What both forms share, and where their last group begins when it is not full: a plane there takes `rest` bytes. */
function split(planes: number, n: number): { whole: number; rest: number } {
  const whole = Math.floor(n / GROUP) * planes * PLANE_BYTES;
  return { whole, rest: Math.ceil((n % GROUP) / 8) };
}

/** Copies planes of n elements from kernel memory to where they are sent from. */
export function sendPlanes(pointer: number, planes: number, n: number, out: Uint8Array): void {
  const held = kernels().arena.u8(pointer, heldBytes(planes, n));
  const { whole, rest } = split(planes, n);
  out.set(held.subarray(0, whole));
  if (rest === 0) return;
  for (let plane = 0; plane < planes; plane++) {
    const from = whole + plane * PLANE_BYTES;
    out.set(held.subarray(from, from + rest), whole + plane * rest);
  }
}

/** Puts received planes of n elements into kernel memory; returns their pointer. */
export function receivePlanes(message: Uint8Array, planes: number, n: number): number {
  const { arena } = kernels();
  const pointer = arena.alloc(heldBytes(planes, n));
  const held = arena.u8(pointer, heldBytes(planes, n));
  const { whole, rest } = split(planes, n);
  held.set(message.subarray(0, whole));
  if (rest === 0) return pointer;
  held.fill(0, whole);
  for (let plane = 0; plane < planes; plane++) {
    const from = whole + plane * rest;
    held.set(message.subarray(from, from + rest), whole + plane * PLANE_BYTES);
  }
  return pointer;
}

/**
 * Planes of the bits `top`, `top - 1`, ... of each word in kernel memory.
 * @returns the pointer; the planes of a group are `count` in number
 */
export function planesOfWords(words: Int32Array, top: number, count: number): number {
  const { arena, compare } = kernels();
  const groups = groupsOf(words.length);
  const source = arena.alloc(4 * GROUP * groups);
  const padded = arena.i32(source, GROUP * groups);
  padded.set(words);
  padded.fill(0, words.length);
  const planes = arena.alloc(PLANE_BYTES * count * groups);
  compare.wordPlanes(planes, source, top, count, PLANE_BYTES * count, groups);
  return planes;
}
