/**
 * What a program costs: exact bytes on the wire (frame headers included) and round trips, by phase and by step, from the
 * public program alone. A test holds real runs to it exactly; the planner and the benchmarks use it. protocol/README, "Costs".
 */

import { SEAL_BYTES } from '../channel/sealed.ts';
import { argmax } from '../gadgets/argmax.ts';
import { gadgetOf, type Lane } from '../gadgets/index.ts';
import { logits } from '../gadgets/logits.ts';
import { bundleBytes } from '../linear/index.ts';
import { cotBytes } from '../ot/correlations.ts';
import { DEFAULT_OT_K, type OtK } from '../ot/groups.ts';
import { offsetMessageBytes } from '../ot/offsets.ts';
import { packedBytes } from '../ring/packing.ts';
import { sizeOf } from '../ring/shape.ts';
import {
  type Batch,
  batchBytes,
  batchesOf,
  type LaneShape,
  labelCount,
  over,
  productCount,
} from './batches.ts';
import { hintBytesOf } from './hint.ts';
import type { Layout, LinearLayout, OutputLayout } from './layout.ts';
import { COMMAND_BYTES, wireBytes } from './messages.ts';

/** Bytes from client to server and back. */
export interface Bytes {
  readonly up: number;
  readonly down: number;
}

/** One phase. */
export interface PhaseCost extends Bytes {
  /** Round trips on the critical path. */
  readonly rounds: number;
}

/** One step that sends anything. */
export interface StepCost {
  readonly name: string;
  readonly op: 'linear' | 'activation' | 'output';
  readonly offline: Bytes;
  readonly online: Bytes;
}

export interface Cost {
  /** Bytes of the model's hint, which a client fetches once and keeps, frame headers included. */
  readonly hint: number;
  readonly offline: PhaseCost;
  /** Of the offline bytes those of the server's choices, which may be drawn ahead: in the round trip of the bundle before. */
  readonly draw: Bytes;
  readonly online: PhaseCost;
  /** In order; what is left of a phase are commands, offsets, seals and, online, the masked input. */
  readonly steps: readonly StepCost[];
}

const none: Bytes = { up: 0, down: 0 };

/** Bytes of a flight with its seal; one without frames has none. */
const sealedBytes = (bytes: number): number => (bytes === 0 ? 0 : bytes + wireBytes(SEAL_BYTES));

function sum<T>(items: readonly T[], bytes: (item: T) => number): number {
  return items.reduce((total, item) => total + bytes(item), 0);
}

/** Of the first of the steps that are prepared together. */
function linearCost({ parts, plan }: LinearLayout): StepCost {
  const offline = { up: wireBytes(bundleBytes(plan)), down: 0 };
  return { name: parts[0]!.step.name, op: 'linear', offline, online: none };
}

/**
 * Bytes of one element of a full lane, both ways together, frame headers not counted: what choosing elements and their
 * numbers is priced with.
 */
export function elementBytes(
  lane: Pick<Lane, 'kind' | 'params'>,
  otK: OtK = DEFAULT_OT_K,
): { readonly offline: number; readonly online: number } {
  const { params } = lane;
  const gadget = gadgetOf(lane);
  const n = gadget.laneElements;
  const { corrections, tables, material, result } = gadget.bytes(params, n);
  const ots =
    cotBytes(n * gadget.labelCots(params), otK) + cotBytes(n * gadget.productCots(params), otK);
  const offline = ots + corrections + tables;
  return { offline: offline / n, online: (material + result) / n };
}

/**
 * What the batches cost each activation layer. A batch of several layers is theirs by their OTs, rounded so that the sum is
 * exact.
 */
function activationCosts(layout: Layout, batches: readonly Batch[], otK: OtK): StepCost[] {
  const { activations } = layout;
  const costs = activations.map(({ step, lanes }) => {
    const messages = (which: 'material' | 'result') =>
      sum(lanes, (lane) =>
        wireBytes(gadgetOf(lane).bytes(lane.params, lane.elements.length)[which]),
      );
    const online = { up: messages('result'), down: messages('material') };
    return { name: step.name, op: 'activation' as const, offline: { up: 0, down: 0 }, online };
  });
  for (const batch of batches) {
    const { up, down } = batchCost(batch, otK);
    const ots = (lane: LaneShape) => labelCount(lane) + productCount(lane);
    const all = over(batch, ots);
    let before = 0;
    for (const lane of batch) {
      const after = before + ots(lane);
      const share = (bytes: number) =>
        Math.round((bytes * after) / all) - Math.round((bytes * before) / all);
      const { offline } = costs[lane.layer]!;
      offline.up += share(up);
      offline.down += share(down);
      before = after;
    }
  }
  return costs;
}

/** Offline bytes of a batch. */
function batchCost(batch: Batch, otK: OtK): Bytes {
  return {
    up:
      wireBytes(cotBytes(over(batch, labelCount), otK)) +
      wireBytes(batchBytes(batch, 'corrections')),
    down: drawnBytes(batch, otK) + wireBytes(batchBytes(batch, 'tables')),
  };
}

/** Of them those of the server's choices. */
function drawnBytes(batch: Batch, otK: OtK): number {
  return wireBytes(cotBytes(over(batch, productCount), otK));
}

function outputCost({ step, logits: numbers, argmax: params }: OutputLayout, otK: OtK): StepCost {
  if (params === undefined) {
    const online = { up: 0, down: wireBytes(logits.bytes(numbers)) };
    return { name: step.name, op: 'output', offline: none, online };
  }
  const { tables, material } = argmax.bytes(params);
  return {
    name: step.name,
    op: 'output',
    offline: { up: wireBytes(cotBytes(argmax.labelCots(params), otK)), down: wireBytes(tables) },
    online: { up: 0, down: wireBytes(material) },
  };
}

/**
 * The cost of one bundle (offline, with the draw that may go ahead of it) and of one inference (online), where OTs are made
 * with `otK`.
 */
export function costOf(layout: Layout, otK: OtK = DEFAULT_OT_K): Cost {
  const { linears, activations, output, program, rings } = layout;
  const batches = batchesOf(layout);
  const steps = [...linears.map(linearCost), ...activationCosts(layout, batches, otK)];
  steps.push(outputCost(output, otK));
  const order = new Map(program.steps.map((step, i) => [step.name, i]));
  steps.sort((a, b) => order.get(a.name)! - order.get(b.name)!);
  const command = wireBytes(COMMAND_BYTES);
  const input = wireBytes(packedBytes(sizeOf(program.input.shape), rings[0]!));
  const garbled = activations.length > 0 || output.argmax !== undefined;
  const [request, answer, trees] = offsetMessageBytes(otK).map(wireBytes) as [
    number,
    number,
    number,
  ];
  const choices = sum(batches, (batch) => drawnBytes(batch, otK));
  const draw = { up: command + request, down: sealedBytes(answer + choices) };
  return {
    draw,
    hint: sealedBytes(wireBytes(hintBytesOf(layout))),
    offline: {
      // Nothing is answered where nothing is garbled.
      rounds: garbled ? 1 : 0.5,
      up: draw.up + sealedBytes(command + trees + sum(steps, ({ offline }) => offline.up)),
      down: draw.down + sealedBytes(sum(steps, ({ offline }) => offline.down) - choices),
    },
    online: {
      rounds: activations.length + 1,
      up: sealedBytes(command + input + sum(steps, ({ online }) => online.up)),
      down: sealedBytes(sum(steps, ({ online }) => online.down)),
    },
    steps,
  };
}
