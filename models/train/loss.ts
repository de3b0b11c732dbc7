/** Losses over a batch of scores: value, gradient by the scores. Rows are images, columns classes. */

/** softmax(row / temperature) of one row, into `out`. */
function softmax(
  scores: Float32Array,
  from: number,
  out: Float64Array,
  temperature: number,
): Float64Array {
  const classes = out.length;
  let largest = Number.NEGATIVE_INFINITY;
  for (let k = 0; k < classes; k++) largest = Math.max(largest, scores[from + k]!);
  let sum = 0;
  for (let k = 0; k < classes; k++) {
    out[k] = Math.exp((scores[from + k]! - largest) / temperature);
    sum += out[k]!;
  }
  for (let k = 0; k < classes; k++) out[k]! /= sum;
  return out;
}

/**
 * Mean softmax cross-entropy.
 * @param gradient receives weight * gradient, added
 * @returns the loss, unweighted
 */
export function crossEntropy(
  scores: Float32Array,
  labels: Uint8Array,
  classes: number,
  gradient: Float32Array,
  weight = 1,
): number {
  const p = new Float64Array(classes);
  let loss = 0;
  for (let b = 0; b < labels.length; b++) {
    softmax(scores, b * classes, p, 1);
    const label = labels[b]!;
    loss -= Math.log(Math.max(p[label]!, 1e-30)) / labels.length;
    for (let k = 0; k < classes; k++) {
      gradient[b * classes + k]! += (weight * (p[k]! - (k === label ? 1 : 0))) / labels.length;
    }
  }
  return loss;
}

/**
 * Knowledge distillation (Hinton et al., 2015): mean of T^2 * KL(softmax(teacher/T) || softmax(scores/T)).
 * @param gradient receives weight * gradient, added
 * @returns the loss, unweighted
 */
export function distillation(
  scores: Float32Array,
  teacher: Float32Array,
  images: number,
  classes: number,
  temperature: number,
  gradient: Float32Array,
  weight = 1,
): number {
  const p = new Float64Array(classes);
  const q = new Float64Array(classes);
  let loss = 0;
  for (let b = 0; b < images; b++) {
    softmax(scores, b * classes, p, temperature);
    softmax(teacher, b * classes, q, temperature);
    for (let k = 0; k < classes; k++) {
      if (q[k]! > 0) {
        loss += (temperature ** 2 * q[k]! * Math.log(q[k]! / Math.max(p[k]!, 1e-30))) / images;
      }
      gradient[b * classes + k]! += (weight * temperature * (p[k]! - q[k]!)) / images;
    }
  }
  return loss;
}
