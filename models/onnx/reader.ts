/** From the messages of an ONNX model to a graph: walks the nodes in their order, collects what cannot be read. */

import { type Graph, type GraphInput, inferShapes, type Tensor } from '../graph/index.ts';
import { type Constant, decodeTensor, type ExternalData, isFloatType } from './constant.ts';
import { GraphWriter } from './emit.ts';
import { finishGraph } from './finish.ts';
import { identity } from './form.ts';
import { imageOf } from './input.ts';
import { dimsOf, isInOrder } from './layout.ts';
import { idOf, type Model, Operation, type Traced, UnreadableValue } from './operation.ts';
import { adviceFor, folded, operators } from './operators/index.ts';
import {
  type OnnxModel,
  type OnnxNode,
  readModel,
  type TensorProto,
  type ValueInfo,
} from './proto.ts';

/**
 * Versions of ONNX's operators that are read: from 7 on, operators broadcast as numpy does.
 * AGREEMENT with the standard.
 */
const OPSETS = { least: 7, most: 25 } as const;
/**
 * Bytes that maps, formulas and folded constants of one model may take, beside what its size justifies. LOCAL: far above
 * what networks for images need, far below what would hurt.
 */
const BASE_BYTES = 2 ** 26;
/** Refused nodes that a message lists. LOCAL. */
const LISTED = 20;

export interface OnnxOptions {
  /** Name of the result to read up to; needed when the model has several. */
  readonly output?: string;
  /** Numbers for inputs of the model that are not the image. */
  readonly constants?: ReadonlyMap<string, Tensor>;
  /** What the network's training did to pixels in 0..1: (p - mean) / std, a number per channel. Default 0 and 1. */
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
  /**
   * Layout of an image of rank 4 in the model. Default: NHWC when the first operator transposes it to NCHW, else NCHW.
   * The graph's input is [C, H, W] in either case.
   */
  readonly layout?: 'NCHW' | 'NHWC';
  /** Finds files that hold tensors outside of the model's; without it such tensors are refused. */
  readonly external?: ExternalData;
}

function describe(node: OnnxNode | undefined): string {
  if (node === undefined) return 'the model';
  const { name, op, outputs } = node;
  return `node '${name || (outputs[0] ?? '')}' (${op})`;
}

class OnnxReader implements Model {
  readonly opset: number;
  readonly writer: GraphWriter;
  batch = 1;
  readonly #model: OnnxModel;
  readonly #options: OnnxOptions;
  readonly #image: ValueInfo;
  readonly #initializers: ReadonlyMap<string, TensorProto>;
  readonly #constants = new Map<string, Constant>();
  readonly #values = new Map<string, Traced>();
  /** Why nodes cannot be read; the model as a whole is undefined. */
  readonly #refusals = new Map<OnnxNode | undefined, string>();

  constructor(bytes: Uint8Array, options: OnnxOptions) {
    const model = readModel(bytes);
    const { opset } = model;
    if (!(opset >= OPSETS.least && opset <= OPSETS.most)) {
      throw new RangeError(
        `the model uses version ${opset} of ONNX's operators: export it with one from ${OPSETS.least} to ${OPSETS.most}`,
      );
    }
    this.opset = opset;
    // Weights may be transposed or converted once each, and prepared by a few operators before.
    this.writer = new GraphWriter(BASE_BYTES + 8 * bytes.length);
    this.#model = model;
    this.#options = options;
    this.#initializers = new Map(model.initializers.map((tensor) => [tensor.name, tensor]));
    for (const [name, tensor] of options.constants ?? []) this.#constants.set(name, tensor);
    const images = model.inputs.filter(
      ({ name }) => !this.#initializers.has(name) && !this.#constants.has(name),
    );
    const [image] = images;
    if (images.length !== 1 || image === undefined) {
      const names = images.map(({ name }) => `'${name}'`).join(', ') || 'none';
      throw new RangeError(`a network has one input, the image, but the model's are: ${names}`);
    }
    if (!isFloatType(image.type)) {
      throw new RangeError(`the input '${image.name}' should be of a floating-point type`);
    }
    this.#image = image;
  }

  constant(name: string): Constant | undefined {
    const known = this.#constants.get(name);
    const tensor = this.#initializers.get(name);
    if (known !== undefined || tensor === undefined) return known;
    const constant = decodeTensor(tensor, this.#options.external);
    this.#constants.set(name, constant);
    return constant;
  }

  dims(name: string): readonly number[] | undefined {
    const traced = this.#values.get(name);
    if (traced === undefined) return undefined;
    const shape = this.writer.shapeOf(traced.form.base);
    return dimsOf(traced.layout, { shape, batch: this.batch });
  }

  traced(name: string): Traced | undefined {
    return this.#values.get(name);
  }

  #addInput(operations: readonly Operation[]): GraphInput {
    const { name } = this.#image;
    const { shape, batch, layout } = imageOf(this.#image, operations, this.#options.layout);
    const id = this.writer.addInput(name, shape);
    this.batch = batch;
    this.#values.set(name, { form: identity(id), name: id, layout });
    this.writer.allocate(4 * 8 * shape[0]);
    const channels = Array.from({ length: shape[0] });
    const { mean = channels.map(() => 0), std = channels.map(() => 1) } = this.#options;
    return { id, shape, mean, std };
  }

  #output(): string {
    const names = this.#model.outputs.map(({ name }) => name);
    const { output } = this.#options;
    if (output !== undefined) return output;
    if (names.length === 1) return names[0]!;
    throw new RangeError(
      `the model has ${names.length} outputs: choose one of ${names.map((n) => `'${n}'`).join(', ')}`,
    );
  }

