/** From the messages of an ONNX model to a graph: walks the nodes in their order, collects what cannot be read. */

import { ModelError, type ModelErrorCode } from '../errors.ts';
import { type Graph, type GraphInput, inferShapes, type Tensor } from '../graph/index.ts';
import { type Constant, decodeTensor, type ExternalData, isFloatType } from './constant.ts';
import { GraphWriter } from './emit.ts';
import { finishGraph, joinOutputs } from './finish.ts';
import { identityForm } from './form.ts';
import { inlined } from './functions.ts';
import { imageDims, imageOf } from './input.ts';
import {
  isTraced,
  type ModelState,
  type Operand,
  Operation,
  type Traced,
  UnreadableValue,
} from './operation.ts';
import { adviceFor, folded, isFunction, onnxOperators } from './operators/index.ts';
import {
  type OnnxModel,
  type OnnxNode,
  readModel,
  type TensorProto,
  type ValueInfo,
} from './proto.ts';
import { dimsAfter, placeholder } from './unread.ts';
import { dimsOf, type Part } from './view.ts';

/** Versions of ONNX's operators that are read. AGREEMENT with the standard. */
const OPSETS = { least: 6, most: 25 } as const;
/**
 * Bytes that maps, formulas and folded constants of one model may take, beside what its size justifies. LOCAL: far above
 * what networks for images need, far below what would hurt.
 */
const BASE_BYTES = 2 ** 26;
/** Refused nodes that a message lists. LOCAL. */
const LISTED = 20;

export interface OnnxOptions {
  /** Name of the result to read up to. */
  readonly output?: string;
  /** Names of the results to read up to, several as one value; all of the model's by default. */
  readonly outputs?: readonly string[];
  /** Extents of inputs that the model leaves open, the batch's included. */
  readonly shapes?: ReadonlyMap<string, readonly number[]>;
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
  /** Whether the input is numbers of any size rather than pixels. Default: unless it is an image of 1 or 3 channels. */
  readonly numbers?: boolean;
  /** Finds files that hold tensors outside of the model's; without it such tensors are refused. */
  readonly external?: ExternalData;
}

/** A node that cannot be read, or the model as a whole. */
export interface Refusal {
  /** Name of the node, or of what it makes; none for the model as a whole. */
  readonly node?: string;
  readonly op?: string;
  readonly reason: string;
  /** What {@link readOnnx} throws of it: `network`, or `file` where what a tensor holds cannot be read. */
  readonly code: ModelErrorCode;
}

/** What reading a model comes to. */
export type OnnxReading = { readonly graph: Graph } | { readonly refusals: readonly Refusal[] };

const NOT_FOLDED =
  'its inputs are constant, and it is not among the operators that are computed beforehand: fold the constants of the model first, as onnxsim or ONNX Runtime do';

function describe({ node, op }: Refusal): string {
  return node === undefined ? 'the model' : `node '${node}' (${op})`;
}

class OnnxReader implements ModelState {
  readonly opset: number;
  readonly writer: GraphWriter;
  batch: Part | undefined;
  readonly #model: OnnxModel;
  readonly #options: OnnxOptions;
  readonly #image: ValueInfo;
  readonly #initializers: ReadonlyMap<string, TensorProto>;
  readonly #constants = new Map<string, Constant>();
  readonly #values = new Map<string, Traced>();
  /** Names that live nodes read, and those that are results. */
  readonly #read = new Set<string>();
  /** Values that cannot be read, for their own sake or that of what they are made from. */
  readonly #broken = new Set<string>();
  /** Why nodes cannot be read; the model as a whole is undefined. */
  readonly #refusals = new Map<OnnxNode | undefined, RangeError>();
  #isBatched = false;

