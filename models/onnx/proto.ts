/**
 * The messages of an ONNX file that describe a network, with the field numbers of onnx.proto. What is not read here
 * (documentation, training, subgraphs) is skipped unread. Tensors stay views of the file until they are used.
 *
 * Source: github.com/onnx/onnx, onnx/onnx.proto (IR version 3 and later).
 */

import { ModelError } from '../errors.ts';
import { WireReader } from './wire.ts';

/** TensorProto.DataType. */
export const DATA_TYPE = {
  float: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  double: 11,
  bfloat16: 16,
} as const;

/** TensorProto, undecoded: see constant.ts. */
export interface TensorProto {
  readonly name: string;
  readonly dims: readonly number[];
  /** One of {@link DATA_TYPE}, or another number. */
  readonly type: number;
  /** Little-endian elements, when they are stored so. */
  readonly raw: Uint8Array | undefined;
  /** Elements stored in typed fields, part by part. */
  readonly typed: readonly (Float32Array | Float64Array)[];
  /** Keys and values that say where the elements are, when they are in another file. */
  readonly external: ReadonlyMap<string, string> | undefined;
}

/** AttributeProto: only the field that the operator asks for counts. */
export interface Attribute {
  readonly float: number | undefined;
  readonly integer: number | undefined;
  readonly text: string | undefined;
  readonly tensor: TensorProto | undefined;
  readonly floats: readonly number[];
  readonly integers: readonly number[];
  /** Inside of a function: the attribute of the calling node that this one stands for. */
  readonly reference: string | undefined;
}

export interface OnnxNode {
  readonly name: string;
  /** Operator type; with its domain in front when that is not ONNX's own. */
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, Attribute>;
}

/** ValueInfoProto of a tensor. */
export interface ValueInfo {
  readonly name: string;
  /** One of {@link DATA_TYPE}, or another number. */
  readonly type: number;
  /** `undefined` for an axis of unknown or symbolic extent; no list when not even the rank is known. */
  readonly dims: readonly (number | undefined)[] | undefined;
}

/** FunctionProto: nodes under one name, which other nodes use as their operator. */
export interface OnnxFunction {
  /** As nodes name it as their operator. */
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly nodes: readonly OnnxNode[];
  /** Attributes that have a value when the calling node does not give one. */
  readonly defaults: ReadonlyMap<string, Attribute>;
}

export interface OnnxModel {
  /** Version of ONNX's own operators. */
  readonly opset: number;
  readonly nodes: readonly OnnxNode[];
  readonly initializers: readonly TensorProto[];
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  readonly functions: readonly OnnxFunction[];
}

/** The file's bytes of strings are names: ONNX strings are UTF-8. */
const utf8 = new TextDecoder();

function readTensorProto(wire: WireReader, bytes: Uint8Array): TensorProto {
  const dims: number[] = [];
  const typed: (Float32Array | Float64Array)[] = [];
  const external = new Map<string, string>();
  let name = '';
  let type = 0;
  let raw: Uint8Array | undefined;
  let isExternal = false;
  wire.read(bytes, {
    1: (v) => void dims.push(...few(v.integers())),
    2: (v) => void (type = v.integer()),
    4: (v) => void typed.push(v.floats()),
    5: (v) => void typed.push(v.integers()),
    7: (v) => void typed.push(v.integers()),
    8: (v) => void (name = v.text()),
    9: (v) => void (raw = v.bytes()),
    10: (v) => void typed.push(v.doubles()),
    13: (v) => {
      let [key, value] = ['', ''];
      wire.read(v.bytes(), {
        1: (k) => void (key = k.text()),
        2: (t) => void (value = t.text()),
      });
      external.set(key, value);
    },
    14: (v) => void (isExternal = v.integer() === 1),
  });
  return { name, dims, type, raw, typed, external: isExternal ? external : undefined };
}

/** A list that stands for axes or the like, where more than a handful is an attack. */
function few(list: Float64Array | Float32Array): number[] {
  if (list.length > 256)
    throw new ModelError('file', `an ONNX attribute lists ${list.length} numbers`);
  return [...list];
}

function readAttribute(wire: WireReader, bytes: Uint8Array): [string, Attribute] {
  let name = '';
  let float: number | undefined;
  let integer: number | undefined;
  let text: string | undefined;
  let tensor: TensorProto | undefined;
  let reference: string | undefined;
  const floats: number[] = [];
  const integers: number[] = [];
  wire.read(bytes, {
    1: (v) => void (name = v.text()),
    2: (v) => void (float = v.float()),
    3: (v) => void (integer = v.integer()),
    4: (v) => void (text = utf8.decode(v.bytes())),
    5: (v) => void (tensor = readTensorProto(wire, v.bytes())),
    7: (v) => void floats.push(...few(v.floats())),
    8: (v) => void integers.push(...few(v.integers())),
    21: (v) => void (reference = v.text() || undefined),
  });
  return [name, { float, integer, text, tensor, floats, integers, reference }];
}

