import { describe, expect, it } from 'vitest';
import { kernels } from '../../../../protocol/kernels/index.ts';
import type { SecretKey } from '../../../../protocol/linear/rlwe/index.ts';
import {
  decodePublicKey,
  encryptUpload,
  generateKeys,
  PARAMETER_SETS,
  planLayer,
  publicKeyBytes,
} from '../../../../protocol/linear/rlwe/index.ts';
import {
  decodeCiphertext,
  encryptPolynomial,
  partA,
} from '../../../../protocol/linear/rlwe/keys.ts';
import type { Degree } from '../../../../protocol/linear/rlwe/parameters.ts';
import { ciphertextWords, polynomialBytes } from '../../../../protocol/linear/rlwe/parameters.ts';
import { drawSecrets } from '../../../../protocol/linear/rlwe/response.ts';
import { invert, transformOf } from '../../../../protocol/linear/rlwe/transform.ts';
import { Prg } from '../../../../protocol/random/index.ts';
import { testKeys, testSeed } from './support.ts';

const centre = (x: number, p: number) => (x > p / 2 ? x - p : x);

/** b + a s of a decoded ciphertext modulo each prime, centred. */
function decrypt(secretKey: SecretKey, ciphertext: Uint32Array): Int32Array[] {
  const n = secretKey.degree;
  const { arena } = kernels();
  return PARAMETER_SETS[n].primes.map((prime, k) =>
    arena.scope(() => {
      const transform = transformOf(n, prime);
      const secret = arena.put(secretKey.transforms.subarray(k * n, (k + 1) * n));
      const a = arena.put(ciphertext.subarray(2 * k * n, (2 * k + 1) * n));
      transform.multiply(a, secret);
      const b = ciphertext.subarray((2 * k + 1) * n, (2 * k + 2) * n);
      const sum = arena.put(arena.u32(a, n).map((x, i) => (x + b[i]!) % prime));
      transform.inverse(sum);
      return Int32Array.from(arena.u32(sum, n), (x) => centre(x, prime));
    }),
  );
}

function variance(values: Int32Array): number {
  return values.reduce((sum, x) => sum + x * x, 0) / values.length;
}

/** Centred binomial of variance 10.5: bounded, and within 6 deviations of its mean and variance. */
function expectErrors(values: Int32Array): void {
  const deviation = Math.sqrt(10.5 / values.length);
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  expect(Math.max(...values.map(Math.abs))).toBeLessThanOrEqual(21);
  expect(Math.abs(mean)).toBeLessThan(6 * deviation);
  expect(Math.abs(variance(values) / 10.5 - 1)).toBeLessThan(6 * Math.sqrt(2 / values.length));
}

/** Uniform on {-1, 0, 1}: counts within 6 deviations of a third. */
function expectTernary(values: ArrayLike<number>): void {
  for (const value of [-1, 0, 1]) {
    const count = Array.from(values).filter((x) => x === value).length;
    const deviation = Math.sqrt((values.length * 2) / 9);
    expect(Math.abs(count - values.length / 3)).toBeLessThan(6 * deviation);
  }
  expect(Array.from(values).every((x) => Math.abs(x) <= 1)).toBe(true);
}

describe.each([2048, 4096] as Degree[])('keys of degree %i', (degree) => {
  const { primes } = PARAMETER_SETS[degree];
  const { secretKey, publicKey } = generateKeys(degree, new Prg(testSeed('keys test', degree)));

  it('have one uniform ternary secret modulo every prime', () => {
    const { arena } = kernels();
    const secrets = primes.map((prime, k) =>
      arena.scope(() => {
        const x = arena.put(secretKey.transforms.subarray(k * degree, (k + 1) * degree));
        const transform = transformOf(degree, prime);
        transform.inverse(x);
        const unit = invert(transform.radix, prime);
        return Array.from(arena.u32(x, degree), (v) => centre((v * unit) % prime, prime));
      }),
    );
    for (const secret of secrets) expect(secret).toEqual(secrets[0]);
    expectTernary(secrets[0]!);
  });

  it('have a public key that encrypts zero with honest errors', () => {
    expect(publicKey.length).toBe(publicKeyBytes(degree));
    const decoded = decodePublicKey(degree, publicKey);
    const errors = decrypt(secretKey, decoded.ciphertext);
    for (const error of errors) expect(error).toEqual(errors[0]);
    expectErrors(errors[0]!);
  });

  it('depend on the randomness, all of them', () => {
    const again = generateKeys(degree, new Prg(testSeed('keys test', degree)));
    const other = generateKeys(degree, new Prg(testSeed('keys test', degree + 1)));
    expect(again.publicKey).toEqual(publicKey);
    expect(again.secretKey).toEqual(secretKey);
    expect(other.publicKey.subarray(0, 16)).not.toEqual(publicKey.subarray(0, 16));
    expect(other.secretKey.transforms).not.toEqual(secretKey.transforms);
    expect(structuredClone(secretKey)).toEqual(secretKey);
  });
});

