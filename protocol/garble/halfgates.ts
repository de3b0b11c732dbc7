/**
 * Half gates: garbling one circuit for n instances at once.
 *
 * Zahur, Rosulek, Evans, "Two Halves Make a Whole" (Eurocrypt 2015), Figure 2; free XOR (Kolesnikov, Schneider, ICALP
 * 2008) and point-and-permute. Hash: H(x, i) = AES_k(i)(sigma(x)) xor sigma(x), re-keyed for every half gate (Guo, Katz,
 * Wang, Weng, Yu, Crypto 2020, see `random/hash.ts`): one key serves the n <= 1024 instances of one half gate.
 *
 *   garbler                                        evaluator
 *   holds delta, zero labels of the inputs         (has nothing)
 *     garble  ------------------ tables -------->  32 bytes per AND and instance
 *             -- active labels (own bits: sent;
 *                evaluator's bits: by OT) ------>  evaluate
 *   holds zero labels of the outputs               holds active labels of the outputs
 *
 * A wire's label for 0 is X, for 1 it is X xor delta; its colour is its lowest bit (bit 0 of byte 0). lsb(delta) = 1, so
 * the two labels of a wire differ in colour, and value = colour xor (colour of the zero label).
 *
 * Bits: a label is 16 bytes, a wire n consecutive labels, a buffer of labels wire after wire. Tables: AND gate after AND
 * gate in circuit order, each n generator rows, then n evaluator rows. AND gate number g uses tweaks first + 2g
 * (generator half) and first + 2g + 1 (evaluator half).
 *
 * Leakage: none against a semi-honest evaluator who gets one active label of each input wire, as long as no tweak
 * repeats under one delta: the garbler draws `start` afresh for each delta and takes numbers from a TweakCounter.
 * Evaluating is exact. Time does not depend on labels or bits.
 */

import { ProtocolError } from '../errors.ts';
import { kernels } from '../kernels/index.ts';
import { type AesEngine, fastestAes } from '../random/aes.ts';
import { INSTANCES_PER_KEY, type Tweaks, tweakKey } from '../random/hash.ts';
import { type Circuit, GATE, Op } from './circuit.ts';

/** Bytes of a wire label. SECURITY. */
export const LABEL_BYTES = 16;

/** Kernel memory a pass needs beside its wires, per instance: four blocks to encrypt and two table rows. */
const WORK_BYTES = 6 * LABEL_BYTES;

/** Consecutive tweaks that garbling or evaluating `circuit` uses up. */
export function tweaksOf(circuit: Circuit): number {
  return 2 * circuit.andCount;
}

/** Bytes of the tables of n instances. */
export function tableBytes(circuit: Circuit, n: number): number {
  return 2 * LABEL_BYTES * circuit.andCount * n;
}

/** The most instances of `circuit` that one call can take: the security bound, or what kernel memory holds. */
export function maxInstances(circuit: Circuit): number {
  // Round keys, delta and alignment come to less than a page.
  const memory = kernels().arena.memory.buffer.byteLength - 65536;
  const perInstance = LABEL_BYTES * circuit.slotCount + WORK_BYTES;
  return Math.min(INSTANCES_PER_KEY, Math.floor(memory / perInstance));
}

/** What the garbler keeps and what it sends. */
export interface Garbled {
  /** For the evaluator: {@link tableBytes} bytes. */
  readonly tables: Uint8Array;
  /** Secret: zero labels of the outputs, outputs * n labels. */
  readonly outputZeroLabels: Uint8Array;
}

/**
 * The garbler's half.
 * @param n - instances, 1 to {@link maxInstances}
 * @param delta - the free-XOR offset, 16 bytes with lowest bit 1
 * @param inputZeroLabels - zero labels of all inputs, the garbler's first: inputs * n labels
 * @param tweaks - {@link tweaksOf} numbers never used before under `delta`
 * @param engine - LOCAL: changes no bit
 * @throws RangeError when n is too large for the security bound or the memory, a length is wrong, or lsb(delta) is 0
 */
export function garble(
  circuit: Circuit,
  n: number,
  delta: Uint8Array,
  inputZeroLabels: Uint8Array,
  tweaks: Tweaks,
  engine: AesEngine = fastestAes(2 * n),
): Garbled {
  checkDelta(delta);
  checkInputs(circuit, n, inputZeroLabels);
  const { arena, bits, garble: kernel } = kernels();
  return arena.scope(() => {
    const offset = arena.put(delta);
    const rows = arena.alloc(2 * LABEL_BYTES * n);
    const rowsView = arena.u8(rows, 2 * LABEL_BYTES * n);
    const sections = arena.alloc(4 * LABEL_BYTES * n);
    const tables = new Uint8Array(tableBytes(circuit, n));
    let gate = 0;
    const outputZeroLabels = walk(circuit, n, inputZeroLabels, {
      not: (out, a) => bits.xorBlock(out, a, offset, n),
      and(out, a, b) {
        const tweak = tweaks.first + 2 * gate;
        kernel.prepareGarble(sections, a, b, offset, n);
        engine.encryptInPlace(tweakKey(tweaks.start, tweak), sections, 2 * n);
        engine.encryptInPlace(
          tweakKey(tweaks.start, tweak + 1),
          sections + 2 * LABEL_BYTES * n,
          2 * n,
        );
        kernel.combineGarble(out, rows, sections, a, b, offset, n);
        tables.set(rowsView, gate++ * rowsView.length);
      },
    });
    return { tables, outputZeroLabels };
  });
}

