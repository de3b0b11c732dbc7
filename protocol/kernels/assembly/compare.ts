// The encoded comparison on bit planes (protocol/compare/encoding.ts has the algebra and the layout of the planes).
//
// A group is 128 elements; a plane is one bit of each, 16 bytes. All work is XOR and AND of planes: no branch and no
// address depends on a bit. Planes of upper triangles stand column by column: entry (row, column) of columns 2, 3, ... with
// rows 0 .. column - 2 at `triangle(column) + row`.

/** First plane of column j: those of columns 2 .. j - 1 come before. */
function triangle(j: usize): usize {
  return ((j - 1) * (j - 2)) >> 1;
}

/** All ones. */
function ones(): v128 {
  return i64x2.splat(-1);
}

function plane(at: usize, index: usize): v128 {
  return v128.load(at + (index << 4));
}

function xorPlane(at: usize, index: usize, value: v128): void {
  v128.store(at + (index << 4), v128.xor(plane(at, index), value));
}

/** dst[i] |= (a[i] ^ b[i]) & mask on `n` blocks. */
export function orMasked(dst: usize, a: usize, b: usize, mask: usize, n: usize): void {
  const keep = v128.load(mask);
  const end = dst + (n << 4);
  for (; dst < end; dst += 16, a += 16, b += 16) {
    const x = v128.and(v128.xor(v128.load(a), v128.load(b)), keep);
    v128.store(dst, v128.or(v128.load(dst), x));
  }
}

/**
 * Planes of 32-bit words: plane i of a group is bit `top - i` of its 128 words, for i < `count`; a group's planes start
 * `stride` bytes after those of the group before.
 */
export function wordPlanes(
  dst: usize,
  words: usize,
  top: i32,
  count: usize,
  stride: usize,
  groups: usize,
): void {
  for (; groups > 0; groups--, dst += stride, words += 512) {
    for (let i: usize = 0; i < count; i++) {
      const shift = 31 - top + <i32>i;
      for (let part: usize = 0; part < 8; part++) {
        const from = words + (part << 6);
        // The wanted bit becomes the sign of each word; narrowing with saturation keeps signs.
        const x = i16x8.narrow_i32x4_s(
          i32x4.shl(v128.load(from), shift),
          i32x4.shl(v128.load(from, 16), shift),
        );
        const y = i16x8.narrow_i32x4_s(
          i32x4.shl(v128.load(from, 32), shift),
          i32x4.shl(v128.load(from, 48), shift),
        );
        store<u16>(dst + (i << 4) + (part << 1), i8x16.bitmask(i8x16.narrow_i16x8_s(x, y)));
      }
    }
  }
}

/**
 * Server, offline: its state and the corrections from both pads of every wire.
 * State: R and the pads of its columns (triangles), lambda, the sum of the pads of the last column, the pad of the end and
 * the difference of its two pads.
 */
export function serverOffline(
  state: usize,
  corrections: usize,
  zero: usize,
  one: usize,
  padStride: usize,
  nodes: usize,
  groups: usize,
): void {
  const entries = triangle(nodes);
  for (; groups > 0; groups--, zero += padStride, one += padStride) {
    const pads = state + (entries << 4);
    const lambda = pads + (entries << 4);
    const last = lambda + ((nodes - 1) << 4);
    const end = last + ((nodes - 1) << 4);
    const ends = end + (nodes << 4);
    for (let j: usize = 1; j < nodes; j++) {
      const at = (j - 1) * (j - 1);
      const bit = at + 2 * (j - 1);
      const zeroBit = plane(zero, bit);
      const lambdaBit = v128.xor(zeroBit, plane(one, bit));
      v128.store(lambda + ((j - 1) << 4), lambdaBit);
      v128.store(last + ((j - 1) << 4), zeroBit);
      for (let i: usize = 0; i + 1 < j; i++) {
        const to = (triangle(j) + i) << 4;
        const column = plane(zero, at + i);
        const entry = v128.xor(column, plane(one, at + i));
        v128.store(state + to, entry);
        v128.store(pads + to, column);
        const share = plane(zero, at + j - 1 + i);
        const difference = v128.xor(share, plane(one, at + j - 1 + i));
        v128.store(corrections + to, v128.xor(difference, v128.and(lambdaBit, entry)));
        xorPlane(last, i, share);
      }
    }
    const at = (nodes - 1) * (nodes - 1);
    for (let i: usize = 0; i < nodes; i++) {
      const pad = plane(zero, at + i);
      v128.store(end + (i << 4), pad);
      v128.store(ends + (i << 4), v128.xor(pad, plane(one, at + i)));
    }
    state = ends + (nodes << 4);
    corrections += entries << 4;
  }
}

