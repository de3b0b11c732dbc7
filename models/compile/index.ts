/**
 * The compiler: from a float network to a program and its weights.
 *
 *   graph -> delay, fold -> network -> calibrate -> squares -> scales -> precision -> quantise, emit -> comparisons -> model
 *
 * - `compile` is pure; the same graph, images and options make the same model.
 * - What the model computes is defined by protocol/program/clear.ts, not here.
 * - A network that does not fit is refused with one sentence that names the layer and what would help.
 */

import { linearErrorsOf } from '../../protocol/inference/errors.ts';
import type { Model } from '../../protocol/program/model.ts';
import { encodeModel } from '../../protocol/program/model.ts';
import type { OutputStep } from '../../protocol/program/program.ts';
import { revealedLinears } from '../../protocol/program/revealed.ts';
import { measureErrors, measureTolerance, revealing } from '../../protocol/program/simulate.ts';
import { Prg } from '../../protocol/random/index.ts';
import type { Graph } from '../graph/index.ts';
import { countGraph, loadGraph } from '../graph/index.ts';
import { type Calibration, calibrate } from './calibrate.ts';
import { lowerComparisons, measureComparisons } from './comparisons.ts';
import { delayRelus } from './delay.ts';
import { emit } from './emit.ts';
import { fold } from './fold.ts';
import type { Network } from './network.ts';
import type { CompileOptions, Settings } from './options.ts';
import { RangeMisfit, rangeBitsOf, settingsOf } from './options.ts';
import { activationBits, leastBits, outputReach } from './precision.ts';
import { type CompileReport, type EmitReport, preparationsOf } from './report.ts';
import { scaleNetwork } from './scales.ts';
import type { SquarePlan } from './squares.ts';
import { planSquares } from './squares.ts';

export type { CompileOptions } from './options.ts';
export {
  type CompileReport,
  formatReport,
  type LayerReport,
  type Preparation,
} from './report.ts';

export interface Compiled {
  readonly model: Model;
  readonly report: CompileReport;
}

/**
 * Compiles a float network.
 * @param calibration sample images as runFloat takes them (preprocessed); ranges are measured on all of them
 * @throws RangeError when the graph is not sound, holds what no step stands for, or does not fit the ring
 */
export function compile(
  graph: Graph,
  calibration: Iterable<Float32Array>,
  options: CompileOptions = {},
): Compiled {
  const candidates = settingsOf(options);
  const ready = delayRelus(graph);
  const network = fold(ready);
  const images = [...calibration];
  const measured = calibrate(ready, network, images);
  const fitting = firstFit(network, measured, candidates);
  const inputs = (count: number) => quantised(fitting.model, images.slice(0, count));
  const { macs } = countGraph(graph);
  const few = inputs(toleranceImages(macs));
  const [{ margin }] = candidates;
  const { model, comparisons, before } =
    options.compareBits === 'auto'
      ? lowerComparisons(fitting.model, inputs(comparisonImages(macs)), { ...options, margin })
      : { ...fitting, comparisons: measureComparisons(fitting.model, few), before: undefined };
  const report = { ...reportOf(model, fitting.report), comparisons, comparedBefore: before };
  const finished = withTolerance(model, few);
  const { program } = finished;
  const { errorImages = 0 } = options;
  const errors =
    errorImages > 0 &&
    measureErrors(finished, inputs(errorImages), new Prg(ERROR_SEED), linearErrorsOf(program));
  const unit = 2 ** program.steps.at(-1)!.fractionBits;
  const preparations = preparationsOf(program);
  const layers = report.layers.map((layer) => ({
    ...layer,
    ...(preparations.has(layer.step) && { preparation: preparations.get(layer.step) }),
    ...(errors && errors[layer.step]! > 0 && { error: errors[layer.step]! / unit }),
  }));
  const { tolerance } = program.steps.at(-1) as OutputStep;
  return { model: finished, report: { ...report, layers, tolerance } };
}

/**
 * The model with its tolerance, measured on some inputs. Layers whose results reach the output without an activation get
 * noise of an eighth of what it is without.
 */
