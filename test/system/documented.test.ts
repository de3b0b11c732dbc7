/** Commands that stand in the documents: each is one that there is, and so is every option that it is given; scripts of npm are there too. */

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root } from './serving.ts';
import { notBuilt } from './support.ts';

if (notBuilt) console.log(`documented commands skipped: ${notBuilt}`);

const documents = [
  ...['README.md', 'client/README.md', 'server/README.md', 'models/README.md', 'bench/README.md'],
  ...[
    'models/RESEARCH.md',
    'models/onnx/EXPORT.md',
    'client/examples/README.md',
    'protocol/README.md',
    'SECURITY.md',
  ],
  ...['CONTRIBUTING.md', 'test/README.md'],
  ...readdirSync(join(root, 'client/guides')).map((name) => `client/guides/${name}`),
];

interface Line {
  readonly document: string;
  readonly command: string;
  readonly options: readonly string[];
}

const blocksOf = (text: string): string[] =>
  [...text.matchAll(/^```(?:sh|bash)\n([\s\S]*?)^```$/gm)].map(([, code]) => code!);

const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** What is run by npm in a text and is no script of the repository. */
function wrongScripts(document: string, text: string): string[] {
  const inline = [...text.matchAll(/`(npm [^`]+)`/g)].map(([, code]) => code!);
  return [...blocksOf(text), ...inline]
    .flatMap((code) => [...code.matchAll(/\bnpm (?:run ([a-z:-]+)|(test|start)\b)/g)])
    .map(([, run, short]) => (run ?? short)!)
    .filter((name) => scripts[name] === undefined)
    .map((name) => `${document}: npm run ${name}`);
}

/** The lines of `sotto` in a text: in its blocks for shells, and between its backquotes. */
function linesOf(document: string, text: string): Line[] {
  const blocks = blocksOf(text);
  const inline = [...text.matchAll(/`((?:npx )?sotto [^`]+)`/g)].map(([, code]) => code!);
  return [...blocks, ...inline]
    .flatMap((code) => code.replaceAll('\\\n', ' ').split('\n'))
    .flatMap((line) => {
      const [, command, rest = ''] = /(?:^|\s)sotto ([a-z]+)\b([^#|]*)/.exec(line) ?? [];
      if (command === undefined || /^\s*#/.test(line)) return [];
      const options = [...rest.matchAll(/(?<=\s)--?[a-z][a-z-]*/g)].map(([option]) => option);
      return [{ document, command, options }];
    });
}

/** The options that a command has by its help; undefined when there is no such command. */
const known = new Map<string, Set<string> | undefined>();
function optionsOf(command: string): Set<string> | undefined {
  if (!known.has(command)) {
    // Of what is no command it is the help of all.
    const args = [join(root, 'dist/cli.js'), command, '--help'];
    const help = execFileSync(process.execPath, args, { encoding: 'utf8' });
    const options = new Set(help.match(/(?<=\s)--?[a-z][a-z-]*/g));
    known.set(command, help.startsWith(`Usage: sotto ${command}`) ? options : undefined);
  }
  return known.get(command);
}

const wrong = (lines: readonly Line[]): string[] =>
  lines.flatMap(({ document, command, options }) => {
    const there = optionsOf(command);
    if (there === undefined) return [`${document}: sotto ${command}`];
    return options
      .filter((option) => !there.has(option))
      .map((option) => `${document}: sotto ${command} ${option}`);
  });

describe.skipIf(notBuilt)('the commands of the documents', () => {
  const lines = documents.flatMap((document) =>
    linesOf(document, readFileSync(join(root, document), 'utf8')),
  );

  it('are there, with their options', () => {
    expect(lines.length).toBeGreaterThan(40);
    expect(new Set(lines.map(({ command }) => command)).size).toBeGreaterThan(8);
    expect(wrong(lines)).toEqual([]);
  });

  it('are scripts of the repository, where npm runs them', () => {
    const found = documents.flatMap((document) =>
      wrongScripts(document, readFileSync(join(root, document), 'utf8')),
    );
    expect(found).toEqual([]);
    expect(wrongScripts('x.md', '```sh\nnpm ci && npm run buidl\n```\n`npm run docs`')).toEqual([
      'x.md: npm run buidl',
    ]);
  });

  it('would be found wrong, were they', () => {
    const text = '```sh\nnpx sotto serve --modle x\n```\n`sotto swerve --port 1`';
    expect(wrong(linesOf('x.md', text))).toEqual([
      'x.md: sotto serve --modle',
      'x.md: sotto swerve',
    ]);
  });
});
