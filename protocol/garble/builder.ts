/**
 * Building circuits gate by gate, with constants folded away and NOT shared, so that only gates that cost are emitted.
 *
 * Words are arrays of bits, least significant first.
 */

import { type Circuit, makeCircuit, Op } from './circuit.ts';

/** A bit inside a builder: a wire number, or a constant known while building. */
export type Bit = number | boolean;

/** A circuit under construction. */
export class CircuitBuilder {
  /** The garbler's input wires. */
  readonly garbler: readonly number[];
  /** The evaluator's input wires. */
  readonly evaluator: readonly number[];
  readonly #gates: number[] = [];
  /** The complement of each wire that has one. */
  readonly #complement = new Map<number, number>();
  #wires: number;

  constructor(garblerInputs: number, evaluatorInputs: number) {
    this.garbler = Array.from({ length: garblerInputs }, (_, i) => i);
    this.evaluator = Array.from({ length: evaluatorInputs }, (_, i) => garblerInputs + i);
    this.#wires = garblerInputs + evaluatorInputs;
  }

  #gate(op: number, a: number, b: number): number {
    this.#gates.push(op, a, b, this.#wires);
    return this.#wires++;
  }

  /** a xor b: free. */
  xor(a: Bit, b: Bit): Bit {
    if (typeof a === 'boolean') return a ? this.not(b) : b;
    if (typeof b === 'boolean') return this.xor(b, a);
    if (a === b) return false;
    if (this.#complement.get(a) === b) return true;
    return this.#gate(Op.xor, a, b);
  }

  /** not a: free. */
  not(a: Bit): Bit {
    if (typeof a === 'boolean') return !a;
    let complement = this.#complement.get(a);
    if (complement === undefined) {
      complement = this.#gate(Op.not, a, a);
      this.#complement.set(a, complement).set(complement, a);
    }
    return complement;
  }

  /** a and b: one AND unless it folds. */
  and(a: Bit, b: Bit): Bit {
    if (typeof a === 'boolean') return a ? b : false;
    if (typeof b === 'boolean') return this.and(b, a);
    if (a === b) return a;
    if (this.#complement.get(a) === b) return false;
    return this.#gate(Op.and, a, b);
  }

  /** a or b: one AND. */
  or(a: Bit, b: Bit): Bit {
    return this.not(this.and(this.not(a), this.not(b)));
  }

  /** choice ? a : b: one AND. */
  mux(choice: Bit, a: Bit, b: Bit): Bit {
    if (typeof choice === 'boolean') return choice ? a : b;
    return this.xor(b, this.and(choice, this.xor(a, b)));
  }

  /** The carry out of one bit position: the majority of three bits, one AND. */
  #carry(a: Bit, b: Bit, carry: Bit): Bit {
    return this.xor(carry, this.and(this.xor(a, carry), this.xor(b, carry)));
  }

  /** The carry out of a + b + carry: one AND a bit. */
  carryOut(a: readonly Bit[], b: readonly Bit[], carry: Bit = false): Bit {
    sameWidth(a, b);
    return a.reduce((c: Bit, bit, i) => this.#carry(bit, b[i]!, c), carry);
  }

  /** a + b + carry mod 2^width: width - 1 AND. */
  add(a: readonly Bit[], b: readonly Bit[], carry: Bit = false): Bit[] {
    sameWidth(a, b);
    let c = carry;
    return a.map((bit, i) => {
      const sum = this.xor(this.xor(bit, b[i]!), c);
      // The last carry leaves the word: no gate for it.
      if (i < a.length - 1) c = this.#carry(bit, b[i]!, c);
      return sum;
    });
  }

  /** The most significant bit of a + b mod 2^width, the carry chain alone: width - 1 AND. */
  addMsb(a: readonly Bit[], b: readonly Bit[]): Bit {
    sameWidth(a, b);
    const top = a.length - 1;
    if (top < 0) throw new RangeError('circuit builder: a word of no bits has no top bit');
    const carry = this.carryOut(a.slice(0, top), b.slice(0, top));
    return this.xor(this.xor(a[top]!, b[top]!), carry);
  }

  /** a < b as unsigned words: one AND a bit. */
  lessThan(a: readonly Bit[], b: readonly Bit[]): Bit {
    // b > a exactly when b + (2^width - 1 - a) carries.
    return this.carryOut(
      b,
      a.map((bit) => this.not(bit)),
    );
  }

  /** a < b as two's complement words: one AND a bit. */
  lessThanSigned(a: readonly Bit[], b: readonly Bit[]): Bit {
    const shift = (word: readonly Bit[]) =>
      word.map((bit, i) => (i === word.length - 1 ? this.not(bit) : bit));
    return this.lessThan(shift(a), shift(b));
  }

  /** choice ? a : b on words: one AND a bit. */
  muxWord(choice: Bit, a: readonly Bit[], b: readonly Bit[]): Bit[] {
    sameWidth(a, b);
    return a.map((bit, i) => this.mux(choice, bit, b[i]!));
  }

  /**
   * The finished circuit.
   * @throws RangeError when an output is a constant: it needs no circuit
   */
  build(outputs: readonly Bit[]): Circuit {
    const wires = outputs.map((bit, i) => {
      if (typeof bit === 'boolean') {
        throw new RangeError(`circuit: output ${i} is the constant ${Number(bit)}, not a wire`);
      }
      return bit;
    });
    return makeCircuit(
      this.garbler.length,
      this.evaluator.length,
      Uint32Array.from(this.#gates),
      Uint32Array.from(wires),
    );
  }
}

function sameWidth(a: readonly Bit[], b: readonly Bit[]): void {
  if (a.length !== b.length) {
    throw new RangeError(
      `circuit builder: words of ${a.length} and ${b.length} bits, expected equal`,
    );
  }
}
