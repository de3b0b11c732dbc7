// Half gates on n instances of one AND gate: what lies before and after the AES calls. Labels are 16-byte blocks, a wire
// is n consecutive labels, the colour of a label its lowest bit. The algebra is in protocol/garble/halfgates.ts.

import { colourMask, sigmaOf } from './_block';

/** dst: n pairs of blocks, sigma(X) and sigma(X ^ delta). */
export function sigmaPairs(dst: usize, src: usize, delta: usize, n: usize): void {
  const shift = sigmaOf(v128.load(delta));
  for (const end = src + 16 * n; src < end; src += 16, dst += 32) {
    const x = sigmaOf(v128.load(src));
    v128.store(dst, x);
    v128.store(dst, v128.xor(x, shift), 16);
  }
}

/**
 * The two rows and the output zero labels of an AND gate.
 * @param out - n blocks; may be a or b
 * @param rows - 2n blocks out: generator rows, then evaluator rows
 * @param encrypted - the pairs of a, then those of b, from sigmaPairs, after AES
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
  const end = a + section;
  const pairs = 2 * section;
  for (; a < end; a += 16, b += 16, out += 16, rows += 16, encrypted += 32) {
    const left = v128.load(a);
    const right = v128.load(b);
    const rightColour = colourMask(right);
    const a0 = v128.load(encrypted);
    const b0 = v128.load(encrypted + pairs);
    // H(X0) ^ H(X1) = AES(sigma(X0)) ^ AES(sigma(X1)) ^ sigma(delta), since sigma is linear.
    const crossed = v128.xor(v128.xor(b0, v128.load(encrypted + pairs, 16)), shift);
    const generator = v128.xor(
      v128.xor(v128.xor(a0, v128.load(encrypted, 16)), shift),
      v128.and(rightColour, offset),
    );
    const hashes = v128.xor(v128.xor(a0, b0), sigmaOf(v128.xor(left, right)));
    const chosen = v128.xor(v128.and(colourMask(left), generator), v128.and(rightColour, crossed));
    v128.store(rows, generator);
    v128.store(rows + section, v128.xor(crossed, left));
    v128.store(out, v128.xor(hashes, chosen));
  }
}

/**
 * The active output labels of an AND gate.
 * @param out - n blocks; may be a or b
 * @param rows - 2n blocks: generator rows, then evaluator rows
 * @param encrypted - sigma of a, then of b, after AES
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
  const end = a + section;
  for (; a < end; a += 16, b += 16, out += 16, rows += 16, encrypted += 16) {
    const left = v128.load(a);
    const right = v128.load(b);
    const generator = v128.and(colourMask(left), v128.load(rows));
    const evaluator = v128.and(colourMask(right), v128.xor(v128.load(rows + section), left));
    const hashes = v128.xor(
      v128.xor(v128.load(encrypted), v128.load(encrypted + section)),
      sigmaOf(v128.xor(left, right)),
    );
    v128.store(out, v128.xor(hashes, v128.xor(generator, evaluator)));
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

/** dst[i] = src[i] ^ (bit `position` of words[i] ? block : 0) on n blocks, one 32-bit word each. In place is fine. */
export function xorSelectedByWord(
  dst: usize,
  src: usize,
  words: usize,
  position: u32,
  block: usize,
  n: usize,
): void {
  const x = v128.load(block);
  for (const end = words + 4 * n; words < end; words += 4, src += 16, dst += 16) {
    const mask = i32x4.splat(0 - <i32>((load<u32>(words) >> position) & 1));
    v128.store(dst, v128.xor(v128.load(src), v128.and(mask, x)));
  }
}
