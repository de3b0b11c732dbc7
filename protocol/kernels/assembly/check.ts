// The linear hash of the OT consistency check: Horner's rule in GF(2^128) = GF(2)[X] / (X^128 + X^7 + X^2 + X + 1), for the
// columns of a bit matrix. A block holds the coefficients of one element, X^i in bit i & 7 of byte i >> 3. The point is
// public; what is hashed is secret, so that table places follow from the point alone.

/** dst[j] = point X^j for j < 128, 16 bytes each. */
export function powers(dst: usize, point: usize): void {
  let low = load<u64>(point);
  let high = load<u64>(point, 8);
  for (const end = dst + 2048; dst < end; dst += 16) {
    store<u64>(dst, low);
    store<u64>(dst, high, 8);
    const carry = high >> 63;
    high = (high << 1) | (low >> 63);
    low = (low << 1) ^ (carry * 0x87);
  }
}

/**
 * What {@link hornerColumns} adds up, as pointers: row i of the product is the sum of 32 blocks of the table, one for each four bits
 * of row i of the matrix.
 * @param dst - room for 128 x 32 pointers of 4 bytes
 * @param matrix - 128 rows of 16 bytes: bit j of row i is coefficient i of point X^j
 * @param table - where the sums of each four rows will be, 512 blocks
 */
export function picks(dst: usize, matrix: usize, table: usize): void {
  for (const end = matrix + 2048; matrix < end; matrix += 16) {
    let at = table;
    for (let b: usize = 0; b < 16; b++, dst += 8, at += 512) {
      const byte = <usize>load<u8>(matrix + b);
      store<u32>(dst, <u32>(at + ((byte & 15) << 4)));
      store<u32>(dst, <u32>(at + 256 + (byte & 0xf0)), 4);
    }
  }
}

/**
 * For each 128 blocks in turn: sums = point sums + blocks, one element for each of 128 bit columns: coefficient i of all columns is
 * block i.
 *
 * The product is a matrix of 128 x 128 public bits with 128 rows of 128 secret ones: sums of each four rows are made
 * once, and a row of the matrix picks one of each.
 * @param sums - 128 blocks, changed in place
 * @param picks - what {@link picks} gives for this table
 * @param table - room for 512 blocks
 */
export function hornerColumns(
  sums: usize,
  picks: usize,
  table: usize,
  blocks: usize,
  slices: usize,
): void {
  const end = sums + 2048;
  for (; slices > 0; slices--) {
    let to = table;
    for (let from = sums; from < end; from += 64, to += 256) fourSums(to, from);
    let pick = picks;
    for (let row = sums; row < end; row += 16, blocks += 16) {
      let even = v128.load(blocks);
      let odd = i64x2.splat(0);
      for (const last = pick + 128; pick < last; pick += 32) {
        even = v128.xor(even, v128.load(load<u32>(pick)));
        odd = v128.xor(odd, v128.load(load<u32>(pick, 4)));
        even = v128.xor(even, v128.load(load<u32>(pick, 8)));
        odd = v128.xor(odd, v128.load(load<u32>(pick, 12)));
        even = v128.xor(even, v128.load(load<u32>(pick, 16)));
        odd = v128.xor(odd, v128.load(load<u32>(pick, 20)));
        even = v128.xor(even, v128.load(load<u32>(pick, 24)));
        odd = v128.xor(odd, v128.load(load<u32>(pick, 28)));
      }
      v128.store(row, v128.xor(even, odd));
    }
  }
}

/** The 16 sums of subsets of four blocks: number m is of those whose bit is set in m. */
function fourSums(dst: usize, src: usize): void {
  const x0 = v128.load(src);
  const x1 = v128.load(src, 16);
  const x2 = v128.load(src, 32);
  const x3 = v128.load(src, 48);
  const x01 = v128.xor(x0, x1);
  const x23 = v128.xor(x2, x3);
  v128.store(dst, i64x2.splat(0));
  v128.store(dst, x0, 16);
  v128.store(dst, x1, 32);
  v128.store(dst, x01, 48);
  v128.store(dst, x2, 64);
  v128.store(dst, v128.xor(x0, x2), 80);
  v128.store(dst, v128.xor(x1, x2), 96);
  v128.store(dst, v128.xor(x01, x2), 112);
  v128.store(dst, x3, 128);
  v128.store(dst, v128.xor(x0, x3), 144);
  v128.store(dst, v128.xor(x1, x3), 160);
  v128.store(dst, v128.xor(x01, x3), 176);
  v128.store(dst, x23, 192);
  v128.store(dst, v128.xor(x0, x23), 208);
  v128.store(dst, v128.xor(x1, x23), 224);
  v128.store(dst, v128.xor(x01, x23), 240);
}

/**
 * The same for one column of secret bits: for each block in turn, sum = point sum + block.
 * @param sum - one block, changed in place
 * @param columns - what {@link powers} gives
 */
export function hornerBits(sum: usize, columns: usize, blocks: usize, slices: usize): void {
  let low = load<u64>(sum);
  let high = load<u64>(sum, 8);
  for (; slices > 0; slices--, blocks += 16) {
    let even = v128.load(blocks);
    let odd = i64x2.splat(0);
    for (let j: usize = 0; j < 64; j++) {
      const at = columns + (j << 4);
      even = v128.xor(even, v128.and(i64x2.splat(-((low >> j) & 1)), v128.load(at)));
      odd = v128.xor(odd, v128.and(i64x2.splat(-((high >> j) & 1)), v128.load(at, 1024)));
    }
    const next = v128.xor(even, odd);
    low = <u64>i64x2.extract_lane(next, 0);
    high = <u64>i64x2.extract_lane(next, 1);
  }
  store<u64>(sum, low);
  store<u64>(sum, high, 8);
}
