/**
 * A float network as an ONNX model, so that a runtime made for speed can run what the private protocol runs.
 *
 * ONNX has no activation that differs from element to element. An activation layer becomes, element by element,
 * m*Relu(x) + x*(p1 + x*p2) + p0 with m = 1 at ReLUs, (p0, p1, p2) = the polynomial at squares, (0, 1, 0) at identities
 * and zeros at ReLUs; parts that are nowhere needed are left out.
 */

import onnxProto from 'onnx-proto';
import { kindsIn } from '../../protocol/program/kinds.ts';
import {
  type ActivationKind,
  type ActivationNode,
  elements,
  type Graph,
  inferShapes,
  type Node,
  RELU,
  type Shape,
  tensorOf,
} from '../graph/index.ts';
import { FLOAT_KINDS, type FloatKind } from '../graph/kinds.ts';

const { onnx } = onnxProto;
type Attributes = Readonly<Record<string, number | readonly number[]>>;

/** Standard operators of this version are used, as they were defined then. */
const OPSET = 13;
/** Version of the file format that goes with it. */
const IR_VERSION = 7;

/** Collects the parts of an ONNX graph. */
class OnnxWriter {
  readonly nodes: ReturnType<typeof onnx.NodeProto.create>[] = [];
  readonly tensors: ReturnType<typeof onnx.TensorProto.create>[] = [];

  /** Adds a tensor and returns its name. */
  tensor(name: string, dims: readonly number[], data: Float32Array): string {
    // A copy, for bytes may lie anywhere in their buffer.
    const rawData = new Uint8Array(data.slice().buffer);
    const dataType = onnx.TensorProto.DataType.FLOAT;
    this.tensors.push(onnx.TensorProto.create({ name, dims: [...dims], dataType, rawData }));
    return name;
  }

  /** Adds a vector of 64-bit integers and returns its name. */
  integers(name: string, values: readonly number[]): string {
    const rawData = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
    const dataType = onnx.TensorProto.DataType.INT64;
    this.tensors.push(onnx.TensorProto.create({ name, dims: [values.length], dataType, rawData }));
    return name;
  }

  /** Adds a node and returns the name of its output. */
  node(
    opType: string,
    input: readonly string[],
    output: string,
    attributes: Attributes = {},
  ): string {
    const { FLOAT, INT, INTS } = onnx.AttributeProto.AttributeType;
    const attribute = Object.entries(attributes).map(([name, value]) => {
      if (typeof value !== 'number') return { name, type: INTS, ints: [...value] };
      if (name === 'epsilon') return { name, type: FLOAT, f: value };
      return { name, type: INT, i: value };
    });
    this.nodes.push(
      onnx.NodeProto.create({
        opType,
        name: output,
        input: [...input],
        output: [output],
        attribute,
      }),
    );
    return output;
  }
}

/**
 * The network as the bytes of an ONNX model: input and output are float32 with a batch axis of 1 in front, named as in
 * the graph.
 * @throws ModelError `network` when the graph is not sound
 */
export function exportOnnx(graph: Graph): Uint8Array {
  const shapes = inferShapes(graph);
  const writer = new OnnxWriter();
  for (const node of graph.nodes) writeNode(writer, graph, node, shapes.get(node.inputs[0])!);
  const used = new Set(writer.nodes.flatMap(({ input }) => input ?? []));
  for (const [name, { shape, data }] of graph.tensors) {
    if (used.has(name)) writer.tensor(name, shape, data);
  }
  const value = (name: string) => {
    const dim = [1, ...shapes.get(name)!].map((dimValue) => ({ dimValue }));
    const elemType = onnx.TensorProto.DataType.FLOAT;
    return { name, type: { tensorType: { elemType, shape: { dim } } } };
  };
  const model = onnx.ModelProto.create({
    irVersion: IR_VERSION,
    producerName: 'sotto',
    opsetImport: [{ domain: '', version: OPSET }],
    graph: {
      name: 'network',
      node: writer.nodes,
      initializer: writer.tensors,
      input: [value(graph.input.id)],
      output: [value(graph.output)],
    },
  });
  return onnx.ModelProto.encode(model).finish();
}

