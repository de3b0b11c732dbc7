// Whole-block operations on bits: XOR of long buffers, the linear orthomorphism of the block hash.

/** dst[i] = a[i] ^ b[i] over `bytes` bytes; a multiple of 16, all pointers 16-byte aligned. */
export function xor(dst: usize, a: usize, b: usize, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += 16) {
    v128.store(dst + i, v128.xor(v128.load(a + i), v128.load(b + i)));
  }
}

/** dst = sigma(src) on `blocks` blocks: bytes 0-7 become low ^ high, bytes 8-15 become low. In place is fine. */
export function sigma(dst: usize, src: usize, blocks: usize): void {
  const end = src + (blocks << 4);
  for (; src < end; src += 16, dst += 16) {
    const x = v128.load(src);
    // (high, low) ^ (low, 0) = (low ^ high, low)
    v128.store(
      dst,
      v128.xor(v128.shuffle<i64>(x, x, 1, 0), v128.shuffle<i64>(x, i64x2.splat(0), 0, 2)),
    );
  }
}

/** dst[i] = src[i] ^ block on `blocks` 16-byte blocks. In place is fine. */
export function xorBlock(dst: usize, src: usize, block: usize, blocks: usize): void {
  const x = v128.load(block);
  const end = src + (blocks << 4);
  for (; src < end; src += 16, dst += 16) v128.store(dst, v128.xor(v128.load(src), x));
}

/**
 * Transposes a 128-row bit matrix into blocks: bit r of block j is bit j of row r (bit b of a string is bit b & 7 of
 * byte b >> 3).
 *
 * Row r starts at src + r * stride; `blocks` is a multiple of 128; dst takes blocks * 16 bytes. Sixteen rows at a time:
 * a 16 x 16 byte transpose by interleaving, then each byte column gives up its bits, highest first, through bitmask.
 */
export function transpose(dst: usize, src: usize, stride: usize, blocks: usize): void {
  for (let column: usize = 0; column < blocks >> 3; column += 16) {
    for (let group: usize = 0; group < 8; group++) {
      transpose16(dst + (column << 7) + (group << 1), src + group * (stride << 4) + column, stride);
    }
  }
}

/** 16 rows of 128 bits -> two bytes in each of 128 blocks. */
function transpose16(dst: usize, src: usize, stride: usize): void {
  let x0 = v128.load(src);
  let x1 = v128.load(src + stride);
  let x2 = v128.load(src + 2 * stride);
  let x3 = v128.load(src + 3 * stride);
  let x4 = v128.load(src + 4 * stride);
  let x5 = v128.load(src + 5 * stride);
  let x6 = v128.load(src + 6 * stride);
  let x7 = v128.load(src + 7 * stride);
  let x8 = v128.load(src + 8 * stride);
  let x9 = v128.load(src + 9 * stride);
  let xa = v128.load(src + 10 * stride);
  let xb = v128.load(src + 11 * stride);
  let xc = v128.load(src + 12 * stride);
  let xd = v128.load(src + 13 * stride);
  let xe = v128.load(src + 14 * stride);
  let xf = v128.load(src + 15 * stride);
  // Four rounds of "interleave row i with row i + 8" are a transpose: each round rotates the index bits by one.
  for (let round = 0; round < 4; round++) {
    const y0 = low(x0, x8);
    const y1 = high(x0, x8);
    const y2 = low(x1, x9);
    const y3 = high(x1, x9);
    const y4 = low(x2, xa);
    const y5 = high(x2, xa);
    const y6 = low(x3, xb);
    const y7 = high(x3, xb);
    const y8 = low(x4, xc);
    const y9 = high(x4, xc);
    const ya = low(x5, xd);
    const yb = high(x5, xd);
    const yc = low(x6, xe);
    const yd = high(x6, xe);
    const ye = low(x7, xf);
    const yf = high(x7, xf);
    x0 = y0;
    x1 = y1;
    x2 = y2;
    x3 = y3;
    x4 = y4;
    x5 = y5;
    x6 = y6;
    x7 = y7;
    x8 = y8;
    x9 = y9;
    xa = ya;
    xb = yb;
    xc = yc;
    xd = yd;
    xe = ye;
    xf = yf;
  }
  scatter(dst, x0);
  scatter(dst + 128, x1);
  scatter(dst + 256, x2);
  scatter(dst + 384, x3);
  scatter(dst + 512, x4);
  scatter(dst + 640, x5);
  scatter(dst + 768, x6);
  scatter(dst + 896, x7);
  scatter(dst + 1024, x8);
  scatter(dst + 1152, x9);
  scatter(dst + 1280, xa);
  scatter(dst + 1408, xb);
  scatter(dst + 1536, xc);
  scatter(dst + 1664, xd);
  scatter(dst + 1792, xe);
  scatter(dst + 1920, xf);
}

