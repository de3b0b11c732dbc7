/**
 * IDX files, the format of MNIST: 0 0 type rank, big-endian u32 sizes, then the numbers. Only unsigned bytes (type 8)
 * occur here. Files may be gzip-compressed.
 */

import { gunzipSync } from 'node:zlib';
import { ModelError } from '../../errors.ts';

/** An array of unsigned bytes with its sizes. */
export interface ByteArray {
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** Most bytes an IDX file may unpack to. LOCAL; MNIST's largest has 47 million. */
const LIMIT = 1 << 28;

/**
 * Reads an IDX file of unsigned bytes, unpacking it first when it is a gzip file.
 * @param name for error messages
 * @throws ModelError `file` with one sentence when the file is not what it should be.
 */
export function readIdx(file: Uint8Array, name: string): ByteArray {
  const bytes = file[0] === 0x1f && file[1] === 0x8b ? unpack(file, name) : file;
  if (bytes.length < 4 || bytes[0] !== 0 || bytes[1] !== 0) {
    throw new ModelError('file', `${name} is not an IDX file: it should begin with two zero bytes`);
  }
  if (bytes[2] !== 8) {
    throw new ModelError(
      'file',
      `${name} holds numbers of type ${bytes[2]}, only unsigned bytes (8) are read`,
    );
  }
  const rank = bytes[3]!;
  const start = 4 + 4 * rank;
  if (rank < 1 || bytes.length < start) {
    throw new ModelError('file', `${name} is cut short: its ${rank} sizes are not all there`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const shape = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  const size = shape.reduce((product, n) => product * n, 1);
  if (bytes.length - start !== size) {
    throw new ModelError(
      'file',
      `${name} should hold ${shape.join(' x ')} bytes after its sizes but holds ${bytes.length - start}`,
    );
  }
  return { shape, data: bytes.subarray(start) };
}

function unpack(file: Uint8Array, name: string): Uint8Array {
  try {
    return gunzipSync(file, { maxOutputLength: LIMIT });
  } catch (cause) {
    throw new ModelError(
      'file',
      `${name} cannot be unpacked: it is cut short, damaged or too large`,
      { cause },
    );
  }
}
