/** How hard a search pushes towards its budget: a weight that grows from epoch to epoch while ReLUs go too slowly. */

export interface Pressure {
  readonly weight: number;
  /** Fewest ReLUs so far. */
  readonly least: number;
}

/** How `nextPressure` works. */
export interface PressureRule {
  /** What the weight grows by. */
  readonly growth: number;
  /** Epochs without growth at the start. */
  readonly patience: number;
  /** From how many ReLUs to how many, in how many epochs: by the same factor in each. */
  readonly plan?: { readonly from: number; readonly to: number; readonly epochs: number };
}

/**
 * The pressure of the next epoch: it grows when the epoch brought no fewer ReLUs than there had been, and, with a plan,
 * when there are more than planned; not once the plan is met. SNL's published rule has no plan, and takes hundreds of
 * epochs for low budgets.
 * @param epochsDone counted from 1
 */
export function nextPressure(
  { weight, least }: Pressure,
  relus: number,
  epochsDone: number,
  { growth, patience, plan }: PressureRule,
): Pressure {
  const planned =
    plan === undefined
      ? Number.POSITIVE_INFINITY
      : plan.from * (plan.to / plan.from) ** Math.min(1, epochsDone / plan.epochs);
  const met = plan !== undefined && relus <= plan.to;
  const behind = epochsDone >= patience && !met && (relus >= least || relus > planned);
  return { weight: behind ? weight * growth : weight, least: Math.min(least, relus) };
}

/** A pressure as a search keeps it: in single precision, as checkpoints do. */
export class PressureState {
  /** [weight, least] */
  readonly numbers: Float32Array;
  readonly #rule: PressureRule;

  constructor(weight: number, rule: PressureRule) {
    this.numbers = Float32Array.of(weight, Number.POSITIVE_INFINITY);
    this.#rule = rule;
  }

  get weight(): number {
    return this.numbers[0]!;
  }

  /** After an epoch. */
  move(relus: number, epochsDone: number): void {
    const [weight, least] = this.numbers as unknown as [number, number];
    const next = nextPressure({ weight, least }, relus, epochsDone, this.#rule);
    this.numbers.set([next.weight, next.least]);
  }
}
