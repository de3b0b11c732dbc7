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
