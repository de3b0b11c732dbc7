/** From a scaled network to the steps and numbers of a model. */

import type { Model, StepWeights } from '../../protocol/program/model.ts';
import { checkModel } from '../../protocol/program/model.ts';
import type { LinearStep, Step } from '../../protocol/program/program.ts';
import { countKinds } from '../../protocol/program/program.ts';
import type { Calibration } from './calibrate.ts';
import type { ActivationNode, LinearNode, MaxPoolNode, Network } from './network.ts';
import { poolScale, shapesOf } from './network.ts';
import { RangeMisfit, type Settings } from './options.ts';
import type { Reach } from './precision.ts';
import {
  activationBits,
  activationReach,
  bitLimits,
  bitSources,
  bitsOf,
  maxPoolReach,
} from './precision.ts';
import { linearWeights, norms, squareConstants } from './quantise.ts';
import type { CompileReport, LayerReport } from './report.ts';
import { encryptionOf } from './report.ts';
import type { ScaledNetwork } from './scales.ts';
import type { SquarePlan } from './squares.ts';
import { tournament } from './tournament.ts';

/**
 * k of a layer that reads `value`.
 * @throws RangeMisfit when it does not fit, with what would help
 */
function fittingBits(
  network: Network,
  name: string,
  value: string,
  reach: Reach,
  fractionBits: number,
): number {
  const bits = bitsOf(reach, fractionBits);
  if (bits <= reach.limit) return bits;
  throw new RangeMisfit(
    `layer "${name}" needs k = ${bits} bits, at most ${reach.limit} fit: its values reach ${reach.calibrated.toPrecision(3)} and have ${fractionBits} fractional bits with the shortest weights; use fewer activationBits or a lower minWeightBits, or train with a range penalty`,
    bitSources(network, value),
  );
}

/** Calibrated part of the range that k and t leave. */
function usedPart(reach: Reach, fractionBits: number, k: number, t: number): number {
  return (reach.calibrated * 2 ** fractionBits) / (2 ** (k - 1) - 2 ** t);
}

