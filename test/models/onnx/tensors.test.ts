import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import onnxProto from 'onnx-proto';
import { afterAll, describe, expect, it } from 'vitest';
import { runFloat } from '../../../models/graph/index.ts';
import { decodeTensor, readOnnx, readOnnxFile, readTensor } from '../../../models/onnx/index.ts';
import { type ModelSpec, modelOf, node, random } from './models.ts';

const { TensorProto, ModelProto } = onnxProto.onnx;
const types = TensorProto.DataType;

/** A tensor that onnx-proto wrote, as we read it. */
function roundTrip(properties: Parameters<typeof TensorProto.create>[0]) {
  return decodeTensor(readTensor(TensorProto.encode(TensorProto.create(properties)).finish()));
}

describe('tensors', () => {
  it('come as the encoder of the schema wrote them, packed or raw', () => {
    fc.assert(
      fc.property(fc.array(fc.float({ noNaN: true }), { maxLength: 40 }), (floats) => {
        const data = Float32Array.from(floats);
        const dims = [data.length];
        const rawData = new Uint8Array(data.slice().buffer);
        expect(roundTrip({ dims, dataType: types.FLOAT, rawData }).data).toEqual(data);
        if (data.length === 0) return;
        expect(roundTrip({ dims, dataType: types.FLOAT, floatData: floats }).data).toEqual(data);
        expect(roundTrip({ dims, dataType: types.DOUBLE, doubleData: floats }).data).toEqual(data);
      }),
    );
    fc.assert(
      fc.property(fc.array(fc.maxSafeInteger(), { minLength: 1, maxLength: 20 }), (integers) => {
        const dims = [integers.length];
        const read = roundTrip({ dims, dataType: types.INT64, int64Data: integers });
        expect(read).toEqual({ shape: dims, data: Float64Array.from(integers) });
        const rawData = new Uint8Array(BigInt64Array.from(integers, BigInt).buffer);
        expect(roundTrip({ dims, dataType: types.INT64, rawData })).toEqual(read);
      }),
    );
  });

  it('come in all types that hold weights', () => {
    const raw = (dataType: number, rawData: ArrayBufferView, count: number) => [
      ...roundTrip({
        dims: [count],
        dataType,
        rawData: new Uint8Array(rawData.buffer, rawData.byteOffset, rawData.byteLength),
      }).data,
    ];
    const halves = Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7bff, 0x8000, 0x3555);
    const expected = [1, -2, 2 ** -24, 65504, -0, 0.333251953125];
    expect(raw(types.FLOAT16, halves, 6)).toEqual(expected);
    expect([
      ...roundTrip({ dims: [6], dataType: types.FLOAT16, int32Data: [...halves] }).data,
    ]).toEqual(expected);
    expect(raw(types.BFLOAT16, Uint16Array.of(0x3f80, 0xc040), 2)).toEqual([1, -3]);
    expect(raw(types.FLOAT16, Uint16Array.of(0x7c00, 0xfc00), 2)).toEqual([Infinity, -Infinity]);
    expect(raw(types.INT8, Int8Array.of(-128, 127), 2)).toEqual([-128, 127]);
    expect(raw(types.UINT8, Uint8Array.of(0, 255), 2)).toEqual([0, 255]);
    expect(raw(types.BOOL, Uint8Array.of(0, 1), 2)).toEqual([0, 1]);
    expect(raw(types.INT32, Int32Array.of(-5, 2 ** 31 - 1), 2)).toEqual([-5, 2 ** 31 - 1]);
    expect([...roundTrip({ dims: [2], dataType: types.INT32, int32Data: [-1, 7] }).data]).toEqual([
      -1, 7,
    ]);
  });

  it('also when lists are not packed, as older encoders write them', () => {
    // dims 2 and 2, type float, four floats: a field each.
    const floats = [1, 2, 3, 4].flatMap((value) => {
      const bytes = new Uint8Array(Float32Array.of(value).buffer);
      return [(4 << 3) | 5, ...bytes];
    });
    const bytes = Uint8Array.of(8, 2, 8, 2, 16, 1, ...floats);
    expect(decodeTensor(readTensor(bytes))).toEqual({
      shape: [2, 2],
      data: Float32Array.of(1, 2, 3, 4),
    });
  });

  it.each<[string, Parameters<typeof TensorProto.create>[0], RegExp]>([
    ['too few elements', { dims: [3], dataType: 1, floatData: [1, 2] }, /has 2 elements, not 3/],
    ['too many bytes', { dims: [1], dataType: 1, rawData: new Uint8Array(5) }, /1.25 elements/],
    ['a negative extent', { dims: [-1], dataType: 1, rawData: new Uint8Array(4) }, /shape \[-1\]/],
    [
      'more elements than there are numbers',
      { dims: [2 ** 40, 2 ** 40], dataType: 1 },
      /cannot have the shape/,
    ],
    [
      'more axes than any network',
      { dims: new Array<number>(17).fill(1), dataType: 1, floatData: [1] },
      /17 axes/,
    ],
    [
      'text',
      { dims: [1], dataType: types.STRING, stringData: [Uint8Array.of(65)] },
      /element type 8/,
    ],
  ])('are refused: %s', (_what, properties, message) => {
    expect(() => roundTrip(properties)).toThrow(message);
  });

  it.each<[string, number[], RegExp]>([
    ['a field that is cut short', [0x4a, 5, 1], /field of 5 bytes stands where 1 are left/],
    ['a number that is cut short', [0x08, 0x80], /cut short inside a number/],
    ['a number without end', [0x08, ...new Array<number>(11).fill(0x80)], /more than ten bytes/],
    [
      'a length beyond all bounds',
      [0x4a, ...new Array<number>(9).fill(0xff), 0x01],
      /stands where/,
    ],
    ['a group', [0x0b], /wire type 3/],
    ['field zero', [0x00, 0x00], /no field 0/],
    ['a message where a number should be', [0x12, 0], /no integer/],
    ['a number where text should be', [0x40, 0], /no text/],
    ['text that is none', [0x42, 1, 0xff], /not UTF-8/],
    ['a part of a float', [0x22, 3, 0, 0, 0], /part of one/],
    ['a part of a list of integers', [0x3a, 1, 0x80], /cut short inside a list/],
  ])('are not read from %s', (_what, bytes, message) => {
    expect(() => readTensor(Uint8Array.from(bytes))).toThrow(message);
    expect(() => readTensor(Uint8Array.from(bytes))).toThrow(RangeError);
  });
});

