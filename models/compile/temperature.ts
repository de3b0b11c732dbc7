/**
 * How sure a network may be said to be: the temperature by which its logits are divided before a softmax, so that of the
 * images it gives 90 % some 90 % are right (Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML
 * 2017). It changes no answer.
 */

import { probabilities } from '../../protocol/program/probabilities.ts';
import { ModelError } from '../errors.ts';

/** Logits of labelled images. */
export interface Answered {
  /** One row of numbers an image. */
  readonly logits: readonly Float32Array[];
  /** The class of each image. */
  readonly labels: ArrayLike<number>;
}

/** Mean negative logarithm of the probability that the right class gets. */
function surprise({ logits, labels }: Answered, temperature: number): number {
  const sum = logits.reduce(
    (total, row, i) => total - Math.log(probabilities(row, temperature)[labels[i]!]! + 1e-300),
    0,
  );
  return sum / logits.length;
}

/** Temperatures that are tried lie between these, and their logarithm is found to this. */
const RANGE = [0.05, 20] as const;
const PRECISION = 1e-4;

/**
 * The temperature that surprises least on images the network was not trained on, by golden section.
 * @throws ModelError `data` when there are no images
 */
export function fitTemperature(answered: Answered): number {
  if (answered.logits.length === 0)
    throw new ModelError('data', 'a temperature is fitted to images: got none');
  const ratio = (Math.sqrt(5) - 1) / 2;
  let [low, high] = RANGE.map(Math.log) as [number, number];
  const at = (logarithm: number) => surprise(answered, Math.exp(logarithm));
  while (high - low > PRECISION) {
    const left = high - ratio * (high - low);
    const right = low + ratio * (high - low);
    if (at(left) < at(right)) high = right;
    else low = left;
  }
  return Math.exp((low + high) / 2);
}

/** Bins of equal width that the error of a calibration is counted in. */
const BINS = 15;

/**
 * Expected calibration error: how far the probability of the named class is from the share that is right, 0..1, the mean over
 * bins of equal width, each with the weight of its images.
 */
export function calibrationError({ logits, labels }: Answered, temperature: number): number {
  const bins = Array.from({ length: BINS }, () => 0);
  logits.forEach((row, i) => {
    const shares = probabilities(row, temperature);
    const top = Math.max(...shares);
    const right = shares.indexOf(top) === labels[i] ? 1 : 0;
    bins[Math.min(BINS - 1, Math.floor(BINS * top))]! += top - right;
  });
  return bins.reduce((sum, gap) => sum + Math.abs(gap), 0) / logits.length;
}
