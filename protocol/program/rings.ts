/**
 * The rings of a program: modulo which power of two each value is shared.
 *
 * A value need not be known beyond the bits that its readers use. Linear layers and local steps are homomorphisms of rings, so
 * that the low bits of their results follow from the low bits of what they read; an activation uses the low w bits of its
 * shares (kinds.ts), the output its range. Shares stay 32-bit words of which the low bits count: a narrower ring is fewer bits
 * on the wire and shorter carries in the gadgets.
 */

import { kindOf, kindsIn } from './kinds.ts';
import { inputsOf, type Program, type Step } from './program.ts';

/** Narrowest ring, in bits. AGREEMENT. */
const LEAST_BITS = 2;

/**
 * The bits of the ring of each value: element 0 is the input's, element i + 1 step i's. All lie in 2 .. 32.
 * @param program - one that checkProgram has let pass
 */
export function ringsOf({ steps }: Program): number[] {
  const rings = new Array<number>(steps.length + 1).fill(LEAST_BITS);
  for (let i = steps.length - 1; i >= 0; i--) {
    const step = steps[i] as Step;
    const read = readBits(step, rings[i + 1] as number);
    for (const value of inputsOf(step)) rings[value] = Math.max(rings[value] as number, read);
    // Nobody reads the output's own value: it is what the output step reads.
    if (step.op === 'output') rings[i + 1] = read;
  }
  return rings;
}

/** Bits that a step uses of what it reads, when `resultBits` are used of what it makes. */
function readBits(step: Step, resultBits: number): number {
  switch (step.op) {
    case 'activation': {
      const kinds = kindsIn(step.kinds).map(kindOf);
      return Math.max(...kinds.map((kind) => kind.ringBits(step.rangeBits, kind.shift(step))));
    }
    case 'output':
      return step.rangeBits;
    default:
      return resultBits;
  }
}
