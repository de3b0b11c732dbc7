/** `sotto reduce --method ./mine.js`, as it is run, with modules that are sound and others. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { countGraph, type Graph, loadGraph, saveGraph } from '../../../models/graph/index.ts';
import { reduce } from '../../../models/reduce/auto.ts';
import { loadMethod, type OwnMethod } from '../../../models/reduce/own.ts';
import { npy } from '../../support/arrays.ts';
import { pairs, smallResNet, smallTraining, trainedResNet } from './support.ts';

const root = resolve(import.meta.dirname, '../../..');
const cli = join(root, 'dist/cli.js');
let folder: string;
const at = (name: string) => join(folder, name);

function write(name: string, text: string): string {
  writeFileSync(at(name), text);
  return name;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-own-'));
  writeFileSync(at('dense.sottonet'), saveGraph(await trainedResNet(smallTraining())));
  const { pixels, labels } = pairs(600, 3);
  writeFileSync(at('images.npy'), npy([600, 8, 8], pixels, '|u1'));
  writeFileSync(at('labels.npy'), npy([600], labels, '|u1'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function run(method: string) {
  const short = ['--tune-epochs', '3', '--batch', '32', '--augment', 'none', '--workers', '1'];
  const args = ['reduce', 'dense.sottonet', '--data', 'images.npy', '--budget', '100', ...short];
  const done = spawnSync(process.execPath, [cli, ...args, '--method', method, '-o', 'small'], {
    cwd: folder,
    encoding: 'utf8',
  });
  return { code: done.status, out: done.stdout, error: done.stderr };
}

/** The module of the document, which finds the package among the built files. */
function documented(): string {
  const text = readFileSync(join(root, 'models/README.md'), 'utf8');
  const [, code] = /^```js\n(\/\/ mine\.js\n[\s\S]*?)^```$/m.exec(text) ?? [];
  expect(code).toContain("from '@sotto/models'");
  const built = new URL(`file://${join(root, 'dist/models/index.js')}`).href;
  return code!.replace("'@sotto/models'", `'${built}'`);
}

describe('a method that somebody brings', () => {
  it('is run by the command as the document has it: chooses, is tuned, compiled and carded', () => {
    const { code, out, error } = run(`./${write('mine.mjs', documented())}`);
    expect(code, error).toBe(0);
    expect(error).toMatch(/^own-100-tune: epoch 3\/3, loss /m);
    expect(out).toMatch(/^ +100 +\d+\.\d\d % .* own$/m);
    expect(out).toMatch(/small.sotto: \d+ bytes, 100 ReLUs, 0 squares, 380 identities\n$/);
    const card = JSON.parse(readFileSync(at('small.json'), 'utf8'));
    expect(card).toMatchObject({ method: './mine.mjs', budget: 100, relus: 100, identities: 380 });
    expect(countGraph(loadGraph(readFileSync(at('small.sottonet'))))).toMatchObject({ relus: 100 });
  });

  it.each<[string, string, string | undefined, RegExp]>([
    [
      'a file that is not there',
      './none.mjs',
      undefined,
      /^sotto: \.\/none\.mjs: there is no such file$/,
    ],
    [
      'a module without a default export',
      './bare.mjs',
      'export const mine = () => new Map();',
      /^sotto: \.\/bare\.mjs should have a function as its default export, \(graph, budget, training\) => scores, but has nothing$/,
    ],
    [
      'a default export that is no function',
      './object.mjs',
      'export default { scores: 1 };',
      /default export, .*, but has an object$/,
    ],
    [
      'a module that is no JavaScript',
      './broken.mjs',
      'export default function (',
      /^sotto: \.\/broken\.mjs cannot be loaded: .+$/,
    ],
    [
      'a method that throws',
      './throws.mjs',
      "export default () => { throw new TypeError('no such layer'); };",
      /^sotto: the method failed: no such layer$/,
    ],
  ])('is refused in one sentence: %s', (_what, method, text, sentence) => {
    if (text !== undefined) write(method, text);
    const { code, error } = run(method);
    expect(error.trim().split('\n').at(-1)).toMatch(sentence);
    expect(code).toBe(1);
  });

  it('may be typed without ./ and has to be a method or a module', async () => {
    write('typed.mjs', 'export default () => new Map();');
    expect(await loadMethod(at('typed.mjs'))).toBeTypeOf('function');
    expect(run('magic')).toMatchObject({
      code: 2,
      error: expect.stringMatching(
        /It must be one of autorep, .*, or a module such as \.\/mine\.js\./,
      ),
    });
  });
});

