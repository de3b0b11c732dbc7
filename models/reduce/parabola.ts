/**
 * Polynomials in place of ReLUs: the closed form behind "distribution-aware polynomial approximation" (AutoReP, ICCV
 * 2023), by least squares for normal inputs. The deviation enters as itself; taking the variance in its place, as the
 * method's published code does, makes starting polynomials twenty times worse.
 */

import type { Parameter } from '../train/index.ts';

/** Bounds of the leading coefficient: squares stay convex and tame. AGREEMENT of training and compiler. */
export const CURVATURE = { least: 0.02, most: 1 } as const;

/** The error function to 1.2e-7 (Numerical Recipes' Chebyshev fit of erfc), enough for starting values. */
function erf(x: number): number {
  const t = 1 / (1 + 0.5 * Math.abs(x));
  const series = [
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398,
    1.48851587, -0.82215223, 0.17087277,
  ].reduceRight((sum, c) => c + t * sum, 0);
  const tail = t * Math.exp(-x * x + series);
  return x >= 0 ? 1 - tail : tail - 1;
}

/** Density of the standard normal distribution at a, and the probability of less. */
function normal(a: number): { readonly density: number; readonly below: number } {
  const density = Math.exp((-a * a) / 2) / Math.sqrt(2 * Math.PI);
  return { density, below: (1 + erf(a / Math.SQRT2)) / 2 };
}

/**
 * Least-squares parabola c0 + c1*x + c2*x^2 of ReLU(x) for normal x.
 * @returns [c0, c1, c2]; mean 0, std 1 gives [.19947, .5, .19947]
 */
export function parabolaOfRelu(mean: number, std: number): [number, number, number] {
  const a = mean / std;
  const { density, below } = normal(a);
  return [
    (std * density) / 2 + (mean * mean * density) / (2 * std),
    below - a * density,
    density / (2 * std),
  ];
}

/** Least-squares line c0 + c1*x of ReLU(x) for normal x: [c0, c1]. */
export function lineOfRelu(mean: number, std: number): [number, number] {
  const { density, below } = normal(mean / std);
  return [std * density, below];
}

/** Mean and standard deviation of what reaches each channel of an activation layer. */
export interface ChannelMoments {
  readonly mean: ArrayLike<number>;
  readonly std: ArrayLike<number>;
}

/** Least deviation a parabola is fitted to: a channel that never moves has no curvature. LOCAL */
const LEAST_STD = 1e-3;

/** Starting polynomials of a layer's channels, [C, 3], their curvature inside {@link CURVATURE}. */
export function startingPolynomials({ mean, std }: ChannelMoments): Float32Array {
  const rows = new Float32Array(3 * mean.length);
  for (let c = 0; c < mean.length; c++) {
    rows.set(parabolaOfRelu(mean[c]!, Math.max(LEAST_STD, std[c]!)), 3 * c);
  }
  limitCurvature(rows);
  return rows;
}

/** Puts the leading coefficients of rows (c0, c1, c2) inside {@link CURVATURE}. */
export function limitCurvature(rows: Float32Array): void {
  for (let i = 2; i < rows.length; i += 3) {
    rows[i] = Math.min(CURVATURE.most, Math.max(CURVATURE.least, rows[i]!));
  }
}

/** Keeps the leading coefficients of all polynomials of a network inside {@link CURVATURE}: after every step. */
export function clampCurvature(parameters: readonly Parameter[]): void {
  for (const { kind, value } of parameters) if (kind === 'polynomial') limitCurvature(value);
}
