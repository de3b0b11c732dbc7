/** Statistics for tests of uniformity. */

/** Chi-square of the bytes against the uniform distribution: 255 degrees of freedom. */
export function chiSquare(bytes: Uint8Array): number {
  const counts = new Float64Array(256);
  for (const byte of bytes) counts[byte]!++;
  const expected = bytes.length / 256;
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}

/** A uniform source exceeds this once in about 10^9 samples. */
export const CHI_SQUARE_LIMIT = 410;

/** Ones among packed bits. */
export function ones(bits: Uint8Array): number {
  let sum = 0;
  for (const byte of bits) {
    let rest = byte - ((byte >> 1) & 0x55);
    rest = (rest & 0x33) + ((rest >> 2) & 0x33);
    sum += (rest + (rest >> 4)) & 15;
  }
  return sum;
}

/** How many standard deviations away from half of n fair coins `count` heads are. */
export const deviations = (count: number, n: number): number =>
  Math.abs(count - n / 2) / (Math.sqrt(n) / 2);

/** Strings of fair coins: the largest deviation of any, in standard deviations. */
export function largestBias(strings: readonly Uint8Array[]): number {
  return Math.max(...strings.map((bits) => deviations(ones(bits), 8 * bits.length)));
}

/** Pairs of strings of independent fair coins: the largest deviation of how often any two agree. Whole 32-bit words each. */
export function largestCorrelation(strings: readonly Uint8Array[]): number {
  const words = strings.map((bits) => new Int32Array(bits.slice().buffer));
  const n = 32 * words[0]!.length;
  let largest = 0;
  for (let i = 0; i < words.length; i++) {
    for (let j = 0; j < i; j++) {
      const [x, y] = [words[i]!, words[j]!];
      let sum = 0;
      for (let at = 0; at < x.length; at++) {
        let rest = x[at]! ^ y[at]!;
        rest -= (rest >>> 1) & 0x55555555;
        rest = (rest & 0x33333333) + ((rest >>> 2) & 0x33333333);
        sum += Math.imul((rest + (rest >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
      }
      largest = Math.max(largest, deviations(sum, n));
    }
  }
  return largest;
}

/** A fair coin's deviation exceeds this once in about 10^9 samples. */
export const DEVIATION_LIMIT = 6.2;
