/**
 * Does a model compute what its float network does? Every compilation compares both on sample images, and refuses a model
 * whose results are others.
 */

import { runClear } from '../../protocol/program/clear.ts';
import type { Model } from '../../protocol/program/model.ts';
import { revealing } from '../../protocol/program/simulate.ts';
import { indexOfLargest } from '../../protocol/ring/tensor.ts';
import { ModelError } from '../errors.ts';
import type { Graph } from '../graph/index.ts';
import { elements } from '../graph/index.ts';

/** Largest error of results, as a part of their size, that is not refused. */
const ERROR_BOUND = 0.1;

/** Results of a model beside those of its float network. */
export interface Fidelity {
  /** Images compared. */
  readonly images: number;
  /** Root mean square of the differences as a part of that of the float results; the largest of all results. */
  readonly error: number;
  /** Largest difference of two logits, in units of the output's last place. */
  readonly distance: number;
  /** Images with the same label; undefined where the network is no classifier. */
  readonly agreeing: number | undefined;
  /** Images with a value outside its range: what a private run makes of them means nothing. */
  readonly outside: number;
}

/** Whether a graph's one result holds scores of classes. */
export function isClassifier({ results }: Graph, size: number): boolean {
  const [result, ...others] = results ?? [{ name: '', shape: [size] }];
  const { shape, readout } = result!;
  const isVector = shape.filter((n) => n > 1).length === 1;
  return others.length === 0 && isVector && readout?.kind !== 'sigmoid' && readout?.kind !== 'tanh';
}

/**
 * Runs a model on preprocessed images.
 * @param outputs what the float network made of each
 */
export function compare(
  graph: Graph,
  model: Model,
  images: readonly Float32Array[],
  outputs: readonly Float32Array[],
): Fidelity {
  const logits = { ...model, program: revealing(model.program, { reveal: 'logits' }) };
  const { results } = model.program;
  const errors = results.map(() => 0);
  const sizes = results.map(() => 0);
  let agreeing = 0;
  let distance = 0;
  let outside = 0;
  images.forEach((image, i) => {
    let beyond = 0;
    const fixed = runClear(logits, encoded(graph, model, image), (_step, _value, count) => {
      beyond += count;
    });
    if (beyond > 0) outside++;
    const float = outputs[i]!;
    let at = 0;
    results.forEach(({ shape, bits }, r) => {
      for (const end = at + elements(shape); at < end; at++) {
        const difference = fixed[at]! / 2 ** bits - float[at]!;
        distance = Math.max(distance, Math.abs(difference) * 2 ** bits);
        errors[r]! += difference ** 2;
        sizes[r]! += float[at]! ** 2;
      }
    });
    if (indexOfLargest(fixed) === indexOfLargest(float)) agreeing++;
  });
  const relative = errors.map((error, r) => (error === 0 ? 0 : Math.sqrt(error / sizes[r]!)));
  const size = outputs[0]!.length;
  return {
    images: images.length,
    error: Math.max(...relative),
    distance,
    agreeing: isClassifier(graph, size) ? agreeing : undefined,
    outside,
  };
}

/**
 * A preprocessed image as the model's input. Unlike a client this takes any number: samples are what they are, and
 * rounding may have moved a pixel's ends.
 */
export function encoded(graph: Graph, { program }: Model, image: Float32Array): Int32Array {
  const { mean, std, fractionBits } = program.input;
  const plane = image.length / mean.length;
  return Int32Array.from(image, (v, i) => {
    const c = Math.floor(i / plane);
    const given = v * graph.input.std[c]! + graph.input.mean[c]!;
    return Math.round(((given - mean[c]!) / std[c]!) * 2 ** fractionBits);
  });
}

/** @throws ModelError `fixed-point` when results are not what the float network's are */
export function refuseInfidelity({ error, images }: Fidelity): void {
  if (error <= ERROR_BOUND) return;
  throw new ModelError(
    'fixed-point',
    `on ${images} sample images, results in fixed point are off by ${percent(error)} of their size, more than ${percent(ERROR_BOUND)}: more weightBits or activationBits help where the samples are typical; --force compiles it all the same`,
  );
}

const percent = (part: number) => `${(100 * part).toPrecision(2)} %`;

/** The comparison as one sentence. */
export function formatFidelity({ images, error, agreeing, outside }: Fidelity): string {
  const labels = agreeing === undefined ? '' : `the same label for ${agreeing} of ${images}, `;
  const beyond =
    outside > 0 ? `; ${outside} of them leave a range, and mean nothing in private` : '';
  return `fixed point against float on ${images} sample images: ${labels}results off by ${percent(error)} of their size${beyond}`;
}
