/**
 * The program: the public description of a network in fixed point, which both parties agree on before they start.
 *
 * It says what is computed (steps, shapes), with which numbers (fractional bits, ranges) and which element of each
 * activation layer is a ReLU, a square or an identity (the ReLU map). It holds no weight. The server has the weights
 * beside it; the client receives the program in the handshake, validates it against its own limits and prices it.
 *
 * Values are numbered: value 0 is the input, step i makes value i + 1. Every value is a tensor [channels, height, width]
 * of integers (a vector is [n, 1, 1]) with a public number of fractional bits, shared modulo a power of two that follows from
 * its readers (rings.ts). protocol/README has the algebra.
 */

import type { Tables } from '../ring/gather.ts';
import type { LinearShape, Shape } from '../ring/shape.ts';
import type { Pooling } from '../ring/tensor.ts';

/**
 * How ReLUs compare: `encoded` as in compare/encoding.ts, or `garbled` by half gates, the field's baseline. They differ in
 * bytes and in what happens to inputs below 2^t, see {@link ActivationStep}.
 */
export const COMPARISONS = ['encoded', 'garbled'] as const;
export type Comparison = (typeof COMPARISONS)[number];

interface StepBase {
  /** The layer's name, for people. */
  readonly name: string;
  /** Fractional bits of the value this step makes. */
  readonly fractionBits: number;
}

/** For what a linear layer's bias has a number. */
export const BIASES = ['channel', 'element'] as const;

/** Secret weights times a shared value, plus a secret bias: W*x + b mod 2^32. The input must be fresh (see below). */
export interface LinearStep extends StepBase {
  readonly op: 'linear';
  readonly input: number;
  readonly shape: LinearShape;
  /** Whether b has one number for each output channel, or for each output element. */
  readonly bias: (typeof BIASES)[number];
  /** Public bounds over all outputs on the integer weights of one output: sum of |w|, and root of the sum of w^2. */
  readonly norm1: number;
  readonly norm2: number;
  /**
   * How far the sum of the parties' shares may lie from the exact result, in units of its last place: preparing them makes
   * errors (linear/hint), and the ranges of what reads the result have room for this much.
   */
  readonly tolerance: number;
}

/** x << shifts[0] + y << shifts[1], or minus: a residual addition with its scales aligned. */
export interface AddStep extends StepBase {
  readonly op: 'add';
  readonly inputs: readonly [number, number];
  readonly shifts: readonly [number, number];
  /** Subtracts the second value instead. */
  readonly subtract: boolean;
}

/**
 * Average pooling whose division is part of the scale: means over windows times L, a whole number that follows from the
 * windows (poolWeights in ring/tensor.ts). Cells outside of the input are not counted.
 */
export interface SumPoolStep extends StepBase, Pooling {
  readonly op: 'sumPool';
  readonly input: number;
}

/** Elements moved, repeated or left out, with zeros between them, where both shares are 0: slices, padding, transposes. */
export interface GatherStep extends StepBase {
  readonly op: 'gather';
  readonly input: number;
  /** Shape of the result. Its elements are those of the block that the tables span, in order. */
  readonly size: Shape;
  /** Which element of the input each one is: see ring/gather.ts. At most `MAX_TABLES`. */
  readonly tables: Tables;
}

/** Most tables of a gather. AGREEMENT. */
export const MAX_TABLES = 8;

/** Tensors one behind the other along the channels. */
export interface ConcatStep extends StepBase {
  readonly op: 'concat';
  readonly inputs: readonly number[];
}

/** One activation layer: any mix of elements of all kinds, each with its truncation. One round trip. */
export interface ActivationStep extends StepBase {
  readonly op: 'activation';
  readonly input: number;
  /** The ReLU map: the kind of each element (kinds.ts), in the order [channels, height, width]. */
  readonly kinds: Uint8Array;
  /**
   * Whether the server adds secret constants: to each pre-activation before its range is held to, and to each result
   * (ChannelConstants in model.ts). A layer with squares has them.
   */
  readonly constants: boolean;
  /** k: every pre-activation x, its constant added, keeps |x| < 2^(k-1) - 2^t - m, where m is what its shares may err by (margins.ts). */
  readonly rangeBits: number;
  /**
   * t: low bits the comparison leaves out. Beyond f it costs accuracy. Encoded, |x| < 2^t passes with probability
   * (2^t + x + 1) / 2^(t+1); garbled, 0 <= x < 2^t passes with probability (x + 1) / 2^t, x < 0 never.
   */
  readonly dropBits: number;
  /** f: bits cut off by a ReLU or identity element. */
  readonly shift: number;
  /** Bits cut off before squaring, so that twice the rest is the output's scale times a public power of two. */
  readonly squareShift: number;
}

/** What the client learns. */
export interface OutputStep extends StepBase {
  readonly op: 'output';
  readonly input: number;
  /**
   * `logits`: the client adds the shares, without the f bits that activations do not have (cut.ts). `label`: a garbled
   * argmax, the client learns the index alone.
   */
  readonly reveal: 'logits' | 'label';
  /** k: every logit x keeps |x| < 2^(k-1) - m, likewise; less 2^f where f > 0 bits are cut off. */
  readonly rangeBits: number;
  /** How far a private logit may lie from the clear one, in units of its last place: see simulate.ts. */
  readonly tolerance: number;
}

export type LocalStep = AddStep | SumPoolStep | GatherStep | ConcatStep;
export type Step = LinearStep | LocalStep | ActivationStep | OutputStep;

export interface ProgramInput {
  readonly shape: Shape;
  readonly fractionBits: number;
  /** What the client does to its numbers first: (number - mean) / std, one of each per channel. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  /**
   * Absent where the numbers are pixels in 0..1. Else they are any numbers that are at most this, either way, after mean and
   * std: ranges hold for such alone.
   */
  readonly limit?: number;
}

/** What is done to numbers that the client has learnt; `axis` is the one along which, 0 for what works on each alone. */
export interface ProgramReadout {
  readonly kind: (typeof READOUTS)[number];
  readonly axis: number;
}

/** `argmax` takes the axis away: of each line it leaves the index of the largest number, the first of equals. */
export const READOUTS = ['softmax', 'logSoftmax', 'argmax', 'sigmoid', 'tanh'] as const;

/** A part of the output that is a tensor of its model. */
export interface ProgramResult {
  readonly name: string;
  readonly shape: readonly number[];
  /** Its numbers are ring elements / 2^bits: the output's fractional bits, and a power of two that the model has beside. */
  readonly bits: number;
  readonly readout?: ProgramReadout;
}

export interface Program {
  readonly name: string;
  readonly input: ProgramInput;
  readonly comparison: Comparison;
  /** In topological order; the last is the one output step. */
  readonly steps: readonly Step[];
  /** The output [n, 1, 1] is these, one after the other; at least one. */
  readonly results: readonly ProgramResult[];
  /** Names of the classes, if the outputs are classes: of one result, whose numbers they are as many as. */
  readonly labels: readonly string[];
}

/** The values a step reads. */
export function inputsOf(step: Step): readonly number[] {
  return 'inputs' in step ? step.inputs : [step.input];
}

/** The ReLU maps of a program's activation layers, in order. */
export function mapsOf({ steps }: Program): Uint8Array[] {
  return steps.flatMap((step) => (step.op === 'activation' ? [step.kinds] : []));
}
