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
 *
 * Why not three halves (Rosulek, Roy, Crypto 2021), 1.5 * 128 + 5 bits an AND for 256: it hashes three times where this
 * hashes twice, A, B and A xor B, and selects half labels by control bits. A ReLU of 18 AND would take 443 B of tables
 * for 576 B, all of it saved offline. Saved in transfer, against about 0.3 us more to garble and 0.2 us more to evaluate
 * (half gates, OpenSSL: 0.6 us and 0.45 us; the estimate is 1.5 times that; in WASM it is 1.4 us and 0.7 us more):
 *   100 Mbit/s: 10.6 us a ReLU, a fifth of the offline bytes; 1 Gbit/s: 1.1 us; loopback: 0.1 us.
 * So it pays offline on slow links alone, and makes every online evaluation half as long again, the part a user waits
 * for. It also needs a hash robust on A xor B and a control matrix drawn for each gate and instance. Decided: half gates.
 */

import { ProtocolError } from '../errors.ts';
import { kernels } from '../kernels/index.ts';
import { type AesEngine, fastestAes } from '../random/aes.ts';
import { INSTANCES_PER_KEY, type Tweaks, tweakKey } from '../random/hash.ts';
import { type Circuit, LOAD, Op, STEP, ZERO_SLOT } from './circuit.ts';

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

/**
 * Labels of all inputs, wire after wire: in one buffer, the garbler's first, or the garbler's and the evaluator's in one
 * each.
 */
export type InputLabels = Uint8Array | readonly [garbler: Uint8Array, evaluator: Uint8Array];

/** What the garbler keeps and what it sends. */
export interface Garbled {
  /** For the evaluator: {@link tableBytes} bytes. */
  readonly tables: Uint8Array;
  /** Secret: zero labels of the outputs, outputs * n labels. */
  readonly outputZeroLabels: Uint8Array;
}

/** What the garbler garbles with. Secret but for the tweaks. */
export interface GarblerInputs {
  /** The free-XOR offset, 16 bytes with lowest bit 1. */
  readonly delta: Uint8Array;
  /** Zero labels of all inputs, the garbler's first: inputs * n labels. */
  readonly zeroLabels: InputLabels;
  /** {@link tweaksOf} numbers never used before under `delta`. */
  readonly tweaks: Tweaks;
}

/** Options of {@link garble}. */
export interface GarbleOptions {
  /** LOCAL: changes no bit; default: the fastest. */
  readonly engine?: AesEngine | undefined;
  /** Where the tables are written, {@link tableBytes} bytes; default: fresh bytes. */
  readonly room?: Uint8Array;
}

/**
 * The garbler's half.
 * @param n - instances, 1 to {@link maxInstances}
 * @throws RangeError when n is too large for the security bound or the memory, a length is wrong, or lsb(delta) is 0
 */
export function garble(
  circuit: Circuit,
  n: number,
  { delta, zeroLabels, tweaks }: GarblerInputs,
  { engine = fastestAes(2 * n), room }: GarbleOptions = {},
): Garbled {
  checkDelta(delta);
  const inputs = splitInputs(circuit, n, zeroLabels);
  const tables = room ?? new Uint8Array(tableBytes(circuit, n));
  if (tables.length !== tableBytes(circuit, n)) {
    throw new RangeError(
      `garbled tables: expected room for ${tableBytes(circuit, n)} bytes, got ${tables.length}`,
    );
  }
  const { arena, bits, garble: kernel } = kernels();
  return arena.scope(() => {
    const offset = arena.put(delta);
    const rows = arena.alloc(2 * LABEL_BYTES * n);
    const rowsView = arena.u8(rows, 2 * LABEL_BYTES * n);
    const left = arena.alloc(4 * LABEL_BYTES * n);
    const right = left + 2 * LABEL_BYTES * n;
    let gate = 0;
    const outputZeroLabels = walk(circuit, n, inputs, {
      not: (out, a) => bits.xorBlock(out, a, offset, n),
      and(out, a0, a1, b0, b1, c) {
        const tweak = tweaks.first + 2 * gate;
        kernel.sigmaPairs(left, a0, a1, offset, n);
        engine.encryptAt(tweakKey(tweaks.start, tweak), left, left, 2 * n);
        kernel.sigmaPairs(right, b0, b1, offset, n);
        engine.encryptAt(tweakKey(tweaks.start, tweak + 1), right, right, 2 * n);
        kernel.combineGarble(out, rows, left, a0, a1, b0, b1, c, offset, n);
        tables.set(rowsView, gate++ * rowsView.length);
      },
    });
    return { tables, outputZeroLabels };
  });
}

/** What the evaluator evaluates with. */
export interface EvaluatorInputs {
  /** Active labels of all inputs, the garbler's first: inputs * n labels. */
  readonly labels: InputLabels;
  /** From the garbler. */
  readonly tables: Uint8Array;
  /** The garbler's. */
  readonly tweaks: Tweaks;
}

