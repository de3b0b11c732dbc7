import { expect, it } from 'vitest';
import { DEGREE, ERROR_VARIANCE, MODULUS } from '../../../../protocol/linear/lattice/parameters.ts';

/**
 * Smallest block size of the primal attack on these parameters with ternary secrets (Alkim, Ducas, Pöppelmann, Schwabe, "Post-quantum
 * key exchange: a new hope", USENIX Security 2016, section 6), over the number of samples. Logarithms to base 2.
 */
function blockSize(): number {
  const scale = Math.log2(ERROR_VARIANCE / (2 / 3)) / 2;
  for (let b = 60; ; b++) {
    const delta = Math.log2(((Math.PI * b) ** (1 / b) * b) / (2 * Math.PI * Math.E)) / (2 * b - 2);
    for (let samples = 1; samples <= 2 * DEGREE; samples++) {
      const d = DEGREE + samples + 1;
      const volume = samples * Math.log2(MODULUS) + DEGREE * scale;
      const norm = Math.log2(ERROR_VARIANCE * b) / 2;
      if (norm <= (2 * b - d - 1) * delta + volume / d) return b;
    }
  }
}

it('the lattice has a modulus of 52 bits, and 104 bits in the core-SVP count', () => {
  expect(Math.log2(MODULUS)).toBeLessThan(52);
  expect(Math.log2(MODULUS)).toBeGreaterThan(51.99);
  expect(blockSize()).toBe(356);
  expect(Math.round(0.292 * 356)).toBe(104);
});
