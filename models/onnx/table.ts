/**
 * Which operators are read: ONNX's own operator tests, each either computed by the float interpreter or refused.
 *
 *   node dist/models/onnx/table.js FOLDER > models/onnx/OPERATORS.md
 *
 * FOLDER holds the tests of github.com/onnx/onnx (onnx/backend/test/data/node). The first input of a test is the image,
 * or a batch of them; the others are constants.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { indexOfLargest } from '../../protocol/ring/tensor.ts';
import {
  elements,
  type Graph,
  inferShapes,
  resultsOf,
  runFloat,
  type Tensor,
} from '../graph/index.ts';
import { type Constant, decodeTensor } from './constant.ts';
import { folded, onnxOperators } from './operators/index.ts';
import { readModel, readTensor } from './proto.ts';
import { readOnnx } from './reader.ts';

/** Largest difference of a result, relative to its size beyond 1, that counts as agreement. */
const TOLERANCE = 1e-4;

/** How one test of ONNX went. */
export interface OperatorTest {
  readonly name: string;
  /** Operators of its nodes. */
  readonly operators: string;
  /** Why it is refused; undefined when it is computed. */
  readonly refusal?: string;
  /** Largest difference from the expected result, relative to its size beyond 1. */
  readonly distance: number;
}

/** What whoever receives the results of a graph makes of them, one after the other. */
export function readoutsOf(graph: Graph, scores: Float32Array): number[] {
  const results = resultsOf(graph, inferShapes(graph).get(graph.output)!);
  let at = 0;
  return results.flatMap(({ shape, readout }) => {
    const own = scores.subarray(at, at + elements(shape));
    at += own.length;
    if (readout === undefined) return [...own];
    if (readout.kind === 'sigmoid') return Array.from(own, (v) => 1 / (1 + Math.exp(-v)));
    if (!('axis' in readout)) return Array.from(own, Math.tanh);
    return alongAxis(own, shape, readout.axis, readout.kind);
  });
}

function alongAxis(
  scores: Float32Array,
  shape: readonly number[],
  axis: number,
  kind: 'softmax' | 'logSoftmax' | 'argmax',
): number[] {
  const count = shape[axis]!;
  const step = elements(shape.slice(axis + 1));
  const isLabel = kind === 'argmax';
  const out = new Array<number>(isLabel ? scores.length / count : scores.length);
  for (let i = 0; i < scores.length / count; i++) {
    const first = Math.floor(i / step) * step * count + (i % step);
    const own = Float64Array.from({ length: count }, (_, k) => scores[first + k * step]!);
    const most = Math.max(...own);
    const total = own.reduce((sum, s) => sum + Math.exp(s - most), 0);
    if (isLabel) out[i] = indexOfLargest(own);
    else {
      own.forEach((s, k) => {
        const value = s - most;
        out[first + k * step] =
          kind === 'softmax' ? Math.exp(value) / total : value - Math.log(total);
      });
    }
  }
  return out;
}

function readPart(folder: string, part: string): Constant {
  return decodeTensor(readTensor(readFileSync(join(folder, 'test_data_set_0', part))));
}

function toTensor({ shape, data }: Constant): Tensor {
  return { shape, data: Float32Array.from(data) };
}

/** Reads and runs one test. */
export function runOperatorTest(folder: string, name: string): OperatorTest {
  const path = join(folder, name);
  const file = readFileSync(join(path, 'model.onnx'));
  const { inputs, nodes } = readModel(file);
  const [image, ...others] = inputs;
  const test = { name, operators: nodes.map(({ op }) => op).join(', ') };
  let graph: Graph;
  try {
    const constants = new Map(
      others.map((input, i) => [input.name, toTensor(readPart(path, `input_${i + 1}.pb`))]),
    );
    graph = readOnnx(file, { constants });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { ...test, refusal: error.message, distance: 0 };
  }
  const { data } = toTensor(readPart(path, 'input_0.pb'));
  const size = elements(graph.input.shape);
  const results: number[] = [];
  for (let at = 0; at < data.length; at += size) {
    results.push(...readoutsOf(graph, runFloat(graph, data.slice(at, at + size))));
  }
  const expected = readPart(path, 'output_0.pb').data;
  if (results.length !== expected.length || elements(image!.dims as number[]) !== data.length) {
    return { ...test, distance: Infinity };
  }
  const distances = results.map(
    (value, i) => Math.abs(value - expected[i]!) / Math.max(1, Math.abs(expected[i]!)),
  );
  return { ...test, distance: Math.max(0, ...distances) };
}

/**
 * All tests in a folder.
 * @throws RangeError naming the first that is neither computed right nor refused.
 */
export function runOperatorTests(folder: string): OperatorTest[] {
  return readdirSync(folder)
    .toSorted()
    .map((name) => {
      const test = runOperatorTest(folder, name);
      if (test.distance <= TOLERANCE) return test;
      throw new RangeError(`${name}: the result is off by ${test.distance}`);
    });
}

/** The document: operators that are read, and how the tests went. */
export function operatorTable(tests: readonly OperatorTest[]): string {
  const computed = tests.filter(({ refusal }) => refusal === undefined);
  const refused = tests.filter(({ refusal }) => refusal !== undefined);
  const reason = ({ refusal }: OperatorTest) =>
    refusal!
      .replace(/^(node '[^']*' \([^)]*\)|the model) cannot be read: /, '')
      .replaceAll('|', '\\|');
  return [
    '# ONNX operators',
    '',
    '<!-- Written by models/onnx/table.ts; change it there. -->',
    '',
    `\`readOnnx\` reads ${Object.keys(onnxOperators).join(', ')}.`,
    '',
    'Versions 6 to 25 of ONNX are read. Operators that only move elements become tables of a gather where they do not',
    'cancel out; sums, products with constants and functions of straight pieces of one value become one scale, activation',
    'or piecewise function. A Softmax, LogSoftmax, Sigmoid, Tanh or ArgMax at the end is noted, not computed.',
    '',
    `Computed where all inputs are constant: ${Object.keys(folded).join(', ')}.`,
    '',
    'Not read: products of two values that depend on the image (attention, gates, squeeze-and-excitation), smooth functions',
    'inside of the network, norms measured on the image, recurrent layers, control flow, lookups by private numbers, and',
    'windows over more than two axes.',
    '',
    `Of ${tests.length} operator tests of ONNX 1.17, ${computed.length} are computed within ${TOLERANCE} of the expected result:`,
    '',
    '| test | operators |',
    '|---|---|',
    ...computed.map(({ name, operators }) => `| ${name} | ${operators} |`),
    '',
    `and ${refused.length} are refused:`,
    '',
    '| test | operators | why |',
    '|---|---|---|',
    ...refused.map((test) => `| ${test.name} | ${test.operators} | ${reason(test)} |`),
    '',
  ].join('\n');
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  process.stdout.write(operatorTable(runOperatorTests(process.argv[2]!)));
}
