/**
 * Filters that whiten the patches of images: with them, the results of a convolution have a unit variance each, and nothing
 * in common (Page, "How to train your ResNet", 2019).
 *
 *   filter i = eigenvector i / sqrt(eigenvalue i + epsilon)     of the patches' mean product of numbers
 */

import { type GraphInput, preprocess } from '../../graph/index.ts';
import type { LabelledImages } from './images.ts';

/** Keeps directions that patches hardly have from becoming noise, as in Jordan's code. LOCAL */
const EPSILON = 5e-4;

/** Sweeps over all pairs of coordinates: a dozen numbers take six to eight. LOCAL */
const SWEEPS = 30;

/**
 * Eigenvectors of a symmetric matrix, the rows of the first result, and their eigenvalues (Jacobi's rotations).
 * @param matrix n x n, row by row
 */
export function eigenvectors(matrix: Float64Array, n: number): [Float64Array, Float64Array] {
  const a = matrix.slice();
  const v = Float64Array.from(a, (_, i) => (i % (n + 1) === 0 ? 1 : 0));
  /** Turns the plane of p and q in the entries at p, p + step, ... and q, q + step, ... */
  const turn = (
    m: Float64Array,
    [p, q, step]: [number, number, number],
    [cos, sin]: readonly [number, number],
  ) => {
    for (let k = 0; k < n; k++, p += step, q += step) {
      const [x, y] = [m[p]!, m[q]!];
      m[p] = cos * x - sin * y;
      m[q] = sin * x + cos * y;
    }
  };
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        const off = a[p * n + q]!;
        if (off === 0) continue;
        const theta = (a[q * n + q]! - a[p * n + p]!) / (2 * off);
        const tan = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
        const cos = 1 / Math.sqrt(tan * tan + 1);
        const angle = [cos, tan * cos] as const;
        turn(a, [p, q, n], angle);
        turn(a, [p * n, q * n, 1], angle);
        turn(v, [p * n, q * n, 1], angle);
      }
    }
  }
  return [v, Float64Array.from({ length: n }, (_, i) => a[i * n + i]!)];
}

/**
 * The whitening filters of a set's patches, strongest direction first.
 * @param images the first of them are enough: a patch has few numbers
 * @param size height and width of a patch
 * @returns [filter][channel][row][column]
 */
export function whiteningFilters(
  { shape, pixels, labels }: LabelledImages,
  input: GraphInput,
  size: number,
): Float32Array {
  const [channels, height, width] = shape;
  const n = channels * size * size;
  const image = channels * height * width;
  const offsets = Array.from({ length: n }, (_, i) => {
    const row = Math.floor(i / size) % size;
    return (Math.floor(i / (size * size)) * height + row) * width + (i % size);
  });
  const products = new Float64Array(n * n);
  let patches = 0;
  for (let b = 0; b < labels.length; b++) {
    const x = preprocess(input, pixels.subarray(b * image, (b + 1) * image));
    for (let y = 0; y + size <= height; y++) {
      for (let at = y * width; at + size <= (y + 1) * width; at++, patches++) {
        for (let i = 0; i < n; i++) {
          for (let j = i; j < n; j++)
            products[i * n + j]! += x[at + offsets[i]!]! * x[at + offsets[j]!]!;
        }
      }
    }
  }
  for (let i = 0; i < n; i++) {
    for (let j = i; j < n; j++) products[j * n + i] = products[i * n + j]! /= patches;
  }
  const [vectors, values] = eigenvectors(products, n);
  const order = Array.from(values.keys()).sort((i, j) => values[j]! - values[i]!);
  return Float32Array.from({ length: n * n }, (_, k) => {
    const i = order[Math.floor(k / n)]!;
    return vectors[i * n + (k % n)]! / Math.sqrt(values[i]! + EPSILON);
  });
}
