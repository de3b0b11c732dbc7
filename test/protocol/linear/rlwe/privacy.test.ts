import { describe, expect, it } from 'vitest';
import { kernels } from '../../../../protocol/kernels/index.ts';
import { weightNorms } from '../../../../protocol/linear/backend.ts';
import {
  decodeUpload,
  decryptResponse,
  encryptUpload,
  evaluateLayer,
  planLayer,
  uploadBytes,
} from '../../../../protocol/linear/rlwe/index.ts';
import { decodeCiphertext, partA } from '../../../../protocol/linear/rlwe/keys.ts';
import { evaluateWith } from '../../../../protocol/linear/rlwe/linear.ts';
import { packWeights, usedCoefficients } from '../../../../protocol/linear/rlwe/packing.ts';
import { PARAMETER_SETS, RESPONSE_MODULUS } from '../../../../protocol/linear/rlwe/parameters.ts';
import type { LayerPlan } from '../../../../protocol/linear/rlwe/plan.ts';
import { responseWidths } from '../../../../protocol/linear/rlwe/plan.ts';
import type { ResponseSecrets } from '../../../../protocol/linear/rlwe/response.ts';
import { drawSecrets } from '../../../../protocol/linear/rlwe/response.ts';
import { invert, transformOf } from '../../../../protocol/linear/rlwe/transform.ts';
import { deriveSeed, Prg, randomRing } from '../../../../protocol/random/index.ts';
import type { ConvShape } from '../../../../protocol/ring/shape.ts';
import { fanIn, linearInputSize, linearOutput, sizeOf } from '../../../../protocol/ring/shape.ts';
import { plainLinear, randomLayer, testKeys, testSeed } from './support.ts';

const Q = BigInt(RESPONSE_MODULUS);

/** Values of `width` bits each, times 2^drop: a reader of its own, straight from the format. */
function readBits(bytes: Uint8Array, count: number, width: number, drop: number): bigint[] {
  const values: bigint[] = [];
  for (let i = 0; i < count; i++) {
    let value = 0n;
    for (let b = 0; b < width; b++) {
      const bit = i * width + b;
      value |= BigInt((bytes[bit >> 3]! >> (bit & 7)) & 1) << BigInt(b);
    }
    values.push(value << BigInt(drop));
  }
  return values;
}

/** Parts a (all N) and b (used) of the single polynomial of a response. */
function readResponse(plan: LayerPlan, response: Uint8Array): { a: bigint[]; b: bigint[] } {
  const widths = responseWidths(plan);
  const split = (plan.degree * widths.a) / 8;
  const used = usedCoefficients(plan.packing, 0).positions.length;
  return {
    a: readBits(response, plan.degree, widths.a, plan.drops.a),
    b: readBits(response.subarray(split), used, widths.b, plan.drops.b),
  };
}

/** The secret polynomial s in {-1, 0, 1}^N of a test key. */
function secretCoefficients(plan: LayerPlan): number[] {
  const { arena } = kernels();
  const prime = PARAMETER_SETS[plan.degree].primes[0]!;
  return arena.scope(() => {
    const transform = transformOf(plan.degree, prime);
    const { transforms } = testKeys(plan.degree).secretKey;
    const x = arena.put(transforms.subarray(0, plan.degree));
    transform.inverse(x);
    const unit = invert(transform.radix, prime);
    return Array.from(arena.u32(x, plan.degree), (v) => {
      const value = (v * unit) % prime;
      return value === prime - 1 ? -1 : value;
    });
  });
}

/** Coefficient `k` of a s mod X^N + 1. */
function coefficientOfProduct(a: bigint[], s: number[], k: number): bigint {
  let sum = 0n;
  for (let j = 0; j < s.length; j++) {
    const i = k - j;
    if (s[j] === 0) continue;
    const term = i >= 0 ? a[i]! : -a[i + s.length]!;
    sum += s[j] === 1 ? term : -term;
  }
  return sum;
}

const centred = (x: bigint) => {
  const r = ((x % Q) + Q) % Q;
  return r > Q / 2n ? r - Q : r;
};