describe('models', () => {
  it('have one graph', () => {
    expect(() => readOnnx(new Uint8Array(0))).toThrow(/one graph, this file has 0/);
    const bytes = modelOf({ input: [1, 1, 1, 1], nodes: [node('Relu', ['x'], 'y')] });
    expect(() => readOnnx(Uint8Array.of(...bytes, ...bytes))).toThrow(/this file has 2/);
  });

  it('are refused when they are made of ever more parts', () => {
    // A graph of empty nodes, two bytes each.
    const count = 2 ** 18 + 1;
    const graph = new Uint8Array(2 * count);
    for (let i = 0; i < graph.length; i += 2) graph[i] = 0x0a;
    const varint = [0x82, 0x80, 0x20];
    const bytes = new Uint8Array(1 + varint.length + graph.length);
    bytes.set([0x3a, ...varint]);
    bytes.set(graph, 1 + varint.length);
    expect(() => readOnnx(bytes)).toThrow(/more than 262144 fields/);
  });

  it.each<[string, ModelSpec]>([
    ['channels', { input: [1, 2 ** 28, 1, 1], nodes: [node('Relu', ['x'], 'y')] }],
    [
      'numbers in a vector',
      {
        input: [1, 1, 2 ** 13, 2 ** 13],
        nodes: [
          node('Flatten', ['x'], 'f'),
          node('Concat', ['f', 'f'], 'c'),
          node('Neg', ['c'], 'y'),
        ],
      },
    ],
    [
      'elements with a constant each',
      {
        input: [1, 1, 2 ** 13, 2 ** 13],
        nodes: [node('Mul', ['x', 'w'], 'y')],
        constants: { w: random(1, [2 ** 13]) },
      },
    ],
  ])('may not have ever more %s', (_what, spec) => {
    const before = process.memoryUsage().arrayBuffers;
    expect(() => readOnnx(modelOf(spec))).toThrow(/may take 64 MiB/);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 28);
  });

  it('may not ask for more memory than their size justifies', () => {
    const bytes = modelOf({
      input: [1, 1, 2 ** 13, 2 ** 12],
      nodes: ['a', 'b', 'c']
        .map((name, i) => node('Relu', [i === 0 ? 'x' : `f${i}`], name))
        .flatMap((relu, i) => [
          relu,
          node('MaxPool', relu.outputs, `f${i + 1}`, { kernel_shape: [1, 1] }),
        ]),
    });
    const before = process.memoryUsage().arrayBuffers;
    expect(() => readOnnx(bytes)).toThrow(/may take 64 MiB/);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 28);
    const large = modelOf({
      input: [1, 1, 2, 2],
      nodes: [node('ConstantOfShape', ['s'], 'c'), node('Add', ['x', 'c'], 'y')],
      constants: { s: { integers: [2 ** 20, 2 ** 20] } },
    });
    expect(() => readOnnx(large)).toThrow(/\(ConstantOfShape\).*MiB/);
  });
});

