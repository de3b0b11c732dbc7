/** Networks of ONNX files run by two parties, held to what their own runtime made of the same input. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compile } from '../../../models/compile/index.ts';
import { type Graph, runFloat } from '../../../models/graph/index.ts';
import { readOnnx, tryOnnx } from '../../../models/onnx/index.ts';
import { dataFolder, missing } from '../../../models/train/data/published.ts';
import { encodeInput } from '../../../protocol/program/input.ts';
import type { Model } from '../../../protocol/program/model.ts';
import type { OutputStep, ProgramResult } from '../../../protocol/program/program.ts';
import {
  decodeResults,
  type ResultTensor,
  readOut,
  resultSize,
} from '../../../protocol/program/results.ts';
import { isLong } from '../../support/long.ts';
import { inferBoth, openSessions, prepareBoth } from '../../support/model.ts';
import { numbers } from '../builder.ts';
import { maskedConstants, maskedNodes } from './masked.ts';
import { type ModelSpec, modelOf, node, random } from './models.ts';
import { values } from './support.ts';

/** SOTTO_LONG=onnx runs all networks. */
const long = isLong('onnx');

/** Variations of the input that ranges are measured on, beside itself. */
const VARIATIONS = 15;

/** The largest part of a result's size that a program may state as its tolerance. */
const MOST_TOLERANCE = 0.15;

/** Where it may be more: squares of values of many sizes. */
const LOOSE: Readonly<Record<string, number>> = { hardswish: 0.25 };

/** What single precision leaves of a number, relative to its size beyond 1: in the files as in the float interpreter. */
const FLOAT_ERROR = 1e-4;

/** The input with something added to each number, a third of the input's size at most, and at another size. */
function variationsOf(x: Float32Array): Float32Array[] {
  const size = x.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  return Array.from({ length: VARIATIONS }, (_, i) => {
    const next = numbers(100 + i);
    const factor = 1 + 0.25 * next();
    return x.map((v) => factor * v + (size / 3) * next());
  });
}

/** A model, and the root mean square of each of its results in float on the samples. */
interface Compiled {
  readonly model: Model;
  readonly sizes: readonly number[];
}

function compiled(graph: Graph, x: Float32Array): Compiled {
  const samples = [x, ...variationsOf(x)];
  const { model } = compile(graph, samples);
  const floats = samples.map((sample) => runFloat(graph, sample));
  let at = 0;
  const sizes = model.program.results.map(({ shape }) => {
    const from = at;
    at += resultSize(shape);
    return sizeOf(floats.flatMap((all) => [...all.subarray(from, at)]));
  });
  return { model, sizes };
}

/** What a private run makes of an input, before readouts. */
async function privately(model: Model, x: Float32Array): Promise<ResultTensor[]> {
  const sessions = await openSessions(model);
  await prepareBoth(sessions);
  return decodeResults(model.program, await inferBoth(sessions, encodeInput(model.program, x)));
}

/** The largest change of a number that a readout makes of a change of all it reads by at most 1. */
function steepness({ readout }: ProgramResult): number {
  switch (readout?.kind) {
    case 'sigmoid':
      return 1 / 4;
    case 'softmax':
      // |dp_i| <= p_i * (1 - p_i) * 2.
      return 1 / 2;
    case 'logSoftmax':
      return 2;
    default:
      return 1;
  }
}

/** A result's tolerance in its own units. */
function toleranceOf({ program }: Model, { bits }: ProgramResult): number {
  const { tolerance } = program.steps.at(-1) as OutputStep;
  return tolerance / 2 ** bits;
}

/** The root mean square of some numbers. */
function sizeOf(data: ArrayLike<number>): number {
  const squares = Array.from(data, (v) => v * v).reduce((sum, v) => sum + v, 0);
  return Math.sqrt(squares / data.length);
}

/**
 * Holds a private answer to what was expected.
 * @param expected after readouts, one result after the other
 */
