/**
 * The encoded comparison of one element, with numbers and bits, without kernels and without planes.
 *
 * Written from the algebra in the head of protocol/compare/encoding.ts. A column of a matrix is a word, bit i its row i.
 * n = m - 1 nodes, and as many OTs, j = 1 .. n; `a` and `c` are lists of bits from the sign on, index 0 .. m.
 */

/** The pads of one element's OTs: those of c_j for j < n have three parts, that of c_n is one vector. Index j - 1. */
export interface Pads {
  /** Above the diagonal of column j, j - 1 bits. Their difference is column j - 1 of R. */
  readonly column: readonly number[];
  /** For lambda_j times that column, j - 1 bits. */
  readonly share: readonly number[];
  /** One bit, whose difference is lambda_j. */
  readonly weight: readonly number[];
  /** Of c_n: n bits. */
  readonly end: number;
}

/** The message of one element. */
export interface Message {
  /** Columns j = 1 .. n-2, j bits each: index j - 1. */
  readonly columns: readonly number[];
  /** The last column, n bits (one bit where n = 0). */
  readonly end: number;
  /** What a set c_n adds to it, n bits. */
  readonly choice: number;
}

/** Of at most 30 bits. */
const lowBits = (count: number): number => (1 << count) - 1;

export const parity = (word: number): number => {
  let sum = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) sum ^= 1;
  return sum;
};

/** The bits of a word from position `top` down, `count` of them. */
export function bitsFrom(word: number, top: number, count: number): number[] {
  const bits: number[] = [];
  for (let i = 0; i < count; i++) bits.push((word >>> (top - i)) & 1);
  return bits;
}

/** Of each OT the pad that was chosen. */
export function choosePads(zero: Pads, one: Pads, c: readonly number[]): Pads {
  const n = c.length - 2;
  const pick = (own: readonly number[], other: readonly number[]) =>
    own.map((pad, i) => (c[i + 1] === 1 ? other[i]! : pad));
  return {
    column: pick(zero.column, one.column),
    share: pick(zero.share, one.share),
    weight: pick(zero.weight, one.weight),
    end: n > 0 && c[n] === 1 ? one.end : zero.end,
  };
}

/** R as far as the pads give it, columns 0 .. n-2 with the diagonal, and lambda_1 .. lambda_(n-1) (index j - 1). */
function matrixOf(zero: Pads, one: Pads): { r: number[]; lambda: number[] } {
  const r = zero.column.map((pad, i) => pad ^ one.column[i]! ^ (1 << i));
  const lambda = zero.weight.map((pad, i) => pad ^ one.weight[i]!);
  return { r, lambda };
}

/** Server, offline: for each j < n the j - 1 bits above the diagonal that make the client's share one of lambda_j R. */
export function corrections(zero: Pads, one: Pads): number[] {
  const { r, lambda } = matrixOf(zero, one);
  return r.map(
    (column, i) => zero.share[i]! ^ one.share[i]! ^ (lambda[i] === 1 ? column & lowBits(i) : 0),
  );
}

/** Server, online: the message for its bits a and its random bit pi, which hides the outcome from the client. */
export function encode(zero: Pads, one: Pads, a: readonly number[], pi: number): Message {
  const n = a.length - 2;
  // tau_0.
  const first = a[0]! ^ a[1]! ^ 1 ^ pi;
  if (n === 0) return { columns: [], end: first, choice: 0 };
  const { r, lambda } = matrixOf(zero, one);
  // Column n - 1 of R: such that column n - 1 of the message is the client's pad.
  const above = n > 1 && a[n - 1] === 1 ? r[n - 2]! & lowBits(n - 2) : 0;
  r.push(n === 1 ? 1 : zero.column[n - 2]! ^ above ^ (a[n - 1]! << (n - 2)) ^ (1 << (n - 1)));
  const columns: number[] = [];
  let end = zero.end;
  for (let j = 1; j < n; j++) {
    end ^= zero.share[j - 1]! ^ (zero.weight[j - 1]! << (j - 1));
    const column = r[j]! ^ (a[j] === 1 ? r[j - 1]! : 0);
    if (lambda[j - 1] === 1) end ^= column;
    if (j < n - 1) columns.push((column & lowBits(j)) ^ zero.column[j - 1]!);
  }
  const difference = a[n]! ^ a[n + 1]!;
  for (let j = 0; j < n; j++) {
    let tau = j === 0 ? first : a[j]! ^ a[j + 1]!;
    if (j === n - 1) tau ^= a[n]! & difference;
    if (tau === 1) end ^= r[j]!;
  }
  const choice = (difference === 1 ? r[n - 1]! : 0) ^ zero.end ^ one.end;
  return { columns, end, choice };
}

/** Client, online: e = b ^ pi. */
export function decode(
  own: Pads,
  c: readonly number[],
  corrected: readonly number[],
  { columns, end, choice }: Message,
): number {
  const n = c.length - 2;
  if (n === 0) return end ^ c[0]!;
  let last = end ^ own.end ^ (c[n] === 1 ? choice : 0);
  let x = 1;
  for (let j = 1; j < n; j++) {
    const known = own.column[j - 1]! ^ (c[j]! << (j - 1)) ^ (columns[j - 1] ?? 0);
    x |= parity(x & known) << j;
    last ^= own.share[j - 1]! ^ (c[j] === 1 ? corrected[j - 1]! : 0);
    last ^= own.weight[j - 1]! << (j - 1);
  }
  return parity(x & last) ^ c[0]!;
}

/** b as the law says, from the words: the carry, and a_m where the compared bits of a and c add up to 2^m - 1. */
export function lawOf(a: readonly number[], c: readonly number[]): number {
  const m = a.length - 1;
  const number = (bits: readonly number[]) => bits.slice(1).reduce((sum, bit) => 2 * sum + bit, 0);
  const sum = number(a) + number(c);
  const carry = sum === 2 ** m - 1 ? a[m]! : Math.floor(sum / 2 ** m);
  return 1 ^ a[0]! ^ c[0]! ^ carry;
}

/** Bits of the pad of OT j, where they begin in a string of all OTs' pads, and the parts they serve: `take` hands them out. */
export function readPads(n: number, take: (ot: number, count: number) => number): Pads {
  const [column, share, weight]: [number[], number[], number[]] = [[], [], []];
  for (let j = 1; j < n; j++) {
    column.push(take(j, j - 1));
    share.push(take(j, j - 1));
    weight.push(take(j, 1));
  }
  return { column, share, weight, end: n > 0 ? take(n, n) : 0 };
}
