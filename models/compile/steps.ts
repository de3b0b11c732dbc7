/** The steps of a model while they are being made: which value each made, and with how many fractional bits. */

import type { StepWeights } from '../../protocol/program/model.ts';
import type { Program, Step } from '../../protocol/program/program.ts';
import type { Shape } from '../../protocol/ring/shape.ts';
import type { FixedNetwork, NetworkNode } from './network.ts';
import { poolScale } from './network.ts';
import type { LayerReport } from './report.ts';

export class StepList {
  readonly steps: Step[] = [];
  readonly weights: StepWeights[] = [];
  readonly layers: LayerReport[] = [];
  /** Of the values that the network names; value 0 is the input. */
  readonly #values = new Map<string, { readonly index: number; readonly bits: number }>();

  /** The program's input. */
  readonly input: Pick<Program['input'], 'shape' | 'fractionBits'>;

  constructor(input: FixedNetwork['input'], fractionBits: number) {
    this.input = { shape: input.shape, fractionBits };
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

/** A node that each party runs on its share alone, and what costs nothing. */
export type LocalNode = Exclude<NetworkNode, { op: 'linear' | 'activation' | 'maxPool' }>;

/**
 * Appends the steps of a local node.
 * @param shapes of all values, by id
 */
export function addLocal(
  list: StepList,
  node: LocalNode,
  shapes: ReadonlyMap<string, Shape>,
): void {
  const { id, name, shape: size } = node;
  const [source] = node.inputs;
  const base = { name, fractionBits: list.bits(source), input: list.index(source) };
  switch (node.op) {
    case 'rescale':
      list.setValue(id, list.index(source), list.bits(source));
      break;
    case 'pool': {
      const { kernel, stride, pads } = node;
      const fractionBits = base.fractionBits + poolScale(node, shapes.get(source)!).bits;
      list.add(id, { ...base, op: 'sumPool', fractionBits, kernel, stride, pads });
      break;
    }
    case 'add': {
      const [x, y] = node.inputs;
      const fractionBits = Math.max(list.bits(x), list.bits(y));
      const inputs = [list.index(x), list.index(y)] as const;
      const shifts = [fractionBits - list.bits(x), fractionBits - list.bits(y)] as const;
      const { subtract } = node;
      list.add(id, { op: 'add', name, fractionBits, inputs, shifts, subtract });
      break;
    }
    case 'concat': {
      const fractionBits = Math.max(...node.inputs.map((input) => list.bits(input)));
      const inputs = node.inputs.map((input) => list.aligned(input, name, fractionBits));
      list.add(id, { op: 'concat', name, fractionBits, inputs });
      break;
    }
    case 'gather':
      list.add(id, { ...base, op: 'gather', size, tables: node.tables });
      break;
  }
}
