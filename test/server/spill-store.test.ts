/** The files of a store of prepared inferences: made where they can be, and flushed in time. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { connect } from '../../client/index.ts';
import { Decorator } from '../../protocol/channel/decorator.ts';
import { Spill } from '../../server/spill.ts';
import { failureOf, localPool, somePixels } from '../system/support.ts';
import { model, withTiny } from './serving.ts';

let root: string;
let folder: string;
let keyFile: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sotto-store-'));
  [folder, keyFile] = [join(root, 'bundles'), join(root, 'key')];
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(root, { recursive: true });
});

describe('a store', () => {
  const opened = (given: { folder?: string; keyFile?: string }) =>
    Spill.open({
      ...{ folder, keyFile, keepMs: 60_000, mostBytes: 1000, onTrouble: () => {} },
      ...given,
    });

  it('says in one sentence why its folder or key cannot be made', async () => {
    const file = join(root, 'afile');
    writeFileSync(file, '');
    expect((await failureOf(opened({ folder: file }))).message).toBe(
      `the folder ${file} cannot be made: a file of that name is there`,
    );
    for (const [path, why] of [
      [join(root, 'none/k'), 'its folder is not there'],
      [join(file, 'k'), 'a part of its path is no folder'],
    ] as const) {
      const { message } = await failureOf(opened({ keyFile: path }));
      expect(message).toBe(`${path} cannot be made: ${why}`);
    }
    expect((await failureOf(opened({ keyFile: root }))).message).toBe(
      `${root}: it is a folder, not a file`,
    );
  });

  it('has one key, whoever of several processes makes it', async () => {
    const stores = await Promise.all(Array.from({ length: 8 }, () => opened({})));
    for (const store of stores) store.close();
    const key = readFileSync(keyFile);
    expect(key).toHaveLength(32);
    (await opened({})).close();
    expect(readFileSync(keyFile)).toEqual(key);
  });
});

/** Tells of each frame before it leaves. */
class Telling extends Decorator {
  readonly #tell: (what: string) => void;

  constructor(inner: ConstructorParameters<typeof Decorator>[0], tell: (what: string) => void) {
    super(inner);
    this.#tell = tell;
  }

  override send(kind: number, payload: Uint8Array): Promise<void> {
    this.#tell('a frame leaves');
    return super.send(kind, payload);
  }
}

it('the folder of a prepared inference is flushed to the disk before a byte that depends on it leaves', async () => {
  const told: string[] = [];
  const tell = (what: string) => void told.push(what);
  const handle = await open(root);
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const { sync } = prototype;
  vi.spyOn(prototype, 'sync').mockImplementation(async function (this: FileHandle) {
    if ((await this.stat()).isDirectory()) {
      // Whoever does not wait for it is faster.
      await new Promise((resolve) => setTimeout(resolve, 100));
      await sync.call(this);
      tell('a folder is flushed');
    }
  });
  const decorate = (channel: ConstructorParameters<typeof Decorator>[0]) =>
    new Telling(channel, tell);
  await withTiny({ spill: { folder, keyFile }, decorate }, async ({ url, of }) => {
    const session = await connect(url, { pool: localPool(), hints: false });
    await session.prepare({ inferences: 2 });
    while (of('bundle').length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
    for (let i = 0; i < 2; i++) {
      told.length = 0;
      await session.infer(somePixels(model));
      expect(told.slice(0, 2)).toEqual(['a folder is flushed', 'a frame leaves']);
    }
    await session.close();
  });
});
