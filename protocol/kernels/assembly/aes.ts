// Bitsliced AES-128 (FIPS-197): 8 blocks at a time, no table and no branch that depends on a secret.
//
// State: 8 registers of 16 bytes, one per bit of a byte (plane b at state + 16b). Byte p of plane b holds bit b of byte
// p of the 8 blocks, block i in bit i. SubBytes is then a boolean circuit on whole planes, ShiftRows and the rotations
// of MixColumns are byte shuffles, and a round key is 8 planes whose bytes are 0x00 or 0xff.
// A round is done layer by layer on up to 8 states in a row (64 blocks): one state is a chain of a few dozen dependent
// operations, and the processor fills its waits with the next one.
// S-box: Boyar and Peralta, "A new combinational logic minimization technique" (SEA 2010), without its four final NOTs:
// the constant 0x63 passes ShiftRows and MixColumns unchanged, so it is folded into the round keys.

const ROUNDS: usize = 10;
const PLANES: usize = 128; // bytes of a state and of one round key
const BATCH: usize = 8 * PLANES; // bytes of the states, and so of the blocks, that go through the rounds together
const SBOX_CONSTANT: u32 = 0x63;

function at(state: usize, plane: usize): v128 {
  return v128.load(state + 16 * plane);
}

/** The bits that a and b exchange: those of a selected by mask << n with those of b selected by mask. */
function differing(a: v128, b: v128, mask: v128, n: i32): v128 {
  return v128.and(v128.xor(i64x2.shr_u(a, n), b), mask);
}

/** Exchanges bit index and register index in each byte lane of 8 registers: blocks to planes, and back. In place is fine. */
function transpose(dst: usize, src: usize): void {
  let r0 = at(src, 0);
  let r1 = at(src, 1);
  let r2 = at(src, 2);
  let r3 = at(src, 3);
  let r4 = at(src, 4);
  let r5 = at(src, 5);
  let r6 = at(src, 6);
  let r7 = at(src, 7);

  let mask = i8x16.splat(0x55);
  const a = differing(r0, r1, mask, 1);
  const b = differing(r2, r3, mask, 1);
  const c = differing(r4, r5, mask, 1);
  const d = differing(r6, r7, mask, 1);
  r0 = v128.xor(r0, i64x2.shl(a, 1));
  r1 = v128.xor(r1, a);
  r2 = v128.xor(r2, i64x2.shl(b, 1));
  r3 = v128.xor(r3, b);
  r4 = v128.xor(r4, i64x2.shl(c, 1));
  r5 = v128.xor(r5, c);
  r6 = v128.xor(r6, i64x2.shl(d, 1));
  r7 = v128.xor(r7, d);

  mask = i8x16.splat(0x33);
  const e = differing(r0, r2, mask, 2);
  const f = differing(r1, r3, mask, 2);
  const g = differing(r4, r6, mask, 2);
  const h = differing(r5, r7, mask, 2);
  r0 = v128.xor(r0, i64x2.shl(e, 2));
  r2 = v128.xor(r2, e);
  r1 = v128.xor(r1, i64x2.shl(f, 2));
  r3 = v128.xor(r3, f);
  r4 = v128.xor(r4, i64x2.shl(g, 2));
  r6 = v128.xor(r6, g);
  r5 = v128.xor(r5, i64x2.shl(h, 2));
  r7 = v128.xor(r7, h);

  mask = i8x16.splat(0x0f);
  const s = differing(r0, r4, mask, 4);
  const t = differing(r1, r5, mask, 4);
  const u = differing(r2, r6, mask, 4);
  const v = differing(r3, r7, mask, 4);
  v128.store(dst, v128.xor(r0, i64x2.shl(s, 4)));
  v128.store(dst + 16, v128.xor(r1, i64x2.shl(t, 4)));
  v128.store(dst + 32, v128.xor(r2, i64x2.shl(u, 4)));
  v128.store(dst + 48, v128.xor(r3, i64x2.shl(v, 4)));
  v128.store(dst + 64, v128.xor(r4, s));
  v128.store(dst + 80, v128.xor(r5, t));
  v128.store(dst + 96, v128.xor(r6, u));
  v128.store(dst + 112, v128.xor(r7, v));
}

/** The S-box on all bytes of the states from `state` to `end`, short of the constant 0x63. */
function subBytes(state: usize, end: usize): void {
  for (; state < end; state += PLANES) substitute(state);
}