describe('uploads', () => {
  const shape = { kind: 'dense', inputs: 4 * 2048, outputs: 1 } as const;
  const plan = planLayer(shape, { norm1: 8192, norm2: 100 });
  const { secretKey } = testKeys(2048);
  const set = PARAMETER_SETS[2048];
  const words = ciphertextWords(set);
  const { arena } = kernels();

  const decode = (packed: Uint8Array, a: ReturnType<typeof partA>): Uint32Array =>
    arena.scope(() => {
      const pointer = arena.alloc(4 * words);
      decodeCiphertext(set, packed, a, pointer);
      return arena.u32(pointer, words).slice();
    });

  it('have fresh errors and a part a of their own in every polynomial', () => {
    expect([plan.degree, plan.uploadPolynomials]).toEqual([2048, 4]);
    const upload = encryptUpload(
      plan,
      secretKey,
      new Int32Array(4 * 2048),
      [0, 4],
      testSeed('fresh'),
    );
    const bytes = polynomialBytes(set);
    const ciphertexts = [0, 1, 2, 3].map((index) =>
      decode(
        upload.subarray(16 + index * bytes, 16 + (index + 1) * bytes),
        partA(upload.subarray(0, 16), index),
      ),
    );
    const errors = ciphertexts.map((ciphertext) => decrypt(secretKey, ciphertext)[0]!);
    for (const error of errors) expectErrors(error);
    expect(new Set(errors.map((e) => e.join())).size).toBe(4);
    const partsA = ciphertexts.map((ciphertext) => ciphertext.subarray(0, 2048).join());
    expect(new Set(partsA).size).toBe(4);
    // Every bit of a 26-bit residue is used.
    const all = ciphertexts.flatMap((ciphertext) => [...ciphertext.subarray(0, 2048)]);
    for (let bit = 0; bit < 26; bit++) {
      const ones = all.filter((x) => (x >> bit) & 1).length;
      expect(Math.abs(ones - all.length / 2)).toBeLessThan(6 * Math.sqrt(all.length / 4));
    }
  });

  it('under one part a reveal the difference of two inputs: why it must be fresh', () => {
    const encrypt = (value: number, index: number) =>
      arena.scope(() => {
        const message = arena.put(new Int32Array(2048).fill(value));
        const packed = encryptPolynomial(
          secretKey,
          message,
          partA(testSeed('reused'), index),
          new Prg(testSeed('reused errors', value)),
        );
        const transform = transformOf(2048, set.primes[0]!);
        const b = decode(packed, partA(testSeed('reused'), index)).subarray(2048, 4096);
        const x = arena.put(b);
        transform.inverse(x);
        return arena.u32(x, 2048).slice();
      });
    const p = set.primes[0]!;
    const spread = (x: Uint32Array, y: Uint32Array) =>
      new Set(x.map((v, i) => (v - y[i]! + p) % p)).size;
    // Equal inputs shifted by a constant: the difference takes a handful of values when part a cancels.
    expect(spread(encrypt(5, 0), encrypt(9, 0))).toBeLessThan(50);
    expect(spread(encrypt(5, 0), encrypt(9, 1))).toBeGreaterThan(2000);
  });
});

describe('secrets of a response', () => {
  it('have the distributions of the proof', () => {
    const plan = planLayer({ kind: 'dense', inputs: 1, outputs: 2048 }, { norm1: 1, norm2: 1 });
    const { u, error, mask } = drawSecrets(plan, 0, new Prg(testSeed('secrets')));
    expect([u.length, error.length, mask.length]).toEqual([2048, 2048, 2048]);
    expectTernary(u);
    expectErrors(error);
    for (let bit = 0n; bit < 52n; bit++) {
      const ones = mask.filter((x) => (x >> bit) & 1n).length;
      expect(Math.abs(ones - 1024)).toBeLessThan(6 * Math.sqrt(512));
    }
  });
});