/**
 * Client, offline: its state from the pads it chose. State: c_0 .. c_nodes (there already), the pads of the columns
 * (a triangle), the sum of those of the last column, the pad of the end.
 */
export function clientOffline(
  state: usize,
  pads: usize,
  padStride: usize,
  nodes: usize,
  groups: usize,
): void {
  const entries = triangle(nodes);
  for (; groups > 0; groups--, pads += padStride) {
    const columns = state + ((nodes + 1) << 4);
    const last = columns + (entries << 4);
    const end = last + ((nodes - 1) << 4);
    for (let j: usize = 1; j < nodes; j++) {
      const at = (j - 1) * (j - 1);
      v128.store(last + ((j - 1) << 4), plane(pads, at + 2 * (j - 1)));
      for (let i: usize = 0; i + 1 < j; i++) {
        v128.store(columns + ((triangle(j) + i) << 4), plane(pads, at + i));
        xorPlane(last, i, plane(pads, at + j - 1 + i));
      }
    }
    const at = (nodes - 1) * (nodes - 1);
    for (let i: usize = 0; i < nodes; i++) v128.store(end + (i << 4), plane(pads, at + i));
    state = end + (nodes << 4);
  }
}

/** Client, offline: the server's corrections go into the sum of the last column where c_j is set. */
export function clientCorrect(state: usize, corrections: usize, nodes: usize, groups: usize): void {
  const entries = triangle(nodes);
  for (; groups > 0; groups--, corrections += entries << 4) {
    const last = state + ((nodes + 1 + entries) << 4);
    for (let j: usize = 2; j < nodes; j++) {
      const choice = plane(state, j);
      for (let i: usize = 0; i + 1 < j; i++) {
        xorPlane(last, i, v128.and(choice, plane(corrections, triangle(j) + i)));
      }
    }
    state = last + ((2 * nodes - 1) << 4);
  }
}

/**
 * Server, online: the message from its state, a_0 .. a_(nodes + 1) and pi (one plane a group). Message: columns 1 ..
 * nodes - 2 (a triangle), the last column, and what a set c_nodes adds to it. `column`: scratch of `nodes` planes.
 */
