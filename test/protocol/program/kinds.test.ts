/** A kind of elements cannot be added halfway: what has to know of it does not compile before it does. */

import { relative, resolve } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { checkProgram } from '../../../protocol/program/check.ts';
import { decodeProgram, encodeProgram } from '../../../protocol/program/encode.ts';
import {
  countAll,
  countKinds,
  IDENTITY,
  isKind,
  KIND_BITS,
  KINDS,
  kindOf,
  kindsIn,
  RELU,
  SQUARE,
} from '../../../protocol/program/kinds.ts';
import type { Program, Step } from '../../../protocol/program/program.ts';
import { everyStep } from './models.ts';

describe('element kinds', () => {
  it('have the codes 0 and upwards, which fit the bits they are given', () => {
    expect([IDENTITY, RELU, SQUARE]).toEqual([0, 1, 2]);
    expect([...KINDS].sort()).toEqual(KINDS.map((_, code) => code));
    expect(KIND_BITS).toBe(2);
    expect([0, 1, 2, 3, 255].map(isKind)).toEqual([true, true, true, false, false]);
  });

  it('have different names', () => {
    for (const field of ['name', 'plural', 'count'] as const) {
      expect(new Set(KINDS.map((kind) => kindOf(kind)[field])).size).toBe(KINDS.length);
    }
  });

  it('are found and counted in maps', () => {
    const map = Uint8Array.of(IDENTITY, RELU, RELU);
    expect(kindsIn(map)).toEqual([RELU, IDENTITY]);
    const counts = countKinds(map, Uint8Array.of(SQUARE));
    expect(counts).toEqual({ relus: 2, squares: 1, identities: 1 });
    expect(countAll(counts)).toBe(4);
  });

  it('are refused when nobody knows them, by both parties', () => {
    const { program } = everyStep(1);
    const steps = program.steps.map((step): Step => {
      if (step.op !== 'activation') return step;
      const kinds = step.kinds.slice();
      kinds[5] = 3;
      return { ...step, kinds };
    });
    const strange: Program = { ...program, steps };
    const sentence =
      /"act1".*holds the code 3, which is no element kind \(ReLU, square, identity\)/;
    expect(() => checkProgram(strange)).toThrow(sentence);
    expect(() => decodeProgram(encodeProgram(strange))).toThrow(sentence);
  });
});

const root = resolve(import.meta.dirname, '../../..');
const kindsFile = resolve(root, 'protocol/program/kinds.ts');
const { config } = ts.readConfigFile(resolve(root, 'tsconfig.json'), ts.sys.readFile);
const { options, fileNames } = ts.parseJsonConfigFileContent(config, ts.sys, root);
/** The source files that name kinds, or types made of them. */
const sources = fileNames.filter(
  (name) =>
    !relative(root, name).startsWith('test') &&
    /kinds\.ts'|\b(RELU|KindName|RestKind|OperatorClass)\b/.test(ts.sys.readFile(name)!),
);
const original = ts.sys.readFile(kindsFile)!;
let last: ts.Program | undefined;

/** Those of some source files that do not compile when kinds.ts has this text. */
function broken(text: string, files: readonly string[] = sources): string[] {
  const host = ts.createCompilerHost(options);
  const read = host.getSourceFile;
  host.getSourceFile = (name, how) => {
    if (resolve(name) === kindsFile) return ts.createSourceFile(name, text, how);
    // The others are as before: they are parsed once.
    return last?.getSourceFile(name) ?? read(name, how);
  };
  const program = ts.createProgram(sources, options, host);
  last = program;
  return files
    .filter((name) => program.getSemanticDiagnostics(program.getSourceFile(name)).length > 0)
    .map((name) => relative(root, name))
    .sort();
}

/** The text of kinds.ts with a fourth kind, described by these fields. */
function withCube(fields: readonly string[]): string {
  const edits: readonly (readonly [string, string])[] = [
    ['typeof IDENTITY] = [', 'typeof IDENTITY, 3] = ['],
    ['  IDENTITY,\n]', '  IDENTITY,\n  3,\n]'],
    ['interface Names {', "interface Names { 3: { name: 'cube'; count: 'cubes' };"],
    [
      'const descriptors: Descriptors = {',
      `const descriptors: Descriptors = { 3: { ${fields.join(', ')} },`,
    ],
  ];
  const made = fields.length === 0 ? edits.slice(0, 2) : edits;
  return made.reduce((text, [place, edited]) => {
    expect(text.split(place).length).toBe(2);
    return text.replace(place, edited);
  }, original);
}

const FIELDS = [
  "name: 'cube'",
  "plural: 'cubes'",
  "count: 'cubes'",
  'maxRangeBits: 30',
  'compares: false',
  'merges: true',
  'shift: ({ shift }) => shift',
  'ringBits: offsetRingBits',
  'fault: scaleFault',
  'clear: (x, { shift }, { truncate }) => truncate(x, shift) ** 3',
];

/** Where a kind has to be known beside its descriptor. */
const PLACES = [
  'bench/page/drawing.ts',
  'bench/points.ts',
  'models/compile/squares.ts',
  'models/graph/kinds.ts',
  'models/graph/operators.ts',
  'protocol/gadgets/index.ts',
  'protocol/inference/errors.ts',
];

describe('a fourth kind', () => {
  it('does not exist yet, and its places compile', () => {
    // That the other sources compile as well, the last of these tests sees.
    expect(broken(original, [kindsFile, ...PLACES.map((path) => resolve(root, path))])).toEqual([]);
  });

  it('does not compile without its descriptor', () => {
    expect(broken(withCube([]), [kindsFile])).toEqual(['protocol/program/kinds.ts']);
  });

  it('does not compile with half a descriptor', () => {
    for (const field of FIELDS) {
      const others = FIELDS.filter((other) => other !== field);
      expect(broken(withCube(others), [kindsFile]), field).toEqual(['protocol/program/kinds.ts']);
    }
  });

  it('with its descriptor does not compile before every place knows it', () => {
    expect(broken(withCube(FIELDS))).toEqual(PLACES);
  });
});
