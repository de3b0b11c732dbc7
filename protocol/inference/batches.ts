/**
 * Batches: lanes that are prepared together. A batch is one task of each party and one message of each sort offline, and its OTs
 * are one ticket in each direction: what a check of OTs costs is shared by lanes that are too small to bear it alone.
 */

import { gadgetOf, type Lane } from '../gadgets/index.ts';
import { COTS_PER_CHUNK } from '../ot/softspoken.ts';
import type { Layout } from './layout.ts';

/** What of a lane a task needs to know. */
export interface LaneShape extends Pick<Lane, 'kind' | 'params'> {
  /** Elements. */
  readonly n: number;
}

/** A lane among all lanes of a program. */
export interface BatchLane extends LaneShape {
  readonly elements: Uint32Array;
  /** Its number, in order: what its seeds are named by. */
  readonly at: number;
  /** Which activation layer it is of, in order. */
  readonly layer: number;
}

/** At least one lane; neighbours in the order of the program, of one layer or several. */
export type LaneBatch = readonly BatchLane[];

/** OTs of a lane: whole bytes of choices, so that those of a batch can be joined. */
const whole = (ots: number) => 8 * Math.ceil(ots / 8);

/** OTs in which the client chooses by bits of its shares. */
export const labelCount = ({ kind, params, n }: LaneShape): number =>
  whole(gadgetOf({ kind, params }).labelCots(params) * n);

/** OTs in which the server chooses at random. */
export const productCount = ({ kind, params, n }: LaneShape): number =>
  whole(gadgetOf({ kind, params }).productCots(params) * n);

/** The sum over the lanes of a batch. */
export function over(lanes: readonly LaneShape[], count: (lane: LaneShape) => number): number {
  return lanes.reduce((sum, lane) => sum + count(lane), 0);
}

/** Bytes of the lanes' offline messages, one after the other. */
export function batchBytes(lanes: readonly LaneShape[], which: 'corrections' | 'tables'): number {
  return over(lanes, ({ kind, params, n }) => gadgetOf({ kind, params }).bytes(params, n)[which]);
}

/** Most OTs of a batch of several lanes, both directions counted: about a chunk in each. AGREEMENT. */
export const BATCH_OTS: number = 2 * COTS_PER_CHUNK;

/** The batches of a program: as many lanes as have {@link BATCH_OTS} together. */
export function batchesOf({ activations }: Pick<Layout, 'activations'>): LaneBatch[] {
  const batches: BatchLane[][] = [];
  let room = 0;
  let at = 0;
  activations.forEach(({ lanes }, layer) => {
    for (const { kind, params, elements } of lanes) {
      const lane = { kind, params, elements, n: elements.length, at: at++, layer };
      const ots = labelCount(lane) + productCount(lane);
      const last = batches.at(-1);
      if (last !== undefined && ots <= room) {
        last.push(lane);
        room -= ots;
      } else {
        batches.push([lane]);
        room = BATCH_OTS - ots;
      }
    }
  });
  return batches;
}

/**
 * Cuts a message or array of a batch into the lanes' parts, in order.
 * @param length - of a lane's part
 */
export function cut<T extends LaneShape>(
  lanes: readonly T[],
  bytes: Uint8Array,
  length: (lane: T) => number,
): Uint8Array[] {
  let from = 0;
  return lanes.map((lane) => bytes.subarray(from, (from += length(lane))));
}

/** The lanes' parts one after the other. */
export function join(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const joined = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
