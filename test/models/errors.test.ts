/** The codes of what models/ refuses: each of them by calls that fail, in the documents, and at every throw. */

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { PNG } from 'pngjs';
import { afterAll, describe, expect, it } from 'vitest';
import {
  checkOnnx,
  compile,
  compileFile,
  type Graph,
  inferShapes,
  isModelError,
  loadGraph,
  loadNamed,
  ModelError,
  preprocess,
  readImages,
  readOnnx,
  readOnnxFile,
  readSafetensors,
  reduction,
  resNetCifar,
  runFloat,
  saveGraph,
  training,
} from '../../models/index.ts';
import { readGraph } from '../../models/read.ts';
import { bars, everyOperator, randomImage } from './networks.ts';
import { modelOf, node, random } from './onnx/models.ts';
import { smallResNet, smallTraining } from './reduce/support.ts';

const root = resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'sotto-errors-'));
afterAll(() => rmSync(folder, { recursive: true }));

function written(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at]! ^= 1;
  return copy;
}

async function failure(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  throw new Error('it did not fail');
}

const graph = everyOperator();
const image = randomImage(graph, 1);
const convolution = {
  input: [1, 2, 4, 4],
  nodes: [node('Conv', ['x', 'w'], 'y')],
  constants: { w: random(1, [2, 2, 3, 3]) },
};
const unknown = modelOf({
  input: [1, 2, 4, 4],
  nodes: [node('Sigmoid', ['x'], 'a'), node('Relu', ['a'], 'y')],
});

/** The same network with one node changed. */
function changed(id: string, change: object): Graph {
  const nodes = graph.nodes.map((own) => (own.id === id ? { ...own, ...change } : own));
  return { ...graph, nodes };
}

const set = bars(64);
const fit = { epochs: 1, seed: 1, optimiser: new training.Sgd(), schedule: training.cosine(0.01) };

const calls: readonly (readonly [code: string, what: string, call: () => unknown])[] = [
  ['argument', 'an option out of its range', () => compile(graph, [image], { margin: 0.5 })],
  [
    'argument',
    'labels that are not one an output',
    () => compile(graph, [image], { labels: ['a'] }),
  ],
  ['argument', 'a network that nobody published', () => loadNamed('resnet19', new Uint8Array())],
  ['argument', 'a depth that no ResNet has', () => resNetCifar(21)],
  [
    'argument',
    'a budget above all ReLUs',
    () => reduction.reduce(smallResNet(), 1e6, 'random', smallTraining()),
  ],
  [
    'argument',
    'an output that the model has not',
    () => readOnnx(modelOf(convolution), { output: 'z' }),
  ],
  [
    'argument',
    'an open extent that nobody says',
    () => readOnnx(modelOf({ ...convolution, input: [1, 2, 'h', 'w'] })),
  ],
  ['file', 'a changed byte of a network file', () => loadGraph(flipped(saveGraph(graph), 500))],
  [
    'file',
    'a network file cut short',
    () => compileFile(saveGraph(graph).subarray(0, -40), [image]),
  ],
  ['file', 'bytes that are no ONNX model', () => readOnnx(Uint8Array.of(255, 255, 255))],
  [
    'file',
    'an ONNX file cut short',
    () => readOnnxFile(written('cut.onnx', modelOf(convolution).subarray(0, -30))),
  ],
  [
    'file',
    'an ONNX tensor that lacks numbers',
    () =>
      readOnnx(
        modelOf({ ...convolution, constants: { w: { shape: [2, 2, 3, 3], floats: [1, 2] } } }),
      ),
  ],
  ['file', 'bytes that are no safetensors file', () => readSafetensors(new Uint8Array(64))],
  [
    'file',
    'a damaged picture',
    () => {
      const bytes = PNG.sync.write(new PNG({ width: 9, height: 9 }));
      return readImages([written('damaged.png', flipped(bytes, 45))], { shape: [1, 9, 9] });
    },
  ],
  [
    'file',
    'a table with a word for a number',
    () => readImages([written('words.csv', '1,2\n3,four\n')], { shape: [1, 1, 2], numbers: true }),
  ],
  ['network', 'an operator without a counterpart', () => readOnnx(unknown)],
  [
    'network',
    'a stride of a node that cannot be',
    () => inferShapes(changed('conv1', { stride: [0, 1] })),
  ],
  [
    'network',
    'a batch norm of a tensor that is not there',
    () => compile(changed('norm1', { mean: 'none' }), [image]),
  ],
  ['data', 'an image of another size', () => runFloat(graph, image.subarray(1))],
  ['data', 'pixels of another image', () => preprocess(graph.input, new Uint8Array(3))],
  ['data', 'no samples', () => compile(graph, [])],
  [
    'data',
    'a picture of another size',
    () =>
      readImages([written('small.png', PNG.sync.write(new PNG({ width: 2, height: 2 })))], {
        shape: [1, 9, 9],
      }),
  ],
  [
    'data',
    'a label beyond the classes',
    () => {
      const own = smallTraining();
      const { labels } = own.training;
      return reduction.reduce(smallResNet(), 8, 'random', {
        ...own,
        training: { ...own.training, labels: labels.map(() => 9) },
      });
    },
  ],
  [
    'data',
    'a set smaller than a batch',
    () => training.train(new training.Network(graph, 65), set, fit),
  ],
  [
    'fixed-point',
    'ranges beyond the bits asked for',
    () => compile(graph, [image], { activationBits: 20, weightBits: 16, margin: 1000 }),
  ],
  [
    'diverged',
    'a learning rate without measure',
    () =>
      training.train(new training.Network(graph, 16), set, {
        ...fit,
        schedule: () => 1e30,
      }),
  ],
  [
    'checkpoint',
    'a checkpoint of another network',
    () => {
      const file = training.saveCheckpoint(
        new training.Network(smallResNet(), 4),
        new training.Sgd(),
        1,
      );
      return training.loadCheckpoint(file, new training.Network(graph, 4), new training.Sgd());
    },
  ],
  [
    'checkpoint',
    'a network in place of a checkpoint',
    () =>
      training.loadCheckpoint(saveGraph(graph), new training.Network(graph, 4), new training.Sgd()),
  ],
];

