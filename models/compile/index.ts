/**
 * The compiler: from a float network to a program and its weights.
 *
 *   graph -> prepare (delay, fold) -> measure -> cheapest (merge, build: scales, settle, emit) -> comparisons -> fidelity -> model
 *
 * - `compile` is pure; the same graph, images and options make the same model.
 * - What the model computes is defined by protocol/program/clear.ts, not here.
 * - A network that does not fit is refused with one sentence that names the layer and what would help.
 */

import { linearErrorsOf } from '../../protocol/inference/errors.ts';
import { marginsOf } from '../../protocol/program/margins.ts';
import type { Model } from '../../protocol/program/model.ts';
import { encodeModel } from '../../protocol/program/model.ts';
import type { OutputStep, Program } from '../../protocol/program/program.ts';
import { revealedLinears } from '../../protocol/program/revealed.ts';
import { measureErrors, measureTolerance, revealing } from '../../protocol/program/simulate.ts';
import { Prg } from '../../protocol/random/index.ts';
import type { Graph } from '../graph/index.ts';
import { countGraph, loadGraph } from '../graph/index.ts';
import { buildCheapest } from './cheapest.ts';
import { lowerComparisons, measureComparisons } from './comparisons.ts';
import { delayRelus } from './delay.ts';
import { compare, encoded, refuseInfidelity } from './fidelity.ts';
import { fold } from './fold.ts';
import { type Measured, measure, type Wanted } from './measure.ts';
import type { FixedNetwork } from './network.ts';
import type { CompileOptions } from './options.ts';
import { rangeBitsOf, settingsOf } from './options.ts';
import { wantedOf } from './ranges.ts';
import { type CompileReport, type EmitReport, preparationsOf } from './report.ts';

export { type Extents, type Measured, measure, measureAll, type Wanted } from './measure.ts';
export { type CompileOptions, usualComparison } from './options.ts';
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

/** A graph made ready: what has to be measured of it before it is compiled. */
export interface Prepared {
  /** The graph to measure; it computes what the given one does. */
  readonly graph: Graph;
  readonly network: FixedNetwork;
  readonly wanted: ReadonlyMap<string, Wanted>;
}

/**
 * The first step of compiling: what {@link measure} takes.
 * @throws ModelError `network` when the graph is not sound, `argument` when an option is out of range: before anything is measured
 */
export function prepare(graph: Graph, options: CompileOptions = {}): Prepared {
  settingsOf(options);
  const ready = delayRelus(graph);
  const network = fold(ready);
  return { graph: ready, network, wanted: wantedOf(network) };
}

/**
 * Compiles a float network.
 * @param images sample images as runFloat takes them (preprocessed); ranges are measured on all of them
 * @throws ModelError `argument` when an option is out of range, `network` when the graph is not sound, `data` when there are no images
 *   or one does not fit, `fixed-point` when values do not fit their ranges, or results in fixed point are others
 */
export function compile(
  graph: Graph,
  images: Iterable<Float32Array>,
  options: CompileOptions = {},
): Compiled {
  const samples = [...images];
  const prepared = prepare(graph, options);
  const measured = measure(prepared.graph, prepared.wanted, samples);
  return compileMeasured(prepared, samples, measured, options);
}

/**
 * Compiles a network whose values were measured.
 * @param images those that were measured
 */
export function compileMeasured(
  { graph, network }: Prepared,
  images: readonly Float32Array[],
  measured: Measured,
  options: CompileOptions = {},
): Compiled {
  const candidates = settingsOf(options);
  const fitting = buildCheapest(graph, network, measured, candidates);
  const inputs = (count: number) =>
    images.slice(0, count).map((image) => encoded(graph, fitting.model, image));
  const { macs } = countGraph(graph);
  const few = inputs(toleranceImages(macs));
  const [{ margin, force }] = candidates;
  const { model, comparisons, before } =
    options.compareBits === 'auto'
      ? lowerComparisons(fitting.model, inputs(comparisonImages(macs)), { ...options, margin })
      : { ...fitting, comparisons: measureComparisons(fitting.model, few), before: undefined };
  const compared = images.slice(0, fidelityImages(macs));
  const fidelity = compare(graph, model, compared, measured.outputs);
  if (!force) refuseInfidelity(fidelity);
  const finished = withTolerance(model, few, fidelity.distance);
  const { program } = finished;
  const { errorImages = 0 } = options;
  const errors =
    errorImages > 0 &&
    measureErrors(
      finished,
      inputs(errorImages),
      new Prg(ERROR_SEED),
      linearErrorsOf(program),
      fitting.residues,
    );
  const unit = 2 ** Math.min(...program.results.map(({ bits }) => bits));
  const preparations = preparationsOf(program);
  const report = reportOf(model, fitting.report);
  const layers = report.layers.map((layer) => ({
    ...layer,
    ...(preparations.has(layer.step) && { preparation: preparations.get(layer.step) }),
    ...(errors && errors[layer.step]! > 0 && { error: errors[layer.step]! / unit }),
  }));
  const { tolerance } = program.steps.at(-1) as OutputStep;
  return {
    model: finished,
    report: { ...report, layers, tolerance, comparisons, comparedBefore: before, fidelity },
  };
}

