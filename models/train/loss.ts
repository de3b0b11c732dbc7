/** Losses over a batch of scores, by image, and their gradients by the scores. Rows are images, columns classes. */

/** softmax(row / temperature) of one row, into `out`. */
function softmax(scores: Float32Array, from: number, out: Float64Array, temperature: number): void {
  const classes = out.length;
  let largest = Number.NEGATIVE_INFINITY;
  for (let k = 0; k < classes; k++) largest = Math.max(largest, scores[from + k]!);
  let sum = 0;
  for (let k = 0; k < classes; k++) {
    out[k] = Math.exp((scores[from + k]! - largest) / temperature);
    sum += out[k]!;
  }
  for (let k = 0; k < classes; k++) out[k]! /= sum;
}

/** What a loss adds to: the loss of each image, and its gradient by the image's scores. */
export class Losses {
  readonly classes: number;
  /** By image. */
  readonly values: Float64Array;
  /** [image][class] */
  readonly gradient: Float32Array;

  constructor(images: number, classes: number) {
    this.classes = classes;
    this.values = new Float64Array(images);
    this.gradient = new Float32Array(images * classes);
  }

  /** Scales every image's gradient by its own factor: the gradient of the weighted sum of the losses. */
  weigh(weights: ArrayLike<number>): void {
    const { classes, gradient } = this;
    for (let i = 0; i < gradient.length; i++) gradient[i]! *= weights[Math.floor(i / classes)]!;
  }
}

/**
 * Adds `weight` times the softmax cross-entropy.
 * @param smoothing share of every label that all classes get alike (Szegedy et al., CVPR 2016)
 */
export function crossEntropy(
  scores: Float32Array,
  labels: Uint8Array,
  { classes, values, gradient }: Losses,
  weight = 1,
  smoothing = 0,
): void {
  const p = new Float64Array(classes);
  const others = smoothing / classes;
  for (let b = 0; b < values.length; b++) {
    softmax(scores, b * classes, p, 1);
    const label = labels[b]!;
    for (let k = 0; k < classes; k++) {
      const wanted = others + (k === label ? 1 - smoothing : 0);
      if (wanted > 0) values[b]! -= weight * wanted * Math.log(Math.max(p[k]!, 1e-30));
      gradient[b * classes + k]! += weight * (p[k]! - wanted);
    }
  }
}

/**
 * Adds `weight` times the distillation loss (Hinton et al., 2015): T^2 * KL(softmax(teacher/T) || softmax(scores/T)).
 */
export function distillation(
  scores: Float32Array,
  teacher: Float32Array,
  temperature: number,
  { classes, values, gradient }: Losses,
  weight = 1,
): void {
  const p = new Float64Array(classes);
  const q = new Float64Array(classes);
  for (let b = 0; b < values.length; b++) {
    softmax(scores, b * classes, p, temperature);
    softmax(teacher, b * classes, q, temperature);
    for (let k = 0; k < classes; k++) {
      if (q[k]! > 0) {
        values[b]! += weight * temperature ** 2 * q[k]! * Math.log(q[k]! / Math.max(p[k]!, 1e-30));
      }
      gradient[b * classes + k]! += weight * temperature * (p[k]! - q[k]!);
    }
  }
}
