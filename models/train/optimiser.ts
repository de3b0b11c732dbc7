/** Optimisers: one step over all parameters from the gradients of the last backward pass. */

import type { Parameter } from './network.ts';

export interface Optimiser {
  /**
   * Moves the parameters one step at a learning rate.
   * @param progress of the whole training, 0..1
   */
  step(parameters: readonly Parameter[], rate: number, progress: number): void;
  /** What it remembers from step to step, by name: for checkpoints, which read and overwrite it. */
  readonly memory: Map<string, Float32Array>;
}

/** The array of a name, made of zeros when there is none yet. */
function recall(memory: Map<string, Float32Array>, name: string, length: number): Float32Array {
  let known = memory.get(name);
  if (known === undefined) memory.set(name, (known = new Float32Array(length)));
  return known;
}

/** Factors of the learning rate by kind of parameter; default: 1, 0 freezes. */
export type Rates = Partial<Record<Parameter['kind'], number>>;

/** Weight decay pulls at matrices and kernels only: norms, biases and polynomials keep their size. */
const WEIGHTS_DECAY: Rates = { weight: 1, vector: 0, polynomial: 0, mask: 0 };

/** Numbers of {@link Sgd}. */
export interface SgdOptions {
  /** Default: 0.9. */
  readonly momentum?: number;
  /** Default: 0. */
  readonly decay?: number;
  readonly rates?: Rates;
  /** Factors of the decay by kind of parameter. Default: 1 for weights, 0 for others. */
  readonly decays?: Rates;
}

/**
 * Stochastic gradient descent with Nesterov momentum; decay is added to the gradient.
 */
export class Sgd implements Optimiser {
  readonly memory: Map<string, Float32Array> = new Map();
  readonly #momentum: number;
  readonly #decay: number;
  readonly #rates: Rates;
  readonly #decays: Rates;

  constructor({ momentum = 0.9, decay = 0, rates = {}, decays = {} }: SgdOptions = {}) {
    this.#momentum = momentum;
    this.#decay = decay;
    this.#rates = rates;
    this.#decays = { ...WEIGHTS_DECAY, ...decays };
  }

  step(parameters: readonly Parameter[], rateOfAll: number): void {
    const momentum = this.#momentum;
    for (const parameter of parameters) {
      const { name, kind, value, gradient } = parameter;
      const rate = rateOfAll * (this.#rates[kind] ?? 1);
      if (rate === 0) continue;
      const decay = this.#decay * (this.#decays[kind] ?? 0);
      const velocity = recall(this.memory, `velocity ${name}`, value.length);
      for (let i = 0; i < value.length; i++) {
        const g = gradient[i]! + decay * value[i]!;
        const v = momentum * velocity[i]! + g;
        velocity[i] = v;
        value[i]! -= rate * (g + momentum * v);
      }
    }
  }
}

/** Numbers of {@link Adam}. */
export interface AdamOptions {
  /** Default: 0.9. */
  readonly beta1?: number;
  /** Default: 0.999. */
  readonly beta2?: number;
  /** Default: 1e-8. */
  readonly epsilon?: number;
  /** Default: 0. */
  readonly decay?: number;
  readonly rates?: Rates;
}

/** Weights of this root mean square and above move by the rate itself. LOCAL */
const FULL_STEP = 0.05;

/** Part of {@link FULL_STEP} that a tensor counts for at least, so that one of zeros can move. LOCAL */
const LEAST_STEP = 0.02;

/**
 * How far Adam moves a tensor, as a part of the rate. Adam moves every number by about the rate, however small the tensor's
 * numbers are. In front of a norm their size means nothing, and where strong decay has made them small, as in `airNet`, steps of
 * 1e-3 turned the weights by a third at once: so they are in proportion to the tensor's size ("relative step size" in Adafactor,
 * Shazeer and Stern, ICML 2018), up to {@link FULL_STEP}.
 */
function stepSize({ kind, value }: Parameter): number {
  if (kind !== 'weight') return 1;
  const size = Math.sqrt(value.reduce((sum, v) => sum + v * v, 0) / value.length);
  return Math.min(1, Math.max(LEAST_STEP, size / FULL_STEP));
}

/**
 * Adam (Kingma and Ba, ICLR 2015) with decoupled weight decay (Loshchilov and Hutter, ICLR 2019); small weights move in
 * proportion to their size.
 */
export class Adam implements Optimiser {
  readonly memory: Map<string, Float32Array> = new Map();
  readonly #beta1: number;
  readonly #beta2: number;
  readonly #epsilon: number;
  readonly #decay: number;
  readonly #rates: Rates;

  constructor({
    beta1 = 0.9,
    beta2 = 0.999,
    epsilon = 1e-8,
    decay = 0,
    rates = {},
  }: AdamOptions = {}) {
    this.#beta1 = beta1;
    this.#beta2 = beta2;
    this.#epsilon = epsilon;
    this.#decay = decay;
    this.#rates = rates;
  }