function writeNode(writer: OnnxWriter, graph: Graph, node: Node, shape: Shape): void {
  const { id, inputs } = node;
  switch (node.op) {
    case 'conv': {
      const { weight, bias, kernel, stride, pads, groups } = node;
      writer.node('Conv', [...inputs, weight, ...(bias === undefined ? [] : [bias])], id, {
        kernel_shape: kernel,
        strides: stride,
        pads,
        group: groups,
      });
      return;
    }
    case 'batchNorm': {
      const { scale, shift, mean, variance, epsilon } = node;
      writer.node('BatchNormalization', [...inputs, scale, shift, mean, variance], id, { epsilon });
      return;
    }
    case 'dense': {
      const { weight, bias } = node;
      const operands = [...inputs, weight, ...(bias === undefined ? [] : [bias])];
      writer.node('Gemm', operands, id, { transB: 1 });
      return;
    }
    case 'averagePool':
      writer.node('AveragePool', inputs, id, { kernel_shape: node.kernel, strides: node.stride });
      return;
    case 'globalAveragePool':
      writer.node('GlobalAveragePool', inputs, id);
      return;
    case 'flatten':
      writer.node('Flatten', inputs, id, { axis: 1 });
      return;
    case 'add':
      writer.node('Add', inputs, id);
      return;
    case 'maxPool': {
      const { kernel, stride, pads } = node;
      writer.node('MaxPool', inputs, id, { kernel_shape: kernel, strides: stride, pads });
      return;
    }
    case 'concat':
      writer.node('Concat', inputs, id, { axis: 1 });
      return;
    case 'pad': {
      const pads = writer.integers(`${id}.pads`, [0, ...node.before, 0, ...node.after]);
      writer.node('Pad', [...inputs, pads], id);
      return;
    }
    case 'slice': {
      const { start, step, size } = node;
      const ends = start.map((from, axis) => from + (size[axis]! - 1) * step[axis]! + 1);
      const operands = [
        writer.integers(`${id}.starts`, start),
        writer.integers(`${id}.ends`, ends),
        writer.integers(`${id}.axes`, [1, 2, 3]),
        writer.integers(`${id}.steps`, step),
      ];
      writer.node('Slice', [...inputs, ...operands], id);
      return;
    }
    case 'scale': {
      // Per channel: [C] broadcasts over planes as [C, 1, 1].
      const [factor, offset] = [node.scale, node.shift].map((name) => {
        const { data } = tensorOf(graph, name);
        const dims = [data.length, ...shape.slice(1).map(() => 1)];
        return writer.tensor(`${id}.${name}`, dims, data);
      }) as [string, string];
      writer.node('Add', [writer.node('Mul', [...inputs, factor], `${id}.scaled`), offset], id);
      return;
    }
    case 'activation':
      writeActivation(writer, graph, node, shape);
  }
}

function writeActivation(
  writer: OnnxWriter,
  graph: Graph,
  { id, inputs: [x], kinds, coefficients }: ActivationNode,
  shape: Shape,
): void {
  const present = kindsIn(kinds);
  if (present.every((kind) => kind === RELU)) {
    writer.node('Relu', [x], id);
    return;
  }
  const size = elements(shape);
  const plane = size / shape[0]!;
  const rows = coefficients === undefined ? undefined : tensorOf(graph, coefficients).data;
  const factor = (name: string, of: (kind: FloatKind, channel: number) => number): string => {
    const data = Float32Array.from(kinds, (code, i) =>
      of(FLOAT_KINDS[code as ActivationKind], Math.floor(i / plane)),
    );
    return writer.tensor(`${id}.${name}`, [1, ...shape], data);
  };
  const row = (channel: number) => rows!.subarray(3 * channel, 3 * channel + 3);
  const power = (k: number): string =>
    factor(`p${k}`, ({ polynomial }, channel) => (polynomial ?? row(channel))[k]!);
  const curved = present.some((kind) => {
    const { polynomial } = FLOAT_KINDS[kind];
    return polynomial === undefined || polynomial[0] !== 0 || polynomial[2] !== 0;
  });
  let slope = power(1);
  if (curved) {
    const curve = writer.node('Mul', [x, power(2)], `${id}.curve`);
    slope = writer.node('Add', [curve, slope], `${id}.slope`);
  }
  const terms = [writer.node('Mul', [x, slope], `${id}.polynomial`)];
  if (curved) terms.push(power(0));
  if (present.includes(RELU)) {
    const relu = writer.node('Relu', [x], `${id}.relu`);
    const mask = factor('mask', ({ relu }) => relu);
    terms.push(writer.node('Mul', [relu, mask], `${id}.masked`));
  }
  const sum = terms.reduce((left, right, i) => writer.node('Add', [left, right], `${id}.sum${i}`));
  // Only the last node may bear the layer's name; the runtime drops it.
  writer.node('Identity', [sum], id);
}
