/**
 * Every snippet of code in the documents compiles against what is here. What it takes from the text around it stands before it in a
 * comment, `<!-- with: declare const x: T; -->`. A block of JavaScript is checked by what TypeScript finds out by itself.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { root } from '../system/serving.ts';

const guides = readdirSync(join(root, 'client/guides')).map((name) => `client/guides/${name}`);
const documents = [
  ...[
    'README.md',
    'client/README.md',
    'server/README.md',
    'models/README.md',
    'models/RESEARCH.md',
  ],
  ...['bench/README.md', 'protocol/README.md', 'models/onnx/EXPORT.md'],
  ...['SECURITY.md', 'CONTRIBUTING.md', 'client/examples/README.md', 'test/README.md'],
  ...guides,
];

/** Whose types are not installed, so that what is made of them is not known. */
const FOREIGN = ['electron', 'esbuild'];

interface Snippet {
  /** A file's name beside which it would stand. */
  readonly file: string;
  readonly code: string;
}

/** The snippets of a document; the module of an HTML block is one. */
function snippetsOf(document: string): Snippet[] {
  const text = readFileSync(join(root, document), 'utf8');
  const fences = /(?:<!-- with: ([\s\S]*?) -->\n+)?^```(ts|tsx|js|html)\n([\s\S]*?)^```$/gm;
  return [...text.matchAll(fences)].flatMap(({ 1: given = '', 2: kind, 3: body, index }) => {
    const line = text.slice(0, index).split('\n').length;
    const module = /<script type="module">([\s\S]*?)<\/script>/.exec(body!)?.[1];
    const code = kind === 'html' ? module : body;
    if (code === undefined) return [];
    const name = `${document.replaceAll(/[/.]/g, '-')}-${line}.${kind === 'html' ? 'js' : kind}`;
    // A module, whatever it imports; on one line, so that lines are those of the block.
    return [{ file: join(root, '.cache/snippets', name), code: `${given}export {};${code}` }];
  });
}

/** What the compiler says of snippets. */
function complaints(snippets: readonly Snippet[], options: ts.CompilerOptions): string[] {
  const codes = new Map(snippets.map(({ file, code }) => [file, code]));
  for (const name of FOREIGN) {
    codes.set(join(root, `.cache/snippets/${name}.d.ts`), `declare module '${name}';`);
  }
  // What another guide imports.
  const component = snippets.find(({ file }) => file.includes('guides-react'));
  if (component) codes.set(join(root, '.cache/snippets/classify.tsx'), component.code);
  const all: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    types: ['node'],
    jsx: ts.JsxEmit.ReactJSX,
    skipLibCheck: true,
    noEmit: true,
    allowImportingTsExtensions: true,
    paths: {
      sotto: [join(root, 'client/api.ts')],
      'sotto/cost': [join(root, 'client/cost.ts')],
      '@sotto/server': [join(root, 'server/index.ts')],
      '@sotto/server/metrics': [join(root, 'server/metrics.ts')],
      '@sotto/models': [join(root, 'models/index.ts')],
    },
    ...options,
  };
  const host = ts.createCompilerHost(all);
  const { fileExists, directoryExists, readFile, getSourceFile } = host;
  host.fileExists = (file) => codes.has(file) || fileExists(file);
  host.directoryExists = (folder) =>
    folder === join(root, '.cache/snippets') || directoryExists!(folder);
  host.readFile = (file) => codes.get(file) ?? readFile(file);
  host.getSourceFile = (file, ...rest) => {
    const code = codes.get(file);
    return code === undefined
      ? getSourceFile(file, ...rest)
      : ts.createSourceFile(file, code, all.target!, true);
  };
  const program = ts.createProgram([...codes.keys()], all, host);
  return snippets.flatMap(({ file }) => {
    const source = program.getSourceFile(file);
    return [
      ...program.getSyntacticDiagnostics(source),
      ...program.getSemanticDiagnostics(source),
    ].map(({ messageText }) => {
      const name = file.slice(file.lastIndexOf('/') + 1);
      return `${name}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
    });
  });
}

describe('the snippets of the documents', () => {
  const all = documents.flatMap(snippetsOf);
  const typed = all.filter(({ file }) => /\.tsx?$/.test(file));
  const plain = all.filter(({ file }) => file.endsWith('.js'));

  it('are found', () => {
    expect(typed.length).toBeGreaterThanOrEqual(10);
    expect(plain.length).toBeGreaterThanOrEqual(5);
  });

  it('compile, those in TypeScript strictly', () => {
    expect(complaints(typed, { strict: true, exactOptionalPropertyTypes: true })).toEqual([]);
  });

  it('compile, those in JavaScript as far as types can be found out', () => {
    expect(complaints(plain, { allowJs: true, checkJs: true, strict: false })).toEqual([]);
  });

  it('would be found wrong, were they', () => {
    const wrong = (file: string, code: string) => ({
      file: join(root, '.cache/snippets', file),
      code,
    });
    const option = `import { connect } from 'sotto'; await connect('ws://x', { kepReady: 2 }); export {};`;
    const name = `import { conect } from 'sotto'; export {};`;
    expect(complaints([wrong('a.ts', option), wrong('b.ts', name)], { strict: true })).toEqual([
      expect.stringMatching(/^a\.ts: .*kepReady/),
      expect.stringMatching(/^b\.ts: .*conect/),
    ]);
  });
});
