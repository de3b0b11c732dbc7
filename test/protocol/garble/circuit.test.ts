import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Circuit,
  evaluateClear,
  LOAD,
  makeCircuit,
  Op,
} from '../../../protocol/garble/circuit.ts';
import { anyCircuit, comparison } from './circuits.ts';

const { xor, and, not } = Op;
const make = (gates: number[], outputs: number[]) =>
  makeCircuit(1, 1, Uint32Array.from(gates), Uint32Array.from(outputs));

/** The circuit run over its slots, as the garbling engine does. */
function evaluateSlots(circuit: Circuit, inputs: readonly number[]): number[] {
  const slots = new Array<number>(circuit.slotCount).fill(Number.NaN);
  for (let g = 0; g < circuit.slotGates.length; g += 4) {
    const [op, a, b, out] = circuit.slotGates.slice(g, g + 4) as unknown as number[];
    const [x, y] = [slots[a!]!, slots[b!]!];
    if (op === LOAD) slots[out!] = inputs[a!]!;
    else slots[out!] = op === xor ? x ^ y : op === and ? x & y : 1 - x;
  }
  return Array.from(circuit.outputSlots, (slot) => slots[slot]!);
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

  it('keeps its meaning over slots', () => {
    fc.assert(
      fc.property(anyCircuit, fc.infiniteStream(fc.nat(1)), (circuit, stream) => {
        const inputs = [...stream.take(circuit.garblerInputs + circuit.evaluatorInputs)];
        expect(evaluateSlots(circuit, inputs)).toEqual([...evaluateClear(circuit, inputs)]);
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  it('reuses the slots of wires that are dead', () => {
    // A carry chain keeps a handful of wires alive whatever its length: inputs come in when they are used.
    expect(comparison(10).slotCount).toBe(comparison(100).slotCount);
    expect(comparison(100).slotCount).toBeLessThanOrEqual(5);
    const chain = Array.from({ length: 1000 }, (_, i) => [not, i + 1, i + 1, i + 2]).flat();
    expect(make(chain, [1001]).slotCount).toBe(1);
    expect(make(chain, [1, 1001]).slotCount).toBe(2);
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
