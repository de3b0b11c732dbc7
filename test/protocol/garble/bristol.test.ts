import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { evaluateClear } from '../../../protocol/garble/circuit.ts';
import {
  evaluateGarbled,
  garble,
  maxInstances,
  tweaksOf,
} from '../../../protocol/garble/halfgates.ts';
import { activeLabels, colours, decodeBits } from '../../../protocol/garble/labels.ts';
import { Prg, randomBytes } from '../../../protocol/random/index.ts';
import { hex, unhex } from '../../support/bytes.ts';
import { type BristolCircuit, parseBristol } from './bristol.ts';

const folder = new URL('../../../../shared/data/bristol/', import.meta.url);
const available = existsSync(folder);
if (!available) console.log('published circuits: skipped, no ../shared/data/bristol');

const published = (name: string): BristolCircuit =>
  parseBristol(readFileSync(new URL(name, folder), 'utf8'));

/** The bits of a string as the AES and SHA-256 circuits number them: bit 0 is the last bit of the last byte. */
const reversedBits = (bytes: Uint8Array): number[] =>
  Array.from({ length: 8 * bytes.length }, (_, i) => {
    const byte = bytes[bytes.length - 1 - (i >> 3)]!;
    return (byte >> (i & 7)) & 1;
  });
const fromReversedBits = (bits: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(bits.length / 8);
  bits.forEach((bit, i) => {
    bytes[bytes.length - 1 - (i >> 3)]! |= bit << (i & 7);
  });
  return bytes;
};

/** Garbles and evaluates `circuit` for each row of `inputs`; the decoded outputs, a row each. */
function garbled({ circuit }: BristolCircuit, inputs: number[][]): Uint8Array[] {
  const n = inputs.length;
  const prg = new Prg(new Uint8Array(16).fill(5));
  const delta = randomBytes(prg, 16);
  delta[0]! |= 1;
  const tweaks = { start: randomBytes(prg, 16), first: 0 };
  const zero = randomBytes(prg, inputs[0]!.length * n * 16);
  const bits = Uint8Array.from(inputs[0]!.flatMap((_, wire) => inputs.map((row) => row[wire]!)));
  const { tables, outputZeroLabels } = garble(circuit, n, { delta, zeroLabels: zero, tweaks });
  const labels = evaluateGarbled(circuit, n, {
    labels: activeLabels(zero, delta, bits),
    tables,
    tweaks,
  });
  const outputs = decodeBits(labels, colours(outputZeroLabels));
  return inputs.map((_, i) => outputs.filter((_, j) => j % n === i));
}

describe.skipIf(!available)('published circuits, garbled', () => {
  it('AES-128 gives the answers of FIPS-197', () => {
    const aes = published('aes_128.txt');
    expect(aes.format).toBe('fashion');
    expect(aes.inputWidths).toEqual([128, 128]);
    expect(aes.circuit.andCount).toBe(6400);
    expect(tweaksOf(aes.circuit)).toBe(12800);
    const c1 = ['000102030405060708090a0b0c0d0e0f', '00112233445566778899aabbccddeeff'];
    const b = ['2b7e151628aed2a6abf7158809cf4f3c', '3243f6a8885a308d313198a2e0370734'];
    const inputs = [c1, b].map((row) => row.flatMap((text) => reversedBits(unhex(text))));
    expect(garbled(aes, inputs).map((bits) => hex(fromReversedBits(bits)))).toEqual([
      '69c4e0d86a7b0430d8cdb78070b4c55a',
      '3925841d02dc09fbdc118597196a0b32',
    ]);
  });

  it('SHA-256 compresses the block of "abc" to its FIPS 180-4 digest', () => {
    const sha = published('sha256.txt');
    // One compression: a block, then the chaining value, here the initial one of FIPS 180-4, 5.3.3.
    expect(sha.inputWidths).toEqual([512, 256]);
    expect(sha.circuit.andCount).toBe(22573);
    expect(maxInstances(sha.circuit)).toBe(1024);
    const block = unhex(`61626380${'00'.repeat(59)}18`);
    const initial = '6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19';
    const inputs = [...reversedBits(block), ...reversedBits(unhex(initial))];
    const digest = hex(fromReversedBits(garbled(sha, [inputs])[0]!));
    expect(digest).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
    expect(digest).toBe(createHash('sha256').update('abc').digest('hex'));
  });

  it('the 32-bit adder, in the older format, adds', () => {
    const adder = published('adder_32bit.txt');
    expect(adder.format).toBe('original');
    expect(adder.inputWidths).toEqual([32, 32]);
    expect(adder.outputWidths).toEqual([33]);
    const values = [0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x12345678];
    const word = (x: number) => Array.from({ length: 32 }, (_, i) => Math.floor(x / 2 ** i) % 2);
    const pairs = values.flatMap((a) => values.map((b) => [a, b] as const));
    const sums = garbled(
      adder,
      pairs.map(([a, b]) => [...word(a), ...word(b)]),
    );
    expect(sums.map((bits) => bits.reduce((sum, bit, i) => sum + bit * 2 ** i, 0))).toEqual(
      pairs.map(([a, b]) => a + b),
    );
  });
});

