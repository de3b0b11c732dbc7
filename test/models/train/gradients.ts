import type { Mode, Network, Parameter } from '../../../models/train/network.ts';
import { numbers } from '../builder.ts';

/** What a comparison of gradients with finite differences found. */
export interface GradientCheck {
  /** Largest |gradient - difference| over the tensor's largest |difference|, by parameter name. */
  readonly error: ReadonlyMap<string, number>;
  /** Share of the tried entries whose differences were smooth enough to judge by. */
  readonly judged: number;
}

/** Entries tried of each parameter. */
const TRIES = 12;

/** The narrower of the two steps. */
const STEP = 0.01;

/**
 * Compares a network's gradients of sum(r * result) with central differences of fourth order. Entries where a kink of a
 * ReLU lies inside the step show up as differences that depend on the step, and are not judged.
 */
export function checkGradients(
  network: Network,
  images: Float32Array,
  mode: Mode,
  gradients: (parameters: readonly Parameter[]) => void = () => {},
): GradientCheck {
  const next = numbers(99);
  const r = Float32Array.from(network.forward(images, mode), () => next());
  const loss = () => network.forward(images, mode).reduce((s, y, i) => s + y * r[i]!, 0);
  network.backward(r, mode);
  gradients(network.parameters);
  const error = new Map<string, number>();
  let tried = 0;
  let judged = 0;
  for (const { name, value, gradient } of network.parameters) {
    let worst = 0;
    let largest = 0;
    for (let t = 0; t < TRIES; t++) {
      const i = Math.floor(((next() + 1) / 2) * value.length);
      const kept = value[i]!;
      const middle = loss();
      const differences = (step: number) => {
        value[i] = kept + step;
        const above = loss();
        const up = value[i];
        value[i] = kept - step;
        const below = loss();
        const width = up - value[i];
        value[i] = kept;
        return { slope: (above - below) / width, bend: above - 2 * middle + below };
      };
      const wide = differences(2 * STEP);
      const narrow = differences(STEP);
      const difference = (4 * narrow.slope - wide.slope) / 3;
      tried++;
      // Smooth: slopes agree and the bend grows with the square of the step; at a kink it grows like the step.
      const unit = 0.003 * Math.max(1, Math.abs(narrow.slope));
      if (Math.abs(wide.slope - narrow.slope) > unit) continue;
      if (Math.abs(wide.bend - 4 * narrow.bend) > 4 * STEP * unit) continue;
      judged++;
      largest = Math.max(largest, Math.abs(difference));
      worst = Math.max(worst, Math.abs(gradient[i]! - difference));
    }
    error.set(name, worst / Math.max(largest, 0.1));
  }
  return { error, judged: judged / tried };
}
