/**
 * Programs as bytes, for the handshake and for files, and their digest. The bytes are JSON text; both parties hash the
 * bytes that crossed the wire, so that no canonical form is needed.
 */

import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';
import * as z from 'zod/mini';
import { OUTSIDE, runsOf, tableOf } from '../ring/gather.ts';
import { pack, packedBytes, unpack } from '../ring/packing.ts';
import { type CheckedProgram, checkProgram } from './check.ts';
import { KIND_BITS } from './kinds.ts';
import { BIASES, COMPARISONS, MAX_TABLES, type Program, READOUTS, type Step } from './program.ts';

/** Version of the encoding below. AGREEMENT. */
const FORMAT = 3;

/** Largest program a party decodes: a ReLU map of 16 M elements. LOCAL. */
export const MAX_PROGRAM_BYTES: number = 8 << 20;

/** Most entries of all tables of a program together. LOCAL. */
const MAX_TABLE_ENTRIES = 1 << 24;

// The smaller half of zod comes without sentences, which what is refused must have.
z.config(z.locales.en());

const whole = (least: number, most: number) => z.int().check(z.minimum(least), z.maximum(most));
const most = 0x7fffffff;
const count = whole(0, most);
const positive = whole(1, most);
const triple = z.readonly(z.tuple([positive, positive, positive]));
const pair = z.readonly(z.tuple([positive, positive]));
const sides = z.readonly(z.tuple([count, count, count, count]));
/** Of a window that sums: the counts of cells of all windows are gone through. */
const extent = whole(1, 1 << 16);
const name = z.string().check(z.maxLength(200));
const fractionBits = whole(0, 31);
const norm = z.number().check(z.minimum(0), z.maximum(2 ** 40));

const linearShape = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('conv'),
    channels: positive,
    height: positive,
    width: positive,
    outChannels: positive,
    kernel: pair,
    stride: pair,
    pads: sides,
    groups: positive,
  }),
  z.strictObject({ kind: z.literal('dense'), inputs: positive, outputs: positive }),
]);

const entry = whole(OUTSIDE, most);

/** Start, step and length of a part of a table. */
const run = z.readonly(
  z.tuple([entry, whole(-0x80000000, most), positive]).check(
    z.refine(([start, step, length]) => {
      const last = start + (length - 1) * step;
      return entry.safeParse(last).success;
    }, 'a run leaves the range of what a table holds'),
  ),
);

const kinds = z.pipe(
  z.strictObject({ length: whole(0, 1 << 24), packed: z.string() }),
  z.transform(({ packed, length }, { issues }) => {
    const kinds = unpackKinds(packed, length);
    if (kinds !== undefined) return kinds;
    issues.push({ code: 'custom', message: 'the ReLU map is cut short', input: packed });
    return z.NEVER;
  }),
);

const step = z.discriminatedUnion('op', [
  z.strictObject({
    op: z.literal('linear'),
    name,
    fractionBits,
    input: count,
    shape: linearShape,
    bias: z.enum(BIASES),
    norm1: norm,
    norm2: norm,
    tolerance: count,
  }),
  z.strictObject({
    op: z.literal('add'),
    name,
    fractionBits,
    inputs: z.readonly(z.tuple([count, count])),
    shifts: z.readonly(z.tuple([fractionBits, fractionBits])),
    subtract: z.boolean(),
  }),
  z.strictObject({
    op: z.literal('gather'),
    name,
    fractionBits,
    input: count,
    size: triple,
    tables: z
      .array(z.array(run).check(z.minLength(1)))
      .check(z.minLength(1), z.maxLength(MAX_TABLES)),
  }),
  z.strictObject({
    op: z.literal('concat'),
    name,
    fractionBits,
    inputs: z.readonly(z.array(count).check(z.minLength(1), z.maxLength(1000))),
  }),
  z.strictObject({
    op: z.literal('sumPool'),
    name,
    fractionBits,
    input: count,
    kernel: z.readonly(z.tuple([extent, extent])),
    stride: pair,
    pads: sides,
  }),
  z.strictObject({
    op: z.literal('activation'),
    name,
    fractionBits,
    input: count,
    kinds,
    constants: z.boolean(),
    rangeBits: count,
    dropBits: count,
    shift: count,
    squareShift: count,
  }),
  z.strictObject({
    op: z.literal('output'),
    name,
    fractionBits,
    input: count,
    reveal: z.enum(['logits', 'label']),
    rangeBits: count,
    tolerance: count,
  }),
]);