const layer: ConvShape = {
  kind: 'conv',
  channels: 3,
  height: 12,
  width: 12,
  outChannels: 2,
  kernel: [3, 3],
  stride: [1, 1],
  pads: [1, 1, 1, 1],
  groups: 1,
};

const noSecrets = (plan: LayerPlan): ResponseSecrets => ({
  u: new Int32Array(plan.degree),
  error: new Int32Array(plan.degree),
  mask: new BigUint64Array(usedCoefficients(plan.packing, 0).positions.length),
});

/** One evaluation of a layer of one polynomial each way. */
function evaluateOnce(plan: LayerPlan, weights: Int32Array, input: Int32Array, name: string) {
  expect([plan.uploadPolynomials, plan.responsePolynomials]).toEqual([1, 1]);
  const { secretKey, publicKey } = testKeys(plan.degree);
  const upload = encryptUpload(plan, secretKey, input, [0, 1], testSeed(name));
  const ciphertexts = decodeUpload(plan, upload);
  const withSecrets = (secrets: ResponseSecrets) =>
    evaluateWith(plan, publicKey, weights, ciphertexts, [0, 1], () => secrets);
  const real = (seed: Uint8Array) =>
    evaluateLayer(plan, publicKey, weights, ciphertexts, [0, 1], seed);
  return { upload, withSecrets, real };
}

describe('noise', () => {
  it.each([
    ['degree 2048, dominated by the weights', 2048, 2500, 0.02],
    ['degree 2048, dominated by the rounding of part a', 2048, 3, 0.02],
    ['degree 4096', 4096, 2 ** 18, 0.02],
  ])('stays below its bound and comes near it: %s', (name, degree, bound, near) => {
    const { input, weights } = randomLayer(layer, bound, testSeed(name));
    const plan = planLayer(layer, weightNorms(weights, fanIn(layer)));
    expect(plan.degree).toBe(degree);
    const { withSecrets } = evaluateOnce(plan, weights, input, name);
    const secrets = drawSecrets(plan, 0, new Prg(testSeed('noise', degree)));
    const { response } = withSecrets({ ...secrets, mask: noSecrets(plan).mask });
    const { a, b } = readResponse(plan, response);
    const s = secretCoefficients(plan);
    const { positions, elements } = usedCoefficients(plan.packing, 0);
    const expected = plainLinear(layer, weights, input);
    let largest = 0;
    positions.forEach((position, i) => {
      const decrypted = b[i]! + coefficientOfProduct(a, s, position);
      // Exact value in units of 2^-32.
      const ideal = Q * BigInt(expected[elements[i]!]!);
      const noise = centred(decrypted - (ideal >> 32n));
      largest = Math.max(largest, Math.abs(Number(noise)));
    });
    expect(largest).toBeLessThan(2 ** plan.noiseBits);
    expect(largest).toBeGreaterThan(near * 2 ** plan.noiseBits);
  });
});

/** Pearson's statistic of bytes against uniform, as standard deviations above its mean. */
function chiSquareDeviation(bytes: Uint8Array): number {
  const counts = new Float64Array(256);
  for (const byte of bytes) counts[byte]!++;
  const expected = bytes.length / 256;
  const statistic = counts.reduce((sum, c) => sum + (c - expected) ** 2 / expected, 0);
  return (statistic - 255) / Math.sqrt(2 * 255);
}

