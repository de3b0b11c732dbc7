/**
 * How many bits each ReLU layer compares, chosen by what comparing fewer does to the outputs.
 *
 * A ReLU compares bits t..k-1 of its input, m = k - 1 - t of them below the sign; inputs closer to zero than 2^t may be
 * taken for the other sign. Raising t saves bytes, and changes outputs by an error whose square grows about eight times
 * with each bit. So:
 *
 * 1. For each layer alone, and for each t, the mean squared error that it adds to the outputs is measured.
 * 2. From the model as it is, the layer whose next t saves the most bytes for the error it adds takes it, and so on, as
 *    long as the errors add up to no more than a bound: a part of the median distance between the two largest outputs.
 * 3. The result is tried as a whole, several runs on every image. If any image changes its label that kept it before, or
 *    the error is beyond the bound, step 2 is repeated with half the squared error.
 *
 * Runs are those of protocol/program/simulate.ts, with fixed seeds: the same model and inputs make the same choice.
 */

import { elementBytes } from '../../protocol/inference/cost.ts';
import { linearErrorsOf } from '../../protocol/inference/errors.ts';
import { interpret, nearest, type Rounding, runClear } from '../../protocol/program/clear.ts';
import { countKinds, kindOf, kindsIn, RELU } from '../../protocol/program/kinds.ts';
import { marginsOf } from '../../protocol/program/margins.ts';
import type { Model } from '../../protocol/program/model.ts';
import type { ActivationStep, Comparison } from '../../protocol/program/program.ts';
import { ringsOf } from '../../protocol/program/rings.ts';
import { revealing, runSimulated } from '../../protocol/program/simulate.ts';
import { deriveSeed, Prg } from '../../protocol/random/index.ts';
import { indexOfLargest } from '../../protocol/ring/tensor.ts';
import { rangeBitsOf } from './options.ts';

/** Largest error of an output (root mean square), as a part of the median distance between the two largest outputs. LOCAL. */
const ERROR_BOUND = 0.02;

/** Images on which each layer is measured alone: one in so many, and at most. LOCAL. */
const LAYER_SHARE = 8;
const LAYER_IMAGES = 32;

/** Runs of each image when the result is tried as a whole. LOCAL. */
const RUNS = 4;

/** How often the squared error is halved before the model is left as it is. LOCAL. */
const MOST_HALVED = 32;

/** Public: it draws simulated shares, no secret. */
const SEED = new Uint8Array(16).fill(2);

/**
 * Bytes of one ReLU of an activation layer, offline and online together.
 * @param outBits - bits of the ring in which the layer's result is shared
 */
export type ComparisonBytes = (
  step: ActivationStep,
  comparison: Comparison,
  outBits: number,
) => number;

/** m of a layer: the bits below the sign that its ReLUs compare. */
export function layerComparedBits({ rangeBits, dropBits }: ActivationStep): number {
  return rangeBits - 1 - dropBits;
}

/** The protocol's exact bytes. */
export const protocolComparisonBytes: ComparisonBytes = (
  { rangeBits, dropBits, shift },
  comparison,
  outBits,
) => {
  const params = { rangeBits, dropBits, shift, outBits, comparison };
  const { offline, online } = elementBytes({ kind: RELU, params });
  return offline + online;
};

/** What a model's comparisons cost, and what simulated private runs of some images made of its outputs. */
export interface ComparisonReport {
  /** Means over all ReLUs: m, and bytes offline and online together. */
  readonly comparedBits: number;
  readonly bytes: number;
  /** Images, and simulated runs of each. */
  readonly images: number;
  readonly runs: number;
  /** Images that had another label than the clear run's in any run. */
  readonly changed: number;
  /**
   * Root mean square of the difference between an output and the clear run's, as a part of the median distance between the
   * two largest outputs; of the output's own root mean square where there is one output.
   */
  readonly error: number;
}

/** An input, with what a clear run makes of it. */
interface Sample {
  readonly input: Int32Array;
  readonly seed: Uint8Array;
  readonly outputs: Int32Array;
  readonly label: number;
}

interface Runs {
  /** Mean squared error of an output, in units of its last place. */
  readonly squared: number;
  /** Whether each sample kept its label in all runs. */
  readonly kept: readonly boolean[];
}

/** A t that a layer may have, with the k it needs and the squared error it adds to the outputs. */
interface Choice {
  readonly step: ActivationStep;
  readonly squared: number;
}

export interface LowerOptions {
  /** Room beyond the largest inputs of each layer, as a factor: see CompileOptions. */
  readonly margin: number;
  readonly bytes?: ComparisonBytes;
  /** Hears what is being measured. An error it throws ends the search. */
  readonly onProgress?: ((what: string) => void) | undefined;
}

/**
 * Raises t of a model's ReLU layers as far as its outputs on these inputs allow; k where the range needs it. Nothing else
 * of the model changes.
 * @param inputs fixed-point inputs (see encodeInput), typical ones
 */