  /** The nodes that the output depends on. */
  #liveNodes(output: string): OnnxNode[] {
    const live = new Set([output]);
    const nodes = this.#model.nodes.toReversed().filter(({ inputs, outputs }) => {
      const isLive = outputs.some((name) => live.has(name));
      if (isLive) for (const name of inputs) live.add(name);
      return isLive;
    });
    return nodes.reverse();
  }

  /** Whether a node can be computed now: it reads nothing but constants. */
  #isConstant({ op, inputs }: OnnxNode): boolean {
    const given = inputs.filter((name) => name !== '');
    return Object.hasOwn(folded, op) && given.every((name) => this.constant(name) !== undefined);
  }

  #readNode(op: Operation): void {
    const { node } = op;
    const [made] = node.outputs;
    if (made === undefined || this.#values.has(made) || this.#constants.has(made)) {
      throw new RangeError('it makes no value, or one that there is already');
    }
    const read = (this.#isConstant(node) ? folded : operators)[node.op];
    if (read === undefined) {
      throw new RangeError('it depends on the image: it is only supported on constants');
    }
    const result = read(op);
    if ('form' in result) this.#values.set(op.name, result);
    else this.#constants.set(op.name, result);
  }

  read(): Graph {
    const output = this.#output();
    const operations = this.#liveNodes(output).map((node) => new Operation(node, this));
    const makers = new Map(
      operations.flatMap(({ node }) => node.outputs.map((name) => [name, node])),
    );
    // Values that cannot be read, for their own sake or that of what they are made from.
    const broken = new Set<string>();
    let current: OnnxNode | undefined;
    const attempt = (work: () => void) => {
      try {
        work();
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        const maker = error instanceof UnreadableValue ? makers.get(error.value) : undefined;
        this.#refusals.set(maker ?? current, error.message);
        for (const name of current?.outputs ?? []) broken.add(name);
      }
    };
    const readNode = (op: Operation) => {
      const { node } = op;
      const isKnown = Object.hasOwn(operators, node.op) || Object.hasOwn(folded, node.op);
      if (!isKnown) throw new RangeError(adviceFor(node.op));
      if (node.inputs.some((name) => broken.has(name))) {
        for (const name of node.outputs) broken.add(name);
      } else this.#readNode(op);
    };
    // Constants first: what a reshape of the image reshapes it to is one of them.
    const rest: Operation[] = [];
    for (const op of operations) {
      current = op.node;
      attempt(() => (this.#isConstant(op.node) ? readNode(op) : void rest.push(op)));
    }
    const input = this.#addInput(rest);
    for (const op of rest) {
      current = op.node;
      attempt(() => readNode(op));
    }
    current = undefined;
    let graph: Graph | undefined;
    if (!broken.has(output)) attempt(() => void (graph = this.#finish(input, output)));
    this.#throwRefusals();
    return graph!;
  }

  #throwRefusals(): void {
    const [first, ...rest] = this.#refusals;
    if (first === undefined) return;
    const [node, reason] = first;
    const listed = rest.slice(0, LISTED).map(([other]) => describe(other));
    const more = rest.length > LISTED ? ', ...' : '';
    const others =
      rest.length > 0 ? `; nor can ${rest.length} others: ${listed.join(', ')}${more}` : '';
    throw new RangeError(`${describe(node)} cannot be read: ${reason}${others}`);
  }

  #finish(input: GraphInput, output: string): Graph {
    const result = this.traced(output);
    if (result === undefined) {
      throw new UnreadableValue(output, `the output '${output}' does not depend on the image`);
    }
    if (!isInOrder(result.layout)) {
      throw new UnreadableValue(output, 'it transposes the result: leave it out');
    }
    const { readout } = result;
    const id = idOf(result, this.writer);
    const graph = {
      input,
      nodes: this.writer.nodes,
      output: id,
      ...(readout === undefined ? {} : { readout }),
      tensors: this.writer.tensors,
    };
    inferShapes(graph);
    return finishGraph(graph);
  }
}

/**
 * Reads a network from the bytes of an ONNX model.
 *
 * The graph computes what the model does for one image of a batch, from [C, H, W] to the result; a Softmax or ArgMax at
 * the end is not computed but noted (see Graph.readout). Which operators are read, and which are not, is in OPERATORS.md.
 * @throws RangeError when the bytes are no model, or naming the first node that cannot be read, what to do about it, and
 *   all others.
 */
export function readOnnx(bytes: Uint8Array, options: OnnxOptions = {}): Graph {
  return new OnnxReader(bytes, options).read();
}