  step(parameters: readonly Parameter[], rateOfAll: number): void {
    const steps = recall(this.memory, 'steps', 1);
    const t = (steps[0]! += 1);
    const [b1, b2] = [this.#beta1, this.#beta2];
    const correct1 = 1 / (1 - b1 ** t);
    const correct2 = 1 / (1 - b2 ** t);
    for (const parameter of parameters) {
      const { name, kind, value, gradient } = parameter;
      const rate = rateOfAll * (this.#rates[kind] ?? 1) * stepSize(parameter);
      if (rate === 0) continue;
      const decay = this.#decay * (WEIGHTS_DECAY[kind] ?? 0);
      const mean = recall(this.memory, `mean ${name}`, value.length);
      const square = recall(this.memory, `square ${name}`, value.length);
      for (let i = 0; i < value.length; i++) {
        const g = gradient[i]!;
        mean[i] = b1 * mean[i]! + (1 - b1) * g;
        square[i] = b2 * square[i]! + (1 - b2) * g * g;
        const scaled = (mean[i]! * correct1) / (Math.sqrt(square[i]! * correct2) + this.#epsilon);
        value[i]! -= rate * (scaled + decay * value[i]!);
      }
    }
  }
}

/**
 * Lookahead (Zhang et al., NeurIPS 2019) around another optimiser: every so many steps the parameters go back to their slow
 * averages, which have moved towards them by `share`; the averages get slower with the cube of progress, as in "94% on
 * CIFAR-10 in 3.29 Seconds" (Jordan, 2024).
 *
 *   slow += (1 - (1 - share) * progress^3) * (value - slow),   value = slow
 */
export class Lookahead implements Optimiser {
  readonly memory: Map<string, Float32Array>;
  readonly #inner: Optimiser;
  readonly #every: number;
  readonly #share: number;

  /**
   * @param options - `every`: steps, a divisor of those of an epoch, so that epochs end with averages; `share`: 0..1, at the end of
   *   training
   */
  constructor(inner: Optimiser, { every, share }: { every: number; share: number }) {
    this.memory = inner.memory;
    this.#inner = inner;
    this.#every = every;
    this.#share = share;
  }

  step(parameters: readonly Parameter[], rate: number, progress: number): void {
    const steps = recall(this.memory, 'lookahead steps', 1);
    if (steps[0] === 0) {
      for (const { name, value } of parameters) this.memory.set(`slow ${name}`, value.slice());
    }
    this.#inner.step(parameters, rate, progress);
    steps[0]!++;
    if (steps[0]! % this.#every !== 0) return;
    const pull = 1 - (1 - this.#share) * progress ** 3;
    for (const { name, value } of parameters) {
      const slow = recall(this.memory, `slow ${name}`, value.length);
      for (let i = 0; i < value.length; i++) slow[i]! += pull * (value[i]! - slow[i]!);
      value.set(slow);
    }
  }
}

/**
 * Scales gradients down together until the Euclidean norm of them all is at most `most`; masks are left out.
 * @returns the norm before
 */
export function clipGradients(parameters: readonly Parameter[], most: number): number {
  const clipped = parameters.filter(({ kind }) => kind !== 'mask');
  let sum = 0;
  for (const { gradient } of clipped) for (const g of gradient) sum += g * g;
  const norm = Math.sqrt(sum);
  if (norm > most) {
    for (const { gradient } of clipped) {
      for (let i = 0; i < gradient.length; i++) gradient[i]! *= most / norm;
    }
  }
  return norm;
}

/** Learning rate of a moment of training, 0..1 of the whole. */
export type Schedule = (progress: number) => number;

/** Falls to `factor` of itself at each of some moments. */
export function steps(peak: number, moments: readonly number[], factor = 0.1): Schedule {
  return (progress) => peak * factor ** moments.filter((moment) => progress >= moment).length;
}

/** A linear rise over the first `warmup` of training, then half a cosine from `peak` down to `floor`. */
export function cosine(peak: number, floor = 0, warmup = 0): Schedule {
  return (progress) => {
    if (progress < warmup) return (peak * progress) / warmup;
    const fraction = (progress - warmup) / (1 - warmup);
    return floor + ((peak - floor) * (1 + Math.cos(Math.PI * Math.min(1, fraction)))) / 2;
  };
}

/** A straight rise from `start` to `peak` at the moment `at`, and a straight fall to `end`. */
export function triangle(
  peak: number,
  { start, at, end }: { readonly start: number; readonly at: number; readonly end: number },
): Schedule {
  return (progress) => {
    if (progress < at) return start + ((peak - start) * progress) / at;
    return peak + ((end - peak) * (progress - at)) / (1 - at);
  };
}
