/**
 * What a program costs: exact bytes on the wire (frame headers included) and round trips, by phase and by step, from the
 * public program alone. A test holds real runs to it exactly; the planner and the benchmarks use it. protocol/README, "Costs".
 */

import { argmax } from '../gadgets/argmax.ts';
import { gadgetOf, type Lane } from '../gadgets/index.ts';
import { logits } from '../gadgets/logits.ts';
import { bundleBytes } from '../linear/index.ts';
import { cotBytes } from '../ot/correlations.ts';
import { DEFAULT_OT_K, type OtK } from '../ot/softspoken.ts';
import { packedBytes } from '../ring/packing.ts';
import { sizeOf } from '../ring/shape.ts';
import { hintBytesOf } from './hint.ts';
import type { ActivationLayout, Layout, LinearLayout, OutputLayout } from './layout.ts';
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
  /** In order; what is left of a phase is the command frame and, online, the masked input. */
  readonly steps: readonly StepCost[];
}

const none: Bytes = { up: 0, down: 0 };

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
  const ots = gadget.labelCots(params) + gadget.productCots(params);
  const offline = cotBytes(n * ots, otK) + corrections + tables;
  return { offline: offline / n, online: (material + result) / n };
}

/** Bytes of the choices in all OTs of some lanes. */
function otBytes(
  lanes: readonly Lane[],
  perElement: 'labelCots' | 'productCots',
  otK: OtK,
): number {
  return sum(lanes, (lane) =>
    wireBytes(cotBytes(gadgetOf(lane)[perElement](lane.params) * lane.elements.length, otK)),
  );
}

function activationCost({ step, lanes }: ActivationLayout, otK: OtK): StepCost {
  const messages = (which: 'corrections' | 'tables' | 'material' | 'result') =>
    sum(lanes, (lane) => wireBytes(gadgetOf(lane).bytes(lane.params, lane.elements.length)[which]));
  return {
    name: step.name,
    op: 'activation',
    offline: {
      up: otBytes(lanes, 'labelCots', otK) + messages('corrections'),
      down: otBytes(lanes, 'productCots', otK) + messages('tables'),
    },
    online: { up: messages('result'), down: messages('material') },
  };
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
  const steps = [
    ...linears.map(linearCost),
    ...activations.map((layer) => activationCost(layer, otK)),
  ];
  steps.push(outputCost(output, otK));
  const order = new Map(program.steps.map((step, i) => [step.name, i]));
  steps.sort((a, b) => order.get(a.name)! - order.get(b.name)!);
  const command = wireBytes(COMMAND_BYTES);
  const input = wireBytes(packedBytes(sizeOf(program.input.shape), rings[0]!));
  const garbled = activations.length > 0 || output.argmax !== undefined;
  const draw = {
    up: command,
    down: sum(activations, ({ lanes }) => otBytes(lanes, 'productCots', otK)),
  };
  return {
    draw,
    hint: wireBytes(hintBytesOf(layout)),
    offline: {
      // Nothing is answered where nothing is garbled.
      rounds: garbled ? 1 : 0.5,
      up: 2 * command + sum(steps, ({ offline }) => offline.up),
      down: sum(steps, ({ offline }) => offline.down),
    },
    online: {
      rounds: activations.length + 1,
      up: command + input + sum(steps, ({ online }) => online.up),
      down: sum(steps, ({ online }) => online.down),
    },
    steps,
  };
}
