import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Circuit,
  evaluateClear,
  LOAD,
  makeCircuit,
  Op,
  STEP,
  ZERO_SLOT,
} from '../../../protocol/garble/circuit.ts';
import { anyCircuit, comparison } from './circuits.ts';

const { xor, and, not } = Op;
const make = (gates: number[], outputs: number[]) =>
  makeCircuit(1, 1, Uint32Array.from(gates), Uint32Array.from(outputs));

/** The circuit run over its steps and slots, as the garbling engine does. */
function evaluateSteps({ steps, slotCount, outputSlots }: Circuit, inputs: readonly number[]) {
  const slots = new Array<number>(slotCount).fill(Number.NaN);
  slots[ZERO_SLOT] = 0;
  for (let s = 0; s < steps.length; s += STEP) {
    const op = steps[s];
    const reads = [...steps.subarray(s + 1, s + STEP - 1)];
    const [a0, a1, b0, b1, c] = reads.map((slot) => slots[slot]!) as [
      number,
      number,
      number,
      number,
      number,
    ];
    const out = steps[s + STEP - 1]!;
    expect(out).not.toBe(ZERO_SLOT);
    if (op === LOAD) slots[out] = inputs[reads[0]!]!;
    else if (op === xor) slots[out] = a0 ^ a1;
    else if (op === not) slots[out] = 1 - a0;
    else slots[out] = ((a0 ^ a1) & (b0 ^ b1)) ^ c;
  }
  return Array.from(outputSlots, (slot) => slots[slot]!);
}

describe('circuit', () => {
  it('evaluates each operation', () => {
    const circuit = make([xor, 0, 1, 2, and, 0, 1, 3, not, 0, 0, 4], [2, 3, 4]);
    expect(circuit.andCount).toBe(1);
    const table = [
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ].map((bits) => [...evaluateClear(circuit, bits)]);
    expect(table).toEqual([
      [0, 0, 1],
      [1, 0, 1],
      [1, 0, 0],
      [0, 1, 0],
    ]);
  });

  it('keeps its meaning over steps and slots', () => {
    fc.assert(
      fc.property(anyCircuit, fc.infiniteStream(fc.nat(1)), (circuit, stream) => {
        const inputs = [...stream.take(circuit.garblerInputs + circuit.evaluatorInputs)];
        expect(evaluateSteps(circuit, inputs)).toEqual([...evaluateClear(circuit, inputs)]);
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it('reuses the slots of wires that are dead', () => {
    // A carry chain keeps a handful of wires alive whatever its length: inputs come in when they are used.
    expect(comparison(10).slotCount).toBe(comparison(100).slotCount);
    expect(comparison(100).slotCount).toBeLessThanOrEqual(5);
    const chain = Array.from({ length: 1000 }, (_, i) => [not, i + 1, i + 1, i + 2]).flat();
    expect(make(chain, [1001]).slotCount).toBe(2);
    expect(make(chain, [1, 1001]).slotCount).toBe(3);
  });

  it('runs a carry in one step, and XORs with other readers on their own', () => {
    const operations = ({ steps }: Circuit) =>
      Array.from({ length: steps.length / STEP }, (_, i) => steps[STEP * i]!);
    const chain = operations(comparison(20));
    expect(chain.filter((op) => op === and)).toHaveLength(19);
    // The first carry has no carry in, the top bit is a sum of three.
    expect(chain.filter((op) => op === xor)).toHaveLength(2);
    // The XOR in front is an output too; the one behind adds a wire that is not there yet.
    const shared = make([xor, 0, 1, 2, and, 2, 0, 3, xor, 0, 1, 4, xor, 3, 4, 5], [2, 5]);
    expect(operations(shared)).toEqual([LOAD, LOAD, xor, and, xor, xor]);
  });

  it('refuses malformed gates by number', () => {
    expect(() => make([3, 0, 1, 2], [2])).toThrow(/gate 0 has an unknown operation/);
    expect(() => make([not, 0, 1, 2], [2])).toThrow(/gate 0 has an unknown operation or shape/);
    expect(() => make([xor, 0, 1, 2, and, 3, 0, 4], [4])).toThrow(/gate 1 reads a wire/);
    expect(() => make([xor, 0, 3, 2, and, 0, 1, 3], [3])).toThrow(/gate 0 reads a wire/);
    expect(() => make([xor, 0, 2, 2], [2])).toThrow(/gate 0 reads a wire/);
    expect(() => make([xor, 0, 1, 1], [1])).toThrow(/gate 0 sets a wire/);
    expect(() => make([xor, 0, 1, 3], [2])).toThrow(/gate 0 sets a wire/);
    expect(() => make([xor, 0, 1], [1])).toThrow(RangeError);
    expect(() => make([xor, 0, 1, 2], [3])).toThrow(/output wire 3/);
    expect(() => makeCircuit(-1, 2, new Uint32Array(0), Uint32Array.of(0))).toThrow(RangeError);
    expect(() => evaluateClear(comparison(3), [0, 1])).toThrow(/expected 6 bits, got 2/);
  });
});