/** x, y (garbler), z (evaluator) through every operation of Bristol Fashion. */
const FASHION = `8 12
2 2 1
1 3

2 1 0 1 3 XOR
1 1 3 4 INV
1 1 1 5 EQ
2 1 4 5 6 AND
1 1 6 7 EQW
4 2 0 7 2 2 8 9 MAND
2 1 8 9 10 XOR
1 1 2 11 EQW
`;

describe('Bristol reader', () => {
  it('reads every operation of Bristol Fashion and folds constants away', () => {
    const { format, inputWidths, outputWidths, circuit } = parseBristol(FASHION);
    expect(format).toBe('fashion');
    expect([inputWidths, outputWidths]).toEqual([[2, 1], [3]]);
    expect([circuit.garblerInputs, circuit.evaluatorInputs, circuit.andCount]).toEqual([2, 1, 2]);
    for (let i = 0; i < 8; i++) {
      const [x, y, z] = [i & 1, (i >> 1) & 1, i >> 2] as const;
      const [p, q] = [x & z, (1 ^ x ^ y) & z] as const;
      expect([...evaluateClear(circuit, [x, y, z])]).toEqual([q, p ^ q, z]);
    }
  });

  it('gives the garbler as many input values as asked', () => {
    expect(parseBristol(FASHION, 0).circuit.garblerInputs).toBe(0);
    expect(parseBristol(FASHION, 2).circuit.garblerInputs).toBe(3);
    expect(() => parseBristol(FASHION, 3)).toThrow(RangeError);
    expect(() => parseBristol(FASHION, -1)).toThrow(RangeError);
  });

  it('reads the older format', () => {
    const { format, circuit } = parseBristol('2 4\n1 1 1\n\n2 1 0 1 2 AND\n1 1 2 3 INV\n');
    expect(format).toBe('original');
    expect([...evaluateClear(circuit, [1, 1])]).toEqual([0]);
    expect([...evaluateClear(circuit, [1, 0])]).toEqual([1]);
  });

  it.each([
    ['', /ends inside the header/],
    ['1 3\n2 1 1\n', /ends inside the header/],
    ['x 3\n2 1 1\n1 1\n2 1 0 1 2 AND', /line 1: expected the number of gates/],
    ['1 99999999\n2 1 1\n1 1\n2 1 0 1 2 AND', /line 1: .*at most/],
    ['1 3\n2 1\n1 1\n2 1 0 1 2 AND', /line 2: expected a count/],
    ['1 3\n2 1 1\n2 1\n2 1 0 1 2 AND', /line 3: expected a count/],
    ['1 3\n2 1 1 1\n2 1 0 1 2 AND', /line 2: expected two input widths/],
    ['1 3\n2 9 9\n1 1\n2 1 0 1 2 AND', /line 2: more inputs or outputs than wires/],
    ['2 3\n2 1 1\n1 1\n2 1 0 1 2 AND', /2 gates announced, 1 found/],
    ['1 3\n2 1 1\n1 1\n2 1 0 1 2 NAND', /line 4: unknown operation "NAND"/],
    ['1 3\n2 1 1\n1 1\n2 1 0 1 2 toString', /line 4: unknown operation/],
    ['1 3\n2 1 1\n1 1\n2 1 0 2 AND', /line 4: AND takes 2 inputs/],
    ['1 3\n2 1 1\n1 1\n1 1 0 2 AND', /line 4: AND takes 2 inputs/],
    ['1 3\n2 1 1\n1 1\n-2 1 0 1 2 AND', /line 4: expected a gate/],
    ['1 3\n2 1 1\n1 1\n2 1 0 7 2 AND', /line 4: wire 7 is read before it is set/],
    ['1 3\n2 1 1\n1 1\n2 1 0 2 2 AND', /line 4: wire 2 is read before it is set/],
    ['1 3\n2 1 1\n1 1\n2 1 0 1 3 AND', /line 4: wire 3 does not exist/],
    ['1 3\n2 1 1\n1 1\n2 1 0 1 1 AND', /line 4: wire 1 is set twice/],
    ['1 3\n2 1 1\n1 1\n1 1 2 2 EQ', /line 4: EQ sets a wire to 0 or 1/],
    ['1 4\n2 1 1\n1 1\n2 1 0 1 2 AND', /output wire 3 is never set/],
    ['1 3\n2 1 1\n1 1\n1 1 1 2 EQ', /output 0 is the constant 1/],
  ])('refuses %j', (text, message) => {
    expect(() => parseBristol(text)).toThrow(RangeError);
    expect(() => parseBristol(text)).toThrow(message);
  });

  it('answers any damaged text with a circuit or a RangeError', () => {
    const damage = fc.array(
      fc.tuple(
        fc.nat(FASHION.length - 1),
        fc.constantFrom('', ' ', '\n', '-', '0', '1', '9', 'X', 'AND', '99999999999'),
      ),
      { minLength: 1, maxLength: 4 },
    );
    let refused = 0;
    fc.assert(
      fc.property(damage, (edits) => {
        let text = FASHION;
        for (const [at, put] of edits) text = text.slice(0, at) + put + text.slice(at + 1);
        try {
          parseBristol(text);
        } catch (error) {
          refused++;
          expect(error).toBeInstanceOf(RangeError);
          expect((error as Error).message).toMatch(/^(Bristol circuit|circuit)/);
        }
      }),
      { seed: 4, numRuns: 1000 },
    );
    expect(refused).toBeGreaterThan(500);
  });
});
