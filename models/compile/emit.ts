/** From a scaled network to the steps and numbers of a model. */

import { layerTolerance } from '../../protocol/linear/index.ts';
import { bitsBeyond, cutRoom } from '../../protocol/program/cut.ts';
import { countKinds } from '../../protocol/program/kinds.ts';
import { marginsOf } from '../../protocol/program/margins.ts';
import type { Model } from '../../protocol/program/model.ts';
import { checkModel } from '../../protocol/program/model.ts';
import type { LinearStep, Step } from '../../protocol/program/program.ts';
import { linearOutput, sizeOf } from '../../protocol/ring/shape.ts';
import type { Calibration } from './calibrate.ts';
import type { ActivationNode, LinearNode, MaxPoolNode, Network } from './network.ts';
import { shapesOf } from './network.ts';
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
import type { EmitReport } from './report.ts';
import type { ScaledNetwork } from './scales.ts';
import type { SquarePlan } from './squares.ts';
import { addLocal, StepList } from './steps.ts';
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
  shareError: number,
): number {
  const bits = bitsOf(reach, fractionBits, shareError);
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
): { model: Model; report: EmitReport } {
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

  const list = new StepList(network.input, settings.activationBits);

  /** What the shares of a value may err by. */
  const marginOf = (id: string) => marginsOf(list)[list.index(id)]!;

  const addLinear = (node: LinearNode) => {
    const [source] = node.inputs;
    const before = list.bits(source);
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
    const bounds = norms(node, numbers.kernel);
    const step: LinearStep = {
      op: 'linear',
      name: node.name,
      fractionBits,
      input: list.index(source),
      shape: node.layer,
      ...bounds,
      tolerance: layerTolerance(bounds.norm2, sizeOf(linearOutput(node.layer))),
    };
    list.add(node.id, step, numbers, { weightBits });
  };

  const addActivation = (node: ActivationNode) => {
    const [source] = node.inputs;
    const before = list.bits(source);
    const fractionBits = made.get(node.id)!;
    const reach = reaches.get(node.id)!;
    const plan = plans.get(node.id);
    const shareError = marginOf(source);
    const rangeBits = fittingBits(network, node.name, source, reach, before, shareError);
    const dropBits = reach.dropBits(before);
    const step: Step = {
      op: 'activation',
      name: node.name,
      fractionBits,
      input: list.index(source),
      kinds: node.kinds,
      rangeBits,
      dropBits,
      shift: before - fractionBits,
      // X keeps g bits, 2g + j = fractionBits.
      squareShift: plan === undefined ? 0 : before - (fractionBits - plan.exponent) / 2,
    };
    const numbers = plan && squareConstants(plan, before, fractionBits);
    const used = usedPart(reach, before, rangeBits, dropBits);
    list.add(node.id, step, numbers, { rangeBits, dropBits, used, ...countKinds(node.kinds) });
  };

  const addMaxPool = (node: MaxPoolNode) => {
    const [source] = node.inputs;
    const fractionBits = list.bits(source);
    const reach = reaches.get(node.id)!;
    const shareError = 2 * marginOf(source);
    const rangeBits = fittingBits(network, node.name, source, reach, fractionBits, shareError);
    const dropBits = reach.dropBits(fractionBits);
    const used = usedPart(reach, fractionBits, rangeBits, dropBits);
    const comparison = { fractionBits, rangeBits, dropBits };
    const made = tournament(node, list.index(source), shapes.get(source)!, comparison, (step) => {
      if (step.op !== 'activation') return list.push(step);
      return list.push(step, undefined, { rangeBits, dropBits, used, relus: step.kinds.length });
    });
    list.setValue(node.id, made, fractionBits);
  };

  for (const node of network.nodes) {
    switch (node.op) {
      case 'linear':
        addLinear(node);
        break;
      case 'activation':
        addActivation(node);
        break;
      case 'maxPool':
        addMaxPool(node);
        break;
      default:
        addLocal(list, node);
    }
  }
  const fractionBits = list.bits(network.output);
  const input = list.index(network.output);
  const numbers = { input: { fractionBits: settings.activationBits }, steps: list.steps };
  // Room for rounding is there for a label as well: its tolerance is measured on logits.
  const shareError = marginOf(network.output) + cutRoom(bitsBeyond(numbers, input));
  const rangeBits = fittingBits(
    network,
    'output',
    network.output,
    output,
    fractionBits,
    shareError,
  );
  const { name, reveal, labels, comparison } = settings;
  list.add(
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
      comparison,
      steps: list.steps,
      labels,
    },
    weights: list.weights,
  };
  checkModel(model);
  const report = {
    images: calibration.images,
    activationBits: settings.activationBits,
    weightBits: settings.weightBits,
    layers: list.layers,
  };
  return { model, report };
}
