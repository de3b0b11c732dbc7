/** `sotto hint`, with a maker of the test's own. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { digestOf } from '../../protocol/program/encode.ts';
import { encodeModel } from '../../protocol/program/model.ts';
import { hintCommand } from '../../server/hint-command.ts';
import { failureOf, tinyModel } from '../system/support.ts';

const made = vi.hoisted(() => ({ count: 0, closed: 0 }));

vi.mock('../../protocol/inference/hint.ts', () => ({
  hintBytesOf: () => 2_500_000,
  async makeHintOf(
    _pool: unknown,
    _layout: unknown,
    _model: unknown,
    { secret }: { secret: Uint8Array },
    onProgress?: (done: number, total: number, layer: string) => void,
  ) {
    made.count++;
    onProgress?.(1, 2, 'conv');
    return new Uint8Array(2_500_000).fill(secret[0]!);
  },
}));

// The threads of the built project are not needed for that.
vi.mock('../../protocol/pool/node.ts', async () => ({
  createThreadPool: () => ({ close: async () => void made.closed++ }),
}));

let folder: string;
let said: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-hint-command-'));
  said = '';
  Object.assign(made, { count: 0, closed: 0 });
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
    const digest = Buffer.from(digestOf(readFileSync(`${path}.hint`))).toString('hex');
    return `${path}.hint: 2.5 MB, SHA-256 ${digest}, ${how} in TIME s\n`;
  };
  const told = () => said.replaceAll(/\d+\.\d\d s/g, 'TIME s');
  expect(told()).toBe(paths.map((path) => line(path, 'made')).join(''));
  said = '';
  await run(paths[0]!);
  expect(told()).toBe(line(paths[0]!, 'there already, checked'));
  expect(made).toEqual({ count: 2, closed: 2 });
});

it('fails when it cannot keep one, or there is no such model', async () => {
  const path = join(folder, 'a.sotto');
  const { message } = await failureOf(run(path));
  expect(message).toBe(`cannot load ${path}: there is no such file`);
  writeFileSync(path, encodeModel(tinyModel()));
  writeFileSync(`${path}.hint-secret`, 'something else', { mode: 0o600 });
  expect((await failureOf(run(path))).message).toMatch(/: this is not the secret of a hint/);
  expect([made.count, said]).toEqual([0, '']);
});
