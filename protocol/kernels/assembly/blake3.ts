// BLAKE3, four chunks or four parents of its tree at a time, one in each 32-bit lane. The tree over pieces of a message is
// protocol/random/blake3.ts.
//
// A node is 32 bytes. Lanes that have nothing to do compute on whatever lies behind, so sources and targets need slack.

const CHUNK_START: u32 = 1;
const CHUNK_END: u32 = 2;
const PARENT: u32 = 4;

/** Bytes of a chunk, of a block, of a node. */
const CHUNK: usize = 1024;
const BLOCK: usize = 64;
const NODE: usize = 32;

/** Bytes of `work` before the message words: the schedule, and the chaining values. */
const VALUES: usize = 112;
const WORDS: usize = 112 + 128;

/**
 * The nodes of the chunks of `bytes` bytes at `src`, of 0 or more.
 * @param out - 32 bytes a chunk, and 96 bytes of slack
 * @param src - overwritten behind its last byte up to a multiple of 64; 3,072 bytes of slack are read
 * @param key - 8 words
 * @param counter - chunks of the message before these
 * @param flags - of every block
 * @param root - flags of the last block of a message that is one chunk, else 0
 * @param work - 496 bytes, of which the first 112 are the schedule: where the words of each round lie, in bytes
 */
export function chunks(
  out: usize,
  src: usize,
  bytes: usize,
  key: usize,
  counter: u32,
  flags: u32,
  root: u32,
  work: usize,
): void {
  const full = bytes / CHUNK;
  const end = CHUNK_END | root;
  for (let i: usize = 0; i < full; i += 4) {
    const from = src + i * CHUNK;
    const first = counter + <u32>i;
    hashFour(out + i * NODE, from, CHUNK, 16, 64, key, first, flags, CHUNK_START, end, work);
  }
  const rest = bytes - full * CHUNK;
  if (rest === 0 && bytes > 0) return;
  const blocks = rest === 0 ? 1 : (rest + BLOCK - 1) / BLOCK;
  const from = src + full * CHUNK;
  memory.fill(from + rest, 0, blocks * BLOCK - rest);
  const last = <u32>(rest - (blocks - 1) * BLOCK);
  const number = counter + <u32>full;
  hashFour(out + full * NODE, from, 0, blocks, last, key, number, flags, CHUNK_START, end, work);
}

/**
 * Joins `count` neighbouring nodes, in place, until the first is the only one.
 * @param nodes - 32 bytes each, and 192 bytes of slack
 * @param flags - of every block
 * @param root - flags of the last block where this is the whole message, else 0
 * @param work - as of {@link chunks}
 */
export function parents(
  nodes: usize,
  count: usize,
  key: usize,
  flags: u32,
  root: u32,
  work: usize,
): void {
  const each = flags | PARENT;
  while (count > 1) {
    const pairs = count >> 1;
    const end = count === 2 ? root : 0;
    // The odd one joins the next level as it is; idle lanes may overwrite it.
    const odd = nodes + pairs * BLOCK;
    const low = v128.load(odd);
    const high = v128.load(odd, 16);
    for (let i: usize = 0; i < pairs; i += 4) {
      hashFour(nodes + i * NODE, nodes + i * BLOCK, BLOCK, 1, 64, key, 0, each, 0, end, work);
    }
    v128.store(nodes + pairs * NODE, low);
    v128.store(nodes + pairs * NODE, high, 16);
    count -= pairs;
  }
}

/**
 * Four nodes of `blocks` blocks each: the compression function of BLAKE3 (section 2.2), its state v0 .. v15 of one word a lane.
 * A round is the quarter-round G on each of the four columns of the state, with words 0 .. 7 of the round's schedule, then on each
 * of the diagonals, with words 8 .. 15. v12 is the chunk's number and v13 its high word, 0: messages are shorter
 * than 2^42 bytes.
 *
 * @param stride - bytes from one lane's blocks to the next lane's
 * @param last - bytes of the last block
 * @param counter - of the first lane; one more for each of the others
 * @param start - more flags of the first block
 * @param end - more flags of the last
 */
