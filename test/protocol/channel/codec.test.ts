import fc from 'fast-check';
import { Packr } from 'msgpackr/pack';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  type ControlValue,
  decodeControl,
  encodeControl,
  MAX_CONTROL_BYTES,
  MAX_CONTROL_DEPTH,
  MAX_CONTROL_VALUES,
} from '../../../protocol/channel/codec.ts';
import { ProtocolError } from '../../../protocol/errors.ts';

const anything = z.unknown();

const refusal = (bytes: ArrayLike<number>, message: RegExp): void => {
  const decode = (): unknown => decodeControl(Uint8Array.from(bytes), anything);
  expect(decode).toThrow(ProtocolError);
  expect(decode).toThrow(message);
};

const nest = (depth: number): ControlValue => {
  let value: ControlValue = 1;
  for (let i = 0; i < depth; i++) value = i % 2 ? [value] : { x: value };
  return value;
};

/** Any plain value. */
const plain = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    // -0 travels as 0.
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => x + 0),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
    fc.string({ unit: 'binary', maxLength: 80 }),
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(
      fc.string({ unit: 'binary', maxLength: 20 }).filter((key) => key !== '__proto__'),
      tie('value'),
      { maxKeys: 20, noNullPrototype: true },
    ),
  ),
})).value as fc.Arbitrary<ControlValue>;

