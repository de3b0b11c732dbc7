import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readSafetensors } from '../../../models/onnx/index.ts';
import { safetensors } from './files.ts';

const f32 = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
const entry = (dtype: string, shape: number[], from: number, to: number) => ({
  dtype,
  shape,
  data_offsets: [from, to],
});

describe('safetensors', () => {
  it('come by name, in the order of their bytes, from any offset of a buffer', () => {
    const file = safetensors(
      { b: entry('F32', [2, 1], 4, 12), __metadata__: { any: 'text' }, a: entry('F32', [], 0, 4) },
      f32(1, 2, 3),
    );
    const shifted = new Uint8Array(file.length + 1);
    shifted.set(file, 1);
    const tensors = readSafetensors(shifted.subarray(1));
    expect([...tensors]).toEqual([
      ['a', { shape: [], data: Float32Array.of(1) }],
      ['b', { shape: [2, 1], data: Float32Array.of(2, 3) }],
    ]);
  });

  it('of other types become float32', () => {
    const read = (dtype: string, shape: number[], data: ArrayBufferView) => {
      const bytes = new Uint8Array(data.buffer);
      const file = safetensors({ t: entry(dtype, shape, 0, bytes.length) }, bytes);
      return [...readSafetensors(file).get('t')!.data];
    };
    expect(read('F64', [2], Float64Array.of(0.5, -3))).toEqual([0.5, -3]);
    expect(read('F16', [2], Uint16Array.of(0x3c00, 0xc000))).toEqual([1, -2]);
    expect(read('BF16', [1], Uint16Array.of(0xc040))).toEqual([-3]);
    expect(read('I64', [], BigInt64Array.of(-7n))).toEqual([-7]);
    expect(read('U8', [0], new Uint8Array(0))).toEqual([]);
  });

  it.each<[string, Record<string, unknown>, RegExp]>([
    [
      'a gap',
      { a: entry('F32', [1], 0, 4), b: entry('F32', [1], 8, 12) },
      /'b' lies at 8 to 12, not from 4/,
    ],
    ['an overlap', { a: entry('F32', [2], 0, 8), b: entry('F32', [2], 4, 12) }, /'b' lies at 4/],
    ['bytes before the first', { a: entry('F32', [2], 4, 12) }, /'a' lies at 4 to 12, not from 0/],
    ['bytes behind the last', { a: entry('F32', [2], 0, 8) }, /4 bytes belong to no tensor/],
    ['a tensor beyond the end', { a: entry('F32', [4], 0, 16) }, /within 12 bytes/],
    [
      'a tensor from back to front',
      { a: entry('F32', [3], 0, 12), b: entry('F32', [0], 12, 8) },
      /'b' lies at 12 to 8/,
    ],
    ['another length than its shape', { a: entry('F32', [2], 0, 12) }, /has 3 elements, not 2/],
    [
      'a shape beyond all bounds',
      { a: entry('F32', [2 ** 40, 2 ** 40], 0, 12) },
      /cannot have the shape/,
    ],
    [
      'a type we do not read',
      { a: entry('C64', [1], 0, 12) },
      /'a' has the type C64: store it as F32/,
    ],
    ['a type of every object', { a: entry('constructor', [1], 0, 12) }, /has the type constructor/],
    ['a negative extent', { a: entry('F32', [-3], 0, 12) }, /'a' is wrong at shape.0/],
    ['no offsets', { a: { dtype: 'F32', shape: [3] } }, /'a' is wrong at data_offsets/],
  ])('are refused with %s', (_what, header, message) => {
    expect(() => readSafetensors(safetensors(header, f32(1, 2, 3)))).toThrow(message);
    expect(() => readSafetensors(safetensors(header, f32(1, 2, 3)))).toThrow(RangeError);
  });

  it('are refused with a header that is none', () => {
    expect(() => readSafetensors(new Uint8Array(7))).toThrow(/shorter than 8 bytes/);
    const file = safetensors({}, f32());
    const long = file.slice();
    long[5] = 1;
    expect(() => readSafetensors(long)).toThrow(/header of 1099511627778 bytes/);
    expect(() => readSafetensors(file.subarray(0, -1))).toThrow(/header of 2 bytes/);
    expect(readSafetensors(file).size).toBe(0);
    const list = file.slice();
    list.set(new TextEncoder().encode('[]'), 8);
    expect(() => readSafetensors(list)).toThrow(/not a table/);
    list.set(new TextEncoder().encode('[}'), 8);
    expect(() => readSafetensors(list)).toThrow(/not JSON/);
  });
});

const weights = new URL('../../../../shared/data/weights/resnet-cifar10/', import.meta.url);
const isThere = existsSync(weights);
if (!isThere) console.log('skipped: no weights in ../shared/data/weights/resnet-cifar10');

describe.skipIf(!isThere)('published weights', () => {
  it('are all there: ResNet-20', () => {
    const tensors = readSafetensors(
      readFileSync(new URL('resnet20-12fca82f.safetensors', weights)),
    );
    expect(tensors.size).toBe(97);
    expect(tensors.get('conv1.weight')!.shape).toEqual([16, 3, 3, 3]);
    expect(tensors.get('linear.weight')!.shape).toEqual([10, 64]);
    const trained = [...tensors].filter(([name]) => !/running|tracked/.test(name));
    // The number the authors publish, 0.27 million.
    expect(trained.reduce((sum, [, { data }]) => sum + data.length, 0)).toBe(269722);
  });
});