export function lowerComparisons(
  model: Model,
  inputs: readonly Int32Array[],
  { margin, bytes = protocolComparisonBytes, onProgress }: LowerOptions,
): { model: Model; before: ComparisonReport; comparisons: ComparisonReport } {
  // A choice for a layer may widen the ring of what the layer before makes, by a bit: that is left out here.
  const rings = ringsOf(model.program);
  const price = (layer: number, step: ActivationStep) =>
    bytes(step, model.program.comparison, rings[layer + 1]!);
  const samples = samplesOf(model, inputs);
  const scale = outputScale(samples);
  const limit = (ERROR_BOUND * scale) ** 2;
  const report = (of: Model, runs: Runs) => reportOf(of, runs, scale, bytes);

  onProgress?.('comparisons: the model as it is');
  const first = simulate(model, samples)!;
  const few = spread(samples, Math.min(LAYER_IMAGES, Math.ceil(samples.length / LAYER_SHARE)));
  const base = simulate(model, few, 1)!.squared;
  const largest = largestInputs(model, inputs);
  const shareErrors = marginsOf(model.program);
  const layers = new Map<number, readonly Choice[]>();
  for (const [i, step] of model.program.steps.entries()) {
    if (step.op !== 'activation' || !step.kinds.includes(RELU)) continue;
    const choices: Choice[] = [{ step, squared: 0 }];
    for (const lower of lowerSteps(step, margin * largest[i]! + shareErrors[step.input]!)) {
      if (price(i, lower) >= price(i, choices.at(-1)!.step)) continue;
      onProgress?.(`comparisons: ${step.name}, ${layerComparedBits(lower)} bits`);
      const changed = simulate(withSteps(model, new Map([[i, lower]])), few, 1)!;
      const squared = Math.max(0, changed.squared - base);
      if (base + squared > limit) break;
      choices.push({ step: lower, squared });
    }
    layers.set(i, choices);
  }

  let tried = '';
  for (let halved = 0; halved < MOST_HALVED; halved++) {
    const steps = choose(layers, (limit - base) / 2 ** halved, price);
    if (steps.size === 0) break;
    const names = [...steps.values()]
      .map((step) => `${step.name} ${layerComparedBits(step)}`)
      .join();
    if (names === tried) continue;
    tried = names;
    onProgress?.('comparisons: all layers together');
    const lowered = withSteps(model, steps);
    const runs = simulate(lowered, samples, RUNS, first.kept);
    if (runs !== undefined && runs.squared <= limit) {
      return { model: lowered, before: report(model, first), comparisons: report(lowered, runs) };
    }
  }
  const unchanged = report(model, first);
  return { model, before: unchanged, comparisons: unchanged };
}

/** What a model's comparisons cost, and what simulated private runs do to its outputs on these inputs. */
export function measureComparisons(
  model: Model,
  inputs: readonly Int32Array[],
  bytes: ComparisonBytes = protocolComparisonBytes,
): ComparisonReport {
  const samples = samplesOf(model, inputs);
  return reportOf(model, simulate(model, samples)!, outputScale(samples), bytes);
}

function reportOf(
  { program }: Model,
  { squared, kept }: Runs,
  scale: number,
  bytes: ComparisonBytes,
): ComparisonReport {
  let relus = 0;
  let bits = 0;
  let total = 0;
  const rings = ringsOf(program);
  for (const [i, step] of program.steps.entries()) {
    if (step.op !== 'activation') continue;
    const count = relusOf(step);
    relus += count;
    bits += count * layerComparedBits(step);
    total += count * bytes(step, program.comparison, rings[i + 1]!);
  }
  return {
    images: kept.length,
    runs: RUNS,
    changed: kept.filter((same) => !same).length,
    error: squared === 0 ? 0 : Math.sqrt(squared) / scale,
    comparedBits: relus === 0 ? 0 : bits / relus,
    bytes: relus === 0 ? 0 : total / relus,
  };
}

function relusOf({ kinds }: ActivationStep): number {
  return countKinds(kinds).relus;
}

/** The same model, revealing logits. */
function withLogits(model: Model): Model {
  return { ...model, program: revealing(model.program, { reveal: 'logits' }) };
}

function withSteps(model: Model, changed: ReadonlyMap<number, ActivationStep>): Model {
  const steps = model.program.steps.map((step, i) => changed.get(i) ?? step);
  return { ...model, program: { ...model.program, steps } };
}

function samplesOf(model: Model, inputs: readonly Int32Array[]): Sample[] {
  const logits = withLogits(model);
  return inputs.map((input, i) => {
    const outputs = runClear(logits, input, () => {});
    return {
      input,
      seed: deriveSeed(SEED, 'comparisons', i),
      outputs,
      label: indexOfLargest(outputs),
    };
  });
}

/** Up to `most` of the samples, evenly spread: images of a folder may come class by class. */
function spread(samples: readonly Sample[], most: number): Sample[] {
  const every = Math.max(1, samples.length / most);
  return Array.from(
    { length: Math.min(most, samples.length) },
    (_, i) => samples[Math.floor(i * every)]!,
  );
}