describe('control messages', () => {
  it('round trip any plain value, in one encoding', () => {
    fc.assert(
      fc.property(plain, (value) => {
        const bytes = encodeControl(value);
        expect(bytes.constructor).toBe(Uint8Array);
        expect(bytes.byteLength).toBe(bytes.buffer.byteLength);
        expect(decodeControl(bytes, anything)).toEqual(value);
      }),
      { numRuns: 500 },
    );
  });

  it('have the bytes that another implementation of MessagePack makes, and it reads them', () => {
    const other = new Packr({
      ...{ useRecords: false, moreTypes: false, structuredClone: false, mapsAsObjects: true },
      ...{ variableMapSize: true, int64AsType: 'bigint', copyBuffers: true },
    });
    // Of the lengths at which headers change, and of the numbers.
    const lengths = [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536];
    const bits = [0, 5, 7, 8, 15, 16, 31, 32, 53];
    const numbers = bits.flatMap((bit) =>
      [-1, 0, 1].flatMap((by) => [2 ** bit + by, by - 2 ** bit]),
    );
    const samples: ControlValue[] = [
      ...numbers,
      ...[2n ** 63n - 1n, 2n ** 63n, -(2n ** 63n), 2n ** 64n - 1n, 0n, -1n],
      ...[Number.MAX_VALUE, Number.MIN_VALUE, 0.1, 1.5],
      ...lengths.map((length) => new Uint8Array(length)),
      ...lengths.map((length) => 'x'.repeat(length)),
      ...lengths.map((length) => 'é'.repeat(length >> 1)),
      ...lengths.slice(0, -1).map((length) => Array<null>(length).fill(null)),
      ...lengths
        .slice(0, -2)
        .map((length) => Object.fromEntries(Array.from({ length }, (_, i) => [`f${i}`, i]))),
    ];
    const agree = (value: ControlValue) => {
      const bytes = encodeControl(value);
      expect(Buffer.from(bytes).equals(other.pack(value))).toBe(true);
      expect(decodeControl(bytes, anything)).toEqual(other.unpack(bytes));
    };
    samples.forEach(agree);
    fc.assert(fc.property(plain, agree), { numRuns: 500 });
  });

  it('have the bytes of the MessagePack specification', () => {
    expect(encodeControl({ a: [1, -1, 300, 'é', null, true], b: Uint8Array.of(5) })).toEqual(
      Uint8Array.of(
        ...[0x82, 0xa1, 0x61, 0x96, 0x01, 0xff, 0xcd, 0x01, 0x2c, 0xa2, 0xc3, 0xa9, 0xc0, 0xc3],
        ...[0xa1, 0x62, 0xc4, 0x01, 0x05],
      ),
    );
  });

  it('hold views by copy only', () => {
    const bytes = encodeControl({ key: Uint8Array.of(1, 2, 3) });
    const { key } = decodeControl(bytes, z.object({ key: z.instanceof(Uint8Array) }));
    expect(key.constructor).toBe(Uint8Array);
    expect(key.buffer.byteLength).toBe(3);
    bytes.fill(0);
    expect(key).toEqual(Uint8Array.of(1, 2, 3));
  });

  it('refuse every other view, which would leak memory', () => {
    const views = [
      new Int8Array(4),
      new Uint8ClampedArray(4),
      new Int16Array(4),
      new Uint16Array(4),
      new Int32Array(4),
      new Uint32Array(400),
      new Float32Array(4),
      new Float64Array(4),
      new BigInt64Array(4),
      new DataView(new ArrayBuffer(8)),
    ];
    for (const view of views) {
      for (const value of [view, { a: [{ b: view }] }]) {
        expect(() => encodeControl(value as unknown as ControlValue)).toThrow(TypeError);
      }
    }
    // The same data as bytes is fine, and nothing but zeros goes out.
    const zeros = encodeControl(Array.from({ length: 100 }, () => new Uint8Array(1600)));
    const payload = zeros.filter((_, i) => i >= 3 && (i - 3) % 1603 >= 3);
    expect(payload.length).toBe(160_000);
    expect(payload.every((byte) => byte === 0)).toBe(true);
  });

  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['an undefined field', { a: undefined }],
    ['a hole', new Array(3)],
    ['NaN', Number.NaN],
    ['Infinity', [Number.POSITIVE_INFINITY]],
    ['a bigint beyond 64 bits', 2n ** 64n],
    ['a negative bigint beyond 64 bits', -(2n ** 63n) - 1n],
    ['a function', () => 1],
    ['a symbol', Symbol('x')],
    ['a Date', new Date(0)],
    ['a Map', new Map()],
    ['a Set', { s: new Set() }],
    ['an ArrayBuffer', new ArrayBuffer(4)],
    ['an Error', new Error('x')],
    ['half a surrogate pair', '\ud800'],
    ['half a surrogate pair as a field name', { '\udc00': 1 }],
    ['__proto__ as a field name', JSON.parse('{"__proto__": 1}')],
  ])('refuse %s', (_, value) => {
    expect(() => encodeControl(value as ControlValue)).toThrow(TypeError);
  });

  it('nest to the limit and no deeper, in both directions', () => {
    const deepest = encodeControl(nest(MAX_CONTROL_DEPTH));
    expect(decodeControl(deepest, anything)).toEqual(nest(MAX_CONTROL_DEPTH));
    expect(() => encodeControl(nest(MAX_CONTROL_DEPTH + 1))).toThrow(RangeError);
    refusal([0x91, ...deepest], /at most 16 levels/);
  });
});

