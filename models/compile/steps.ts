/** The steps of a model while they are being made: which value each made, and with how many fractional bits. */

import type { StepWeights } from '../../protocol/program/model.ts';
import type { Step } from '../../protocol/program/program.ts';
import type { AddNode, ConcatNode, Network, PadNode, PoolNode, SliceNode } from './network.ts';
import { poolScale } from './network.ts';
import type { LayerReport } from './report.ts';

export class StepList {
  readonly steps: Step[] = [];
  readonly weights: StepWeights[] = [];
  readonly layers: LayerReport[] = [];
  /** Of the values that the network names; value 0 is the input. */
  readonly #values = new Map<string, { readonly index: number; readonly bits: number }>();

  constructor(input: Network['input'], fractionBits: number) {
    this.setValue(input.id, 0, fractionBits);
  }

  /** Number of the network's value `id`. */
  index(id: string): number {
    return this.#values.get(id)!.index;
  }

  /** Fractional bits of the network's value `id`. */
  bits(id: string): number {
    return this.#values.get(id)!.bits;
  }

  /** Says which value is the network's `id`. */
  setValue(id: string, index: number, bits: number): void {
    this.#values.set(id, { index, bits });
  }

  /** Appends a step, and gives the number of its value; steps without a report are parts of another's work. */
  push(step: Step, numbers?: StepWeights, report?: Partial<LayerReport>): number {
    const { name, op, fractionBits } = step;
    this.steps.push(step);
    this.weights.push(numbers);
    const own = { name, op, step: this.steps.length - 1, fractionBits };
    if (report) this.layers.push({ ...own, ...report });
    return this.steps.length;
  }

  /** Appends the step that makes the network's value `id`. */
  add(id: string, step: Step, numbers?: StepWeights, report: Partial<LayerReport> = {}): void {
    this.setValue(id, this.push(step, numbers, report), step.fractionBits);
  }

  /** Value `id` with `wanted` fractional bits, no fewer than it has: (x << s) + 0, where 0 = x - x. */
  aligned(id: string, layer: string, wanted: number): number {
    const input = this.index(id);
    const fractionBits = this.bits(id);
    const shift = wanted - fractionBits;
    if (shift === 0) return input;
    const step = { op: 'add', name: `${layer}.align`, subtract: false } as const;
    const inputs = [input, input] as const;
    const zero = this.push({ ...step, fractionBits, inputs, shifts: [0, 0], subtract: true });
    const shifts = [shift, shift] as const;
    return this.push({ ...step, fractionBits: wanted, inputs: [input, zero], shifts });
  }
}

/** Appends an operation that each party does on its share alone. */
export function addLocal(
  list: StepList,
  node: PoolNode | AddNode | ConcatNode | SliceNode | PadNode,
): void {
  const { id, name } = node;
  switch (node.op) {
    case 'pool': {
      const [source] = node.inputs;
      const fractionBits = list.bits(source) + poolScale(node).bits;
      const { kernel, stride } = node;
      const input = list.index(source);
      list.add(id, { op: 'sumPool', name, fractionBits, input, kernel, stride });
      break;
    }
    case 'add': {
      const [x, y] = node.inputs;
      const fractionBits = Math.max(list.bits(x), list.bits(y));
      const inputs = [list.index(x), list.index(y)] as const;
      const shifts = [fractionBits - list.bits(x), fractionBits - list.bits(y)] as const;
      list.add(id, { op: 'add', name, fractionBits, inputs, shifts, subtract: false });
      break;
    }
    case 'concat': {
      const fractionBits = Math.max(...node.inputs.map((input) => list.bits(input)));
      const inputs = node.inputs.map((input) => list.aligned(input, name, fractionBits));
      list.add(id, { op: 'concat', name, fractionBits, inputs });
      break;
    }
    case 'slice': {
      const [source] = node.inputs;
      const { start, step, shape: size } = node;
      const base = { name, fractionBits: list.bits(source), input: list.index(source) };
      list.add(id, { ...base, op: 'slice', start, step, size });
      break;
    }
    case 'pad': {
      const [source] = node.inputs;
      const { before, after } = node;
      const base = { name, fractionBits: list.bits(source), input: list.index(source) };
      list.add(id, { ...base, op: 'pad', before, after });
      break;
    }
  }
}