/** The S-box on the 128 bytes of one state. */
function substitute(state: usize): void {
  // The paper numbers bits from the most significant one.
  const x0 = at(state, 7);
  const x1 = at(state, 6);
  const x2 = at(state, 5);
  const x3 = at(state, 4);
  const x4 = at(state, 3);
  const x5 = at(state, 2);
  const x6 = at(state, 1);
  const x7 = at(state, 0);

  // Top linear layer.
  const y14 = v128.xor(x3, x5);
  const y13 = v128.xor(x0, x6);
  const y9 = v128.xor(x0, x3);
  const y8 = v128.xor(x0, x5);
  const t0 = v128.xor(x1, x2);
  const y1 = v128.xor(t0, x7);
  const y4 = v128.xor(y1, x3);
  const y12 = v128.xor(y13, y14);
  const y2 = v128.xor(y1, x0);
  const y5 = v128.xor(y1, x6);
  const y3 = v128.xor(y5, y8);
  const t1 = v128.xor(x4, y12);
  const y15 = v128.xor(t1, x5);
  const y20 = v128.xor(t1, x1);
  const y6 = v128.xor(y15, x7);
  const y10 = v128.xor(y15, t0);
  const y11 = v128.xor(y20, y9);
  const y7 = v128.xor(x7, y11);
  const y17 = v128.xor(y10, y11);
  const y19 = v128.xor(y10, y8);
  const y16 = v128.xor(t0, y11);
  const y21 = v128.xor(y13, y16);
  const y18 = v128.xor(x0, y16);

  // Inversion in GF(2^8).
  const t2 = v128.and(y12, y15);
  const t3 = v128.and(y3, y6);
  const t4 = v128.xor(t3, t2);
  const t5 = v128.and(y4, x7);
  const t6 = v128.xor(t5, t2);
  const t7 = v128.and(y13, y16);
  const t8 = v128.and(y5, y1);
  const t9 = v128.xor(t8, t7);
  const t10 = v128.and(y2, y7);
  const t11 = v128.xor(t10, t7);
  const t12 = v128.and(y9, y11);
  const t13 = v128.and(y14, y17);
  const t14 = v128.xor(t13, t12);
  const t15 = v128.and(y8, y10);
  const t16 = v128.xor(t15, t12);
  const t17 = v128.xor(t4, t14);
  const t18 = v128.xor(t6, t16);
  const t19 = v128.xor(t9, t14);
  const t20 = v128.xor(t11, t16);
  const t21 = v128.xor(t17, y20);
  const t22 = v128.xor(t18, y19);
  const t23 = v128.xor(t19, y21);
  const t24 = v128.xor(t20, y18);
  const t25 = v128.xor(t21, t22);
  const t26 = v128.and(t21, t23);
  const t27 = v128.xor(t24, t26);
  const t28 = v128.and(t25, t27);
  const t29 = v128.xor(t28, t22);
  const t30 = v128.xor(t23, t24);
  const t31 = v128.xor(t22, t26);
  const t32 = v128.and(t31, t30);
  const t33 = v128.xor(t32, t24);
  const t34 = v128.xor(t23, t33);
  const t35 = v128.xor(t27, t33);
  const t36 = v128.and(t24, t35);
  const t37 = v128.xor(t36, t34);
  const t38 = v128.xor(t27, t36);
  const t39 = v128.and(t29, t38);
  const t40 = v128.xor(t25, t39);
  const t41 = v128.xor(t40, t37);
  const t42 = v128.xor(t29, t33);
  const t43 = v128.xor(t29, t40);
  const t44 = v128.xor(t33, t37);
  const t45 = v128.xor(t42, t41);
  const z0 = v128.and(t44, y15);
  const z1 = v128.and(t37, y6);
  const z2 = v128.and(t33, x7);
  const z3 = v128.and(t43, y16);
  const z4 = v128.and(t40, y1);
  const z5 = v128.and(t29, y7);
  const z6 = v128.and(t42, y11);
  const z7 = v128.and(t45, y17);
  const z8 = v128.and(t41, y10);
  const z9 = v128.and(t44, y12);
  const z10 = v128.and(t37, y3);
  const z11 = v128.and(t33, y4);
  const z12 = v128.and(t43, y13);
  const z13 = v128.and(t40, y5);
  const z14 = v128.and(t29, y2);
  const z15 = v128.and(t42, y9);
  const z16 = v128.and(t45, y14);
  const z17 = v128.and(t41, y8);

  // Bottom linear layer, which holds the affine map of the S-box.
  const t46 = v128.xor(z15, z16);
  const t47 = v128.xor(z10, z11);
  const t48 = v128.xor(z5, z13);
  const t49 = v128.xor(z9, z10);
  const t50 = v128.xor(z2, z12);
  const t51 = v128.xor(z2, z5);
  const t52 = v128.xor(z7, z8);
  const t53 = v128.xor(z0, z3);
  const t54 = v128.xor(z6, z7);
  const t55 = v128.xor(z16, z17);
  const t56 = v128.xor(z12, t48);
  const t57 = v128.xor(t50, t53);
  const t58 = v128.xor(z4, t46);
  const t59 = v128.xor(z3, t54);
  const t60 = v128.xor(t46, t57);
  const t61 = v128.xor(z14, t57);
  const t62 = v128.xor(t52, t58);
  const t63 = v128.xor(t49, t58);
  const t64 = v128.xor(z4, t59);
  const t65 = v128.xor(t61, t62);
  const t66 = v128.xor(z1, t63);
  const t67 = v128.xor(t64, t65);
  const s3 = v128.xor(t53, t66);
  v128.store(state, v128.xor(t48, t60));
  v128.store(state + 16, v128.xor(t56, t62));
  v128.store(state + 32, v128.xor(t47, t65));
  v128.store(state + 48, v128.xor(t51, t66));
  v128.store(state + 64, s3);
  v128.store(state + 80, v128.xor(t55, t67));
  v128.store(state + 96, v128.xor(t64, s3));
  v128.store(state + 112, v128.xor(t59, t63));
}