describe("the client's view", () => {
  const shape = { kind: 'dense', inputs: 1, outputs: 2048 } as const;
  const weights = new Int32Array(2048).fill(3);
  const plan = planLayer(shape, weightNorms(weights, 1));

  it('of part b is uniform, whatever the weights; without the mask the test sees it', () => {
    const { secretKey } = testKeys(plan.degree);
    // r = 0 and constant weights: the least random value there can be.
    const { real, withSecrets } = evaluateOnce(plan, weights, Int32Array.of(0), 'uniform');
    const lanes = (run: (i: number) => Uint8Array): number[] => {
      const samples = new Int32Array(32 * 2048);
      for (let i = 0; i < 32; i++) {
        samples.set(decryptResponse(plan, secretKey, run(i), [0, 1]), i * 2048);
      }
      const bytes = new Uint8Array(samples.buffer);
      return [0, 1, 2, 3].map((lane) =>
        chiSquareDeviation(bytes.filter((_, at) => at % 4 === lane)),
      );
    };
    const honest = lanes((i) => real(testSeed('mask', i)).response);
    expect(Math.max(...honest)).toBeLessThan(6);
    const unmasked = lanes((i) => {
      const secrets = drawSecrets(plan, 0, new Prg(testSeed('unmasked', i)));
      return withSecrets({ ...secrets, mask: noSecrets(plan).mask }).response;
    });
    expect(Math.min(...unmasked)).toBeGreaterThan(100);
    // The bits of part b on the wire, as well.
    const wire = new Uint8Array(32 * 8192);
    for (let i = 0; i < 32; i++) {
      const { response } = real(testSeed('wire', i));
      wire.set(response.subarray(response.length - 8192), 8192 * i);
    }
    expect(plan.drops.b).toBe(20);
    // Values stop at q' / 2^20 < 2^32, so the highest byte is a little short at the top: leave it out.
    expect(chiSquareDeviation(wire.filter((_, at) => at % 4 !== 3))).toBeLessThan(6);
  });
});

