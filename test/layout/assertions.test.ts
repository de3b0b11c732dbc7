/** Each `!` says that a value is there which the compiler cannot see to be: one that says nothing hides those that do. */

import { relative, resolve } from 'node:path';
import ts from 'typescript';
import { expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

function program(): ts.Program {
  const path = resolve(root, 'tsconfig.json');
  const { config } = ts.readConfigFile(path, ts.sys.readFile);
  const { options, fileNames } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  return ts.createProgram(fileNames, options);
}

/** What may lack a value: undefined or null, or a type that could be either. */
const LACKING =
  ts.TypeFlags.Undefined |
  ts.TypeFlags.Null |
  ts.TypeFlags.Any |
  ts.TypeFlags.Unknown |
  ts.TypeFlags.TypeParameter;

it('no non-null assertion stands where the type holds no undefined and no null', () => {
  const all = program();
  const checker = all.getTypeChecker();
  const idle: string[] = [];
  let count = 0;
  for (const file of all.getSourceFiles()) {
    if (file.isDeclarationFile || file.fileName.includes('node_modules')) continue;
    const visit = (node: ts.Node): void => {
      if (ts.isNonNullExpression(node)) {
        count++;
        const type = checker.getTypeAtLocation(node.expression);
        const parts = type.isUnion() ? type.types : [type];
        if (!parts.some(({ flags }) => (flags & LACKING) !== 0)) {
          const { line } = file.getLineAndCharacterOfPosition(node.getStart());
          idle.push(`${relative(root, file.fileName)}:${line + 1} ${node.getText()}`);
        }
      }
      ts.forEachChild(node, visit);
    };
    visit(file);
  }
  expect(count).toBeGreaterThan(100);
  expect(idle).toEqual([]);
});