/**
 * The evaluator's half.
 * @param inputLabels - active labels of all inputs, the garbler's first: inputs * n labels
 * @param tables - from the garbler
 * @param tweaks - the garbler's
 * @returns active labels of the outputs, outputs * n labels
 * @throws ProtocolError 'bad-message' when the tables have the wrong length
 * @throws RangeError when n is too large for the security bound or the memory, or the labels have the wrong length
 */
export function evaluate(
  circuit: Circuit,
  n: number,
  inputLabels: Uint8Array,
  tables: Uint8Array,
  tweaks: Tweaks,
  engine: AesEngine = fastestAes(n),
): Uint8Array {
  checkInputs(circuit, n, inputLabels);
  if (tables.length !== tableBytes(circuit, n)) {
    throw new ProtocolError(
      'bad-message',
      `garbled tables: expected ${tableBytes(circuit, n)} bytes, got ${tables.length}`,
    );
  }
  const { arena, garble: kernel } = kernels();
  return arena.scope(() => {
    const rows = arena.alloc(2 * LABEL_BYTES * n);
    const rowsView = arena.u8(rows, 2 * LABEL_BYTES * n);
    const sections = arena.alloc(2 * LABEL_BYTES * n);
    const memory = arena.u8(0, arena.memory.buffer.byteLength);
    let gate = 0;
    return walk(circuit, n, inputLabels, {
      // The garbler swapped the meaning of the labels: the active one stays.
      not: (out, a) => memory.copyWithin(out, a, a + LABEL_BYTES * n),
      and(out, a, b) {
        const tweak = tweaks.first + 2 * gate;
        const from = gate++ * rowsView.length;
        rowsView.set(tables.subarray(from, from + rowsView.length));
        kernel.prepareEvaluate(sections, a, b, n);
        engine.encryptInPlace(tweakKey(tweaks.start, tweak), sections, n);
        engine.encryptInPlace(tweakKey(tweaks.start, tweak + 1), sections + LABEL_BYTES * n, n);
        kernel.combineEvaluate(out, rows, sections, a, b, n);
      },
    });
  });
}

/** Runs the gates over label buffers in kernel memory; XOR is the same for both parties. */
function walk(
  circuit: Circuit,
  n: number,
  inputs: Uint8Array,
  gates: {
    not(out: number, a: number): void;
    and(out: number, a: number, b: number): void;
  },
): Uint8Array {
  const { arena, bits } = kernels();
  const wireBytes = LABEL_BYTES * n;
  const { slotGates, outputSlots, slotCount } = circuit;
  const slots = arena.alloc(slotCount * wireBytes);
  arena.u8(slots, inputs.length).set(inputs);
  for (let g = 0; g < slotGates.length; g += GATE) {
    const op = slotGates[g];
    const a = slots + slotGates[g + 1]! * wireBytes;
    const b = slots + slotGates[g + 2]! * wireBytes;
    const out = slots + slotGates[g + 3]! * wireBytes;
    if (op === Op.xor) bits.xor(out, a, b, wireBytes);
    else if (op === Op.and) gates.and(out, a, b);
    else gates.not(out, a);
  }
  const outputs = new Uint8Array(outputSlots.length * wireBytes);
  outputSlots.forEach((slot, i) => {
    outputs.set(arena.u8(slots + slot * wireBytes, wireBytes), i * wireBytes);
  });
  return outputs;
}

function checkDelta(delta: Uint8Array): void {
  if (delta.length !== LABEL_BYTES || (delta[0]! & 1) !== 1) {
    throw new RangeError('garbling offset: expected 16 bytes whose lowest bit is 1');
  }
}

function checkInputs(circuit: Circuit, n: number, labels: Uint8Array): void {
  if (!Number.isInteger(n) || n < 1 || n > INSTANCES_PER_KEY) {
    throw new RangeError(`garbling: expected 1 to ${INSTANCES_PER_KEY} instances, got ${n}`);
  }
  if (n > maxInstances(circuit)) {
    throw new RangeError(
      `garbling: ${n} instances of a circuit with ${circuit.slotCount} live wires do not fit in kernel memory, ` +
        `${maxInstances(circuit)} do`,
    );
  }
  const expected = (circuit.garblerInputs + circuit.evaluatorInputs) * n * LABEL_BYTES;
  if (labels.length !== expected) {
    throw new RangeError(`input labels: expected ${expected} bytes, got ${labels.length}`);
  }
}
