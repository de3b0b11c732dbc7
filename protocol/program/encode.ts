/**
 * Programs as bytes, for the handshake and for files, and their digest. The bytes are JSON text; both parties hash the
 * bytes that crossed the wire, so that no canonical form is needed.
 */

import { sha256 } from '@noble/hashes/sha2.js';
import * as z from 'zod';
import { pack, packedBytes, unpack } from '../ring/packing.ts';
import { type CheckedProgram, checkProgram } from './check.ts';
import { KIND_BITS } from './kinds.ts';
import { COMPARISONS, type Program } from './program.ts';

/** Version of the encoding below. AGREEMENT. */
const FORMAT = 2;

/** Largest program a party decodes: a ReLU map of 16 M elements. LOCAL. */
export const MAX_PROGRAM_BYTES = 8 << 20;

const count = z.int().min(0).max(0x7fffffff);
const positive = count.min(1);
const triple = z.tuple([count, count, count]).readonly();
const pair = z.tuple([positive, positive]).readonly();
const name = z.string().max(200);
const fractionBits = z.int().min(0).max(31);
const norm = z
  .number()
  .min(0)
  .max(2 ** 40);

const linearShape = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('conv'),
    channels: positive,
    height: positive,
    width: positive,
    outChannels: positive,
    kernel: pair,
    stride: pair,
    pads: z.tuple([count, count, count, count]).readonly(),
    groups: positive,
  }),
  z.strictObject({ kind: z.literal('dense'), inputs: positive, outputs: positive }),
]);

const kindsText = z.strictObject({ length: count.max(1 << 24), packed: z.string() });

const step = z.discriminatedUnion('op', [
  z.strictObject({
    op: z.literal('linear'),
    name,
    fractionBits,
    input: count,
    shape: linearShape,
    norm1: norm,
    norm2: norm,
    tolerance: count,
  }),
  z.strictObject({
    op: z.literal('add'),
    name,
    fractionBits,
    inputs: z.tuple([count, count]).readonly(),
    shifts: z.tuple([fractionBits, fractionBits]).readonly(),
    subtract: z.boolean(),
  }),
  z.strictObject({
    op: z.literal('slice'),
    name,
    fractionBits,
    input: count,
    start: triple,
    step: z.tuple([positive, positive, positive]).readonly(),
    size: z.tuple([positive, positive, positive]).readonly(),
  }),
  z.strictObject({
    op: z.literal('pad'),
    name,
    fractionBits,
    input: count,
    before: triple,
    after: triple,
  }),
  z.strictObject({
    op: z.literal('concat'),
    name,
    fractionBits,
    inputs: z.array(count).min(1).max(1000).readonly(),
  }),
  z.strictObject({
    op: z.literal('sumPool'),
    name,
    fractionBits,
    input: count,
    kernel: pair,
    stride: pair,
  }),
  z.strictObject({
    op: z.literal('activation'),
    name,
    fractionBits,
    input: count,
    kinds: kindsText.transform((text, context) => {
      const kinds = unpackKinds(text.packed, text.length);
      if (kinds !== undefined) return kinds;
      context.addIssue({ code: 'custom', message: 'the ReLU map is cut short' });
      return z.NEVER;
    }),
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

const programSchema = z.strictObject({
  format: z.literal(FORMAT),
  name,
  input: z.strictObject({
    shape: z.tuple([positive, positive, positive]).readonly(),
    fractionBits,
    mean: z.array(z.number()).max(4096),
    std: z.array(z.number().positive()).max(4096),
  }),
  comparison: z.enum(COMPARISONS),
  steps: z.array(step).min(1).max(10_000),
  labels: z.array(name).max(100_000),
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
  const packed = Uint8Array.from(text, (byte) => byte.charCodeAt(0));
  return Uint8Array.from(unpack(packed, length, KIND_BITS));
}

/** The program as bytes (UTF-8 JSON). */
export function encodeProgram(program: Program): Uint8Array {
  const text = JSON.stringify({ format: FORMAT, ...program }, (_, value) =>
    value instanceof Uint8Array ? { length: value.length, packed: packKinds(value) } : value,
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
  const { format: _, ...program } = parsed.data;
  return { program, shapes: checkProgram(program) };
}

/** SHA-256 of a program's bytes. */
export function digestOf(bytes: Uint8Array): Uint8Array {
  return sha256(bytes);
}
