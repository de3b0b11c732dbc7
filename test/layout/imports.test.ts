/**
 * The rules of the layout that a compiler does not hold: who may import whom, no circles, the core pure.
 * README, "Layout".
 */

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { files, root } from './sources.ts';

interface Import {
  readonly from: string;
  /** A path relative to the root, or a package. */
  readonly to: string;
  readonly typeOnly: boolean;
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8');
  const pattern = /^(?:import|export)\s+(type\s)?[^'"]*?from\s+'([^']+)'|^import\s+'([^']+)'/gm;
  return [...text.matchAll(pattern)].map(([, type, path, bare]) => {
    const target = (path ?? bare) as string;
    const local = target.startsWith('.');
    const to = local ? relative(root, resolve(root, dirname(file), target)) : target;
    return { from: file, to, typeOnly: type !== undefined };
  });
}

const imports = files.flatMap(importsOf);

/** Modules of protocol/ from the ground up; a module imports modules of lower floors and itself. */
const floors: Record<string, number> = {
  'protocol/errors.ts': 0,
  'protocol/bulk.ts': 0,
  'protocol/files.ts': 0,
  'protocol/terminal.ts': 0,
  'protocol/units.ts': 0,
  'protocol/kernels': 1,
  'protocol/random': 2,
  'protocol/ring': 2,
  'protocol/program': 3,
  'protocol/linear': 4,
  'protocol/ot': 4,
  'protocol/garble': 4,
  'protocol/compare': 5,
  'protocol/gadgets': 6,
  'protocol/channel': 6,
  'protocol/pool': 6,
  'protocol/inference': 7,
};

/** Modules of models/, likewise. */
const modelFloors: Record<string, number> = {
  'models/errors.ts': 0,
  'models/files.ts': 0,
  'models/fit.ts': 5,
  'models/nearest.ts': 0,
  'models/plot.ts': 0,
  'models/random.ts': 0,
  'models/graph': 1,
  'models/onnx': 2,
  'models/shipped.ts': 2,
  'models/networks': 3,
  'models/train': 3,
  'models/compile': 4,
  'models/read.ts': 4,
  'models/samples': 4,
  'models/measuring.ts': 5,
  'models/reduce': 6,
  'models/zoo': 7,
  'models/studies': 8,
};

const moduleOf = (path: string, of: Record<string, number>) =>
  Object.keys(of).find((module) => path === module || path.startsWith(`${module}/`));

/** Imports, those of types included, that do not run down. */
const upwards = (of: Record<string, number>) =>
  imports.filter(({ from, to }) => {
    const own = moduleOf(from, of);
    const other = moduleOf(to, of);
    return own !== undefined && other !== undefined && own !== other && of[other]! >= of[own]!;
  });

const inside = (folder: string) => (path: string) =>
  path === folder || path.startsWith(`${folder}/`);

describe('the layout', () => {
  it('has files to look at', () => {
    expect(files.length).toBeGreaterThan(60);
    expect(imports.length).toBeGreaterThan(200);
  });

  it('protocol imports no client, server, models or bench', () => {
    const upper = ['client', 'server', 'models', 'bench', 'cli.ts'].map(inside);
    const wrong = imports.filter(
      ({ from, to }) => inside('protocol')(from) && upper.some((is) => is(to)),
    );
    expect(wrong).toEqual([]);
  });

  it('client imports protocol alone, server no client and no models', () => {
    const wrong = imports.filter(
      ({ from, to }) =>
        (inside('client')(from) && ['server', 'models', 'bench'].some((f) => inside(f)(to))) ||
        (inside('server')(from) && ['client', 'models', 'bench'].some((f) => inside(f)(to))),
    );
    expect(wrong).toEqual([]);
  });

  it('models import neither client nor server', () => {
    const wrong = imports.filter(
      ({ from, to }) => inside('models')(from) && ['client', 'server'].some((f) => inside(f)(to)),
    );
    expect(wrong).toEqual([]);
  });

  it('models import protocol/program, protocol/ring what those stand on, and what it costs to run', () => {
    const allowed = [
      ...['program', 'ring', 'kernels', 'random', 'errors.ts', 'files.ts', 'linear', 'pool'],
      'terminal.ts',
      'inference/cost.ts',
      'inference/errors.ts',
      'inference/layout.ts',
      'inference/links.ts',
      'inference/price.ts',
      'ot/groups.ts',
      'units.ts',
    ].map((module) => inside(`protocol/${module}`));
    const wrong = imports.filter(
      ({ from, to }) =>
        inside('models')(from) && inside('protocol')(to) && !allowed.some((is) => is(to)),
    );
    expect(wrong).toEqual([]);
  });

  it('imports run down the floors of protocol', () => {
    expect(upwards(floors)).toEqual([]);
  });

  it('imports run down the floors of models, on which all of its folders have a place', () => {
    expect(upwards(modelFloors)).toEqual([]);
    const folders = readdirSync(join(root, 'models'), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => `models/${name}`);
    expect(Object.keys(modelFloors)).toEqual(expect.arrayContaining(folders));
  });

  it('no command imports another', () => {
    const command = /command\.ts$/;
    const wrong = imports.filter(
      ({ from, to }) => command.test(from) && command.test(to) && from !== 'bench/command.ts',
    );
    expect(wrong).toEqual([]);
  });

  it('which backend linear layers have is known to protocol/linear alone', () => {
    const folder = /^protocol\/linear\/[^/]+\//;
    const wrong = imports.filter(
      ({ from, to }) => folder.test(to) && !inside('protocol/linear')(from),
    );
    expect(wrong).toEqual([]);
  });

  it('channel and pool know nothing of what they carry', () => {
    const wrong = imports.filter(
      ({ from, to }) =>
        (inside('protocol/channel')(from) || inside('protocol/pool')(from)) &&
        inside('protocol')(to) &&
        !inside('protocol/channel')(to) &&
        !inside('protocol/pool')(to) &&
        !['errors.ts', 'bulk.ts', 'slices.ts', 'random/running.ts'].includes(to.slice(9)),
    );
    expect(wrong).toEqual([]);
  });

  it('there is no circle of imports, those of types included', () => {
    const graph = new Map<string, string[]>();
    for (const { from, to } of imports) {
      if (files.includes(to)) graph.set(from, [...(graph.get(from) ?? []), to]);
    }
    const done = new Set<string>();
    const path: string[] = [];
    const circles: string[] = [];
    const visit = (file: string): void => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(' > '));
      if (done.has(file) || path.includes(file)) return;
      path.push(file);
      for (const next of graph.get(file) ?? []) visit(next);
      path.pop();
      done.add(file);
    };
    for (const file of files) visit(file);
    expect(circles).toEqual([]);
  });