/**
 * The model with its tolerance: how far a private run lies from a clear one, measured on some inputs, and a clear one from
 * the float network. Layers whose results reach the output without an activation get noise of an eighth of the former, as it
 * is without; less where sums of such layers would leave no range, and never less than a layer's errors ask for.
 * @param distance of a clear logit from the float network's, in units of the output's last place. Default: 0
 */
export function withTolerance(model: Model, inputs: readonly Int32Array[], distance = 0): Model {
  const measure = (of: Model) =>
    measureTolerance(of, inputs, new Prg(TOLERANCE_SEED), linearErrorsOf(of.program));
  const { program } = model;
  const output = program.steps.at(-1) as OutputStep;
  const most = 2 ** (Math.min(output.rangeBits, MOST_OUTPUT_BITS - 1) - 1);
  let noise = Math.min(Math.ceil(measure(model) / NOISE_SHARE), most);
  let noisy = withNoise(program, noise);
  // Sums of several such layers have the noise of all.
  for (; noise > 1 && outputMargin(noisy) > most; noisy = withNoise(program, noise)) noise /= 2;
  // A range that was chosen with a margin has room for an eighth of it; a larger one gets more bits.
  const range = 2 ** (output.rangeBits - 1);
  const margin = outputMargin(noisy);
  const rangeBits =
    margin <= Math.max(range / 8, outputMargin(program))
      ? output.rangeBits
      : Math.min(MOST_OUTPUT_BITS, rangeBitsOf(range - 1, 0, margin));
  const made = { ...model, program: revealing(noisy, { rangeBits }) };
  const tolerance = measure(made) + Math.ceil(distance);
  return { ...made, program: revealing(made.program, { tolerance }) };
}

/**
 * A program whose revealed layers may err by `noise`, in units of the output's last place: some of them have fewer fractional
 * bits than the output.
 */
function withNoise(program: Program, noise: number): Program {
  const revealed = revealedLinears(program);
  const { fractionBits } = program.steps.at(-1)!;
  const steps = program.steps.map((step, i) => {
    if (step.op !== 'linear' || !revealed.has(i)) return step;
    const own = Math.ceil(noise / 2 ** (fractionBits - step.fractionBits));
    return { ...step, tolerance: Math.max(step.tolerance, own) };
  });
  return { ...program, steps };
}

/** What shares of the output may err by. */
function outputMargin(program: Program): number {
  return marginsOf(program)[(program.steps.at(-1) as OutputStep).input]!;
}

/** Widest range of the output. */
const MOST_OUTPUT_BITS = 31;

/** The part of the tolerance that the noise of layers takes whose results are revealed. SECURITY. */
const NOISE_SHARE = 8;

/**
 * Calibration images on which the tolerance is measured: 32 of a small network, fewer of one whose runs take long (about
 * eight times a second for every 10^8 multiplications). LOCAL.
 */
function toleranceImages(macs: number): number {
  return Math.min(32, Math.max(2, Math.round(3e8 / macs)));
}

/** The same for comparing with float, one run each. LOCAL. */
function fidelityImages(macs: number): number {
  return Math.max(4, Math.round(3e10 / macs));
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

/**
 * Compiles the bytes of a network file (models/graph) to the bytes of a `.sotto` file.
 * @throws ModelError as compile does, `file` when the file is not readable
 */
export function compileFile(
  file: Uint8Array,
  calibration: Iterable<Float32Array>,
  options: CompileOptions = {},
): { file: Uint8Array; report: CompileReport } {
  const { model, report } = compile(loadGraph(file), calibration, options);
  return { file: encodeModel(model), report };
}
