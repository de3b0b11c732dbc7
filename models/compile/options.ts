/** What a caller may choose about the numbers of a program. */

import { COMPARISONS, type Comparison } from '../../protocol/program/program.ts';
import { ModelError } from '../errors.ts';
import { countGraph, type Graph } from '../graph/index.ts';

export interface CompileOptions {
  /** Name of the program. */
  readonly name?: string;
  /** Names of the classes, one for each output. */
  readonly labels?: readonly string[];
  /** What the client learns. Default: the logits. */
  readonly reveal?: 'logits' | 'label';
  /**
   * Fractional bits of the input and of activations whose largest sample is about 1, 4..20. Default: 14; fewer where a
   * range after them would not fit, up to three of some layers first, then of all, down to 10.
   */
  readonly activationBits?: number;
  /**
   * How precise weights are: rounding them errs a layer's results by 2^-weightBits of their size, 2..16. Default: 8. A layer
   * whose range does not fit gets up to three bits less.
   */
  readonly weightBits?: number;
  /** Room for values larger than the samples' ones, as a factor. Default: 1.5. */
  readonly margin?: number;
  /** How ReLUs compare; `encoded` by default. `garbled` is the baseline of half gates: some ten times the bytes. */
  readonly comparison?: Comparison;
  /**
   * Fractional bits a ReLU's comparison looks at, at most those of the activation; default: 12. Inputs closer to zero
   * than the value of the last of them may be taken for the other sign. `auto` starts from 12 and chooses for each layer
   * by what fewer bits do to the outputs on the calibration images (compile/comparisons.ts): minutes where compiling
   * takes seconds, which is why it has to be asked for here; `sotto compile` and `sotto reduce` do.
   */
  readonly compareBits?: number | 'auto';
  /**
   * Calibration images on which the report measures what each layer's rounding comes to at the output, as many runs each
   * as there are layers. Default: 0, which leaves it out.
   */
  readonly errorImages?: number;
  /** Makes the model even if its results on the samples are not what the network's are (see fidelity.ts). */
  readonly force?: boolean;
  /** Hears what `auto` is measuring, as text for people. An error that it throws ends the compilation. */
  readonly onProgress?: ((what: string) => void) | undefined;
}

/** Multiplications up to which measuring what each comparison needs takes minutes, not hours. LOCAL. */
const AUTO_MACS = 1e8;

/** How commands compare where they are not told: by measuring, where the network is not too large for it. */
export function usualComparison(graph: Graph): Pick<CompileOptions, 'compareBits'> {
  return countGraph(graph).macs <= AUTO_MACS ? { compareBits: 'auto' } : {};
}

/** See CompileOptions; also what `auto` starts from. LOCAL. */
const COMPARE_BITS = 12;

/** Options of one try to compile, all filled in. */
export interface Settings extends Required<Omit<CompileOptions, 'compareBits' | 'onProgress'>> {
  readonly compareBits: number;
}

/** Fractional bits of activations to try, most first. */
const ACTIVATION_BITS = [14, 13, 12, 11, 10];

/** Thrown when a range does not fit the ring. */
export class RangeMisfit extends ModelError {
  /** Ids of the activation layers whose fractional bits the range has to hold. */
  readonly sources: readonly string[];

  constructor(message: string, sources: readonly string[]) {
    super('fixed-point', message);
    this.sources = sources;
  }
}

/**
 * Fills in what was left out: the settings to try in turn, until one fits.
 * @throws ModelError `argument` when a number is outside its range
 */
export function settingsOf(options: CompileOptions): [Settings, ...Settings[]] {
  const { activationBits } = options;
  const asked = options.compareBits === 'auto' ? undefined : options.compareBits;
  if (activationBits !== undefined) {
    return [filledIn(options, activationBits, asked ?? Math.min(COMPARE_BITS, activationBits))];
  }
  const compareBits = asked ?? COMPARE_BITS;
  const tries = ACTIVATION_BITS.map((bits) => {
    // Checked against the most bits alone: with fewer, a comparison looks at all there are.
    const compared = bits === ACTIVATION_BITS[0] ? compareBits : Math.min(compareBits, bits);
    return filledIn(options, bits, compared);
  });
  return tries as [Settings, ...Settings[]];
}

function filledIn(options: CompileOptions, activationBits: number, compareBits: number): Settings {
  const weightBits = options.weightBits ?? 8;
  const settings: Settings = {
    name: options.name ?? 'network',
    labels: options.labels ?? [],
    reveal: options.reveal ?? 'logits',
    comparison: options.comparison ?? 'encoded',
    activationBits,
    weightBits,
    force: options.force ?? false,
    margin: options.margin ?? 1.5,
    compareBits,
    errorImages: options.errorImages ?? 0,
  };
  const check = (name: keyof Settings, low: number, high: number) => {
    const value = settings[name] as number;
    if (!(Number.isInteger(value) && value >= low && value <= high)) {
      throw new ModelError(
        'argument',
        `${name} should be a whole number in ${low}..${high}, but it is ${value}`,
      );
    }
  };
  if (!COMPARISONS.includes(settings.comparison)) {
    throw new ModelError(
      'argument',
      `comparison should be ${COMPARISONS.join(' or ')}, but it is ${settings.comparison}`,
    );
  }
  check('activationBits', 4, 20);
  check('weightBits', 2, 16);
  check('compareBits', 1, activationBits);
  check('errorImages', 0, 1000);
  if (!(settings.margin >= 1 && settings.margin <= 1000)) {
    throw new ModelError(
      'argument',
      `margin should be a factor in 1..1000, but it is ${settings.margin}`,
    );
  }
  return settings;
}

/**
 * Smallest k with magnitude < 2^(k-1) - 2^t - m: bits of a layer whose values reach `magnitude`.
 * @param shareError - m: what the shares of these values may err by
 */
export function rangeBitsOf(magnitude: number, dropBits: number, shareError = 0): number {
  return Math.max(2, Math.floor(Math.log2(magnitude + 2 ** dropBits + shareError)) + 2);
}
