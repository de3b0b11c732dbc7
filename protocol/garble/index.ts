/**
 * Garbled circuits: a boolean function of two parties' bits, evaluated by one of them without either seeing the other's.
 *
 * Contract
 * - Both parties build the same {@link Circuit}, from a {@link CircuitBuilder}, before any secret
 *   exists. It is plain data and may be kept, cloned to workers and used for any number of batches.
 * - For each offset delta the garbler draws a fresh `start`, and both parties take tweak numbers from one
 *   {@link TweakCounter} each, in the same order: {@link tweaksOf} numbers for each batch. A tweak that repeats under one
 *   delta gives delta away.
 * - Garbler: {@link garble} -> send the tables, the {@link activeLabels} of the garbler's bits and, by oblivious transfer, those
 *   of the evaluator's. Evaluator: {@link evaluate}, once for each batch. Output labels are decoded with
 *   {@link decodeBits} where the evaluator may learn the bit, or fed to a gadget where it may not.
 * - A batch is at most {@link maxInstances} instances; callers split.
 * - Everything here is synchronous and pure. After a {@link garble} or {@link evaluate} that threw, nothing has changed
 *   except that its tweaks count as spent.
 */

export { type Bit, CircuitBuilder } from './builder.ts';
export { type Circuit, evaluateClear, makeCircuit, Op } from './circuit.ts';
export {
  evaluateGarbled,
  type Garbled,
  garble,
  type InputLabels,
  LABEL_BYTES,
  maxInstances,
  tableBytes,
  tweaksOf,
} from './halfgates.ts';
export { activateWords, activeLabels, colours, decodeBits } from './labels.ts';
export { TWEAK_LIMIT, TweakCounter } from './tweaks.ts';
