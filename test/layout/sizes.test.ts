/** How long files, functions and lists of parameters may be, and that an exported name has one meaning. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { files, root, sources } from './sources.ts';

interface Measured {
  readonly file: string;
  readonly name: string;
  readonly lines: number;
  readonly parameters: number;
}

const parsed = files.map((file) =>
  ts.createSourceFile(
    file,
    readFileSync(join(root, file), 'utf8'),
    ts.ScriptTarget.Latest,
    true,
    file.endsWith('.mjs') ? ts.ScriptKind.JS : ts.ScriptKind.TS,
  ),
);

const lineOf = (source: ts.SourceFile, at: number) => source.getLineAndCharacterOfPosition(at).line;

/** Functions, methods and arrows, those inside of others included. */
function functionsOf(source: ts.SourceFile): Measured[] {
  const found: Measured[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body !== undefined) {
      const held = ts.isVariableDeclaration(node.parent) ? node.parent.name : node.name;
      found.push({
        file: source.fileName,
        name: held?.getText() ?? '(none)',
        lines: lineOf(source, node.end) - lineOf(source, node.getStart()) + 1,
        parameters: node.parameters.length,
      });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

const functions = parsed.flatMap(functionsOf);

/** Names that a file exports of what it declares, without what it passes on. */
function exportsOf(source: ts.SourceFile): string[] {
  return source.statements.flatMap((statement) => {
    const isExported =
      ts.canHaveModifiers(statement) &&
      ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
    if (!isExported) return [];
    const declared = ts.isVariableStatement(statement)
      ? statement.declarationList.declarations
      : [statement as unknown as ts.NamedDeclaration];
    return [...new Set(declared.map(({ name }) => name!.getText()))];
  });
}

/** Names that several files may export, and why. */
const SHARED: readonly { because: string; files: readonly string[]; names: readonly string[] }[] = [
  {
    because: 'one interface, which api.ts declares and each platform offers',
    files: [
      ...['api', 'browser', 'index', 'canvas', 'image', 'hint-storage'].map(
        (name) => `client/${name}.ts`,
      ),
      'protocol/inference/threads.ts',
    ],
    names: [
      ...['connect', 'models', 'openSession', 'createPool', 'PoolOptions'],
      ...['pixelsOf', 'readImage', 'storedHints'],
    ],
  },
  {
    because: 'what a program costs, to callers, and to what has its layout',
    files: ['client/cost.ts', 'protocol/inference/cost.ts'],
    names: ['costOf'],
  },
  {
    because: 'the pool task of a step is called like the step',
    files: ['protocol/inference/tasks.ts', 'protocol/ot/setup.ts'],
    names: ['chooseSetup', 'keySetup'],
  },
  {
    because: 'the pool task of a step is called like the step',
    files: [
      'protocol/linear/tasks.ts',
      ...['bundle', 'exact', 'hint'].map((name) => `protocol/linear/hint/${name}.ts`),
    ],
    names: [
      ...['makeHint', 'decodeHint', 'maskInput'],
      ...['clientShares', 'serverShares', 'exactServerShares'],
    ],
  },
  {
    because: 'what reads an operator of ONNX is called like the operator',
    files: [
      ...['bends', 'concat', 'moves', 'pointwise'].map(
        (name) => `models/onnx/operators/${name}.ts`,
      ),
      ...['models/reduce/reshape.ts', 'models/train/data/images.ts', 'protocol/gadgets/bits.ts'],
      ...['protocol/gadgets/relu.ts', 'protocol/ring/gather.ts', 'protocol/ring/tensor.ts'],
    ],
    names: ['add', 'concat', 'gather', 'relu', 'reshape', 'slice'],
  },
  {
    because: 'a node of a graph and what it is compiled to',
    files: ['models/compile/network.ts', 'models/graph/graph.ts'],
    names: ['ActivationNode', 'AddNode', 'ConcatNode', 'GatherNode', 'MaxPoolNode'],
  },
  {
    because: 'the entry point that a pool calls in its worker',
    files: [
      ...['bench/stand/trace-worker.ts', 'models/compile/worker.ts', 'models/train/worker.ts'],
      'protocol/inference/worker.ts',
    ],
    names: ['run'],
  },
  {
    because: 'public in different packages or namespaces, where another name would break users',
    files: ['client/images.ts', 'models/samples/raster.ts'],
    names: ['Fit'],
  },
  {
    because: 'public in different packages or namespaces, where another name would break users',
    files: ['models/onnx/reader.ts', 'server/authorize.ts'],
    names: ['Refusal'],
  },
  {
    because: 'public in different packages or namespaces, where another name would break users',
    files: ['models/graph/graph.ts', 'protocol/ring/shape.ts'],
    names: ['Shape'],
  },
  {
    because: 'public in different packages or namespaces, where another name would break users',
    files: ['models/compile/score.ts', 'models/train/loop.ts'],
    names: ['score'],
  },
];

/** Functions that may have more than five parameters, and why. */
const LONG_LISTS: Readonly<Record<string, string>> = {
  'models/reduce/within.ts reduceWithin': 'public: the list of `reduce`, and what prices',
  'protocol/garble/halfgates.ts and': 'runs once a gate, where an object costs time',
};

describe('sizes and names', () => {
  it('no source file and no test is longer than 500 lines', () => {
    const long = [...files, ...sources('test')]
      .map((file) => [file, readFileSync(join(root, file), 'utf8').split('\n').length] as const)
      .filter(([, lines]) => lines > 500);
    expect(files.length).toBeGreaterThan(60);
    expect(long).toEqual([]);
  });

  it('no function is longer than 100 lines, and of a hundred functions 99 have at most 60', () => {
    expect(functions.length).toBeGreaterThan(1000);
    expect(functions.filter(({ lines }) => lines > 100)).toEqual([]);
    const over = functions.filter(({ lines }) => lines > 60);
    expect(over.length).toBeLessThanOrEqual(functions.length / 100);
  });

  it('no function has more than five parameters, but for those that are listed with a reason', () => {
    const long = functions
      .filter(({ parameters }) => parameters > 5)
      .map(({ file, name }) => `${file} ${name}`);
    expect([...new Set(long)].sort()).toEqual(Object.keys(LONG_LISTS).sort());
  });

  it('no name is exported by two source files, but for those that are listed with a reason', () => {
    const places = new Map<string, string[]>();
    for (const source of parsed) {
      // Examples stand alone.
      if (source.fileName.startsWith('client/examples')) continue;
      for (const name of exportsOf(source)) {
        places.set(name, [...(places.get(name) ?? []), source.fileName]);
      }
    }
    const twice = [...places].filter(([, of]) => of.length > 1);
    const isListed = (name: string, of: readonly string[]) =>
      SHARED.some(({ names, files }) => names.includes(name) && of.every((f) => files.includes(f)));
    expect(twice.filter(([name, of]) => !isListed(name, of))).toEqual([]);
    const names = new Set(twice.map(([name]) => name));
    expect(SHARED.flatMap((entry) => entry.names).filter((name) => !names.has(name))).toEqual([]);
  });
});
