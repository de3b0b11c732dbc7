// Half gates on n instances of one AND gate: what lies before and after the AES calls. Labels are 16-byte blocks, a wire
// is n consecutive labels, the colour of a label its lowest bit. The algebra is in protocol/garble/halfgates.ts.

import { colourMask, sigmaOf } from './_block';

/** dst: four sections of n blocks, sigma(A0), sigma(A1), sigma(B0), sigma(B1), where A1 = A0 ^ delta. */
export function prepareGarble(dst: usize, a: usize, b: usize, delta: usize, n: usize): void {
  const shift = sigmaOf(v128.load(delta));
  const section: usize = 16 * n;
  for (let i: usize = 0; i < section; i += 16, dst += 16) {
    const left = sigmaOf(v128.load(a + i));
    const right = sigmaOf(v128.load(b + i));
    v128.store(dst, left);
    v128.store(dst + section, v128.xor(left, shift));
    v128.store(dst + 2 * section, right);
    v128.store(dst + 3 * section, v128.xor(right, shift));
  }
}

/**
 * The two rows and the output zero labels of an AND gate.
 * @param out - n blocks; may be a or b
 * @param rows - 2n blocks out: generator rows, then evaluator rows
 * @param encrypted - the four sections of prepareGarble after AES
 */
export function combineGarble(
  out: usize,
  rows: usize,
  encrypted: usize,
  a: usize,
  b: usize,
  delta: usize,
  n: usize,
): void {
  const offset = v128.load(delta);
  const shift = sigmaOf(offset);
  const section: usize = 16 * n;
  for (let i: usize = 0; i < section; i += 16) {
    const left = v128.load(a + i);
    const right = v128.load(b + i);
    const leftColour = colourMask(left);
    const rightColour = colourMask(right);
    const a0 = v128.load(encrypted + i);
    const a1 = v128.load(encrypted + section + i);
    const b0 = v128.load(encrypted + 2 * section + i);
    const b1 = v128.load(encrypted + 3 * section + i);
    // H(X0) ^ H(X1) = AES(sigma(X0)) ^ AES(sigma(X1)) ^ sigma(delta), since sigma is linear.
    const generator = v128.xor(v128.xor(v128.xor(a0, a1), shift), v128.and(rightColour, offset));
    const crossed = v128.xor(v128.xor(b0, b1), shift);
    const half = v128.xor(v128.xor(a0, sigmaOf(left)), v128.and(leftColour, generator));
    const otherHalf = v128.xor(v128.xor(b0, sigmaOf(right)), v128.and(rightColour, crossed));
    v128.store(rows + i, generator);
    v128.store(rows + section + i, v128.xor(crossed, left));
    v128.store(out + i, v128.xor(half, otherHalf));
  }
}

/** dst: two sections of n blocks, sigma(A), sigma(B). */
export function prepareEvaluate(dst: usize, a: usize, b: usize, n: usize): void {
  const section: usize = 16 * n;
  for (let i: usize = 0; i < section; i += 16) {
    v128.store(dst + i, sigmaOf(v128.load(a + i)));
    v128.store(dst + section + i, sigmaOf(v128.load(b + i)));
  }
}

/**
 * The active output labels of an AND gate.
 * @param out - n blocks; may be a or b
 * @param rows - 2n blocks: generator rows, then evaluator rows
 * @param encrypted - the two sections of prepareEvaluate after AES
 */
export function combineEvaluate(
  out: usize,
  rows: usize,
  encrypted: usize,
  a: usize,
  b: usize,
  n: usize,
): void {
  const section: usize = 16 * n;
  for (let i: usize = 0; i < section; i += 16) {
    const left = v128.load(a + i);
    const right = v128.load(b + i);
    const generator = v128.and(colourMask(left), v128.load(rows + i));
    const evaluator = v128.and(colourMask(right), v128.xor(v128.load(rows + section + i), left));
    const hashes = v128.xor(
      v128.xor(v128.load(encrypted + i), v128.load(encrypted + section + i)),
      sigmaOf(v128.xor(left, right)),
    );
    v128.store(out + i, v128.xor(hashes, v128.xor(generator, evaluator)));
  }
}

/** dst[i] = src[i] ^ (bits[i] ? block : 0) on n blocks; bits holds one byte, 0 or 1, per block. In place is fine. */
export function xorSelected(dst: usize, src: usize, bits: usize, block: usize, n: usize): void {
  const x = v128.load(block);
  for (let i: usize = 0; i < n; i++) {
    const mask = i64x2.splat(0 - <i64>load<u8>(bits + i));
    v128.store(dst + 16 * i, v128.xor(v128.load(src + 16 * i), v128.and(mask, x)));
  }
}
