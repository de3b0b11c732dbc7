/**
 * Reading circuits published in the Bristol formats, both of them: Bristol Fashion (values of named widths; operations
 * XOR, AND, INV, EQW, EQ, MAND) and the older Bristol format (two inputs, one output; XOR, AND, INV).
 *
 * https://nigelsmart.github.io/MPC-Circuits/
 *
 * Bits: a circuit's inputs are the bits of its input values one after the other, in file order, and its outputs
 * likewise. What a bit stands for is the circuit's own affair, and published ones differ: in the adders bit 0 of a value
 * is the least significant; the AES-128 and SHA-256 circuits hold the string of the standard reversed, bit 0 being the
 * last bit of the last byte (see `test/protocol/garble/bristol.test.ts`).
 */

import { type Bit, CircuitBuilder } from '../../../protocol/garble/builder.ts';
import type { Circuit } from '../../../protocol/garble/circuit.ts';

/** A circuit and how its wires group into values. */
export interface BristolCircuit {
  readonly format: 'fashion' | 'original';
  /** Bits of each input value. */
  readonly inputWidths: readonly number[];
  /** Bits of each output value. */
  readonly outputWidths: readonly number[];
  readonly circuit: Circuit;
}

/** Largest circuit read, in wires: about 100 MB of working memory, and half a second. LOCAL. */
const MAX_WIRES = 1 << 20;

/**
 * Reads a circuit. Bounds are checked throughout: the text may come from anywhere.
 * @param garblerValues - how many of the input values, from the first, are the garbler's
 * @throws RangeError naming the line that is wrong
 */
export function parseBristol(text: string, garblerValues = 1): BristolCircuit {
  const lines = text
    .split('\n')
    .map((line, i) => ({ number: i + 1, words: line.trim().split(/\s+/) }))
    .filter((line) => line.words[0] !== '');
  if (lines.length < 3) throw new RangeError('Bristol circuit: the text ends inside the header');
  const header = lines.slice(0, 3).map(integers);
  const [gateCount, wireCount] = header[0] ?? [];
  if (header[0]?.length !== 2 || wireCount! > MAX_WIRES) {
    fail(lines[0]!, `expected the number of gates and of wires (at most ${MAX_WIRES})`);
  }

  // The old format has its first gate, with a word at the end, where Bristol Fashion has its output widths.
  const fashion = header[2] !== undefined;
  const widths = header[1] ?? fail(lines[1]!, 'expected the widths of the inputs');
  const inputWidths = fashion ? counted(lines[1]!, widths) : widths.slice(0, 2);
  const outputWidths = fashion ? counted(lines[2]!, header[2]!) : widths.slice(2);
  if (!fashion && widths.length !== 3) fail(lines[1]!, 'expected two input widths and an output');
  const inputs = total(inputWidths);
  const outputs = total(outputWidths);
  if (inputs > wireCount! || outputs > wireCount!) {
    fail(lines[1]!, 'more inputs or outputs than wires');
  }
  if (garblerValues < 0 || garblerValues > inputWidths.length) {
    throw new RangeError(
      `Bristol circuit: it has ${inputWidths.length} input values, ${garblerValues} cannot be the garbler's`,
    );
  }

  const garblerInputs = total(inputWidths.slice(0, garblerValues));
  const builder = new CircuitBuilder(garblerInputs, inputs - garblerInputs);
  const bits = Array.from({ length: wireCount! }, (_, i): Bit | undefined =>
    i < inputs ? i : undefined,
  );
  const gates = lines.slice(fashion ? 3 : 2);
  if (gates.length !== gateCount) {
    throw new RangeError(`Bristol circuit: ${gateCount} gates announced, ${gates.length} found`);
  }
  for (const line of gates) readGate(line, builder, bits);

  const results = bits.slice(wireCount! - outputs).map((bit, i) => {
    if (bit === undefined) {
      throw new RangeError(`Bristol circuit: output wire ${wireCount! - outputs + i} is never set`);
    }
    return bit;
  });
  return {
    format: fashion ? 'fashion' : 'original',
    inputWidths,
    outputWidths,
    circuit: builder.build(results),
  };
}

interface Line {
  readonly number: number;
  readonly words: readonly string[];
}

function fail(line: Line, what: string): never {
  throw new RangeError(`Bristol circuit, line ${line.number}: ${what}`);
}

/** The numbers of a line, or undefined when some word is not a decimal integer of up to nine digits. */
function integers(line: Line): number[] | undefined {
  if (!line.words.every((word) => /^\d{1,9}$/.test(word))) return undefined;
  return line.words.map(Number);
}

/** A Bristol Fashion list: its length, then its entries. */
function counted(line: Line, numbers: readonly number[]): number[] {
  if (numbers.length !== numbers[0]! + 1) fail(line, 'expected a count and that many widths');
  return numbers.slice(1);
}

function total(widths: readonly number[]): number {
  return widths.reduce((sum, width) => sum + width, 0);
}

/** Inputs and outputs of each operation; MAND has 2n and n. */
const ARITY: Readonly<Record<string, readonly [number, number]>> = {
  XOR: [2, 1],
  AND: [2, 1],
  INV: [1, 1],
  EQ: [1, 1],
  EQW: [1, 1],
};

function readGate(line: Line, builder: CircuitBuilder, bits: (Bit | undefined)[]): void {
  const op = line.words.at(-1)!;
  const numbers = integers({ ...line, words: line.words.slice(0, -1) });
  if (numbers === undefined || numbers.length < 2) fail(line, 'expected a gate');
  const [ins, outs] = numbers as [number, number];
  const wires = numbers.slice(2);
  const [needIns, needOuts] =
    op === 'MAND' ? [2 * outs, outs] : Object.hasOwn(ARITY, op) ? ARITY[op]! : [];
  if (needIns === undefined) fail(line, `unknown operation ${JSON.stringify(op.slice(0, 16))}`);
  if (ins !== needIns || outs !== needOuts || wires.length !== ins + outs) {
    fail(line, `${op} takes ${needIns} inputs and ${needOuts} outputs`);
  }

  const input = (i: number): Bit =>
    bits[wires[i]!] ?? fail(line, `wire ${wires[i]} is read before it is set`);
  const results: Bit[] = [];
  if (op === 'XOR') results.push(builder.xor(input(0), input(1)));
  else if (op === 'INV') results.push(builder.not(input(0)));
  else if (op === 'EQW') results.push(input(0));
  else if (op === 'EQ') {
    if (wires[0]! > 1) fail(line, 'EQ sets a wire to 0 or 1');
    results.push(wires[0] === 1);
  } else {
    for (let i = 0; i < outs; i++) results.push(builder.and(input(i), input(outs + i)));
  }
  results.forEach((bit, i) => {
    const wire = wires[ins + i]!;
    if (wire >= bits.length) fail(line, `wire ${wire} does not exist, there are ${bits.length}`);
    if (bits[wire] !== undefined) fail(line, `wire ${wire} is set twice`);
    bits[wire] = bit;
  });
}