  constructor(bytes: Uint8Array, options: OnnxOptions) {
    const model = readModel(bytes);
    const { opset } = model;
    if (!(opset >= OPSETS.least && opset <= OPSETS.most)) {
      throw new ModelError(
        'network',
        `the model uses version ${opset} of ONNX's operators: export it with one from ${OPSETS.least} to ${OPSETS.most}`,
      );
    }
    this.opset = opset;
    // Weights may be transposed or converted once each, and prepared by a few operators before.
    this.writer = new GraphWriter(BASE_BYTES + 8 * bytes.length);
    this.#model = { ...model, nodes: inlined(model.nodes, model.functions) };
    this.#options = options;
    this.#initializers = new Map(model.initializers.map((tensor) => [tensor.name, tensor]));
    for (const [name, tensor] of options.constants ?? []) this.#constants.set(name, tensor);
    const images = model.inputs.filter(
      ({ name }) => !this.#initializers.has(name) && !this.#constants.has(name),
    );
    const [image] = images;
    if (images.length !== 1 || image === undefined) {
      const names = images.map(({ name }) => `'${name}'`).join(', ') || 'none';
      throw new ModelError(
        'network',
        `a network has one input, the image, but the model's are: ${names}`,
      );
    }
    if (!isFloatType(image.type)) {
      throw new ModelError(
        'network',
        `the input '${image.name}' should be of a floating-point type`,
      );
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
    return traced && (traced.labels ?? dimsOf(traced.view));
  }

  traced(name: string): Traced | undefined {
    return this.#values.get(name);
  }

  isRead(name: string): boolean {
    return this.#read.has(name);
  }

  #addInput(operations: readonly Operation[]): GraphInput {
    const { name } = this.#image;
    const { layout, shapes, numbers } = this.#options;
    const dims = imageDims(this.#image, shapes?.get(name));
    const { shape, batch, isBatched, view, isNumbers } = imageOf(
      this.#image,
      dims,
      operations,
      layout,
    );
    const id = this.writer.addInput(name, shape);
    this.batch = batch;
    this.#isBatched = isBatched;
    this.#values.set(name, { form: identityForm(id), name: id, view });
    this.writer.allocate(4 * 8 * shape[0]);
    const channels = Array.from({ length: shape[0] });
    const { mean = channels.map(() => 0), std = channels.map(() => 1) } = this.#options;
    return { id, shape, mean, std, ...((numbers ?? isNumbers) ? { numbers: true } : {}) };
  }

  #outputs(): readonly string[] {
    const { output, outputs } = this.#options;
    if (output !== undefined) return [output];
    const names = outputs ?? this.#model.outputs.map(({ name }) => name);
    if (names.length === 0) throw new ModelError('network', 'the model has no output');
    if (new Set(names).size < names.length)
      throw new ModelError('argument', 'one output is asked for twice');
    return names;
  }