/**
 * The evaluator's half.
 * @returns active labels of the outputs, outputs * n labels
 * @throws ProtocolError 'bad-message' when the tables have the wrong length
 * @throws RangeError when n is too large for the security bound or the memory, or the labels have the wrong length
 */
export function evaluateGarbled(
  circuit: Circuit,
  n: number,
  { labels, tables, tweaks }: EvaluatorInputs,
  engine: AesEngine = fastestAes(n),
): Uint8Array {
  const inputs = splitInputs(circuit, n, labels);
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
    const left = arena.alloc(2 * LABEL_BYTES * n);
    const right = left + LABEL_BYTES * n;
    const memory = arena.u8(0, arena.memory.buffer.byteLength);
    let gate = 0;
    return walk(circuit, n, inputs, {
      // The garbler swapped the meaning of the labels: the active one stays.
      not: (out, a) => memory.copyWithin(out, a, a + LABEL_BYTES * n),
      and(out, a0, a1, b0, b1, c) {
        const tweak = tweaks.first + 2 * gate;
        const from = gate++ * rowsView.length;
        rowsView.set(tables.subarray(from, from + rowsView.length));
        kernel.sigmaSums(left, a0, a1, b0, b1, n);
        engine.encryptAt(tweakKey(tweaks.start, tweak), left, left, n);
        engine.encryptAt(tweakKey(tweaks.start, tweak + 1), right, right, n);
        kernel.combineEvaluate(out, rows, left, a0, a1, b0, b1, c, n);
      },
    });
  });
}

/** Runs the steps of a circuit over label buffers in kernel memory; XOR is the same for both parties. */
function walk(
  circuit: Circuit,
  n: number,
  [garbler, evaluator]: readonly [Uint8Array, Uint8Array],
  gates: {
    not(out: number, a: number): void;
    /** The step's AND gate: (a0 ^ a1) & (b0 ^ b1) ^ c. Pointers one by one: an object for every gate costs time. */
    and(out: number, a0: number, a1: number, b0: number, b1: number, c: number): void;
  },
): Uint8Array {
  const { arena, bits } = kernels();
  const wireBytes = LABEL_BYTES * n;
  const { steps, outputSlots, slotCount } = circuit;
  const slots = arena.alloc(slotCount * wireBytes);
  const at = (slot: number): number => slots + slot * wireBytes;
  arena.u8(at(ZERO_SLOT), wireBytes).fill(0);
  const load = (slot: number, wire: number): void => {
    const own = wire < circuit.garblerInputs;
    const from = (own ? wire : wire - circuit.garblerInputs) * wireBytes;
    arena.u8(slot, wireBytes).set((own ? garbler : evaluator).subarray(from, from + wireBytes));
  };
  for (let s = 0; s < steps.length; s += STEP) {
    const op = steps[s];
    const first = steps[s + 1]!;
    const a = at(first);
    const b = at(steps[s + 2]!);
    const out = at(steps[s + 6]!);
    if (op === LOAD) load(out, first);
    else if (op === Op.xor) bits.xor(out, a, b, wireBytes);
    else if (op === Op.not) gates.not(out, a);
    else gates.and(out, a, b, at(steps[s + 3]!), at(steps[s + 4]!), at(steps[s + 5]!));
  }
  const outputs = new Uint8Array(outputSlots.length * wireBytes);
  outputSlots.forEach((slot, i) => {
    outputs.set(arena.u8(at(slot), wireBytes), i * wireBytes);
  });
  return outputs;
}

function checkDelta(delta: Uint8Array): void {
  if (delta.length !== LABEL_BYTES || (delta[0]! & 1) !== 1) {
    throw new RangeError('garbling offset: expected 16 bytes whose lowest bit is 1');
  }
}

/** The two parties' input labels, of the right lengths. */
function splitInputs(
  circuit: Circuit,
  n: number,
  labels: InputLabels,
): readonly [garbler: Uint8Array, evaluator: Uint8Array] {
  if (!Number.isInteger(n) || n < 1 || n > INSTANCES_PER_KEY) {
    throw new RangeError(`garbling: expected 1 to ${INSTANCES_PER_KEY} instances, got ${n}`);
  }
  if (n > maxInstances(circuit)) {
    throw new RangeError(
      `garbling: ${n} instances of a circuit with ${circuit.slotCount} live wires do not fit in kernel memory, ` +
        `${maxInstances(circuit)} do`,
    );
  }
  const cut = circuit.garblerInputs * n * LABEL_BYTES;
  const rest = circuit.evaluatorInputs * n * LABEL_BYTES;
  const parts =
    labels instanceof Uint8Array
      ? ([labels.subarray(0, cut), labels.subarray(cut)] as const)
      : labels;
  if (parts[0].length !== cut || parts[1].length !== rest) {
    const got = parts[0].length + parts[1].length;
    throw new RangeError(
      `input labels: expected ${cut + rest} bytes, ${cut} of them the garbler's, got ${got}`,
    );
  }
  return parts;
}