  it('the core is synchronous', () => {
    const core = ['kernels', 'random', 'ring', 'linear', 'ot', 'garble', 'compare', 'gadgets'];
    const wrong = files.filter(
      (file) =>
        core.some((module) => inside(`protocol/${module}`)(file)) &&
        file.endsWith('.ts') &&
        /\b(async|await)\b(?=[^*\n]*[({=])/.test(
          readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, ''),
        ),
    );
    expect(wrong).toEqual([]);
  });

  it('protocol and client reach Node through the named files alone', () => {
    const nodeFiles = [
      'protocol/files.ts',
      'protocol/pool/node.ts',
      'protocol/program/png.ts',
      'client/index.ts',
      'client/image.ts',
      'client/hint-folder.ts',
      'client/command.ts',
    ];
    const nodeModule = /^(node:|piscina|ws$|pngjs|commander)/;
    const wrong = imports.filter(
      ({ from, to, typeOnly }) =>
        (inside('protocol')(from) || inside('client')(from)) &&
        !nodeFiles.includes(from) &&
        !typeOnly &&
        nodeModule.test(to) &&
        !from.endsWith('.mjs'),
    );
    expect(wrong).toEqual([]);
  });

  it('randomness never comes from Math.random, msgpackr is used by the codec alone', () => {
    const callers = files.filter((file) =>
      readFileSync(join(root, file), 'utf8').includes(['Math', 'random('].join('.')),
    );
    expect(callers).toEqual([]);
    const users = imports.filter(({ to }) => to.startsWith('msgpackr')).map(({ from }) => from);
    expect(new Set(users)).toEqual(new Set(['protocol/channel/codec.ts']));
  });
});