/** ShiftRows: byte p (row p % 4, column p / 4) comes from this position. */
function rowsShifted(x: v128): v128 {
  return v128.swizzle(x, i8x16(0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11));
}

/** ShiftRows, then every column rotated up by one row. */
function rowsShiftedUp(x: v128): v128 {
  return v128.swizzle(x, i8x16(5, 10, 15, 0, 9, 14, 3, 4, 13, 2, 7, 8, 1, 6, 11, 12));
}

/** Every column rotated by two rows. */
function columnsHalfTurned(x: v128): v128 {
  return v128.swizzle(x, i8x16(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
}

/** One plane of MixColumns and AddRoundKey: 2t + up + (t turned by two rows) + key, t = s + up; `twice` is a plane of 2t. */
function mixed(twice: v128, up: v128, t: v128, key: v128): v128 {
  return v128.xor(v128.xor(twice, up), v128.xor(columnsHalfTurned(t), key));
}

/** ShiftRows, MixColumns and AddRoundKey on the states from `state` to `end`. */
function diffuse(state: usize, end: usize, key: usize): void {
  for (; state < end; state += PLANES) mix(state, key);
}

/** ShiftRows, MixColumns and AddRoundKey on one state. */
function mix(state: usize, key: usize): void {
  const u0 = rowsShiftedUp(at(state, 0));
  const u1 = rowsShiftedUp(at(state, 1));
  const u2 = rowsShiftedUp(at(state, 2));
  const u3 = rowsShiftedUp(at(state, 3));
  const u4 = rowsShiftedUp(at(state, 4));
  const u5 = rowsShiftedUp(at(state, 5));
  const u6 = rowsShiftedUp(at(state, 6));
  const u7 = rowsShiftedUp(at(state, 7));
  const t0 = v128.xor(rowsShifted(at(state, 0)), u0);
  const t1 = v128.xor(rowsShifted(at(state, 1)), u1);
  const t2 = v128.xor(rowsShifted(at(state, 2)), u2);
  const t3 = v128.xor(rowsShifted(at(state, 3)), u3);
  const t4 = v128.xor(rowsShifted(at(state, 4)), u4);
  const t5 = v128.xor(rowsShifted(at(state, 5)), u5);
  const t6 = v128.xor(rowsShifted(at(state, 6)), u6);
  const t7 = v128.xor(rowsShifted(at(state, 7)), u7);
  // Doubling in GF(2^8) moves each plane up by one and adds plane 7 at 0, 1, 3 and 4 (the polynomial 0x11b).
  v128.store(state, mixed(t7, u0, t0, at(key, 0)));
  v128.store(state + 16, mixed(v128.xor(t0, t7), u1, t1, at(key, 1)));
  v128.store(state + 32, mixed(t1, u2, t2, at(key, 2)));
  v128.store(state + 48, mixed(v128.xor(t2, t7), u3, t3, at(key, 3)));
  v128.store(state + 64, mixed(v128.xor(t3, t7), u4, t4, at(key, 4)));
  v128.store(state + 80, mixed(t4, u5, t5, at(key, 5)));
  v128.store(state + 96, mixed(t5, u6, t6, at(key, 6)));
  v128.store(state + 112, mixed(t6, u7, t7, at(key, 7)));
}

/** 32 bits all equal to bit b of a public byte. */
function plane(byte: u32, b: usize): i32 {
  return 0 - <i32>((byte >> <u32>b) & 1);
}

/**
 * Key schedule.
 * @param roundKeys - 11 * 128 bytes out: round keys as planes, the S-box constant folded into all but the first
 * @param key - 16 bytes
 * @param scratch - 128 bytes
 */
export function expandKey(roundKeys: usize, key: usize, scratch: usize): void {
  const bytes = v128.load(key);
  for (let b: usize = 0; b < 8; b++) {
    const bit = v128.and(bytes, i8x16.splat(<i8>((<i32>1) << (<i32>b))));
    v128.store(roundKeys + 16 * b, i8x16.ne(bit, i8x16.splat(0)));
  }
  let constant: u32 = 1;
  for (let r: usize = 1; r <= ROUNDS; r++) {
    const last = roundKeys + PLANES * (r - 1);
    memory.copy(scratch, last, PLANES);
    substitute(scratch);
    const added = constant ^ SBOX_CONSTANT;
    for (let b: usize = 0; b < 8; b++) {
      // SubWord(RotWord(last word)) in all four words, with the S-box constant everywhere, the round's in byte 0.
      let t = v128.swizzle(
        at(scratch, b),
        i8x16(13, 14, 15, 12, 13, 14, 15, 12, 13, 14, 15, 12, 13, 14, 15, 12),
      );
      const first = plane(added, b) & 0xff;
      const others = plane(SBOX_CONSTANT, b) & 0xffffff00;
      t = v128.xor(t, i32x4.splat(first | others));
      // Each new word is the sum of the words up to it: prefix XOR by shifts of one and of two words.
      let k = at(last, b);
      k = v128.xor(k, v128.swizzle(k, i8x16(-1, -1, -1, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)));
      k = v128.xor(
        k,
        v128.swizzle(k, i8x16(-1, -1, -1, -1, -1, -1, -1, -1, 0, 1, 2, 3, 4, 5, 6, 7)),
      );
      v128.store(last + PLANES + 16 * b, v128.xor(k, t));
    }
    constant = (constant << 1) ^ ((constant >> 7) * 0x11b);
  }
  for (let r: usize = 1; r <= ROUNDS; r++) {
    for (let b: usize = 0; b < 8; b++) {
      const key = roundKeys + PLANES * r + 16 * b;
      v128.store(key, v128.xor(v128.load(key), i32x4.splat(plane(SBOX_CONSTANT, b))));
    }
  }
}

/**
 * dst[i] = AES(src[i]) for `blocks` blocks, any number; dst may be src.
 * @param roundKeys - from {@link expandKey}
 * @param state - scratch, 1,024 bytes
 */
export function encryptBlocks(
  dst: usize,
  src: usize,
  blocks: usize,
  roundKeys: usize,
  state: usize,
): void {
  for (let left: usize = 16 * blocks; left > 0; ) {
    const bytes = min(BATCH, left);
    // What does not fill a state stands in the last one, and leaves it, beside bytes of no meaning.
    const whole = bytes & ~(PLANES - 1);
    const end = state + ((bytes + PLANES - 1) & ~(PLANES - 1));
    memory.copy(state + whole, src + whole, bytes - whole);
    for (let s = state, from = src; s < end; s += PLANES, from += PLANES) {
      transpose(s, s < state + whole ? from : s);
      for (let b: usize = 0; b < PLANES; b += 16) {
        v128.store(s + b, v128.xor(v128.load(s + b), v128.load(roundKeys + b)));
      }
    }
    for (let r: usize = 1; r < ROUNDS; r++) {
      subBytes(state, end);
      diffuse(state, end, roundKeys + PLANES * r);
    }
    subBytes(state, end);
    const last = roundKeys + PLANES * ROUNDS;
    for (let s = state, to = dst; s < end; s += PLANES, to += PLANES) {
      for (let b: usize = 0; b < PLANES; b += 16) {
        v128.store(s + b, v128.xor(rowsShifted(v128.load(s + b)), v128.load(last + b)));
      }
      transpose(s < state + whole ? to : s, s);
    }
    memory.copy(dst + whole, state + whole, bytes - whole);
    src += bytes;
    dst += bytes;
    left -= bytes;
  }
}

/** Counter blocks first, first + 1, ... as 128-bit big-endian integers; `first` is a safe integer. */
export function counterBlocks(dst: usize, first: f64, blocks: usize): void {
  const counter = <u64>first;
  for (let i: usize = 0; i < blocks; i++) {
    store<u64>(dst + 16 * i, 0);
    store<u64>(dst + 16 * i + 8, bswap<u64>(counter + i));
  }
}
