/** Circuits for the garbling tests. */

import fc from 'fast-check';
import { CircuitBuilder } from '../../../protocol/garble/builder.ts';
import { type Circuit, makeCircuit, Op } from '../../../protocol/garble/circuit.ts';

/** One gate on two inputs, one of each party. */
export function oneGate(op: number): Circuit {
  return makeCircuit(1, 1, Uint32Array.of(op, 0, op === Op.not ? 0 : 1, 2), Uint32Array.of(2));
}

/** The comparison that a ReLU garbles: msb(a + c) and its complement, `width` bits each. */
export function comparison(width: number): Circuit {
  const builder = new CircuitBuilder(width, width);
  const sign = builder.addMsb(builder.garbler, builder.evaluator);
  return builder.build([builder.not(sign), sign]);
}

/** A circuit whose inputs are outputs too, `width` of each party: none of its wires ever dies. */
export function allAlive(width: number): Circuit {
  const builder = new CircuitBuilder(width, width);
  const { garbler, evaluator } = builder;
  return builder.build([builder.and(garbler[0]!, evaluator[0]!), ...garbler, ...evaluator]);
}

/** Any circuit, with degenerate gates (both inputs the same wire), unused wires and outputs that are inputs. */
export const anyCircuit: fc.Arbitrary<Circuit> = fc
  .record({
    garbler: fc.integer({ min: 0, max: 5 }),
    evaluator: fc.integer({ min: 1, max: 5 }),
    gates: fc.array(fc.tuple(fc.nat(2), fc.nat(), fc.nat()), { maxLength: 40 }),
    outputs: fc.array(fc.nat(), { minLength: 1, maxLength: 6 }),
  })
  .map(({ garbler, evaluator, gates, outputs }) => {
    const inputs = garbler + evaluator;
    const flat = gates.flatMap(([op, a, b], i) => {
      const left = a % (inputs + i);
      return [op, left, op === Op.not ? left : b % (inputs + i), inputs + i];
    });
    const wires = inputs + gates.length;
    return makeCircuit(
      garbler,
      evaluator,
      Uint32Array.from(flat),
      Uint32Array.from(outputs, (x) => x % wires),
    );
  });