function low(a: v128, b: v128): v128 {
  return v128.shuffle<i8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

function high(a: v128, b: v128): v128 {
  return v128.shuffle<i8>(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/** One byte of each of 16 rows -> two bytes in each of the 8 blocks those bits belong to. */
function scatter(dst: usize, x: v128): void {
  store<u16>(dst + 112, i8x16.bitmask(x));
  x = i8x16.add(x, x);
  store<u16>(dst + 96, i8x16.bitmask(x));
  x = i8x16.add(x, x);
  store<u16>(dst + 80, i8x16.bitmask(x));
  x = i8x16.add(x, x);
  store<u16>(dst + 64, i8x16.bitmask(x));
  x = i8x16.add(x, x);
  store<u16>(dst + 48, i8x16.bitmask(x));
  x = i8x16.add(x, x);
  store<u16>(dst + 32, i8x16.bitmask(x));
  x = i8x16.add(x, x);
  store<u16>(dst + 16, i8x16.bitmask(x));
  x = i8x16.add(x, x);
  store<u16>(dst, i8x16.bitmask(x));
}

/**
 * The sums of SoftSpokenOT over `groups` groups of 2^k leaf streams, one 16-byte block each.
 *
 * With L_x the block at leaves + 16 x of group g: sums[g] = XOR of all L_x, and rows[g k + b] = XOR of those whose index x
 * has bit b, each XORed with its block of `start`: first one for each row, then one for each sum. Overwrites `leaves`.
 */
export function foldLeaves(
  rows: usize,
  sums: usize,
  leaves: usize,
  start: usize,
  groups: usize,
  k: usize,
): void {
  let startSums = start + ((groups * k) << 4);
  for (; groups > 0; groups--, leaves += (<usize>16) << k, sums += 16, startSums += 16) {
    // Two bits of the index at a time: each four blocks become one, and so the index loses its lowest two bits.
    let left = k;
    for (; left > 1; left -= 2, rows += 32, start += 32) {
      let bit0 = v128.load(start);
      let bit1 = v128.load(start, 16);
      let from = leaves;
      let to = leaves;
      for (const end = leaves + ((<usize>16) << left); from < end; from += 64, to += 16) {
        const x1 = v128.load(from, 16);
        const x3 = v128.load(from, 48);
        const upper = v128.xor(v128.load(from, 32), x3);
        bit0 = v128.xor(bit0, v128.xor(x1, x3));
        bit1 = v128.xor(bit1, upper);
        v128.store(to, v128.xor(v128.xor(v128.load(from), x1), upper));
      }
      v128.store(rows, bit0);
      v128.store(rows, bit1, 16);
    }
    if (left > 0) {
      const x1 = v128.load(leaves, 16);
      v128.store(rows, v128.xor(v128.load(start), x1));
      v128.store(leaves, v128.xor(v128.load(leaves), x1));
      rows += 16;
      start += 16;
    }
    v128.store(sums, v128.xor(v128.load(startSums), v128.load(leaves)));
  }
}

/** rows[g k + b] ^= masks[g k + b] & d[g] for `groups` groups of k rows of one block each. */
export function correctRows(rows: usize, d: usize, masks: usize, groups: usize, k: usize): void {
  for (let g: usize = 0; g < groups; g++) {
    const x = v128.load(d + (g << 4));
    for (let b: usize = 0; b < k; b++, rows += 16, masks += 16) {
      v128.store(rows, v128.xor(v128.load(rows), v128.and(v128.load(masks), x)));
    }
  }
}

/**
 * What the block hash encrypts: dst = sigma(src) ^ shift for each of `count` blocks `shifts`, `blocks` blocks each, one set
 * after the other.
 */
export function hashInputs(
  dst: usize,
  src: usize,
  shifts: usize,
  count: usize,
  blocks: usize,
): void {
  const end = src + (blocks << 4);
  for (; src < end; src += 16, dst += 16) {
    const x = v128.load(src);
    const s = v128.xor(v128.shuffle<i64>(x, x, 1, 0), v128.shuffle<i64>(x, i64x2.splat(0), 0, 2));
    let to = dst;
    for (let i: usize = 0; i < count; i++, to += blocks << 4) {
      v128.store(to, v128.xor(s, v128.load(shifts + (i << 4))));
    }
  }
}

/** dst[i] = word `word` of block i of a ^ b; dst takes blocks * 4 bytes. */
export function xorWords(dst: usize, a: usize, b: usize, word: usize, blocks: usize): void {
  const end = dst + (blocks << 2);
  a += word << 2;
  b += word << 2;
  for (; dst < end; dst += 4, a += 16, b += 16) store<u32>(dst, load<u32>(a) ^ load<u32>(b));
}