describe('what a method gives', () => {
  const graph = smallResNet();
  const training = smallTraining();
  const layers = graph.nodes.filter((node) => node.op === 'activation');
  const [first] = layers;
  const { id, kinds } = first!;
  const given = (made: unknown) =>
    reduce(graph, 400, (() => made) as OwnMethod, training, { tune: { epochs: 0 } });
  const zeros = (length: number) => new Float64Array(length);

  it('may be scores of some layers, then the others stay as they are', async () => {
    const order = Array.from(kinds, (_, i) => i);
    const [point] = await given(new Map([[id, order]]));
    expect(point).toMatchObject({ name: 'own', relus: 400 });
    const [own, ...others] = point!.graph.nodes.filter((node) => node.op === 'activation');
    // 80 of 480 go, those with the lowest scores.
    expect([...own!.kinds]).toEqual(order.map((i) => (i < 80 ? 0 : 1)));
    expect(others.every((layer) => layer.kinds.every((kind) => kind === 1))).toBe(true);
  });

  it('may come later, and may be a finished network, which is taken as it is', async () => {
    const nodes = graph.nodes.map((node) =>
      node.id === id ? { ...node, kinds: new Uint8Array(kinds.length) } : node,
    );
    const finished = { ...graph, nodes } as Graph;
    const [point] = await given(Promise.resolve(finished));
    expect(point!.graph).toBe(finished);
    expect(point!.relus).toBe(480 - kinds.length);
  });

  it.each<[string, unknown, RegExp]>([
    [
      'nothing',
      undefined,
      /^the method should give a Map of scores by the id of a layer, or a network, but gives nothing$/,
    ],
    ['an object of scores', { [id]: zeros(kinds.length) }, /but gives an object$/],
    ['scores of no layer', new Map(), /^the method gives scores of no layer$/],
    [
      'a layer that is not there',
      new Map([['stem', zeros(3)]]),
      /^the method gives scores of 'stem', which is none of the activation layers: /,
    ],
    [
      'too few scores',
      new Map([[id, zeros(kinds.length - 1)]]),
      new RegExp(
        `^the method should give ${kinds.length} scores of layer '${id}', one for each element, but gives ${kinds.length - 1} scores$`,
      ),
    ],
    ['a number for a layer', new Map([[id, 7]]), /one for each element, but gives a number$/],
    [
      'a score that is no number',
      new Map([[id, zeros(kinds.length).fill(Number.NaN, 5, 6)]]),
      /^the method's score of element 5 of layer '.*' is NaN: scores should be finite numbers$/,
    ],
    [
      'a budget that the other layers exceed',
      new Map([[layers.at(-1)!.id, zeros(layers.at(-1)!.kinds.length)]]),
      /a budget of 400 ReLUs cannot be met: \d+ are in layers that stay as they are/,
    ],
    [
      'a network of too many ReLUs',
      graph,
      /^the method's network has 480 ReLUs, the budget is 400$/,
    ],
    [
      'a network of another input',
      { ...graph, input: { ...graph.input, shape: [1, 16, 16] } },
      /^the method's network (has another input or other results than the given|is not sound: .+)$/,
    ],
    [
      'a network that is not sound',
      { ...graph, output: 'nowhere' },
      /^the method's network is not sound: .+$/,
    ],
  ])('is refused in one sentence: %s', async (_what, made, sentence) => {
    await expect(given(made)).rejects.toThrow(sentence);
  });
});
