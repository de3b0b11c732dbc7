// Half gates on n instances of one AND gate: what lies before and after the AES calls. Labels are 16-byte blocks, a wire
// is n consecutive labels, the colour of a label its lowest bit. The algebra is in protocol/garble/halfgates.ts.

import { colourMask, sigmaOf } from './_block';

/** dst: n pairs of blocks, sigma(X) and sigma(X ^ delta), where X = x ^ y. */
export function sigmaPairs(dst: usize, x: usize, y: usize, delta: usize, n: usize): void {
  const shift = sigmaOf(v128.load(delta));
  for (const end = x + 16 * n; x < end; x += 16, y += 16, dst += 32) {
    const zero = sigmaOf(v128.xor(v128.load(x), v128.load(y)));
    v128.store(dst, zero);
    v128.store(dst, v128.xor(zero, shift), 16);
  }
}

/**
 * What the evaluator encrypts for an AND gate on X = a0 ^ a1 and Y = b0 ^ b1.
 * @param dst - 2n blocks out: sigma(X), then sigma(Y)
 */
export function sigmaSums(dst: usize, a0: usize, a1: usize, b0: usize, b1: usize, n: usize): void {
  const section: usize = 16 * n;
  for (let i: usize = 0; i < section; i += 16, dst += 16) {
    v128.store(dst, sigmaOf(v128.xor(v128.load(a0 + i), v128.load(a1 + i))));
    v128.store(dst + section, sigmaOf(v128.xor(v128.load(b0 + i), v128.load(b1 + i))));
  }
}

/**
 * The two rows of an AND gate on a0 ^ a1 and b0 ^ b1, and the zero labels of its output xor c.
 * @param out - n blocks; may be any of the operands
 * @param rows - 2n blocks out: generator rows, then evaluator rows
 * @param encrypted - the pairs of a, then those of b, from sigmaPairs, after AES
 */
export function combineGarble(
  out: usize,
  rows: usize,
  encrypted: usize,
  a0: usize,
  a1: usize,
  b0: usize,
  b1: usize,
  c: usize,
  delta: usize,
  n: usize,
): void {
  const offset = v128.load(delta);
  const shift = sigmaOf(offset);
  const section: usize = 16 * n;
  for (let i: usize = 0; i < section; i += 16, encrypted += 32) {
    const left = v128.xor(v128.load(a0 + i), v128.load(a1 + i));
    const right = v128.xor(v128.load(b0 + i), v128.load(b1 + i));
    const rightColour = colourMask(right);
    const x = v128.load(encrypted);
    const y = v128.load(encrypted + 2 * section);
    // H(X0) ^ H(X1) = AES(sigma(X0)) ^ AES(sigma(X1)) ^ sigma(delta), since sigma is linear.
    const crossed = v128.xor(v128.xor(y, v128.load(encrypted + 2 * section, 16)), shift);
    const generator = v128.xor(
      v128.xor(v128.xor(x, v128.load(encrypted, 16)), shift),
      v128.and(rightColour, offset),
    );
    const hashes = v128.xor(v128.xor(x, y), sigmaOf(v128.xor(left, right)));
    const chosen = v128.xor(v128.and(colourMask(left), generator), v128.and(rightColour, crossed));
    v128.store(rows + i, generator);
    v128.store(rows + section + i, v128.xor(crossed, left));
    v128.store(out + i, v128.xor(v128.xor(hashes, chosen), v128.load(c + i)));
  }
}

/**
 * The active output labels of an AND gate on a0 ^ a1 and b0 ^ b1, xor c.
 * @param out - n blocks; may be any of the operands
 * @param rows - 2n blocks: generator rows, then evaluator rows
 * @param encrypted - sigma of a, then of b, after AES
 */
export function combineEvaluate(
  out: usize,
  rows: usize,
  encrypted: usize,
  a0: usize,
  a1: usize,
  b0: usize,
  b1: usize,
  c: usize,
  n: usize,
): void {
  const section: usize = 16 * n;
  for (let i: usize = 0; i < section; i += 16) {
    const left = v128.xor(v128.load(a0 + i), v128.load(a1 + i));
    const right = v128.xor(v128.load(b0 + i), v128.load(b1 + i));
    const generator = v128.and(colourMask(left), v128.load(rows + i));
    const evaluator = v128.and(colourMask(right), v128.xor(v128.load(rows + section + i), left));
    const hashes = v128.xor(
      v128.xor(v128.load(encrypted + i), v128.load(encrypted + section + i)),
      sigmaOf(v128.xor(left, right)),
    );
    const label = v128.xor(hashes, v128.xor(generator, evaluator));
    v128.store(out + i, v128.xor(label, v128.load(c + i)));
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
