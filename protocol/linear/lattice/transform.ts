/**
 * The number-theoretic transform modulo one prime, with its tables in kernel memory, and the residue arithmetic of the
 * tables: products of 26-bit residues are exact in a double.
 */

import { kernels } from '../../kernels/index.ts';

/** base^exponent mod p. */
export function power(base: number, exponent: number, p: number): number {
  let result = 1;
  for (let square = base % p, e = exponent; e > 0; e = Math.floor(e / 2)) {
    if (e % 2 === 1) result = (result * square) % p;
    square = (square * square) % p;
  }
  return result;
}

/** 1 / x mod p, p prime. */
export function invert(x: number, p: number): number {
  return power(x % p, p - 2, p);
}

/** floor(w 2^32 / p), the second half of a constant for the kernels' multiplyConstant; w below p < 2^26. */
export function constantQuotient(w: number, p: number): number {
  // 58 bits do not fit a double: divide in two steps of 16 bits.
  const high = w * 65536;
  return Math.floor(high / p) * 65536 + Math.floor(((high % p) * 65536) / p);
}

/** 1 / x mod 2^32 for odd x, by Newton's iteration (each step doubles the correct bits). */
export function invertWord(x: number): number {
  let y = x;
  for (let bits = 3; bits < 32; bits *= 2) y = Math.imul(y, 2 - Math.imul(x, y));
  return y >>> 0;
}

/** Bits of `x` of `width` in reverse order. */
function reverseBits(x: number, width: number): number {
  let y = 0;
  for (let i = 0; i < width; i++) y |= ((x >> i) & 1) << (width - 1 - i);
  return y;
}

/** A primitive 2n-th root of unity modulo p. */
function rootOfUnity(n: number, p: number): number {
  for (let g = 2; ; g++) {
    const root = power(g, (p - 1) / (2 * n), p);
    if (power(root, n, p) === p - 1) return root;
  }
}

/** The tables of one direction, laid out as assembly/ntt.ts wants them. */
function table(n: number, p: number, root: number): Uint32Array {
  const width = Math.log2(n);
  const powers = new Uint32Array(n);
  for (let i = 0, x = 1; i < n; i++, x = (x * root) % p) powers[reverseBits(i, width)] = x;
  const words = new Uint32Array((n * 10) / 4);
  for (let i = 1; i < n / 4; i++) {
    words[2 * i] = powers[i]!;
    words[2 * i + 1] = constantQuotient(powers[i]!, p);
  }
  for (let block = 0; block < n / 8; block++) {
    // Stride 2 has two groups a block, stride 1 four, in the order the lane shuffles bring them.
    const pair = n / 4 + 2 * block;
    const four = n / 2 + 4 * block;
    const lanes = [pair, pair, pair + 1, pair + 1, four, four + 2, four + 1, four + 3];
    lanes.forEach((index, lane) => {
      const at = n / 2 + 16 * block + (lane & 3) + 8 * (lane >> 2);
      words[at] = powers[index]!;
      words[at + 4] = constantQuotient(powers[index]!, p);
    });
  }
  return words;
}

/** What ends an inverse transform: the scale of both halves' last layer, the second's times its root, each with its quotient. */
type InverseScale = readonly [
  scale: number,
  quotient: number,
  turned: number,
  turnedQuotient: number,
];

function scaleOf(scale: number, lastRoot: number, p: number): InverseScale {
  const turned = (scale * lastRoot) % p;
  return [scale, constantQuotient(scale, p), turned, constantQuotient(turned, p)];
}

/**
 * Transform and pointwise arithmetic of Z_p[X]/(X^n + 1) on polynomials in kernel memory, 32-bit lanes.
 *
 * "Montgomery" in a name means a factor 2^32: `montgomery(x)` of a constant cancels the 2^-32 of a product.
 */
export class Transform {
  readonly degree: number;
  readonly prime: number;
  /** -1 / p mod 2^32. */
  readonly negativeInverse: number;
  /** 2^32 mod p. */
  readonly radix: number;
  readonly #forward: number;
  readonly #inverse: number;
  /** Of the plain inverse, and of sums whose reduction leaves a factor of 2^-32. */
  readonly #scale: InverseScale;
  readonly #montgomeryScale: InverseScale;

  constructor(degree: number, prime: number) {
    const { arena } = kernels();
    const root = rootOfUnity(degree, prime);
    const place = (words: Uint32Array) => {
      const pointer = arena.permanent(words.byteLength);
      arena.u32(pointer, words.length).set(words);
      return pointer;
    };
    this.degree = degree;
    this.prime = prime;
    this.negativeInverse = -invertWord(prime) >>> 0;
    this.radix = 0x1_0000_0000 % prime;
    this.#forward = place(table(degree, prime, root));
    this.#inverse = place(table(degree, prime, invert(root, prime)));
    const scale = invert(degree, prime);
    const lastRoot = power(invert(root, prime), degree / 2, prime);
    this.#scale = scaleOf(scale, lastRoot, prime);
    this.#montgomeryScale = scaleOf((scale * this.radix) % prime, lastRoot, prime);
  }

  /** dst = transform of `src`, signed integers above -p and below 2 p; residues in [0, p). In place is fine. */
  forward(dst: number, src: number): void {
    kernels().ntt.forward(dst, src, this.degree, this.#forward, this.prime);
  }

  /** The polynomial back from its transform, in place. */
  inverse(x: number): void {
    this.#invert(x, 0, this.#scale);
  }

  /** dst = the polynomial whose transform is `sums`, 64-bit sums of products of residues. */
  inverseOfSums(dst: number, sums: number): void {
    kernels().ntt.reduceSums(dst, sums, this.degree, this.prime, this.negativeInverse);
    this.#invert(dst, 0, this.#montgomeryScale);
  }

  /** x *= 2^32 mod p, pointwise in place. */
  toMontgomery(x: number): void {
    const { arena, ntt } = kernels();
    arena.scope(() => {
      const square = arena.alloc(4 * this.degree);
      arena.u32(square, this.degree).fill((this.radix * this.radix) % this.prime);
      ntt.multiply(x, x, square, this.degree, this.prime, this.negativeInverse);
    });
  }

  /** x = the polynomial whose transform is x y / 2^32, pointwise, for residues x and y. */
  inverseOfProduct(x: number, y: number): void {
    this.#invert(x, y, this.#scale);
  }

  /** x *= y / 2^32, pointwise in place. */
  multiply(x: number, y: number): void {
    kernels().ntt.multiply(x, x, y, this.degree, this.prime, this.negativeInverse);
  }

  /** dst -= x y / 2^32, pointwise. */
  subtractProduct(dst: number, x: number, y: number): void {
    kernels().ntt.subtractProduct(dst, x, y, this.degree, this.prime, this.negativeInverse);
  }

  /** `y` is 0 where there is no product. */
  #invert(x: number, y: number, scale: InverseScale): void {
    const { degree, prime, negativeInverse } = this;
    kernels().ntt.inverse(x, y, degree, this.#inverse, prime, negativeInverse, ...scale);
  }
}

/** Made on first use and kept as long as the thread's kernels, whose memory holds the tables. */
const transforms = new Map<string, Transform>();

/** The transform of `degree` modulo `prime`, one per thread. */
export function transformOf(degree: number, prime: number): Transform {
  const key = `${degree}:${prime}`;
  let transform = transforms.get(key);
  if (transform === undefined) {
    transform = new Transform(degree, prime);
    transforms.set(key, transform);
  }
  return transform;
}