const result = z.strictObject({
  name,
  shape: z.array(positive).check(z.maxLength(8)),
  bits: z.int(),
  readout: z.exactOptional(z.strictObject({ kind: z.enum(READOUTS), axis: count })),
});

const above0 = z.number().check(z.positive());

const programSchema = z.strictObject({
  format: z.literal(FORMAT),
  name,
  input: z.strictObject({
    shape: triple,
    fractionBits,
    mean: z.array(z.number()).check(z.maxLength(4096)),
    std: z.array(above0).check(z.maxLength(4096)),
    limit: z.exactOptional(above0),
  }),
  comparison: z.enum(COMPARISONS),
  steps: z.array(step).check(z.minLength(1), z.maxLength(10_000)),
  results: z.array(result).check(z.minLength(1), z.maxLength(1000)),
  labels: z.array(name).check(z.maxLength(100_000)),
});

/** KIND_BITS bits an element, as base64. */
function packKinds(kinds: Uint8Array): string {
  const packed = pack(Int32Array.from(kinds), KIND_BITS);
  let text = '';
  for (let i = 0; i < packed.length; i += 4096) {
    text += String.fromCharCode(...packed.subarray(i, i + 4096));
  }
  return btoa(text);
}

/** The codes of a map, whose meaning checkProgram sees to; undefined when they are not as many as it says. */
function unpackKinds(base64: string, length: number): Uint8Array | undefined {
  let text: string;
  try {
    text = atob(base64);
  } catch {
    return undefined;
  }
  if (text.length !== packedBytes(length, KIND_BITS)) return undefined;
  // By index: iterators take ten times as long, and a map has hundreds of thousands of elements.
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < packed.length; i++) packed[i] = text.charCodeAt(i);
  return new Uint8Array(unpack(packed, length, KIND_BITS));
}

/** The program as bytes (UTF-8 JSON). */
export function encodeProgram(program: Program): Uint8Array {
  const text = JSON.stringify({ format: FORMAT, ...program }, (_, value) =>
    value instanceof Uint8Array
      ? { length: value.length, packed: packKinds(value) }
      : value instanceof Int32Array
        ? runsOf(value)
        : value,
  );
  return new TextEncoder().encode(text);
}

/**
 * Decodes and checks a program.
 * @throws RangeError with one sentence on what is wrong with it
 */
export function decodeProgram(bytes: Uint8Array): CheckedProgram {
  if (bytes.length > MAX_PROGRAM_BYTES) {
    throw new RangeError(`program: ${bytes.length} bytes, at most ${MAX_PROGRAM_BYTES} are read`);
  }
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new RangeError('program: the bytes are not JSON text');
  }
  const parsed = programSchema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new RangeError(`program: ${issue?.path.join('.')}: ${issue?.message}`);
  }
  const { format: _, ...read } = parsed.data;
  const program = { ...read, steps: withTables(read.steps) };
  return { program, shapes: checkProgram(program) };
}

/**
 * The steps with the tables that their runs stand for.
 * @throws RangeError when all tables together are too long
 */
function withTables(steps: readonly z.infer<typeof step>[]): Step[] {
  let entries = 0;
  return steps.map((own) => {
    if (own.op !== 'gather') return own;
    for (const [, , length] of own.tables.flat()) entries += length;
    if (entries > MAX_TABLE_ENTRIES) {
      throw new RangeError(
        `program step "${own.name}" (gather): the tables up to it have more than ${MAX_TABLE_ENTRIES} entries`,
      );
    }
    return { ...own, tables: own.tables.map((runs) => tableOf(runs, MAX_TABLE_ENTRIES)) };
  });
}

/** SHA-256 of a program's bytes. */
export function digestOf(bytes: Uint8Array): Uint8Array {
  return sha256(bytes);
}

/** Lower-case hexadecimal of bytes: how digests are written. */
export function hexOf(bytes: Uint8Array): string {
  return bytesToHex(bytes);
}