/** Builds the model of a network. */
export function emit(
  network: ScaledNetwork,
  plans: ReadonlyMap<string, SquarePlan>,
  output: Reach,
  calibration: Calibration,
  settings: Settings,
  lowered: ReadonlyMap<string, number>,
): { model: Model; report: Omit<CompileReport, 'tolerance'> } {
  const made = activationBits(network, settings, lowered);
  const reaches = new Map<string, Reach>();
  for (const node of network.nodes) {
    if (node.op === 'maxPool') {
      reaches.set(node.id, maxPoolReach(node, network, calibration, settings));
    } else if (node.op === 'activation') {
      const plan = plans.get(node.id);
      const bits = made.get(node.id)!;
      reaches.set(node.id, activationReach(node, bits, network, plan, calibration, settings));
    }
  }
  const limits = bitLimits(network, reaches, output);
  const shapes = shapesOf(network);

  const steps: Step[] = [];
  const weights: StepWeights[] = [];
  const layers: LayerReport[] = [];
  const index = new Map<string, number>([[network.input.id, 0]]);
  const bits = new Map<string, number>([[network.input.id, settings.activationBits]]);
  /** Appends a step; steps without a report are parts of another's work. */
  const push = (step: Step, numbers?: StepWeights, report?: Partial<LayerReport>): number => {
    const { name, op, fractionBits } = step;
    steps.push(step);
    weights.push(numbers);
    if (report) layers.push({ name, op, step: steps.length - 1, fractionBits, ...report });
    return steps.length;
  };
  const add = (
    id: string,
    step: Step,
    numbers?: StepWeights,
    report: Partial<LayerReport> = {},
  ) => {
    index.set(id, push(step, numbers, report));
    bits.set(id, step.fractionBits);
  };
  /** Value `id` with `wanted` fractional bits, no fewer than it has: (x << s) + 0, where 0 = x - x. */
  const shifted = (id: string, layer: string, wanted: number): number => {
    const input = index.get(id)!;
    const shift = wanted - bits.get(id)!;
    if (shift === 0) return input;
    const step = { op: 'add', name: `${layer}.align`, subtract: false } as const;
    const inputs = [input, input] as const;
    const fractionBits = bits.get(id)!;
    const zero = push({ ...step, fractionBits, inputs, shifts: [0, 0], subtract: true });
    const shifts = [shift, shift] as const;
    return push({ ...step, fractionBits: wanted, inputs: [input, zero], shifts });
  };

  const addLinear = (node: LinearNode) => {
    const [source] = node.inputs;
    const before = bits.get(source)!;
    const room = limits.get(node.id)! - before;
    const weightBits = Math.max(settings.minWeightBits, Math.min(settings.weightBits, room));
    const fractionBits = before + weightBits;
    const { scales } = network;
    const numbers = linearWeights(
      node,
      scales.get(source)!,
      scales.get(node.id)!,
      weightBits,
      fractionBits,
    );
    const step: LinearStep = {
      op: 'linear',
      name: node.name,
      fractionBits,
      input: index.get(source)!,
      shape: node.layer,
      ...norms(node, numbers.kernel),
    };
    add(node.id, step, numbers, { weightBits, encryption: encryptionOf(step) });
  };

  const addActivation = (node: ActivationNode) => {
    const [source] = node.inputs;
    const before = bits.get(source)!;
    const fractionBits = made.get(node.id)!;
    const reach = reaches.get(node.id)!;
    const plan = plans.get(node.id);
    const rangeBits = fittingBits(network, node.name, source, reach, before);
    const dropBits = reach.dropBits(before);
    const step: Step = {
      op: 'activation',
      name: node.name,
      fractionBits,
      input: index.get(source)!,
      kinds: node.kinds,
      rangeBits,
      dropBits,
      shift: before - fractionBits,
      // X keeps g bits, 2g + j = fractionBits.
      squareShift: plan === undefined ? 0 : before - (fractionBits - plan.exponent) / 2,
    };
    const numbers = plan && squareConstants(plan, before, fractionBits);
    const { relu: relus, square: squares, identity: identities } = countKinds(node.kinds);
    const used = usedPart(reach, before, rangeBits, dropBits);
    add(node.id, step, numbers, { rangeBits, dropBits, used, relus, squares, identities });
  };

  const addMaxPool = (node: MaxPoolNode) => {
    const [source] = node.inputs;
    const fractionBits = bits.get(source)!;
    const reach = reaches.get(node.id)!;
    const rangeBits = fittingBits(network, node.name, source, reach, fractionBits);
    const dropBits = reach.dropBits(fractionBits);
    const used = usedPart(reach, fractionBits, rangeBits, dropBits);
    const comparison = { fractionBits, rangeBits, dropBits };
    const made = tournament(node, index.get(source)!, shapes.get(source)!, comparison, (step) => {
      if (step.op !== 'activation') return push(step);
      return push(step, undefined, { rangeBits, dropBits, used, relus: step.kinds.length });
    });
    index.set(node.id, made);
    bits.set(node.id, fractionBits);
  };

  for (const node of network.nodes) {
    const { name } = node;
    switch (node.op) {
      case 'linear':
        addLinear(node);
        break;
      case 'activation':
        addActivation(node);
        break;
      case 'pool': {
        const [source] = node.inputs;
        const fractionBits = bits.get(source)! + poolScale(node).bits;
        const { kernel, stride } = node;
        const input = index.get(source)!;
        add(node.id, { op: 'sumPool', name, fractionBits, input, kernel, stride });
        break;
      }
      case 'add': {
        const [x, y] = node.inputs;
        const fractionBits = Math.max(bits.get(x)!, bits.get(y)!);
        const inputs = [index.get(x)!, index.get(y)!] as const;
        const shifts = [fractionBits - bits.get(x)!, fractionBits - bits.get(y)!] as const;
        const step = { op: 'add', name, fractionBits, inputs, shifts, subtract: false } as const;
        add(node.id, step);
        break;
      }
      case 'maxPool':
        addMaxPool(node);
        break;
      case 'concat': {
        const fractionBits = Math.max(...node.inputs.map((id) => bits.get(id)!));
        const inputs = node.inputs.map((id) => shifted(id, name, fractionBits));
        add(node.id, { op: 'concat', name, fractionBits, inputs });
        break;
      }
      case 'slice': {
        const [source] = node.inputs;
        const { start, step, shape: size } = node;
        const base = { name, fractionBits: bits.get(source)!, input: index.get(source)! };
        add(node.id, { ...base, op: 'slice', start, step, size });
        break;
      }
      case 'pad': {
        const [source] = node.inputs;
        const { before, after } = node;
        const base = { name, fractionBits: bits.get(source)!, input: index.get(source)! };
        add(node.id, { ...base, op: 'pad', before, after });
        break;
      }
    }
  }
  const fractionBits = bits.get(network.output)!;
  const rangeBits = fittingBits(network, 'output', network.output, output, fractionBits);
  const { name, reveal, labels } = settings;
  const input = index.get(network.output)!;
  add(
    'output',
    { op: 'output', name: 'output', fractionBits, input, reveal, rangeBits, tolerance: 0 },
    undefined,
    { rangeBits, used: usedPart(output, fractionBits, rangeBits, 0) },
  );

  const { shape, mean, std } = network.input;
  const model: Model = {
    program: {
      name,
      input: { shape, fractionBits: settings.activationBits, mean, std },
      steps,
      labels,
    },
    weights,
  };
  checkModel(model);
  const report = {
    images: calibration.images,
    activationBits: settings.activationBits,
    weightBits: settings.weightBits,
    layers,
  };
  return { model, report };
}