function hashFour(
  out: usize,
  src: usize,
  stride: usize,
  blocks: usize,
  last: u32,
  key: usize,
  counter: u32,
  flags: u32,
  start: u32,
  end: u32,
  work: usize,
): void {
  const values = work + VALUES;
  const words = work + WORDS;
  // Parents are numbered 0, all of them.
  const step = (flags & PARENT) === 0 ? i32x4(0, 1, 2, 3) : i32x4.splat(0);
  const numbers = i32x4.add(i32x4.splat(counter), step);
  for (let i: usize = 0; i < 8; i++) {
    v128.store(values + 16 * i, v128.load32_splat(key + 4 * i));
  }
  for (; blocks > 0; blocks--, src += BLOCK, start = 0) {
    for (let i: usize = 0; i < 4; i++) {
      transpose(words + 64 * i, 16, src + 16 * i, stride);
    }
    let v0 = v128.load(values);
    let v1 = v128.load(values, 16);
    let v2 = v128.load(values, 32);
    let v3 = v128.load(values, 48);
    let v4 = v128.load(values, 64);
    let v5 = v128.load(values, 80);
    let v6 = v128.load(values, 96);
    let v7 = v128.load(values, 112);
    let v8 = i32x4.splat(0x6a09e667);
    let v9 = i32x4.splat(0xbb67ae85);
    let v10 = i32x4.splat(0x3c6ef372);
    let v11 = i32x4.splat(0xa54ff53a);
    let v12 = numbers;
    let v13 = i32x4.splat(0);
    let v14 = i32x4.splat(blocks === 1 ? last : 64);
    let v15 = i32x4.splat(flags | start | (blocks === 1 ? end : 0));
    for (let at = work; at < values; at += 16) {
      v0 = sum(v0, v4, word(words, at, 0));
      v12 = turn16(v128.xor(v12, v0));
      v8 = i32x4.add(v8, v12);
      v4 = turn12(v128.xor(v4, v8));
      v0 = sum(v0, v4, word(words, at, 1));
      v12 = turn8(v128.xor(v12, v0));
      v8 = i32x4.add(v8, v12);
      v4 = turn7(v128.xor(v4, v8));
      v1 = sum(v1, v5, word(words, at, 2));
      v13 = turn16(v128.xor(v13, v1));
      v9 = i32x4.add(v9, v13);
      v5 = turn12(v128.xor(v5, v9));
      v1 = sum(v1, v5, word(words, at, 3));
      v13 = turn8(v128.xor(v13, v1));
      v9 = i32x4.add(v9, v13);
      v5 = turn7(v128.xor(v5, v9));
      v2 = sum(v2, v6, word(words, at, 4));
      v14 = turn16(v128.xor(v14, v2));
      v10 = i32x4.add(v10, v14);
      v6 = turn12(v128.xor(v6, v10));
      v2 = sum(v2, v6, word(words, at, 5));
      v14 = turn8(v128.xor(v14, v2));
      v10 = i32x4.add(v10, v14);
      v6 = turn7(v128.xor(v6, v10));
      v3 = sum(v3, v7, word(words, at, 6));
      v15 = turn16(v128.xor(v15, v3));
      v11 = i32x4.add(v11, v15);
      v7 = turn12(v128.xor(v7, v11));
      v3 = sum(v3, v7, word(words, at, 7));
      v15 = turn8(v128.xor(v15, v3));
      v11 = i32x4.add(v11, v15);
      v7 = turn7(v128.xor(v7, v11));
      v0 = sum(v0, v5, word(words, at, 8));
      v15 = turn16(v128.xor(v15, v0));
      v10 = i32x4.add(v10, v15);
      v5 = turn12(v128.xor(v5, v10));
      v0 = sum(v0, v5, word(words, at, 9));
      v15 = turn8(v128.xor(v15, v0));
      v10 = i32x4.add(v10, v15);
      v5 = turn7(v128.xor(v5, v10));
      v1 = sum(v1, v6, word(words, at, 10));
      v12 = turn16(v128.xor(v12, v1));
      v11 = i32x4.add(v11, v12);
      v6 = turn12(v128.xor(v6, v11));
      v1 = sum(v1, v6, word(words, at, 11));
      v12 = turn8(v128.xor(v12, v1));
      v11 = i32x4.add(v11, v12);
      v6 = turn7(v128.xor(v6, v11));
      v2 = sum(v2, v7, word(words, at, 12));
      v13 = turn16(v128.xor(v13, v2));
      v8 = i32x4.add(v8, v13);
      v7 = turn12(v128.xor(v7, v8));
      v2 = sum(v2, v7, word(words, at, 13));
      v13 = turn8(v128.xor(v13, v2));
      v8 = i32x4.add(v8, v13);
      v7 = turn7(v128.xor(v7, v8));
      v3 = sum(v3, v4, word(words, at, 14));
      v14 = turn16(v128.xor(v14, v3));
      v9 = i32x4.add(v9, v14);
      v4 = turn12(v128.xor(v4, v9));
      v3 = sum(v3, v4, word(words, at, 15));
      v14 = turn8(v128.xor(v14, v3));
      v9 = i32x4.add(v9, v14);
      v4 = turn7(v128.xor(v4, v9));
    }
    v128.store(values, v128.xor(v0, v8));
    v128.store(values, v128.xor(v1, v9), 16);
    v128.store(values, v128.xor(v2, v10), 32);
    v128.store(values, v128.xor(v3, v11), 48);
    v128.store(values, v128.xor(v4, v12), 64);
    v128.store(values, v128.xor(v5, v13), 80);
    v128.store(values, v128.xor(v6, v14), 96);
    v128.store(values, v128.xor(v7, v15), 112);
  }
  for (let half: usize = 0; half < 2; half++) {
    transpose(out + 16 * half, NODE, values + 64 * half, 16);
  }
}