function readNode(wire: WireReader, bytes: Uint8Array): OnnxNode {
  const inputs: string[] = [];
  const outputs: string[] = [];
  const attributes = new Map<string, Attribute>();
  let name = '';
  let type = '';
  let domain = '';
  let overload = '';
  wire.read(bytes, {
    1: (v) => void inputs.push(v.text()),
    2: (v) => void outputs.push(v.text()),
    3: (v) => void (name = v.text()),
    4: (v) => void (type = v.text()),
    5: (v) => void attributes.set(...readAttribute(wire, v.bytes())),
    7: (v) => void (domain = v.text()),
    8: (v) => void (overload = v.text()),
  });
  return { name, op: operatorName(domain, type, overload), inputs, outputs, attributes };
}

/** The name of an operator, with its domain in front when that is not ONNX's own. */
function operatorName(domain: string, type: string, overload: string): string {
  const own = overload === '' ? type : `${type}:${overload}`;
  return domain === '' || domain === 'ai.onnx' ? own : `${domain}.${own}`;
}

function readFunction(wire: WireReader, bytes: Uint8Array): OnnxFunction {
  const inputs: string[] = [];
  const outputs: string[] = [];
  const nodes: OnnxNode[] = [];
  const defaults = new Map<string, Attribute>();
  let name = '';
  let domain = '';
  let overload = '';
  wire.read(bytes, {
    1: (v) => void (name = v.text()),
    4: (v) => void inputs.push(v.text()),
    5: (v) => void outputs.push(v.text()),
    7: (v) => void nodes.push(readNode(wire, v.bytes())),
    10: (v) => void (domain = v.text()),
    11: (v) => void defaults.set(...readAttribute(wire, v.bytes())),
    13: (v) => void (overload = v.text()),
  });
  return { op: operatorName(domain, name, overload), inputs, outputs, nodes, defaults };
}

function readValueInfo(wire: WireReader, bytes: Uint8Array): ValueInfo {
  let name = '';
  let type = 0;
  let dims: (number | undefined)[] | undefined;
  const readDim = (dim: Uint8Array): number | undefined => {
    let extent: number | undefined;
    wire.read(dim, { 1: (v) => void (extent = v.integer()) });
    // Exporters write 0 or -1 for an extent that is not fixed.
    return extent !== undefined && extent > 0 ? extent : undefined;
  };
  const readShape = (shape: Uint8Array) => {
    const list: (number | undefined)[] = [];
    wire.read(shape, { 1: (v) => void list.push(readDim(v.bytes())) });
    dims = list;
  };
  const readTensorType = (tensor: Uint8Array) =>
    wire.read(tensor, {
      1: (v) => void (type = v.integer()),
      2: (v) => readShape(v.bytes()),
    });
  wire.read(bytes, {
    1: (v) => void (name = v.text()),
    2: (v) => wire.read(v.bytes(), { 1: (t) => readTensorType(t.bytes()) }),
  });
  return { name, type, dims };
}

/**
 * The parts of a model file (ModelProto).
 * @throws ModelError `file` when the bytes are not one.
 */
export function readModel(bytes: Uint8Array): OnnxModel {
  const wire = new WireReader();
  const nodes: OnnxNode[] = [];
  const initializers: TensorProto[] = [];
  const inputs: ValueInfo[] = [];
  const outputs: ValueInfo[] = [];
  const functions: OnnxFunction[] = [];
  let opset = 0;
  let graphs = 0;
  const readGraph = (graph: Uint8Array) => {
    graphs++;
    wire.read(graph, {
      1: (v) => void nodes.push(readNode(wire, v.bytes())),
      5: (v) => void initializers.push(readTensorProto(wire, v.bytes())),
      11: (v) => void inputs.push(readValueInfo(wire, v.bytes())),
      12: (v) => void outputs.push(readValueInfo(wire, v.bytes())),
    });
  };
  wire.read(bytes, {
    7: (v) => readGraph(v.bytes()),
    8: (v) => {
      let domain = '';
      let version = 0;
      wire.read(v.bytes(), {
        1: (d) => void (domain = d.text()),
        2: (n) => void (version = n.integer()),
      });
      if (domain === '' || domain === 'ai.onnx') opset = version;
    },
    25: (v) => void functions.push(readFunction(wire, v.bytes())),
  });
  if (graphs !== 1)
    throw new ModelError('file', `an ONNX model has one graph, this file has ${graphs}`);
  return { opset, nodes, initializers, inputs, outputs, functions };
}

/**
 * A tensor file (TensorProto), as ONNX keeps the inputs and outputs of tests.
 * @throws ModelError `file` when the bytes are not one.
 */
export function readTensor(bytes: Uint8Array): TensorProto {
  return readTensorProto(new WireReader(), bytes);
}