function expectWithin(
  { model, sizes }: Compiled,
  answer: readonly ResultTensor[],
  expected: readonly number[],
  most = MOST_TOLERANCE,
): void {
  const { program } = model;
  const out = readOut(program, answer);
  expect(out.reduce((sum, { data }) => sum + data.length, 0)).toBe(expected.length);
  let at = 0;
  program.results.forEach((result, i) => {
    const tolerance = toleranceOf(model, result);
    expect(tolerance).toBeLessThan(most * sizes[i]!);
    const bound = tolerance * steepness(result);
    for (const value of out[i]!.data) {
      const wanted = expected[at++]!;
      const rounding = FLOAT_ERROR * Math.max(1e-3, Math.abs(wanted));
      expect(Math.abs(value - wanted)).toBeLessThan(bound + rounding);
    }
  });
}

/** Networks that run where SOTTO_LONG does not say all: one of each family of operators, readout and range of numbers. */
const FEW = [
  'avgpool_exclude_pad',
  'channel_shuffle',
  'concat_zeros',
  'conv1d',
  'final_sigmoid',
  'hardswish',
  'keras_gray_reshape',
  'maxpool_on_input_padded',
  'range_tiny_1e-4',
  'relu6',
  'resize_nearest',
  'squared_relu',
  'token_mlp',
];

const folder = dataFolder('onnx-cases');
if (folder === undefined) console.log(`skipped: ${missing('onnx-cases')}`);

interface Values {
  readonly dims: readonly number[];
  readonly data: readonly number[];
}

const read = (name: string, file: string): Values =>
  JSON.parse(readFileSync(join(folder!, name, file), 'utf8'));

/** [N, H, W, C] as [C, H, W]; what is [N, C, H, W] as it is. */
function planar({ dims, data }: Values, [c, h, w]: readonly number[]): Float32Array {
  const isLast = dims.length === 4 && dims[3] === c && dims[1] === h && dims[1] !== c;
  if (!isLast) return Float32Array.from(data);
  const plane = h! * w!;
  return Float32Array.from(data, (_, i) => data[(i % plane) * c! + Math.floor(i / plane)]!);
}

function graphOf(name: string): Graph | undefined {
  const shapes = new Map([['x', read(name, 'input.json').dims]]);
  const file = readFileSync(join(folder!, name, 'model.onnx'));
  const reading = tryOnnx(file, { shapes, numbers: true });
  return 'graph' in reading ? reading.graph : undefined;
}

describe.skipIf(folder === undefined)('small networks, one idea each, in private', () => {
  const all = folder === undefined ? [] : readdirSync(folder).toSorted();
  const readable = all.flatMap((name) => {
    const graph = graphOf(name);
    return graph === undefined ? [] : [[name, graph] as const];
  });
  const chosen = readable.filter(([name]) => long || FEW.includes(name));
  if (!long)
    console.log(`${chosen.length} of ${readable.length} networks; SOTTO_LONG=onnx runs all`);

  it.each(chosen)('%s: as ONNX Runtime computes it', async (name, graph) => {
    const x = planar(read(name, 'input.json'), graph.input.shape);
    const made = compiled(graph, x);
    const answer = await privately(made.model, x);
    expectWithin(made, answer, read(name, 'expected.json').data, LOOSE[name]);
  });
});

/** What a network of a test makes of an input, after readouts and by the float interpreter. */
function expectedOf(graph: Graph, { program }: Model, x: Float32Array): number[] {
  const flat = runFloat(graph, x);
  let at = 0;
  const results = program.results.map(({ name, shape }) => {
    const data = flat.slice(at, (at += resultSize(shape)));
    return { name, shape, data };
  });
  return readOut(program, results).flatMap(({ data }) => [...data]);
}

