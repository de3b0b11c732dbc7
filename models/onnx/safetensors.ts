/**
 * Reading safetensors files: named tensors and nothing else.
 *
 *   u64 LE   length of the header
 *   header   JSON: name -> { dtype, shape, data_offsets: [from, to) }, and `__metadata__`
 *   rest     the tensors, little-endian; every byte belongs to exactly one
 *
 * Source: github.com/huggingface/safetensors, README, "Format".
 */

import * as z from 'zod';
import { ModelError } from '../errors.ts';
import type { Tensor } from '../graph/index.ts';
import { decodeTensor } from './constant.ts';
import { DATA_TYPE } from './proto.ts';

/** LOCAL: a header of this size names a hundred thousand tensors. */
const MAX_HEADER = 2 ** 24;

const DTYPES = new Map(
  Object.entries({
    F32: DATA_TYPE.float,
    F64: DATA_TYPE.double,
    F16: DATA_TYPE.float16,
    BF16: DATA_TYPE.bfloat16,
    I64: DATA_TYPE.int64,
    I32: DATA_TYPE.int32,
    I8: DATA_TYPE.int8,
    U8: DATA_TYPE.uint8,
    BOOL: DATA_TYPE.bool,
  }),
);

const count = z.int().min(0);
const entrySchema = z.object({
  dtype: z.string(),
  shape: z.array(count).max(8),
  data_offsets: z.tuple([count, count]),
});

function fail(what: string): never {
  throw new ModelError('file', `not a readable safetensors file: ${what}`);
}

function parseHeader(bytes: Uint8Array): [string, z.infer<typeof entrySchema>][] {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return fail('its header is not JSON');
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    return fail('its header is not a table of tensors');
  }
  return Object.entries(json)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, value]) => {
      const parsed = entrySchema.safeParse(value);
      if (!parsed.success) {
        const [issue] = parsed.error.issues;
        return fail(`tensor '${name}' is wrong at ${issue!.path.join('.')}: ${issue!.message}`);
      }
      return [name, parsed.data];
    });
}

/**
 * The tensors of a safetensors file, by name, in the order of their bytes; numbers of other types become float32.
 * @throws ModelError `file` when the file is cut short, its parts overlap or leave gaps, or a type is not read here.
 */
export function readSafetensors(bytes: Uint8Array): Map<string, Tensor> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 8) fail('it is shorter than 8 bytes');
  const length = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
  if (length > Math.min(bytes.length - 8, MAX_HEADER)) {
    fail(`it claims a header of ${length} bytes`);
  }
  const body = bytes.subarray(8 + length);
  const entries = parseHeader(bytes.subarray(8, 8 + length));
  entries.sort(
    ([, a], [, b]) =>
      a.data_offsets[0] - b.data_offsets[0] || a.data_offsets[1] - b.data_offsets[1],
  );
  const tensors = new Map<string, Tensor>();
  let at = 0;
  for (const [name, { dtype, shape, data_offsets }] of entries) {
    const [from, to] = data_offsets;
    if (from !== at || to < from || to > body.length) {
      fail(
        `tensor '${name}' lies at ${from} to ${to}, not from ${at} on within ${body.length} bytes`,
      );
    }
    at = to;
    const type = DTYPES.get(dtype);
    if (type === undefined) fail(`tensor '${name}' has the type ${dtype}: store it as F32`);
    const raw = body.subarray(from, to);
    const { data } = decodeTensor({ name, dims: shape, type, raw, typed: [], external: undefined });
    tensors.set(name, {
      shape,
      data: data instanceof Float32Array ? data : new Float32Array(data),
    });
  }
  if (at !== body.length) fail(`${body.length - at} bytes belong to no tensor`);
  return tensors;
}