  /** The nodes that the outputs depend on. */
  #liveNodes(outputs: readonly string[]): OnnxNode[] {
    for (const name of outputs) this.#read.add(name);
    const nodes = this.#model.nodes.toReversed().filter(({ inputs, outputs: made }) => {
      const isLive = made.some((name) => this.#read.has(name));
      if (isLive) for (const name of inputs) this.#read.add(name);
      return isLive;
    });
    return nodes.reverse();
  }

  /** Whether a node reads something, and nothing but constants. */
  #readsConstants({ inputs }: OnnxNode): boolean {
    const given = inputs.filter((name) => name !== '');
    return given.length > 0 && given.every((name) => this.constant(name) !== undefined);
  }

  /** Whether a node can be computed now: it reads nothing but constants, and is known for them. */
  #isConstant(node: OnnxNode): boolean {
    const readsNothing = node.inputs.every((name) => name === '');
    return Object.hasOwn(folded, node.op) && (readsNothing || this.#readsConstants(node));
  }

  #set(name: string, result: Operand): void {
    if (isTraced(result)) this.#values.set(name, result);
    else this.#constants.set(name, result);
  }

  #readNode(op: Operation): void {
    const { node } = op;
    const isKnown = Object.hasOwn(onnxOperators, node.op) || Object.hasOwn(folded, node.op);
    if (!isKnown) {
      throw new ModelError('network', this.#readsConstants(node) ? NOT_FOLDED : adviceFor(node.op));
    }
    if (node.inputs.some((name) => this.#broken.has(name))) {
      for (const name of node.outputs) this.#broken.add(name);
      return;
    }
    const made = node.outputs[0];
    if (made === undefined || node.outputs.some((name) => this.#isMade(name))) {
      throw new ModelError('network', 'it makes no value, or one that there is already');
    }
    const table = this.#isConstant(node) ? folded : onnxOperators;
    if (table !== folded && this.#readsConstants(node)) throw new ModelError('network', NOT_FOLDED);
    if (!Object.hasOwn(table, node.op)) throw new ModelError('network', adviceFor(node.op));
    const results = [table[node.op]!(op)].flat();
    results.forEach((result, i) => {
      const name = node.outputs[i];
      if (name !== undefined && name !== '') this.#set(name, result);
    });
  }

  #isMade(name: string): boolean {
    return name !== '' && (this.#values.has(name) || this.#constants.has(name));
  }

  /** Notes a refusal, and goes on behind it where the extents of what the node makes are known. */
  #refuse(node: OnnxNode | undefined, error: RangeError): void {
    if (!this.#refusals.has(node)) this.#refusals.set(node, error);
    for (const name of node?.outputs ?? []) {
      if (this.#isMade(name)) continue;
      if (this.#readsConstants(node!)) {
        this.#broken.add(name);
        continue;
      }
      const { op, inputs } = node!;
      const from = this.#values.get(inputs[0] ?? '');
      // A function that cannot be read will become another one of the same value.
      if (isFunction(op) && from !== undefined && from.readout === undefined) {
        this.#values.set(name, from);
        continue;
      }
      const dims = dimsAfter(node!, (input) => this.constant(input)?.shape ?? this.dims(input));
      const made = name === node!.outputs[0] && dims && placeholder(this, name, dims);
      if (made) this.#values.set(name, made);
      else this.#broken.add(name);
    }
  }

  /** Reads a node, or what is behind all, and says why when it cannot. */
  #attempt(
    node: OnnxNode | undefined,
    makers: ReadonlyMap<string, OnnxNode>,
    work: () => void,
  ): void {
    // What a node reads may turn out not to be readable, once for each of its inputs.
    for (let tries = 0; tries < 8; tries++) {
      try {
        work();
        return;
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        const maker = error instanceof UnreadableValue ? makers.get(error.value) : undefined;
        if (maker === undefined || tries === 7) {
          this.#refuse(node, error);
          return;
        }
        if (!this.#refusals.has(maker)) this.#refusals.set(maker, error);
        this.#forgetReadout((error as UnreadableValue).value);
      }
    }
  }

  /** Takes what ends a network for a value like any other, to see what else is in the way. */
  #forgetReadout(value: string): void {
    for (const [name, traced] of this.#values) {
      if (traced.ended !== value) continue;
      const { form, view, labels } = traced;
      const known = labels && placeholder(this, name, labels);
      this.#values.set(name, known ?? { form, name: traced.name, view });
    }
  }

  read(): OnnxReading {
    const outputs = this.#outputs();
    const operations = this.#liveNodes(outputs).map((node) => new Operation(node, this));
    const makers = new Map(
      operations.flatMap(({ node }) => node.outputs.map((name) => [name, node])),
    );
    // Constants first: what a reshape of the image reshapes it to is one of them.
    const rest: Operation[] = [];
    for (const op of operations) {
      this.#attempt(op.node, makers, () => {
        if (this.#isConstant(op.node)) this.#readNode(op);
        else rest.push(op);
      });
    }
    const input = this.#addInput(rest);
    for (const op of rest) this.#attempt(op.node, makers, () => this.#readNode(op));
    let graph: Graph | undefined;
    if (this.#refusals.size === 0) {
      this.#attempt(undefined, makers, () => void (graph = this.#finish(input, outputs)));
    }
    if (graph !== undefined) return { graph };
    const refusals = [...this.#refusals].map(([node, error]): Refusal => {
      const code = error instanceof ModelError ? error.code : 'network';
      if (node === undefined) return { reason: error.message, code };
      const name = node.name || (node.outputs[0] ?? '');
      return { node: name, op: node.op, reason: error.message, code };
    });
    return { refusals };
  }

  #finish(input: GraphInput, names: readonly string[]): Graph {
    const outputs = names.map((name) => {
      const value = this.traced(name);
      if (value !== undefined) return { name, value };
      const { output, outputs: asked } = this.#options;
      throw new ModelError(
        output === undefined && asked === undefined ? 'network' : 'argument',
        `the output '${name}' does not depend on the image: read up to others with --output-name`,
      );
    });
    const { nodes, tensors } = this.writer;
    const graph = { input, nodes, ...joinOutputs(this.writer, outputs, this.#isBatched), tensors };
    const finished = finishGraph(graph);
    inferShapes(finished);
    return finished;
  }
}

/**
 * Reads a network as far as it can be.
 * @returns the graph, or every node that cannot be read and why
 * @throws ModelError `file` when the bytes are no model, `network` when its input cannot be the input of a network,
 *   `argument` when an option does not fit the model
 */
export function tryOnnx(bytes: Uint8Array, options: OnnxOptions = {}): OnnxReading {
  return new OnnxReader(bytes, options).read();
}

/**
 * Reads a network from the bytes of an ONNX model.
 *
 * The graph computes what the model does for one image of a batch, from [C, H, W] to the results; a Softmax, Sigmoid or
 * ArgMax at the end is not computed but noted (see Graph.results). Which operators are read, and which are not, is in
 * OPERATORS.md.
 * @throws ModelError `file` when the bytes are no model, `network` when its input cannot be the input of a network, `argument`
 *   when an option does not fit the model; else, naming the first node that cannot be read, what to do about it, and all others,
 *   with the first one's code: `network`, or `file` where what a tensor holds cannot be read
 */
export function readOnnx(bytes: Uint8Array, options: OnnxOptions = {}): Graph {
  const reading = tryOnnx(bytes, options);
  if ('graph' in reading) return reading.graph;
  const [first, ...rest] = reading.refusals as [Refusal, ...Refusal[]];
  const listed = rest.slice(0, LISTED).map(describe);
  const more = rest.length > LISTED ? ', ...' : '';
  const others =
    rest.length > 0 ? `; nor can ${rest.length} others: ${listed.join(', ')}${more}` : '';
  throw new ModelError(first.code, `${describe(first)} cannot be read: ${first.reason}${others}`);
}
