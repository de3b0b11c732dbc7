/**
 * NumPy's files: `.npy`, one array behind a header that says its type and shape, and `.npz`, a zip archive of them. Whole
 * numbers and floats in C order are read.
 */

import { unzipSync } from 'fflate';
import { ModelError } from '../errors.ts';

/** An array of numbers in row-major order. */
export interface NumberArray {
  readonly shape: readonly number[];
  /** As messages name it, such as uint8. */
  readonly type: string;
  /** The numbers from `from` up to `to`. */
  numbers(from: number, to: number): Float64Array | Uint8Array;
}

interface NumberType {
  readonly name: string;
  readonly bytes: number;
  read(view: DataView, at: number, little: boolean): number;
}

/** By NumPy's codes. */
const TYPES: Readonly<Record<string, NumberType>> = {
  b1: { name: 'bool', bytes: 1, read: (view, at) => view.getUint8(at) },
  u1: { name: 'uint8', bytes: 1, read: (view, at) => view.getUint8(at) },
  i1: { name: 'int8', bytes: 1, read: (view, at) => view.getInt8(at) },
  u2: { name: 'uint16', bytes: 2, read: (view, at, little) => view.getUint16(at, little) },
  i2: { name: 'int16', bytes: 2, read: (view, at, little) => view.getInt16(at, little) },
  u4: { name: 'uint32', bytes: 4, read: (view, at, little) => view.getUint32(at, little) },
  i4: { name: 'int32', bytes: 4, read: (view, at, little) => view.getInt32(at, little) },
  u8: { name: 'uint64', bytes: 8, read: (v, at, little) => Number(v.getBigUint64(at, little)) },
  i8: { name: 'int64', bytes: 8, read: (v, at, little) => Number(v.getBigInt64(at, little)) },
  f4: { name: 'float32', bytes: 4, read: (view, at, little) => view.getFloat32(at, little) },
  f8: { name: 'float64', bytes: 8, read: (view, at, little) => view.getFloat64(at, little) },
};

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

/**
 * Reads a `.npy` file.
 * @param name for error messages
 * @throws ModelError `file` with one sentence when it is damaged, or holds what is not read
 */
export function readNpy(bytes: Uint8Array, name: string): NumberArray {
  if (bytes.length < 12 || MAGIC.some((byte, i) => bytes[i] !== byte)) {
    throw new ModelError('file', `${name} is not a .npy file: it should begin with \\x93NUMPY`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const old = bytes[6] === 1;
  const start = old ? 10 : 12;
  const first = start + (old ? view.getUint16(8, true) : view.getUint32(8, true));
  const header = new TextDecoder('latin1').decode(bytes.subarray(start, first));
  const code = /'descr':\s*'([<>|=])([a-zA-Z]\d+)'/.exec(header);
  const order = /'fortran_order':\s*(True|False)/.exec(header);
  const sizes = /'shape':\s*\(([\d\s,]*)\)/.exec(header);
  if (first > bytes.length || order === null || sizes === null) {
    throw new ModelError('file', `${name} is cut short or damaged: its header cannot be read`);
  }
  const type = code === null ? undefined : TYPES[code[2]!];
  if (code === null || type === undefined) {
    const what = /'descr':\s*(.*?),\s*'fortran/.exec(header)?.[1] ?? 'an unknown type';
    const known = Object.values(TYPES).map((t) => t.name);
    throw new ModelError('file', `${name} holds ${what}; read are ${known.join(', ')}`);
  }
  if (order[1] === 'True') {
    throw new ModelError(
      'file',
      `${name} is in Fortran order, which is not read: save numpy.ascontiguousarray of it`,
    );
  }
  const shape = sizes[1]!
    .split(',')
    .filter((part) => part.trim() !== '')
    .map(Number);
  const size = shape.reduce((product, n) => product * n, 1);
  if (bytes.length - first !== size * type.bytes) {
    throw new ModelError(
      'file',
      `${name} should hold ${size * type.bytes} bytes after its header but holds ${bytes.length - first}`,
    );
  }
  const little = code[1] !== '>';
  return {
    shape,
    type: type.name,
    numbers: (from, to) =>
      Float64Array.from({ length: to - from }, (_, i) =>
        type.read(view, first + (from + i) * type.bytes, little),
      ),
  };
}

/**
 * Reads a `.npz` file.
 * @returns its arrays by name, without `.npy`
 * @throws ModelError `file` with one sentence when it is damaged, or holds what is not read
 */
export function readNpz(bytes: Uint8Array, name: string): Map<string, NumberArray> {
  let files: Readonly<Record<string, Uint8Array>>;
  try {
    files = unzipSync(bytes, { filter: (file) => file.name.endsWith('.npy') });
  } catch (cause) {
    throw new ModelError('file', `${name} is not a sound .npz file`, { cause });
  }
  return new Map(
    Object.entries(files).map(([file, content]) => {
      const key = file.slice(0, -'.npy'.length);
      return [key, readNpy(content, `${name}, array ${key},`)];
    }),
  );
}