export function withTolerance(model: Model, inputs: readonly Int32Array[]): Model {
  const measure = (of: Model) =>
    measureTolerance(of, inputs, new Prg(TOLERANCE_SEED), linearErrorsOf(of.program));
  const revealed = revealedLinears(model.program);
  const output = model.program.steps.at(-1) as OutputStep;
  // A range that was chosen with a margin has room for an eighth of it; a larger one gets more bits.
  const wanted = Math.ceil(measure(model) / NOISE_SHARE);
  const noise = Math.min(wanted, 2 ** (Math.min(output.rangeBits, MOST_OUTPUT_BITS - 1) - 1));
  const range = 2 ** (output.rangeBits - 1);
  const rangeBits =
    noise <= range / 8
      ? output.rangeBits
      : Math.min(MOST_OUTPUT_BITS, rangeBitsOf(range - 1, 0, noise));
  const steps = model.program.steps.map((step, i) => {
    if (step.op === 'output') return { ...step, rangeBits };
    if (step.op !== 'linear' || !revealed.has(i)) return step;
    return { ...step, tolerance: Math.max(step.tolerance, noise) };
  });
  const noisy = { ...model, program: { ...model.program, steps } };
  return { ...noisy, program: revealing(noisy.program, { tolerance: measure(noisy) }) };
}

/** Widest range of the output. */
const MOST_OUTPUT_BITS = 31;

/** The part of the tolerance that the noise of layers takes whose results are revealed. SECURITY. */
const NOISE_SHARE = 8;

/** Bits that one activation layer may give to a range before all give one. LOCAL. */
const MOST_LOWERED = 3;

/**
 * The model of the first settings with which all ranges fit. Where there is a choice of settings, activation layers in
 * front of a range that does not fit give it their bits first.
 */
function firstFit(network: Network, measured: Calibration, candidates: readonly Settings[]) {
  let misfit: unknown;
  for (const settings of candidates) {
    const lowered = new Map<string, number>();
    for (;;) {
      try {
        return build(network, measured, settings, lowered);
      } catch (error) {
        if (!(error instanceof RangeMisfit)) throw error;
        misfit = error;
        const able = error.sources.filter((id) => (lowered.get(id) ?? 0) < MOST_LOWERED);
        if (candidates.length === 1 || able.length === 0) break;
        for (const id of able) lowered.set(id, (lowered.get(id) ?? 0) + 1);
      }
    }
  }
  throw misfit;
}

/** Chooses scales and bits for a network, and makes its model. */
function build(
  network: Network,
  measured: Calibration,
  settings: Settings,
  lowered: ReadonlyMap<string, number>,
) {
  const made = activationBits(network, settings, lowered);
  const least = leastBits(network, made, settings);
  const plans = new Map<string, SquarePlan>();
  for (const node of network.nodes) {
    if (node.op !== 'activation') continue;
    const arriving = least.get(node.inputs[0])!;
    const plan = planSquares(node, arriving, made.get(node.id)!, measured, settings);
    if (plan !== undefined) plans.set(node.id, plan);
  }
  const scaled = scaleNetwork(network, plans);
  const output = outputReach(network, measured, settings);
  return emit(scaled, plans, output, measured, settings, lowered);
}

/**
 * Calibration images on which the tolerance is measured: 32 of a small network, fewer of one whose runs take long (about
 * eight times a second for every 10^8 multiplications). LOCAL.
 */
function toleranceImages(macs: number): number {
  return Math.min(32, Math.max(2, Math.round(3e8 / macs)));
}

/** The same for `compareBits: 'auto'`: all of most networks. LOCAL. */
function comparisonImages(macs: number): number {
  return Math.max(16, Math.round(3e10 / macs));
}

/** The report of a model whose activation layers have other ranges than when the report was made. */
function reportOf({ program }: Model, report: EmitReport): EmitReport {
  const layers = report.layers.map((layer) => {
    const step = program.steps[layer.step]!;
    if (step.op !== 'activation') return layer;
    const { rangeBits, dropBits } = step;
    const room = (k: number, t: number) => 2 ** (k - 1) - 2 ** t;
    const reached = layer.used! * room(layer.rangeBits!, layer.dropBits!);
    return { ...layer, rangeBits, dropBits, used: reached / room(rangeBits, dropBits) };
  });
  return { ...report, layers };
}

/** Public: they draw simulated shares, no secret. */
const TOLERANCE_SEED = new Uint8Array(16);
const ERROR_SEED = new Uint8Array(16).fill(1);

/** Preprocessed images in the program's fixed point. */
function quantised({ program }: Model, images: readonly Float32Array[]): Int32Array[] {
  const unit = 2 ** program.input.fractionBits;
  return images.map((image) => Int32Array.from(image, (value) => Math.round(value * unit)));
}

/**
 * Compiles the bytes of a network file (models/graph) to the bytes of a `.sotto` file.
 * @throws RangeError as compile does, or when the file is not readable
 */
export function compileFile(
  file: Uint8Array,
  calibration: Iterable<Float32Array>,
  options: CompileOptions = {},
): { file: Uint8Array; report: CompileReport } {
  const { model, report } = compile(loadGraph(file), calibration, options);
  return { file: encodeModel(model), report };
}
