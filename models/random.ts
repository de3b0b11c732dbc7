/** A seeded stream of numbers for training: initial weights, order of images, augmentation. Not for secrets. */

/** xoshiro128** (Blackman and Vigna, 2018), seeded through splitmix32 from any number of integers. */
export class Stream {
  readonly #s = new Uint32Array(4);

  /** Streams of different seeds, as a whole list, have nothing in common. */
  constructor(...seeds: readonly number[]) {
    let state = 0x9e3779b9;
    const mix = () => {
      state = (state + 0x9e3779b9) >>> 0;
      let z = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      return (z ^ (z >>> 16)) >>> 0;
    };
    for (const seed of seeds) state = (mix() ^ seed) >>> 0;
    for (let i = 0; i < 4; i++) this.#s[i] = mix();
    this.#s[0]! |= 1;
  }

  /** 32 uniform bits. */
  bits(): number {
    const s = this.#s;
    const s1 = s[1]!;
    const product = Math.imul(s1, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    s[2]! ^= s[0]!;
    s[3]! ^= s1;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= s1 << 9;
    s[3] = (s[3]! << 11) | (s[3]! >>> 21);
    return result;
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    return this.bits() / 0x100000000;
  }

  /** Uniform in [-bound, bound). */
  symmetric(bound: number): number {
    return (2 * this.uniform() - 1) * bound;
  }

  /** Standard normal (Box and Muller). */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /** The numbers 0 .. n-1 in random order (Fisher and Yates). */
  permutation(n: number): Uint32Array {
    const order = Uint32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = Math.floor(this.uniform() * (i + 1));
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    return order;
  }
}
