import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Bit, CircuitBuilder } from '../../../protocol/garble/builder.ts';
import { type Circuit, evaluateClear } from '../../../protocol/garble/circuit.ts';

const bitsOf = (x: number, width: number): number[] =>
  Array.from({ length: width }, (_, i) => Math.floor(x / 2 ** i) % 2);
const numberOf = (bits: ArrayLike<number>): number =>
  Array.from(bits).reduce((sum, bit, i) => sum + bit * 2 ** i, 0);

type Word = readonly Bit[];
function binary(
  width: number,
  op: (builder: CircuitBuilder, a: Word, b: Word) => Bit[],
): { circuit: Circuit; run: (a: number, b: number) => number } {
  const builder = new CircuitBuilder(width, width);
  const circuit = builder.build(op(builder, builder.garbler, builder.evaluator));
  const run = (a: number, b: number) =>
    numberOf(evaluateClear(circuit, [...bitsOf(a, width), ...bitsOf(b, width)]));
  return { circuit, run };
}

/** Boundary values and random ones of a word of `width` bits. */
function pairs(width: number): [number, number][] {
  const edges = [0, 1, 2 ** (width - 1) - 1, 2 ** (width - 1), 2 ** width - 2, 2 ** width - 1];
  const random = fc.sample(fc.nat(2 ** width - 1), { seed: width, numRuns: 100 });
  return [
    ...edges.flatMap((a) => edges.map((b): [number, number] => [a, b])),
    ...random.map((a, i): [number, number] => [a, random[(i * 7 + 1) % random.length]!]),
  ];
}

const signed = (x: number, width: number) => (x >= 2 ** (width - 1) ? x - 2 ** width : x);

describe('circuit builder', () => {
  it.each([2, 3, 8, 13, 31])('computes on words of %i bits at the stated cost', (width) => {
    const add = binary(width, (c, a, b) => c.add(a, b));
    const increment = binary(width, (c, a, b) => c.add(a, b, true));
    const carry = binary(width, (c, a, b) => [c.carryOut(a, b)]);
    const msb = binary(width, (c, a, b) => [c.addMsb(a, b)]);
    const less = binary(width, (c, a, b) => [c.lessThan(a, b)]);
    const lessSigned = binary(width, (c, a, b) => [c.lessThanSigned(a, b)]);
    const least = binary(width, (c, a, b) => c.muxWord(c.lessThan(a, b), a, b));
    expect(add.circuit.andCount).toBe(width - 1);
    expect(carry.circuit.andCount).toBe(width);
    expect(msb.circuit.andCount).toBe(width - 1);
    expect(less.circuit.andCount).toBe(width);
    expect(least.circuit.andCount).toBe(2 * width);
    for (const [a, b] of pairs(width)) {
      expect(add.run(a, b)).toBe((a + b) % 2 ** width);
      expect(increment.run(a, b)).toBe((a + b + 1) % 2 ** width);
      expect(carry.run(a, b)).toBe(Number(a + b >= 2 ** width));
      expect(msb.run(a, b)).toBe(bitsOf((a + b) % 2 ** width, width).at(-1));
      expect(less.run(a, b)).toBe(Number(a < b));
      expect(lessSigned.run(a, b)).toBe(Number(signed(a, width) < signed(b, width)));
      expect(least.run(a, b)).toBe(Math.min(a, b));
    }
  });

  it('computes or and mux with one AND', () => {
    const builder = new CircuitBuilder(1, 2);
    const [s] = builder.garbler as [number];
    const [a, b] = builder.evaluator as [number, number];
    const circuit = builder.build([builder.or(a, b), builder.mux(s, a, b)]);
    expect(circuit.andCount).toBe(2);
    for (let i = 0; i < 8; i++) {
      const [x, y, z] = bitsOf(i, 3) as [number, number, number];
      expect([...evaluateClear(circuit, [x, y, z])]).toEqual([y | z, x === 1 ? y : z]);
    }
  });

  it('folds constants and repeated inputs instead of emitting gates', () => {
    const c = new CircuitBuilder(1, 1);
    const x = c.garbler[0]!;
    const y = c.evaluator[0]!;
    expect(c.xor(x, false)).toBe(x);
    expect(c.xor(false, x)).toBe(x);
    expect(c.xor(x, x)).toBe(false);
    expect(c.and(x, x)).toBe(x);
    expect(c.and(x, true)).toBe(x);
    expect(c.and(false, x)).toBe(false);
    expect(c.or(x, true)).toBe(true);
    expect(c.or(false, true)).toBe(true);
    expect(c.xor(true, true)).toBe(false);
    const complement = c.not(x);
    expect(c.not(complement)).toBe(x);
    expect(c.not(x)).toBe(complement);
    expect(c.xor(x, true)).toBe(complement);
    expect(c.xor(complement, x)).toBe(true);
    expect(c.and(x, complement)).toBe(false);
    expect(c.mux(true, x, y)).toBe(x);
    expect(c.mux(false, x, y)).toBe(y);
    // The complement of x is the only gate.
    expect(c.build([complement]).gates).toHaveLength(4);
    const word = new CircuitBuilder(0, 8);
    const zero = new Array<boolean>(8).fill(false);
    expect(word.add(word.evaluator, zero)).toEqual(word.evaluator);
  });

  it('refuses constant outputs, unequal words and empty ones', () => {
    const c = new CircuitBuilder(2, 2);
    expect(() => c.build([c.garbler[0]!, c.and(c.garbler[0]!, false)])).toThrow(
      /output 1 is the constant 0/,
    );
    expect(() => c.add(c.garbler, c.evaluator.slice(1))).toThrow(RangeError);
    expect(() => c.muxWord(true, c.garbler, [])).toThrow(RangeError);
    expect(() => c.addMsb([], [])).toThrow(RangeError);
  });
});