describe('part a of the response', () => {
  const { input, weights } = randomLayer(layer, 500, testSeed('leak'));
  const planned = planLayer(layer, weightNorms(weights, fanIn(layer)));
  // Nothing dropped: the attacker's best case.
  const plan = { ...planned, drops: { a: 0, b: 0 } };

  /** The client divides a' by its own a, modulo the first prime: W if nothing was added to a W. */
  const attack = (upload: Uint8Array, response: Uint8Array): Int32Array => {
    const set = PARAMETER_SETS[2048];
    const prime = set.primes[0]!;
    const transform = transformOf(2048, prime);
    const { arena } = kernels();
    return arena.scope(() => {
      const own = arena.alloc(4 * 4 * 2048);
      decodeCiphertext(set, upload.subarray(16), partA(upload.subarray(0, 16), 0), own);
      const returned = readResponse(plan, response).a.map((v) => Number(v % BigInt(prime)));
      const quotient = arena.put(Int32Array.from(returned));
      transform.forward(quotient, quotient);
      const [numerator, denominator] = [arena.u32(quotient, 2048), arena.u32(own, 2048)];
      numerator.forEach((v, i) => {
        numerator[i] = (v * invert(denominator[i]!, prime)) % prime;
      });
      transform.inverse(quotient);
      return Int32Array.from(arena.u32(quotient, 2048), (v) => (v > prime / 2 ? v - prime : v));
    });
  };

  const polynomial = new Int32Array(2048);
  packWeights(plan.packing, weights, 0, 0, polynomial);

  it('reveals every weight if it is not re-randomised', () => {
    const { upload, withSecrets } = evaluateOnce(plan, weights, input, 'leak');
    const { mask } = drawSecrets(plan, 0, new Prg(testSeed('leak mask')));
    const { response } = withSecrets({ ...noSecrets(plan), mask });
    expect(attack(upload, response)).toEqual(polynomial);
  });

  it('reveals nothing to that attack as it is sent', () => {
    const { upload, real } = evaluateOnce(plan, weights, input, 'leak');
    const found = attack(upload, real(testSeed('leak server')).response);
    // Uniform residues: about one of 2048 hits a coefficient's value by chance in 2^15 tries.
    const hits = found.filter((v, i) => v === polynomial[i]);
    expect(hits.length).toBeLessThan(3);
    expect(found.filter((v) => Math.abs(v) <= 500).length).toBeLessThan(3);
  });

  it('has the whole encryption of zero added: the public key times u, and the error', () => {
    const { withSecrets } = evaluateOnce(plan, weights, input, 'zero');
    const bare = noSecrets(plan);
    // u = X^5 - X^2047 keeps the product short.
    const u = new Int32Array(2048);
    u[5] = 1;
    u[2047] = -1;
    const { error } = drawSecrets(plan, 0, new Prg(testSeed('zero error')));
    const base = readResponse(plan, withSecrets(bare).response).a;
    const full = readResponse(plan, withSecrets({ ...bare, u, error }).response).a;
    const { arena } = kernels();
    PARAMETER_SETS[2048].primes.forEach((prime, k) => {
      const { ciphertext } = testKeys(2048).publicKey;
      const key = arena.scope(() => {
        const x = arena.put(ciphertext.subarray(2 * k * 2048, (2 * k + 1) * 2048));
        transformOf(2048, prime).inverse(x);
        return arena.u32(x, 2048).slice();
      });
      const at = (i: number) => (i >= 0 ? key[i]! : prime - key[i + 2048]!);
      full.forEach((value, i) => {
        const added = Number(((((value - base[i]!) % Q) + Q) % Q) % BigInt(prime));
        // X^5 key - X^2047 key
        const expected = at(i - 5) - at(i - 2047) + error[i]!;
        expect(added).toBe(((expected % prime) + prime) % prime);
      });
    });
  });

  it('confirms a guess of the weights without the encryption of zero, and not with it', () => {
    // At the plan's own drops exact division fails, yet a' is near a W.
    const { upload, withSecrets, real } = evaluateOnce(planned, weights, input, 'guess');
    const { mask } = drawSecrets(planned, 0, new Prg(testSeed('guess mask')));
    const bare = withSecrets({ ...noSecrets(planned), mask });
    const honest = real(testSeed('guess server'));
    const distance = (response: Uint8Array): number => {
      const { arena } = kernels();
      const guess = arena.scope(() => {
        const set = PARAMETER_SETS[2048];
        const own = arena.alloc(4 * 4 * 2048);
        decodeCiphertext(set, upload.subarray(16), partA(upload.subarray(0, 16), 0), own);
        const residues = set.primes.map((prime, k) => {
          const transform = transformOf(2048, prime);
          const w = arena.put(polynomial);
          transform.forward(w, w);
          transform.toMontgomery(w);
          transform.multiply(w, own + 8 * k * 2048);
          transform.inverse(w);
          return arena.u32(w, 2048).slice();
        });
        const [p, q] = set.primes.map(BigInt) as [bigint, bigint];
        const unit = BigInt(invert(Number(p), Number(q)));
        return Array.from(residues[0]!, (x, i) => {
          const k = ((((BigInt(residues[1]![i]!) - BigInt(x)) * unit) % q) + q) % q;
          return BigInt(x) + p * k;
        });
      });
      const { a } = readResponse(planned, response);
      return Math.max(...a.map((v, i) => Math.abs(Number(centred(v - guess[i]!)))));
    };
    expect(distance(bare.response)).toBeLessThanOrEqual(2 ** (planned.drops.a - 1));
    expect(distance(honest.response)).toBeGreaterThan(RESPONSE_MODULUS / 4);
  });
});