describe('a hostile control message', () => {
  it('is refused when it nests without end', () => {
    refusal(new Uint8Array(200_000).fill(0x91), /at most 16 levels/);
    refusal(new Uint8Array(200_000).fill(0x81), /at most 16 levels/);
  });

  it('is refused when it announces more than it has', () => {
    refusal([0xdd, 0xff, 0xff, 0xff, 0xff], /ends too early/);
    refusal([0xdf, 0xff, 0xff, 0xff, 0xff, 1, 1], /ends too early/);
    refusal([0xdc, 0xff, 0xff, ...new Uint8Array(1000)], /ends too early/);
    refusal([0xc6, 0xff, 0xff, 0xff, 0xff, 0], /ends too early/);
    refusal([0xdb, 0x80, 0, 0, 0, 0], /ends too early/);
    refusal([], /ends too early/);
  });

  it('is refused when small values would grow large', () => {
    const count = MAX_CONTROL_VALUES + 1;
    const maps = new Uint8Array(5 + count).fill(0x80);
    maps.set([0xdd, 0, count >> 16, (count >> 8) & 255, count & 255]);
    refusal(maps, /at most 65536 values/);
  });

  it('is refused when it is too long, by the default or the caller’s limit', () => {
    const long = encodeControl(new Uint8Array(MAX_CONTROL_BYTES));
    expect(() => decodeControl(long, anything)).toThrow(/at most 262144 bytes/);
    expect(decodeControl(long, anything, long.length)).toEqual(new Uint8Array(MAX_CONTROL_BYTES));
    expect(() => decodeControl(Uint8Array.of(0x92, 1, 2), anything, 2)).toThrow(ProtocolError);
  });

  it.each<[string, number[], RegExp]>([
    ['extension types', [0xd4, 0, 0], /unknown type/],
    ['timestamps', [0xd6, 0xff, 0, 0, 0, 0], /unknown type/],
    ['the byte that is never used', [0xc1], /unknown type/],
    ['bytes after the value', [1, 1], /bytes follow/],
    ['an overlong integer', [0xcd, 0, 1], /canonical/],
    ['an overlong string', [0xd9, 1, 0x61], /canonical/],
    ['an overlong array', [0xdc, 0, 0], /canonical/],
    ['a 32-bit float', [0xca, 0x3f, 0xc0, 0, 0], /canonical/],
    ['an integer as float', [0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0], /canonical/],
    ['NaN', [0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0], /plain data/],
    ['broken UTF-8', [0xa1, 0xff], /canonical|plain/],
    ['a repeated field', [0x82, 0xa1, 0x61, 1, 0xa1, 0x61, 2], /canonical/],
    ['a numeric field name', [0x81, 1, 1], /canonical|plain/],
    ['an array as field name', [0x81, 0x90, 1], /canonical|plain/],
    ['a __proto__ field', [0x81, 0xa9, ...Buffer.from('__proto__'), 0x80], /canonical|plain/],
  ])('is refused when it holds %s', (_, bytes, message) => {
    refusal(bytes, message);
    expect(Object.keys(Object.prototype)).toEqual([]);
  });

  it('is refused when it does not fit the schema, in short printable words', () => {
    const schema = z.strictObject({ layers: z.array(z.object({ size: z.int().max(10) })) });
    const bytes = encodeControl({ layers: [{ size: 3 }, { size: 11 }] });
    expect(() => decodeControl(bytes, schema)).toThrow(/at layers\.1\.size/);
    const loud = encodeControl({ layers: [], [`\u001b[31m${'x'.repeat(5000)}`]: 1 });
    try {
      decodeControl(loud, schema);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(ProtocolError);
      expect((error as Error).message.length).toBeLessThan(250);
      expect((error as Error).message).not.toContain('\u001b');
    }
  });

  it('is a value or a ProtocolError under 10,000 mutations', () => {
    const sample = encodeControl({
      version: 1,
      name: 'résumé',
      big: 12345678901234567890n,
      ratio: 0.1,
      flags: [true, false, null],
      digest: new Uint8Array(32).fill(7),
      steps: [{ kind: 'conv', shape: [3, 32, 32] }, { kind: 'relu' }],
    });
    let accepted = 0;
    const edit = fc.record({
      at: fc.nat(sample.length - 1),
      byte: fc.nat(255),
      how: fc.constantFrom('set', 'insert', 'delete', 'truncate'),
    });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        const bytes = [...sample];
        for (const { at, byte, how } of edits) {
          if (how === 'set') bytes[Math.min(at, bytes.length)] = byte;
          else if (how === 'insert') bytes.splice(at, 0, byte);
          else if (how === 'delete') bytes.splice(at, 1);
          else bytes.length = Math.min(at, bytes.length);
        }
        const mutant = Uint8Array.from(bytes);
        try {
          const value = decodeControl(mutant, anything) as ControlValue;
          accepted++;
          // What is accepted is exactly what an honest peer would have sent.
          expect(encodeControl(value)).toEqual(mutant);
        } catch (error) {
          if (!(error instanceof ProtocolError)) throw error;
        }
      }),
      { numRuns: 10_000, seed: 1 },
    );
    expect(accepted).toBeGreaterThan(100);
    expect(Object.keys(Object.prototype)).toEqual([]);
    expect(decodeControl(sample, anything)).toMatchObject({ version: 1, name: 'résumé' });
  });
});
