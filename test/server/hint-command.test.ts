/** `sotto hint`. */

import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { digestOf } from '../../protocol/program/encode.ts';
import { encodeModel } from '../../protocol/program/model.ts';
import { hintCommand } from '../../server/hint-command.ts';
import { failureOf, localPool, tinyModel } from '../system/support.ts';

// The threads of the built project are not needed for that.
vi.mock('../../protocol/pool/node.ts', () => ({ createThreadPool: () => localPool() }));

let folder: string;
let said: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-hint-command-'));
  said = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    said += text;
    return true;
  });
});

afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

const run = (...paths: string[]) => hintCommand().parseAsync(paths, { from: 'user' });

it('makes the hints of models, or checks those that are there', async () => {
  const paths = ['a.sotto', 'b.sotto'].map((name) => join(folder, name));
  for (const path of paths) writeFileSync(path, encodeModel(tinyModel()));
  await run(...paths);
  const line = (path: string, how: string) => {
    const megabytes = (statSync(`${path}.hint`).size / 1e6).toFixed(1);
    const digest = Buffer.from(digestOf(readFileSync(`${path}.hint`))).toString('hex');
    return `${path}.hint: ${megabytes} MB, SHA-256 ${digest}, ${how} in TIME s\n`;
  };
  const told = () => said.replaceAll(/\d+\.\d\d s/g, 'TIME s');
  expect(told()).toBe(paths.map((path) => line(path, 'made')).join(''));
  // Each model has another secret.
  expect(readFileSync(`${paths[0]}.hint`)).not.toEqual(readFileSync(`${paths[1]}.hint`));
  said = '';
  await run(paths[0]!);
  expect(told()).toBe(line(paths[0]!, 'there already, checked'));
  // With its secret a hint that is lost is made again, to the last bit.
  const before = readFileSync(`${paths[0]}.hint`);
  rmSync(`${paths[0]}.hint`);
  said = '';
  await run(paths[0]!);
  expect(told()).toBe(line(paths[0]!, 'made'));
  expect(readFileSync(`${paths[0]}.hint`)).toEqual(before);
});

it('fails when it cannot keep one, or there is no such model', async () => {
  const path = join(folder, 'a.sotto');
  const { message } = await failureOf(run(path));
  expect(message).toBe(`cannot load ${path}: there is no such file`);
  writeFileSync(path, encodeModel(tinyModel()));
  writeFileSync(`${path}.hint-secret`, 'something else', { mode: 0o600 });
  expect((await failureOf(run(path))).message).toMatch(/: this is not the secret of a hint/);
  expect(said).toBe('');
});