describe('masks', () => {
  const { input, weights } = randomLayer(layer, 500, testSeed('masks'));
  const { weights: others } = randomLayer(layer, 500, testSeed('other weights'));
  const plan = planLayer(layer, { norm1: 500 * 27, norm2: 500 * Math.sqrt(27) });
  const size = sizeOf(linearOutput(layer));

  /** How far the client's two results are from differing by (W1 - W2) r, at most. */
  const difference = (seed1: Uint8Array, seed2: Uint8Array): number => {
    const { secretKey } = testKeys(plan.degree);
    const open = (w: Int32Array, seed: Uint8Array) => {
      const { real } = evaluateOnce(plan, w, input, 'masks');
      return decryptResponse(plan, secretKey, real(seed).response, [0, 1]);
    };
    const [c1, c2] = [open(weights, seed1), open(others, seed2)];
    const [y1, y2] = [plainLinear(layer, weights, input), plainLinear(layer, others, input)];
    const { elements } = usedCoefficients(plan.packing, 0);
    return Math.max(
      ...Array.from(elements, (e, i) => Math.abs((c1[i]! - c2[i]! - (y1[e]! - y2[e]!)) | 0)),
    );
  };

  it('used twice reveal the difference of two layers; seeds of their own do not', () => {
    expect(difference(testSeed('one'), testSeed('one'))).toBeLessThanOrEqual(3);
    expect(difference(testSeed('one'), testSeed('two'))).toBeGreaterThan(2 ** 28);
  });

  it('and errors differ between seeds, polynomials and uses', () => {
    const draw = (seed: Uint8Array, index: number) => {
      const { u, error, mask } = drawSecrets(
        plan,
        0,
        new Prg(deriveSeed(seed, 'rlwe response', index)),
      );
      return [u.join(), error.join(), mask.join()];
    };
    const drawn = [
      ...draw(testSeed('one'), 0),
      ...draw(testSeed('one'), 1),
      ...draw(testSeed('two'), 0),
    ];
    expect(new Set(drawn).size).toBe(drawn.length);
    // What evaluateLayer hands out is exactly that stream: shares repeat with the seed and only with it.
    const { real } = evaluateOnce(plan, weights, input, 'masks');
    expect(real(testSeed('one')).shares).toEqual(real(testSeed('one')).shares);
    expect(real(testSeed('one')).shares).not.toEqual(real(testSeed('two')).shares);
    expect(real(testSeed('one')).shares.length).toBe(size);
  });
});

describe('responses of several polynomials', () => {
  it('mask each with values of its own', () => {
    const shape = { kind: 'dense', inputs: 1024, outputs: 6 } as const;
    const { input, weights } = randomLayer(shape, 5, testSeed('several'));
    const plan = planLayer(shape, weightNorms(weights, shape.inputs));
    expect(plan.responsePolynomials).toBeGreaterThan(1);
    const { secretKey, publicKey } = testKeys(plan.degree);
    const upload = encryptUpload(
      plan,
      secretKey,
      input,
      [0, plan.uploadPolynomials],
      testSeed('several'),
    );
    const range = [0, plan.responsePolynomials] as const;
    const { shares } = evaluateLayer(
      plan,
      publicKey,
      weights,
      decodeUpload(plan, upload),
      range,
      testSeed('several'),
    );
    // Shares are rounded masks: 32-bit values that repeat only by reuse.
    expect(new Set(shares).size).toBe(6);
  });
});

describe("the server's view", () => {
  it('is uniform residues, whatever the input', () => {
    const shape = { kind: 'dense', inputs: 20_000, outputs: 1 } as const;
    const plan = planLayer(shape, { norm1: 20_000, norm2: 200 });
    const { secretKey } = testKeys(plan.degree);
    const inputs = [
      new Int32Array(linearInputSize(shape)),
      randomRing(new Prg(testSeed('server view')), linearInputSize(shape)),
    ];
    const uploads = inputs.map((input, i) =>
      encryptUpload(plan, secretKey, input, [0, plan.uploadPolynomials], testSeed('view', i)),
    );
    for (const upload of uploads) {
      expect(upload.length).toBe(uploadBytes(plan));
      expect(upload.length).toBeGreaterThan(100_000);
      // 26-bit residues stop 2^-11 short of 2^26 at most: far below what this many samples can tell.
      expect(chiSquareDeviation(upload)).toBeLessThan(6);
    }
  });

  it('has no seed in common with the errors', () => {
    const shape = { kind: 'dense', inputs: 1, outputs: 1 } as const;
    const plan = planLayer(shape, { norm1: 1, norm2: 1 });
    const seed = testSeed('public seed');
    const { secretKey } = testKeys(plan.degree);
    const upload = encryptUpload(plan, secretKey, Int32Array.of(5), [0, 1], seed);
    expect(Buffer.from(upload).includes(Buffer.from(seed))).toBe(false);
    const again = encryptUpload(plan, secretKey, Int32Array.of(5), [0, 1], testSeed('other'));
    expect(again.subarray(0, 16)).not.toEqual(upload.subarray(0, 16));
  });
});
