/** From a scaled network to the steps and numbers of a model. */

import type { Model, StepWeights } from '../../protocol/program/model.ts';
import { checkModel } from '../../protocol/program/model.ts';
import type { Step } from '../../protocol/program/program.ts';
import { countKinds } from '../../protocol/program/program.ts';
import type { Calibration } from './calibrate.ts';
import type { ActivationNode, LinearNode } from './network.ts';
import { poolScale } from './network.ts';
import type { Settings } from './options.ts';
import type { Reach } from './precision.ts';
import { activationBits, activationReach, bitLimits, bitsOf } from './precision.ts';
import { linearWeights, norms, squareConstants } from './quantise.ts';
import type { CompileReport, LayerReport } from './report.ts';
import type { ScaledNetwork } from './scales.ts';
import type { SquarePlan } from './squares.ts';

/** k of a layer. @throws RangeError when it does not fit, with what would help */
function fittingBits(name: string, reach: Reach, fractionBits: number): number {
  const bits = bitsOf(reach, fractionBits);
  if (bits <= reach.limit) return bits;
  throw new RangeError(
    `layer "${name}" needs k = ${bits} bits, at most ${reach.limit} fit: its values reach ${reach.calibrated.toPrecision(3)} and have ${fractionBits} fractional bits with the shortest weights; use fewer activationBits or a lower minWeightBits, or train with a range penalty`,
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
): { model: Model; report: Omit<CompileReport, 'tolerance'> } {
  const made = activationBits(network, settings);
  const reaches = new Map<string, Reach>();
  for (const node of network.nodes) {
    if (node.op !== 'activation') continue;
    const plan = plans.get(node.id);
    const bits = made.get(node.id)!;
    reaches.set(node.id, activationReach(node, bits, network, plan, calibration, settings));
  }
  const limits = bitLimits(network, reaches, output);

  const steps: Step[] = [];
  const weights: StepWeights[] = [];
  const layers: LayerReport[] = [];
  const index = new Map<string, number>([[network.input.id, 0]]);
  const bits = new Map<string, number>([[network.input.id, settings.activationBits]]);
  const add = (id: string, step: Step, numbers: StepWeights, report: Partial<LayerReport>) => {
    const { name, op, fractionBits } = step;
    steps.push(step);
    weights.push(numbers);
    layers.push({ name, op, fractionBits, ...report });
    index.set(id, steps.length);
    bits.set(id, fractionBits);
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
    const step: Step = {
      op: 'linear',
      name: node.name,
      fractionBits,
      input: index.get(source)!,
      shape: node.layer,
      ...norms(node, numbers.kernel),
    };
    add(node.id, step, numbers, { weightBits });
  };

  const addActivation = (node: ActivationNode) => {
    const [source] = node.inputs;
    const before = bits.get(source)!;
    const fractionBits = made.get(node.id)!;
    const reach = reaches.get(node.id)!;
    const plan = plans.get(node.id);
    const rangeBits = fittingBits(node.name, reach, before);
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
        add(node.id, { op: 'sumPool', name, fractionBits, input, kernel, stride }, undefined, {});
        break;
      }
      case 'add': {
        const [x, y] = node.inputs;
        const fractionBits = Math.max(bits.get(x)!, bits.get(y)!);
        const inputs = [index.get(x)!, index.get(y)!] as const;
        const shifts = [fractionBits - bits.get(x)!, fractionBits - bits.get(y)!] as const;
        const step = { op: 'add', name, fractionBits, inputs, shifts, subtract: false } as const;
        add(node.id, step, undefined, {});
        break;
      }
    }
  }
  const fractionBits = bits.get(network.output)!;
  const rangeBits = fittingBits('output', output, fractionBits);
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
  const report = { images: calibration.images, weightBits: settings.weightBits, layers };
  return { model, report };
}