/** A word of the message in all lanes, as the schedule of a round says. */
function word(words: usize, at: usize, i: usize): v128 {
  return v128.load(words + <usize>load<u8>(at + i));
}

function sum(a: v128, b: v128, m: v128): v128 {
  return i32x4.add(i32x4.add(a, m), b);
}

// Turns of each word to the right. By whole bytes one shuffle does it.

function turn16(x: v128): v128 {
  return v128.swizzle(x, i8x16(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
}

function turn12(x: v128): v128 {
  return v128.or(i32x4.shl(x, 20), i32x4.shr_u(x, 12));
}

function turn8(x: v128): v128 {
  return v128.swizzle(x, i8x16(1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12));
}

function turn7(x: v128): v128 {
  return v128.or(i32x4.shl(x, 25), i32x4.shr_u(x, 7));
}

/** Four rows of four words -> their columns; a row is `stride` bytes behind the one before, a column `pitch`. */
function transpose(dst: usize, pitch: usize, src: usize, stride: usize): void {
  const a = v128.load(src);
  const b = v128.load(src + stride);
  const c = v128.load(src + 2 * stride);
  const d = v128.load(src + 3 * stride);
  const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
  const cd = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
  const abHigh = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
  const cdHigh = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  v128.store(dst, v128.shuffle<i64>(ab, cd, 0, 2));
  v128.store(dst + pitch, v128.shuffle<i64>(ab, cd, 1, 3));
  v128.store(dst + 2 * pitch, v128.shuffle<i64>(abHigh, cdHigh, 0, 2));
  v128.store(dst + 3 * pitch, v128.shuffle<i64>(abHigh, cdHigh, 1, 3));
}