const SPECS: Readonly<Record<string, ModelSpec>> = {
  'ReLU6, LeakyReLU, a maximum of two values, channels shuffled': {
    input: [1, 4, 6, 6],
    nodes: [
      node('Conv', ['x', 'w1', 'b1'], 'a', { pads: [1, 1, 1, 1] }),
      node('Clip', ['a', 'zero', 'six'], 'b'),
      node('Reshape', ['b', 'grouped'], 'c'),
      node('Transpose', ['c'], 'd', { perm: [0, 2, 1, 3, 4] }),
      node('Reshape', ['d', 'joined'], 'e'),
      node('Conv', ['e', 'w2'], 'f', { group: 2 }),
      node('LeakyRelu', ['f'], 'g', { alpha: 0.2 }),
      node('Conv', ['e', 'w3'], 'h'),
      node('Max', ['g', 'h'], 'i'),
      node('GlobalAveragePool', ['i'], 'j'),
      node('Flatten', ['j'], 'k'),
      node('Gemm', ['k', 'w4', 'b4'], 'y', { transB: 1 }),
      node('Softmax', ['y'], 'p', { axis: -1 }),
    ],
    constants: {
      w1: random(1, [6, 4, 3, 3], 2),
      b1: random(2, [6]),
      zero: { shape: [], floats: [0] },
      six: { shape: [], floats: [6] },
      grouped: { integers: [1, 2, 3, 6, 6] },
      joined: { integers: [1, 6, 6, 6] },
      w2: random(3, [4, 3, 3, 3]),
      w3: random(4, [4, 6, 3, 3], 0.3),
      w4: random(5, [5, 4], 1),
      b4: random(6, [5]),
    },
  },
  'measurements, two outputs, one of them a probability': {
    input: ['N', 9],
    nodes: [
      node('Sub', ['x', 'mean'], 'a'),
      node('Div', ['a', 'deviation'], 'b'),
      node('Gemm', ['b', 'w1', 'b1'], 'c'),
      node('Relu', ['c'], 'd'),
      node('Gemm', ['d', 'w2', 'b2'], 'e'),
      node('Relu', ['e'], 'f'),
      node('Gemm', ['f', 'w3'], 'g'),
      node('Sigmoid', ['g'], 'chance'),
      node('Gemm', ['d', 'w4', 'b4'], 'amount'),
    ],
    constants: {
      mean: random(11, [9], 20, 50),
      deviation: random(12, [9], 5, 10),
      w1: random(13, [9, 16]),
      b1: random(14, [16]),
      w2: random(15, [16, 8]),
      b2: random(16, [8]),
      w3: random(17, [8, 1], 1),
      w4: random(18, [16, 3], 40),
      b4: random(19, [3], 100),
    },
    outputs: ['chance', 'amount'],
  },
  'a mask of ReLUs over parabolas that open both ways': {
    input: [1, 3, 6, 6],
    nodes: [
      node('Conv', ['x', 'w1', 'b1'], 'a', { pads: [1, 1, 1, 1] }),
      ...maskedNodes(),
      node('Conv', ['y', 'w2'], 'c'),
      node('GlobalAveragePool', ['c'], 'g'),
      node('Flatten', ['g'], 'f'),
    ],
    constants: {
      w1: random(1, [4, 3, 3, 3], 1),
      b1: random(2, [4]),
      w2: random(3, [5, 4, 3, 3], 1),
      ...maskedConstants([0.2, -0.1, 0.3, 0.15]),
    },
  },
};

describe('networks of tests in private', () => {
  it.each(Object.entries(SPECS))('%s', async (_name, spec) => {
    const graph = readOnnx(modelOf(spec), { numbers: true });
    const isTable = spec.input.length === 2;
    const x = values(7, graph.input.shape).map((v) => (isTable ? 50 + 30 * v : v));
    const made = compiled(graph, x);
    const answer = await privately(made.model, x);
    expectWithin(made, answer, expectedOf(graph, made.model, x));
  });
});