describe('errors of models', () => {
  it.each(calls)('%s: %s', async (code, _what, call) => {
    const error = await failure(call);
    expect(error).toBeInstanceOf(ModelError);
    expect(error).toBeInstanceOf(RangeError);
    expect(error).toMatchObject({ name: 'ModelError', code });
    expect(isModelError(error)).toBe(true);
  });

  it('have no other codes than those that fail here, in the type and in the README', () => {
    const known = [...new Set(calls.map(([code]) => code))];
    const source = readFileSync(join(root, 'models/errors.ts'), 'utf8');
    expect([...source.matchAll(/^ {2}\| '([a-z-]+)'/gm)].map(([, code]) => code)).toEqual(known);
    const section = readFileSync(join(root, 'models/README.md'), 'utf8').split('\n## Errors\n')[1]!;
    const table = section.split('\n## ')[0]!.matchAll(/^\| `([a-z-]+)` \|/gm);
    expect([...table].map(([, code]) => code)).toEqual(known);
  });

  it('name the file of a network that is read by a path, and keep the code', async () => {
    const error = await failure(() => readGraph(written('unknown.onnx', unknown), {}));
    expect(error).toMatchObject({ code: 'network' });
    expect((error as Error).message).toMatch(/unknown\.onnx: node 'Sigmoid of a'/);
  });

  it('are told of every node that cannot be read', () => {
    const { refused } = checkOnnx(unknown);
    expect(refused!.map(({ op, code }) => [op, code])).toEqual([['Sigmoid', 'network']]);
  });

  it('are not what Node says of a file that is not there', async () => {
    const error = await failure(() => readOnnxFile(join(folder, 'none.onnx')));
    expect(error).toMatchObject({ code: 'ENOENT' });
    expect(isModelError(error)).toBe(false);
  });
});

const built = new URL('../../dist/models/measuring.js', import.meta.url);
const isBuilt = existsSync(built);
if (!isBuilt) console.log('errors of threads skipped: dist/ is missing, run `npm run build` first');

it.skipIf(!isBuilt)('an error of a thread keeps its code', async () => {
  const { measureOnThreads } = await import(built.href);
  const images = [image, image.map(() => Number.NaN)];
  const wanted = new Map([['out', { id: graph.output }]]);
  const error = await failure(() => measureOnThreads(graph, wanted, images));
  expect(error).toBeInstanceOf(RangeError);
  expect(isModelError(error)).toBe(true);
  expect(error).toMatchObject({ code: 'data', message: expect.stringContaining('not finite') });
});

/** What is thrown without a code, and why. */
const BARE: Readonly<Record<string, string>> = {
  'compile/affine.ts': 'an assertion: no caller passes a dense layer',
  'onnx/table.ts': "for the script that runs ONNX's tests: a wrong result is a mistake of Sotto's",
  'reduce/audit.ts': 'for the command: packages that draw are not installed',
  'reduce/command.ts': 'for the command: SIGINT has stopped it',
};

it('nothing else in models/ throws an error without a code', () => {
  const files = readdirSync(join(root, 'models'), { recursive: true, encoding: 'utf8' });
  const sources = files.filter((name) => name.endsWith('.ts') && !name.includes('assembly'));
  expect(sources.length).toBeGreaterThan(100);
  const bare = sources.filter((name) => {
    const text = readFileSync(join(root, 'models', name), 'utf8');
    return /\bnew (?:Range|Type)?Error\(|extends (?:Range|Type)?Error\b/.test(text);
  });
  expect(bare.map((name) => name.replaceAll('\\', '/')).sort()).toEqual(
    [...Object.keys(BARE), 'errors.ts'].sort(),
  );
});
