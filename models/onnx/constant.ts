/** Constants of an ONNX model: decoding its tensors, whatever their type and wherever they are. */

import { ModelError } from '../errors.ts';
import { elements } from '../graph/index.ts';
import { DATA_TYPE, type TensorProto } from './proto.ts';

/** Axes that a tensor may have: far more than any network needs. LOCAL. */
const MAX_RANK = 16;

/** @throws ModelError `network` when a tensor has too many axes */
export function checkRank(rank: number): void {
  if (rank > MAX_RANK)
    throw new ModelError('network', `a tensor has ${rank} axes, more than ${MAX_RANK}`);
}

/** A tensor whose numbers are known when the model is read: a weight, or a list of axes or extents. */
export interface Constant {
  readonly shape: readonly number[];
  /** Row-major: singles when ONNX counts it among the floating-point types, doubles that hold integers otherwise. */
  readonly data: Float32Array | Float64Array;
}

/**
 * Gives the bytes of a file beside the model.
 * @param location relative, with forward slashes, and without parts that lead out of the folder
 * @throws ModelError `file` when there is no such file in the folder.
 */
export type ExternalData = (location: string) => Uint8Array;

/** How an element type is stored: bytes of one, how to read it, and what it becomes. */
interface Storage {
  readonly bytes: number;
  readonly isFloat: boolean;
  read(view: DataView, at: number): number;
  /** An element from its typed field, where half-precision numbers lie as their bits. */
  typed?(value: number): number;
}

/** IEEE 754 binary16. */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** The upper half of an IEEE 754 binary32. */
export function bfloatToNumber(bits: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, bits * 65536);
  return view.getFloat32(0);
}

const signed64 = (v: DataView, at: number) =>
  v.getInt32(at + 4, true) * 2 ** 32 + v.getUint32(at, true);

const storages: Readonly<Record<number, Storage>> = {
  [DATA_TYPE.float]: { bytes: 4, isFloat: true, read: (v, at) => v.getFloat32(at, true) },
  [DATA_TYPE.double]: { bytes: 8, isFloat: true, read: (v, at) => v.getFloat64(at, true) },
  [DATA_TYPE.float16]: {
    bytes: 2,
    isFloat: true,
    read: (v, at) => halfToNumber(v.getUint16(at, true)),
    typed: halfToNumber,
  },
  [DATA_TYPE.bfloat16]: {
    bytes: 2,
    isFloat: true,
    read: (v, at) => bfloatToNumber(v.getUint16(at, true)),
    typed: bfloatToNumber,
  },
  [DATA_TYPE.uint8]: { bytes: 1, isFloat: false, read: (v, at) => v.getUint8(at) },
  [DATA_TYPE.int8]: { bytes: 1, isFloat: false, read: (v, at) => v.getInt8(at) },
  [DATA_TYPE.bool]: { bytes: 1, isFloat: false, read: (v, at) => v.getUint8(at) },
  [DATA_TYPE.int32]: { bytes: 4, isFloat: false, read: (v, at) => v.getInt32(at, true) },
  [DATA_TYPE.int64]: { bytes: 8, isFloat: false, read: signed64 },
};

/** Whether values of this type can run through a network. */
export function isFloatType(type: number): boolean {
  return storages[type]?.isFloat ?? false;
}

/** The bytes of a tensor that lie in another file. */
function externalBytes(
  { name, external }: TensorProto,
  resolve: ExternalData | undefined,
): Uint8Array {
  const location = external!.get('location') ?? '';
  if (resolve === undefined) {
    throw new ModelError(
      'argument',
      `tensor '${name}' is in another file, '${location}': read the model from its folder, or save it as one file`,
    );
  }
  const parts = location.split('/');
  const leavesFolder =
    /[\\:\0]/.test(location) || parts.some((part) => ['', '.', '..'].includes(part));
  if (leavesFolder) {
    throw new ModelError(
      'file',
      `tensor '${name}' is in '${location}', which is not a file inside the model's folder`,
    );
  }
  const bytes = resolve(location);
  const number = (key: string, otherwise: number) => {
    const text = external!.get(key) ?? `${otherwise}`;
    return /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  };
  const offset = number('offset', 0);
  const length = number('length', bytes.length - offset);
  if (!(offset + length <= bytes.length)) {
    throw new ModelError(
      'file',
      `tensor '${name}' lies outside of the ${bytes.length} bytes of '${location}'`,
    );
  }
  return bytes.subarray(offset, offset + length);
}

/**
 * The numbers of a tensor.
 * @param resolve finds the file of a tensor that is stored outside of the model; without it such tensors are refused
 * @throws ModelError `file` when its type is not read here, or its length is not that of its shape; `argument` when it is stored
 *   outside of the model and there is no `resolve`
 */
export function decodeTensor(tensor: TensorProto, resolve?: ExternalData): Constant {
  const { name, dims, type, typed } = tensor;
  const storage = storages[type];
  if (storage === undefined) {
    throw new ModelError(
      'file',
      `tensor '${name}' has the element type ${type}: store it as float32`,
    );
  }
  checkRank(dims.length);
  const count = elements(dims);
  if (dims.some((n) => !Number.isSafeInteger(n) || n < 0) || !Number.isSafeInteger(count)) {
    throw new ModelError('file', `tensor '${name}' cannot have the shape [${dims}]`);
  }
  const raw = tensor.external === undefined ? tensor.raw : externalBytes(tensor, resolve);
  const found =
    raw === undefined
      ? typed.reduce((sum, part) => sum + part.length, 0)
      : raw.length / storage.bytes;
  if (found !== count) {
    throw new ModelError(
      'file',
      `tensor '${name}' of shape [${dims}] has ${found} elements, not ${count}`,
    );
  }
  const data = storage.isFloat ? new Float32Array(count) : new Float64Array(count);
  if (raw !== undefined) {
    const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
    for (let i = 0; i < count; i++) data[i] = storage.read(view, i * storage.bytes);
  } else {
    let i = 0;
    for (const part of typed) {
      for (const value of part) data[i++] = storage.typed?.(value) ?? value;
    }
  }
  return { shape: dims, data };
}