export function serverOnline(
  message: usize,
  state: usize,
  a: usize,
  aStride: usize,
  pi: usize,
  column: usize,
  nodes: usize,
  groups: usize,
): void {
  const entries = triangle(nodes);
  for (; groups > 0; groups--, a += aStride, pi += 16) {
    const pads = state + (entries << 4);
    const lambda = pads + (entries << 4);
    const last = lambda + ((nodes - 1) << 4);
    const padOfEnd = last + ((nodes - 1) << 4);
    const padsOfEnd = padOfEnd + (nodes << 4);
    const end = message + (entries << 4);
    const choice = end + (nodes << 4);

    // Column nodes - 1 of R is what makes column nodes - 1 of the message the client's pad: it need not be sent.
    if (nodes > 1) {
      const bit = plane(a, nodes - 1);
      for (let i: usize = 0; i + 2 < nodes; i++) {
        const own = plane(pads, triangle(nodes - 1) + i);
        const before = plane(state, triangle(nodes - 1) + i);
        v128.store(column + (i << 4), v128.xor(own, v128.and(bit, before)));
      }
      v128.store(column + ((nodes - 2) << 4), bit);
    }

    for (let i: usize = 0; i < nodes; i++) {
      const sum = plane(padOfEnd, i);
      v128.store(end + (i << 4), i + 1 < nodes ? v128.xor(sum, plane(last, i)) : sum);
    }
    for (let j: usize = 1; j < nodes; j++) {
      const bit = plane(a, j);
      const weight = plane(lambda, j - 1);
      // Entries of column j of R above the diagonal: column j + 1 of the triangle, or the one just made.
      const own = j + 1 < nodes ? state + (triangle(j + 1) << 4) : column;
      const before = state + (triangle(j) << 4);
      for (let i: usize = 0; i < j; i++) {
        const shifted = i + 1 < j ? v128.and(bit, plane(before, i)) : bit;
        const entry = v128.xor(plane(own, i), shifted);
        xorPlane(end, i, v128.and(weight, entry));
        if (j + 1 < nodes) {
          const pad = i + 1 < j ? plane(pads, triangle(j) + i) : i64x2.splat(0);
          v128.store(message + ((triangle(j + 1) + i) << 4), v128.xor(entry, pad));
        }
      }
      xorPlane(end, j, weight);
    }
    const top = plane(a, nodes);
    const difference = v128.xor(top, plane(a, nodes + 1));
    for (let j: usize = 0; j < nodes; j++) {
      let tau =
        j === 0
          ? v128.xor(v128.xor(plane(a, 1), plane(a, 0)), v128.xor(v128.load(pi), ones()))
          : v128.xor(plane(a, j), plane(a, j + 1));
      if (j + 1 === nodes) tau = v128.xor(tau, v128.and(top, difference));
      const own = j + 1 < nodes ? state + (triangle(j + 1) << 4) : column;
      for (let i: usize = 0; i < j; i++) xorPlane(end, i, v128.and(tau, plane(own, i)));
      xorPlane(end, j, tau);
    }
    for (let i: usize = 0; i < nodes; i++) {
      const entry = i + 1 < nodes ? v128.and(difference, plane(column, i)) : difference;
      v128.store(choice + (i << 4), v128.xor(entry, plane(padsOfEnd, i)));
    }
    state = padsOfEnd + (nodes << 4);
    message = choice + (nodes << 4);
  }
}

/** Client, online: e, one plane a group. `x`: scratch of `nodes` planes. */
export function clientOnline(
  e: usize,
  state: usize,
  message: usize,
  x: usize,
  nodes: usize,
  groups: usize,
): void {
  const entries = triangle(nodes);
  for (; groups > 0; groups--, e += 16) {
    const columns = state + ((nodes + 1) << 4);
    const last = columns + (entries << 4);
    const padOfEnd = last + ((nodes - 1) << 4);
    const end = message + (entries << 4);
    const choice = end + (nodes << 4);
    const top = plane(state, nodes);
    let sum = plane(state, 0);
    for (let j: usize = 0; j < nodes; j++) {
      let bit = ones();
      if (j > 0) {
        bit = v128.and(plane(x, j - 1), plane(state, j));
        for (let i: usize = 0; i < j; i++) {
          const known = i + 1 < j ? plane(columns, triangle(j) + i) : i64x2.splat(0);
          const sent = j + 1 < nodes ? plane(message, triangle(j + 1) + i) : i64x2.splat(0);
          bit = v128.xor(bit, v128.and(plane(x, i), v128.xor(known, sent)));
        }
      }
      v128.store(x + (j << 4), bit);
      let entry = v128.xor(plane(end, j), plane(padOfEnd, j));
      entry = v128.xor(entry, v128.and(top, plane(choice, j)));
      if (j + 1 < nodes) entry = v128.xor(entry, plane(last, j));
      sum = v128.xor(sum, v128.and(bit, entry));
    }
    v128.store(e, sum);
    state = padOfEnd + (nodes << 4);
    message = choice + (nodes << 4);
  }
}