describe('tensors outside of the model', () => {
  const folder = mkdtempSync(join(tmpdir(), 'onnx-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const inside = join(folder, 'inside');
  mkdirSync(join(inside, 'deep'), { recursive: true });
  const data = new Uint8Array(Float32Array.of(0, 3, -4, 0).buffer);
  writeFileSync(join(inside, 'deep', 'weights'), data);
  writeFileSync(join(folder, 'secret'), data);
  symlinkSync(join(folder, 'secret'), join(inside, 'link'));

  /** x * w with w in another file. */
  const model = (location: string, offset = '4', length = '8') => {
    const bytes = modelOf({
      input: [1, 2],
      nodes: [node('Mul', ['x', 'w'], 'y')],
      constants: { w: { shape: [2], floats: [1, 1] } },
    });
    const decoded = ModelProto.decode(bytes);
    const tensor = decoded.graph!.initializer![0]!;
    tensor.rawData = new Uint8Array(0);
    tensor.dataLocation = TensorProto.DataLocation.EXTERNAL;
    const entries = { location, offset, length };
    tensor.externalData = Object.entries(entries).map(([key, value]) => ({ key, value }));
    return ModelProto.encode(decoded).finish();
  };
  const read = (bytes: Uint8Array) => {
    writeFileSync(join(inside, 'model.onnx'), bytes);
    return readOnnxFile(join(inside, 'model.onnx'));
  };

  it('are read from its folder', () => {
    expect([...runFloat(read(model('deep/weights')), Float32Array.of(2, 2))]).toEqual([6, -8]);
  });

  it('are refused without a folder', () => {
    expect(() => readOnnx(model('deep/weights'))).toThrow(/tensor 'w' is in another file/);
  });

  it.each([
    '../secret',
    'deep/../../secret',
    join(folder, 'secret'),
    'deep\\..\\secret',
    'C:secret',
    '',
    './deep/weights',
    'deep//weights',
    'deep/weights\0',
  ])('are refused when they lead out of it: %s', (location) => {
    expect(() => read(model(location))).toThrow(/not a file inside the model's folder/);
  });

  it('are refused behind a link, where there is no file, or beyond its end', () => {
    expect(() => read(model('link'))).toThrow(/no file 'link'/);
    expect(() => read(model('none'))).toThrow(/no file 'none'/);
    expect(() => read(model('deep'))).toThrow(/no file 'deep'/);
    expect(() => read(model('deep/weights', '12'))).toThrow(/outside of the 16 bytes/);
    expect(() => read(model('deep/weights', '-4'))).toThrow(/outside of the 16 bytes/);
    expect(() => read(model('deep/weights', '0', '1e1'))).toThrow(/outside of the 16 bytes/);
    expect(() => read(model('deep/weights', '0', '12'))).toThrow(/has 3 elements, not 2/);
  });
});
