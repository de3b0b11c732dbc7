/**
 * The public types of the packages, as text under version control: a change of an API is seen in review as a change of
 * `api/NAME.txt`. `npx vitest run test/layout/api.test.ts -u` writes it anew.
 */

import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { notBuilt } from '../system/support.ts';

const dist = resolve(import.meta.dirname, '../../dist');
const entries = {
  client: 'client/index.d.ts',
  cost: 'client/cost.d.ts',
  server: 'server/index.d.ts',
  models: 'models/index.d.ts',
};
const paths = Object.values(entries).map((path) => join(dist, path));
const skipped = notBuilt ?? (paths.every((path) => existsSync(path)) ? undefined : 'no types');
if (skipped) console.log(`public types skipped: ${skipped}`);

/** Declarations of all that a module exports, by name, without comments. */
function exportsOf(program: ts.Program, path: string): string {
  const checker = program.getTypeChecker();
  const printer = ts.createPrinter({ removeComments: true });
  const module = checker.getSymbolAtLocation(program.getSourceFile(path)!)!;
  const symbols = checker
    .getExportsOfModule(module)
    .map((symbol) => ({
      name: symbol.name,
      own: symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol,
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const lines = symbols.flatMap(({ name, own }) =>
    own.declarations!.map((declaration) => {
      // Of a variable all is in its statement.
      const node = ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration;
      const text = printer.printNode(ts.EmitHint.Unspecified, node, node.getSourceFile());
      return own.name === name ? text : `// as ${name}\n${text}`;
    }),
  );
  return `${lines.join('\n')}\n`;
}

describe.skipIf(skipped !== undefined)('the public types', () => {
  const program = skipped
    ? undefined
    : ts.createProgram(paths, {
        module: ts.ModuleKind.NodeNext,
        target: ts.ScriptTarget.ES2022,
        types: ['node'],
        skipLibCheck: true,
      });

  it.each(Object.entries(entries))('%s: are those under version control', async (name, path) => {
    const text = exportsOf(program!, join(dist, path));
    expect(text.length).toBeGreaterThan(500);
    await expect(text).toMatchFileSnapshot(`api/${name}.txt`);
  });
});
