/**
 * The file of a float network: one JSON header, then the tensors' numbers.
 *
 *   8 bytes   'sottonet'
 *   u32 LE    header length in bytes
 *   header    JSON, padded with spaces to a multiple of 4: version, input, nodes, output, tensors (name, shape; in order)
 *   numbers   float32 LE, one tensor after the other
 *   32 bytes  SHA-256 of everything before; files of former releases end without it, and are read as well
 *
 * Activation maps stand in the header as strings of digits, one per element: readable, and small beside the weights.
 */

import { sha256 } from '@noble/hashes/sha2.js';
import * as z from 'zod';
import { runsOf, tableOf } from '../../protocol/ring/gather.ts';
import { ModelError } from '../errors.ts';
import { elements, type Graph, type Node, type Tensor } from './graph.ts';
import { inferShapes } from './walk.ts';

const MAGIC = 'sottonet';
/** Version of the layout above. AGREEMENT between writer and reader. */
const VERSION = 1;

/** Length of the checksum. */
const DIGEST_BYTES = 32;

/** Longest table of a gather. LOCAL. */
const MAX_ENTRIES = 2 ** 28;

const name = z.string().min(1).max(200);
const count = z.int().min(0).max(0x7fffffff);
const pair = z.tuple([count, count]);
const triple = z.tuple([count, count, count]);
const quadruple = z.tuple([count, count, count, count]);
const shape = z.array(count).min(1).max(3);
const unary = { id: name, inputs: z.tuple([name]) };

const nodeSchema = z.discriminatedUnion('op', [
  z.strictObject({
    op: z.literal('conv'),
    ...unary,
    weight: name,
    bias: name.exactOptional(),
    kernel: pair,
    stride: pair,
    pads: quadruple,
    groups: count,
  }),
  z.strictObject({
    op: z.literal('batchNorm'),
    ...unary,
    scale: name,
    shift: name,
    mean: name,
    variance: name,
    epsilon: z.number(),
  }),
  z.strictObject({ op: z.literal('scale'), ...unary, scale: name, shift: name }),
  z.strictObject({ op: z.literal('dense'), ...unary, weight: name, bias: name.exactOptional() }),
  z.strictObject({
    op: z.literal('maxPool'),
    ...unary,
    kernel: pair,
    stride: pair,
    pads: quadruple,
  }),
  z.strictObject({
    op: z.literal('averagePool'),
    ...unary,
    kernel: pair,
    stride: pair,
    pads: quadruple.exactOptional(),
  }),
  z.strictObject({ op: z.literal('globalAveragePool'), ...unary }),
  z.strictObject({ op: z.literal('flatten'), ...unary }),
  z.strictObject({ op: z.literal('reshape'), ...unary, shape }),
  z.strictObject({
    op: z.literal('gather'),
    ...unary,
    shape,
    tables: z.array(z.array(z.tuple([z.int(), z.int(), count]))).max(8),
  }),
  z.strictObject({
    op: z.literal('piecewise'),
    ...unary,
    offset: name,
    slope: name,
    knots: name,
    bends: name,
  }),
  z.strictObject({ op: z.literal('pad'), ...unary, before: triple, after: triple }),
  z.strictObject({ op: z.literal('slice'), ...unary, start: triple, step: triple, size: triple }),
  z.strictObject({
    op: z.literal('activation'),
    ...unary,
    kinds: z.string().regex(/^[012]*$/, 'a map is a string of the digits 0, 1 and 2'),
    coefficients: name.exactOptional(),
  }),
  z.strictObject({
    op: z.literal('add'),
    id: name,
    inputs: z.tuple([name, name]),
    subtract: z.literal(true).exactOptional(),
  }),
  z.strictObject({ op: z.literal('concat'), id: name, inputs: z.tuple([name, name], name) }),
]);

const headerSchema = z.strictObject({
  version: z.literal(VERSION),
  input: z.strictObject({
    id: name,
    shape: triple,
    mean: z.array(z.number()),
    std: z.array(z.number()),
    numbers: z.literal(true).exactOptional(),
  }),
  nodes: z.array(nodeSchema),
  output: name,
  results: z
    .array(
      z.strictObject({
        name,
        shape: z.array(count).max(8),
        readout: z
          .union([
            z.strictObject({ kind: z.enum(['softmax', 'logSoftmax', 'argmax']), axis: count }),
            z.strictObject({ kind: z.enum(['sigmoid', 'tanh']) }),
          ])
          .exactOptional(),
      }),
    )
    .min(1)
    .exactOptional(),
  tensors: z.array(z.strictObject({ name, shape: z.array(count).max(8) })),
});

type StoredNode = z.infer<typeof nodeSchema>;

function toStored(node: Node): StoredNode {
  if (node.op === 'gather') {
    const { shape, tables } = node;
    const stored = { ...node, inputs: [...node.inputs] as [string], shape: [...shape] };
    return { ...stored, tables: tables.map((table) => runsOf(table).map(([...run]) => run)) };
  }
  if (node.op !== 'activation') return node as StoredNode;
  return { ...node, inputs: [...node.inputs], kinds: node.kinds.join('') };
}