/**
 * What errors are compared with, in units of the outputs' last place: the median distance between the two largest outputs;
 * the root mean square of the output where there is only one.
 */
function outputScale(samples: readonly Sample[]): number {
  if (samples[0]!.outputs.length === 1) {
    const sum = samples.reduce((total, { outputs }) => total + outputs[0]! ** 2, 0);
    return Math.sqrt(sum / samples.length);
  }
  const distances = samples.map(({ outputs }) => {
    const [best, second] = outputs.toSorted((a, b) => b - a);
    return best! - second!;
  });
  return distances.sort((a, b) => a - b)[Math.floor(distances.length / 2)]!;
}

/**
 * Simulated private runs of samples.
 * @param keeping samples that have to keep their labels; where one does not, the rest is not run
 * @returns undefined where one did not
 */
function simulate(
  model: Model,
  samples: readonly Sample[],
  runs = RUNS,
  keeping?: readonly boolean[],
): Runs | undefined {
  const logits = withLogits(model);
  const errors = linearErrorsOf(model.program);
  let squares = 0;
  let count = 0;
  const kept: boolean[] = [];
  for (const { input, seed, outputs, label } of samples) {
    const random = new Prg(seed);
    let same = true;
    for (let run = 0; run < runs; run++) {
      const simulated = runSimulated(logits, input, random, errors);
      simulated.forEach((value, i) => {
        squares += (value - outputs[i]!) ** 2;
      });
      count += simulated.length;
      same &&= indexOfLargest(simulated) === label;
    }
    if (!same && keeping?.[kept.length]) return undefined;
    kept.push(same);
  }
  return { squared: squares / count, kept };
}

/** Largest magnitude that each activation step reads, by its index; 0 for other steps. */
function largestInputs(model: Model, inputs: readonly Int32Array[]): number[] {
  const largest = model.program.steps.map(() => 0);
  let at = 0;
  const seen = (x: number) => {
    largest[at] = Math.max(largest[at]!, Math.abs(x));
  };
  const rounding: Rounding = {
    ...nearest,
    truncate(x, bits) {
      seen(x);
      return nearest.truncate(x, bits);
    },
    positive(x, dropBits) {
      seen(x);
      return nearest.positive(x, dropBits);
    },
  };
  for (const input of inputs) {
    at = 0;
    // The interpreter tells of every step it has made, in order.
    interpret(model, input, rounding, () => {
      at++;
    });
  }
  return largest;
}

/**
 * The step with fewer and fewer compared bits, each time with the smallest t that has so few.
 * @param reach magnitude that its range has to hold, the error of shares included
 */
function* lowerSteps(step: ActivationStep, reach: number): Generator<ActivationStep> {
  let fewest = layerComparedBits(step);
  for (let dropBits = step.dropBits + 1; ; dropBits++) {
    // Never narrower than it was: what fixed-point runs read may be less than what calibration allowed for.
    const rangeBits = Math.max(step.rangeBits, rangeBitsOf(reach, dropBits));
    const lower = { ...step, rangeBits, dropBits };
    if (!fits(lower)) return;
    if (layerComparedBits(lower) >= fewest) continue;
    fewest = layerComparedBits(lower);
    yield lower;
  }
}

/** Whether a step's numbers are what its kinds allow. */
function fits(step: ActivationStep): boolean {
  const fraction = step.fractionBits + step.shift;
  return (
    step.dropBits <= step.rangeBits - 2 &&
    kindsIn(step.kinds)
      .map(kindOf)
      .every(
        ({ maxRangeBits, fault }) =>
          step.rangeBits <= maxRangeBits && fault(step, fraction) === undefined,
      )
  );
}

/** The steps to change, by index, so that squared errors add up to `allowed` at most. */
function choose(
  layers: ReadonlyMap<number, readonly Choice[]>,
  allowed: number,
  price: (layer: number, step: ActivationStep) => number,
): Map<number, ActivationStep> {
  const chosen = new Map<number, number>([...layers.keys()].map((layer) => [layer, 0]));
  let left = allowed;
  for (;;) {
    let best: { layer: number; added: number; worth: number } | undefined;
    for (const [layer, choices] of layers) {
      const now = choices[chosen.get(layer)!]!;
      const next = choices[chosen.get(layer)! + 1];
      if (next === undefined) continue;
      const added = Math.max(0, next.squared - now.squared);
      if (added > left) continue;
      const saved = relusOf(now.step) * (price(layer, now.step) - price(layer, next.step));
      const worth = saved / Math.max(added, Number.MIN_VALUE);
      if (best === undefined || worth > best.worth) best = { layer, added, worth };
    }
    if (best === undefined) break;
    chosen.set(best.layer, chosen.get(best.layer)! + 1);
    left -= best.added;
  }
  return new Map(
    [...chosen]
      .filter(([, choice]) => choice > 0)
      .map(([layer, choice]) => [layer, layers.get(layer)![choice]!.step]),
  );
}
