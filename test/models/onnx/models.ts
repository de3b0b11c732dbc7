/** Writing ONNX models for tests, with the encoder that ONNX's own schema generates. */

import onnxProto from 'onnx-proto';
import { numbers } from '../builder.ts';

const { onnx } = onnxProto;
const { FLOAT, INT64 } = onnx.TensorProto.DataType;

type Attribute =
  | number
  | string
  | readonly number[]
  | { readonly tensor: Values }
  | { readonly floats: readonly number[] };

/** A tensor: floats with their shape, or a list of integers (a single number has no axis). */
export type Values =
  | { readonly shape: readonly number[]; readonly floats: ArrayLike<number> }
  | { readonly integers: readonly number[] | number };

export interface NodeSpec {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

export interface ModelSpec {
  /** Extents of the input 'x'; a text is a symbolic one. */
  readonly input: readonly (number | string)[];
  readonly nodes: readonly NodeSpec[];
  readonly constants?: Readonly<Record<string, Values>>;
  /** Default: the last node's first output. */
  readonly outputs?: readonly string[];
  readonly opset?: number;
  /** Element type of 'x'. Default float32. */
  readonly type?: number;
}

export function node(
  op: string,
  inputs: readonly string[],
  output: string | readonly string[],
  attributes: Readonly<Record<string, Attribute>> = {},
): NodeSpec {
  return { op, inputs, outputs: typeof output === 'string' ? [output] : output, attributes };
}

/** Random weights in [-scale, scale) + offset. */
export function random(seed: number, shape: readonly number[], scale = 0.5, offset = 0): Values {
  const next = numbers(seed);
  const size = shape.reduce((a, b) => a * b, 1);
  return { shape, floats: Array.from({ length: size }, () => offset + scale * next()) };
}

function tensorProto(name: string, values: Values) {
  if ('integers' in values) {
    const { integers } = values;
    const list = typeof integers === 'number' ? [integers] : integers;
    const dims = typeof integers === 'number' ? [] : [list.length];
    return onnx.TensorProto.create({ name, dims, dataType: INT64, int64Data: [...list] });
  }
  const { shape, floats } = values;
  const rawData = new Uint8Array(Float32Array.from(floats).buffer);
  return onnx.TensorProto.create({ name, dims: [...shape], dataType: FLOAT, rawData });
}

/** Attributes that are floating-point numbers. */
const FLOATS = 'alpha beta bias epsilon lambd max min value value_float'.split(' ');

function attributeProto(name: string, value: Attribute) {
  const types = onnx.AttributeProto.AttributeType;
  if (typeof value === 'string') {
    return { name, type: types.STRING, s: new TextEncoder().encode(value) };
  }
  if (typeof value === 'object' && 'floats' in value) {
    return { name, type: types.FLOATS, floats: [...value.floats] };
  }
  if (typeof value === 'object' && 'tensor' in value) {
    return { name, type: types.TENSOR, t: tensorProto('', value.tensor) };
  }
  if (typeof value === 'object') return { name, type: types.INTS, ints: [...value] };
  const isFloat = FLOATS.includes(name);
  return isFloat ? { name, type: types.FLOAT, f: value } : { name, type: types.INT, i: value };
}

const valueInfo = (name: string, dims: readonly (number | string)[], elemType: number) => {
  const dim = dims.map((n) => (typeof n === 'string' ? { dimParam: n } : { dimValue: n }));
  return { name, type: { tensorType: { elemType, shape: { dim } } } };
};

/** The bytes of a model. */
export function modelOf(spec: ModelSpec): Uint8Array {
  const outputs = spec.outputs ?? [spec.nodes.at(-1)!.outputs[0]!];
  const model = onnx.ModelProto.create({
    irVersion: 8,
    opsetImport: [{ domain: '', version: spec.opset ?? 13 }],
    graph: {
      name: 'test',
      node: spec.nodes.map(({ op, inputs, outputs: made, attributes }) =>
        onnx.NodeProto.create({
          opType: op,
          name: `${op} of ${made[0]}`,
          input: [...inputs],
          output: [...made],
          attribute: Object.entries(attributes).map(([name, value]) => attributeProto(name, value)),
        }),
      ),
      initializer: Object.entries(spec.constants ?? {}).map(([name, v]) => tensorProto(name, v)),
      input: [valueInfo('x', spec.input, spec.type ?? FLOAT)],
      // Rank and extents of results are left to whoever runs the model.
      output: outputs.map((name) => {
        const isIndex = spec.nodes.some(({ op, outputs: [o] }) => op === 'ArgMax' && o === name);
        return { name, type: { tensorType: { elemType: isIndex ? INT64 : FLOAT } } };
      }),
    },
  });
  return onnx.ModelProto.encode(model).finish();
}