function fromStored(node: StoredNode): Node {
  if (node.op === 'gather') {
    return { ...node, tables: node.tables.map((runs) => tableOf(runs, MAX_ENTRIES)) };
  }
  if (node.op !== 'activation') return node;
  return { ...node, kinds: Uint8Array.from(node.kinds, Number) };
}

/**
 * Writes a graph as the bytes of one file.
 * @throws ModelError `network` when the graph is not sound (see inferShapes).
 */
export function saveGraph(graph: Graph): Uint8Array {
  const content = encodeGraph(graph);
  const bytes = new Uint8Array(content.length + DIGEST_BYTES);
  bytes.set(content);
  bytes.set(sha256(content), content.length);
  return bytes;
}

/** As {@link saveGraph}, without the checksum: the same bytes for the same network in every release so far. */
export function encodeGraph(graph: Graph): Uint8Array {
  inferShapes(graph);
  const header = JSON.stringify({
    version: VERSION,
    input: graph.input,
    nodes: graph.nodes.map(toStored),
    output: graph.output,
    results: graph.results,
    tensors: [...graph.tensors].map(([name, { shape }]) => ({ name, shape })),
  });
  const encoded = new TextEncoder().encode(header);
  const padded = Math.ceil(encoded.length / 4) * 4;
  const start = MAGIC.length + 4 + padded;
  const numbers = [...graph.tensors.values()].reduce((sum, { data }) => sum + data.length, 0);
  const bytes = new Uint8Array(start + 4 * numbers).fill(0x20, 0, start);
  bytes.set(new TextEncoder().encode(MAGIC));
  const view = new DataView(bytes.buffer);
  view.setUint32(MAGIC.length, padded, true);
  bytes.set(encoded, MAGIC.length + 4);
  let offset = start;
  for (const { data } of graph.tensors.values()) {
    for (let i = 0; i < data.length; i++, offset += 4) view.setFloat32(offset, data[i]!, true);
  }
  return bytes;
}

/**
 * Reads the bytes of one file back; checks every length before it is used, and the whole graph.
 * @throws ModelError `file` with one sentence that says what is wrong with the file; `network` when the graph in it is not sound.
 */
export function loadGraph(bytes: Uint8Array): Graph {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = MAGIC.length + 4;
  if (bytes.length < start || !MAGIC.split('').every((c, i) => bytes[i] === c.charCodeAt(0))) {
    throw new ModelError('file', `not a network file: it should begin with '${MAGIC}'`);
  }
  const length = view.getUint32(MAGIC.length, true);
  if (length > bytes.length - start) {
    throw new ModelError(
      'file',
      `the network file is cut short: its header needs ${length} bytes, ${bytes.length - start} are left`,
    );
  }
  const header = parseHeader(bytes.subarray(start, start + length));
  let offset = start + length;
  const tensors = new Map<string, Tensor>();
  for (const { name, shape } of header.tensors) {
    const size = elements(shape);
    if (4 * size > bytes.length - offset) {
      throw new ModelError(
        'file',
        `the network file is cut short: tensor '${name}' needs ${4 * size} bytes, ${bytes.length - offset} are left`,
      );
    }
    if (tensors.has(name))
      throw new ModelError('file', `the network file has two tensors named '${name}'`);
    const data = new Float32Array(size);
    for (let i = 0; i < size; i++, offset += 4) data[i] = view.getFloat32(offset, true);
    if (!data.every(Number.isFinite)) {
      throw new ModelError(
        'file',
        `tensor '${name}' of the network file holds a value that is not finite`,
      );
    }
    tensors.set(name, { shape, data });
  }
  checkEnd(bytes, offset);
  const graph = {
    input: header.input,
    nodes: header.nodes.map(fromStored),
    output: header.output,
    ...(header.results === undefined ? {} : { results: header.results }),
    tensors,
  };
  inferShapes(graph);
  return graph;
}

/** @throws ModelError `file` when what follows the last number is no checksum of all that is before it */
function checkEnd(bytes: Uint8Array, end: number): void {
  const left = bytes.length - end;
  if (left === 0) return;
  if (left < DIGEST_BYTES) {
    throw new ModelError(
      'file',
      `the network file is cut short: its checksum needs ${DIGEST_BYTES} bytes, ${left} are left`,
    );
  }
  if (left > DIGEST_BYTES) {
    throw new ModelError(
      'file',
      `the network file has ${left - DIGEST_BYTES} bytes too many at its end`,
    );
  }
  const digest = sha256(bytes.subarray(0, end));
  if (!digest.every((byte, i) => byte === bytes[end + i])) {
    throw new ModelError(
      'file',
      'the network file is damaged: its contents do not match its checksum; take another copy, or make it again',
    );
  }
}

function parseHeader(bytes: Uint8Array): z.infer<typeof headerSchema> {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new ModelError('file', "the network file's header is not JSON", { cause });
  }
  const parsed = headerSchema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new ModelError(
      'file',
      `the network file's header is wrong at ${issue!.path.join('.') || 'its top'}: ${issue!.message}`,
    );
  }
  return parsed.data;
}
