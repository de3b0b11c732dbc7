import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../../protocol/errors.ts';
import { weightNorms } from '../../../../protocol/linear/backend.ts';
import {
  decodePublicKey,
  decodeUpload,
  decryptResponse,
  evaluateLayer,
  generateKeys,
  PARAMETER_SETS,
  planLayer,
  publicKeyBytes,
  responseBytes,
} from '../../../../protocol/linear/rlwe/index.ts';
import { Prg, randomBytes } from '../../../../protocol/random/index.ts';
import { fanIn } from '../../../../protocol/ring/shape.ts';
import { randomLayer, runLayer, testKeys, testSeed } from './support.ts';

const shape = { kind: 'dense', inputs: 9, outputs: 5 } as const;
const { input, weights } = randomLayer(shape, 100, testSeed('hostile'));
const plan = planLayer(shape, weightNorms(weights, fanIn(shape)));
const { secretKey, publicKey } = testKeys(plan.degree);
const honest = runLayer(plan, weights, input, testSeed('hostile run'));

const evaluate = (upload: Uint8Array) => {
  const ciphertexts = decodeUpload(plan, upload);
  return evaluateLayer(plan, publicKey, weights, ciphertexts, [0, 1], testSeed('hostile server'));
};
const decrypt = (response: Uint8Array) => decryptResponse(plan, secretKey, response, [0, 1]);

/** `bytes` with the 26 bits of residue `index` (after a seed) set to `value`. */
function withResidue(bytes: Uint8Array, index: number, value: number): Uint8Array {
  const out = bytes.slice();
  for (let i = 0; i < 26; i++) {
    const bit = 26 * index + i;
    const at = 16 + (bit >> 3);
    out[at] = (out[at]! & ~(1 << (bit & 7))) | (((value >> i) & 1) << (bit & 7));
  }
  return out;
}

function expectRefused(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(ProtocolError);
    expect((error as ProtocolError).code).toBe('bad-message');
    return;
  }
  expect.fail('accepted a malformed message');
}

describe('malformed messages are refused', () => {
  it('of the wrong length', () => {
    const key = generateKeys(2048, new Prg(testSeed('length'))).publicKey;
    const cases: [Uint8Array, (bytes: Uint8Array) => unknown][] = [
      [honest.upload, evaluate],
      [honest.response, decrypt],
      [key, (bytes) => decodePublicKey(2048, bytes)],
    ];
    for (const [bytes, decode] of cases) {
      expect(() => decode(bytes)).not.toThrow();
      expectRefused(() => decode(bytes.subarray(1)));
      expectRefused(() => decode(new Uint8Array(0)));
      expectRefused(() => decode(Uint8Array.from([...bytes, 0])));
    }
  });

  it('with a residue at its prime or above, anywhere', () => {
    const { primes } = PARAMETER_SETS[2048];
    const key = generateKeys(2048, new Prg(testSeed('residue'))).publicKey;
    primes.forEach((prime, k) => {
      for (const at of [0, 1, 1027, 2047]) {
        const index = 2048 * k + at;
        for (const value of [prime, prime + 1, 2 ** 26 - 1]) {
          expectRefused(() => evaluate(withResidue(honest.upload, index, value)));
          expectRefused(() => decodePublicKey(2048, withResidue(key, index, value)));
        }
        expect(() => evaluate(withResidue(honest.upload, index, prime - 1))).not.toThrow();
      }
    });
  });

  it('with a response value above the largest, or padding bits', () => {
    const full = honest.response.slice();
    full.fill(0xff);
    expectRefused(() => decrypt(full));
    // Only the last value of part a, then only the last of part b.
    const split = (2048 * (52 - plan.drops.a)) / 8;
    const lastA = honest.response.slice();
    lastA.fill(0xff, split - 8, split);
    expectRefused(() => decrypt(lastA));
    const odd = planLayer({ kind: 'dense', inputs: 9, outputs: 1 }, { norm1: 9, norm2: 3 });
    const padding = (8 - ((52 - odd.drops.b) % 8)) % 8;
    const zeros = new Uint8Array(responseBytes(odd));
    expect(() => decryptResponse(odd, secretKey, zeros, [0, 1])).not.toThrow();
    for (let bit = 1; bit <= padding; bit++) {
      const bytes = zeros.slice();
      bytes[bytes.length - 1]! |= 1 << (8 - bit);
      expectRefused(() => decryptResponse(odd, secretKey, bytes, [0, 1]));
    }
    expect(padding).toBeGreaterThan(0);
  });

  it('or give a value, never another error: random bytes', () => {
    const random = new Prg(testSeed('fuzz'));
    for (let i = 0; i < 50; i++) {
      for (const [length, decode] of [
        [honest.upload.length, evaluate],
        [honest.response.length, decrypt],
        [publicKeyBytes(4096), (bytes: Uint8Array) => decodePublicKey(4096, bytes)],
      ] as const) {
        const bytes = randomBytes(random, length);
        try {
          decode(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }
    }
    expect(evaluate(honest.upload)).toEqual(evaluate(honest.upload));
  });
});
