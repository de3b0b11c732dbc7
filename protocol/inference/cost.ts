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
import type { ActivationKind } from '../program/kinds.ts';
import { packedBytes } from '../ring/packing.ts';
import { sizeOf } from '../ring/shape.ts';
import {
  batchBytes,
  batchesOf,
  type LaneBatch,
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

/** What a lane sends. */
export interface LaneCost {
  readonly kind: ActivationKind;
  /** Of its activation layer, in order. */
  readonly layer: number;
  readonly offline: Bytes;
  readonly online: Bytes;
}

/**
 * The lanes of a program, in order. What a batch sends is its lanes' by what each would send without the others, rounded so that
 * the sum is exact.
 */
export function laneCosts(layout: Layout, otK: OtK = DEFAULT_OT_K): LaneCost[] {
  return batchesOf(layout).flatMap((batch) => {
    const { up, down } = batchCost(batch, otK);
    const alone = batch.map((lane) => batchCost([lane], otK));
    const offlineUp = shared(
      up,
      alone.map((lane) => lane.up),
    );
    const offlineDown = shared(
      down,
      alone.map((lane) => lane.down),
    );
    return batch.map((lane, i) => {
      const { material, result } = gadgetOf(lane).bytes(lane.params, lane.n);
      return {
        kind: lane.kind,
        layer: lane.layer,
        offline: { up: offlineUp[i]!, down: offlineDown[i]! },
        online: { up: wireBytes(result), down: wireBytes(material) },
      };
    });
  });
}

/** Whole parts of `total` in proportion to `weights`. */
function shared(total: number, weights: readonly number[]): number[] {
  const all = sum(weights, (weight) => weight);
  let before = 0;
  return weights.map((weight) => {
    const from = Math.round((total * before) / all);
    before += weight;
    return Math.round((total * before) / all) - from;
  });
}

/** The activation layers, each the sum of its lanes. */
function activationCosts(layout: Layout, otK: OtK): StepCost[] {
  const lanes = laneCosts(layout, otK);
  return layout.activations.map(({ step }, layer) => {
    const own = lanes.filter((lane) => lane.layer === layer);
    const bytes = (phase: 'offline' | 'online') => ({
      up: sum(own, (lane) => lane[phase].up),
      down: sum(own, (lane) => lane[phase].down),
    });
    return {
      name: step.name,
      op: 'activation',
      offline: bytes('offline'),
      online: bytes('online'),
    };
  });
}

/** Offline bytes of a batch. */
function batchCost(batch: LaneBatch, otK: OtK): Bytes {
  return {
    up:
      wireBytes(cotBytes(over(batch, labelCount), otK)) +
      wireBytes(batchBytes(batch, 'corrections')),
    down: drawnBytes(batch, otK) + wireBytes(batchBytes(batch, 'tables')),
  };
}

/** Of them those of the server's choices. */
function drawnBytes(batch: LaneBatch, otK: OtK): number {
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
  const steps = [...linears.map(linearCost), ...activationCosts(layout, otK)];
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
