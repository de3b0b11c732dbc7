/** Hints in a folder: real files, and several caches at work in it. */

import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { defaultHintFolder, folderHints } from '../../client/hint-folder.ts';
import { failureOf } from '../system/support.ts';

const hint = Uint8Array.from({ length: 1000 }, (_, i) => i % 251);
const digestOf = (i: number) => i.toString(16).padStart(64, '0');

let parent: string;
let folder: string;

beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'sotto-cache-'));
  folder = join(parent, 'some', 'where');
});

afterEach(() => rmSync(parent, { recursive: true }));

const pathOf = (i: number) => join(folder, `${digestOf(i)}.hint`);
const filesNow = () => readdirSync(folder).sort();
const names = (...numbers: number[]) => numbers.map((i) => `${digestOf(i)}.hint`);

/** Says when a hint was used last, in hours before now. */
function usedBefore(i: number, hours: number): void {
  const time = new Date(Date.now() - hours * 3_600_000);
  utimesSync(pathOf(i), time, time);
}

describe('hints in a folder', () => {
  it('are kept from one cache to the next, for this user alone', async () => {
    const told: string[] = [];
    const options = { folder, onTrouble: (reason: string) => told.push(reason) };
    expect(await folderHints(options).load(digestOf(1), 1000)).toBe(undefined);
    await folderHints(options).save(digestOf(1), hint);
    expect(filesNow()).toEqual(names(1));
    expect(Buffer.compare(readFileSync(pathOf(1)), hint)).toBe(0);
    const found = await folderHints(options).load(digestOf(1), 1000);
    expect(Buffer.compare(found!, hint)).toBe(0);
    if (process.platform !== 'win32') expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(told).toEqual([]);
  });

  it('are not given in another length, and are replaced', async () => {
    const cache = folderHints({ folder });
    await cache.save(digestOf(1), hint.subarray(1));
    expect(await cache.load(digestOf(1), 1000)).toBe(undefined);
    await cache.save(digestOf(1), hint);
    expect(await cache.load(digestOf(1), 1000)).toHaveLength(1000);
    expect(await cache.load(digestOf(1), 999)).toBe(undefined);
    expect(filesNow()).toEqual(names(1));
  });

  it('go when they were not used for longest, beyond the limit', async () => {
    const cache = folderHints({ folder, maxBytes: 3000 });
    for (const i of [1, 2, 3]) {
      await cache.save(digestOf(i), hint);
      usedBefore(i, 10 - i);
    }
    expect(filesNow()).toEqual(names(1, 2, 3));
    await cache.load(digestOf(1), 1000);
    expect(Date.now() - statSync(pathOf(1)).mtimeMs).toBeLessThan(60_000);
    await cache.save(digestOf(4), hint);
    expect(filesNow()).toEqual(names(1, 3, 4));
    // One that is there already takes no more room.
    await cache.save(digestOf(4), hint);
    expect(filesNow()).toEqual(names(1, 3, 4));
    await cache.save(digestOf(5), new Uint8Array(2500));
    expect(filesNow()).toEqual(names(5));
    await cache.save(digestOf(6), new Uint8Array(3001));
    expect(filesNow()).toEqual(names(5));
  });

  it('leave alone what is not theirs, and clear away what killed processes left', async () => {
    const cache = folderHints({ folder, maxBytes: 1000 });
    mkdirSync(folder, { recursive: true });
    const tmp = (i: number) => `${digestOf(i)}.hint.${crypto.randomUUID()}.tmp`;
    const [old, recent] = [tmp(1), tmp(2)];
    const foreign = ['notes.txt', 'a.hint', `${digestOf(7)}.hint.bak`];
    for (const name of [old, recent, ...foreign])
      writeFileSync(join(folder, name), 'x'.repeat(5000));
    for (const name of [old, ...foreign]) utimesSync(join(folder, name), 0, 0);
    await cache.save(digestOf(3), hint);
    expect(filesNow()).toEqual([recent, ...foreign, ...names(3)].sort());
  });

  it('are saved and loaded by many at once, each whole', async () => {
    const caches = Array.from({ length: 6 }, () => folderHints({ folder, maxBytes: 4000 }));
    const told: string[] = [];
    await Promise.all(
      caches.flatMap((cache, i) =>
        [1, 2, 3, 4, 5, 6].flatMap(async (j) => {
          const own = folderHints({ folder, maxBytes: 4000, onTrouble: (why) => told.push(why) });
          await (i % 2 ? cache : own).save(digestOf(j), hint);
          const found = await own.load(digestOf(j), 1000);
          if (found) expect(Buffer.compare(found, hint)).toBe(0);
        }),
      ),
    );
    expect(told).toEqual([]);
    expect(filesNow().every((name) => name.endsWith('.hint'))).toBe(true);
    await caches[0]!.save(digestOf(1), hint);
    expect(filesNow().length).toBeLessThanOrEqual(4);
  });

  it('are done without where the folder cannot be one, said once', async () => {
    // Root may write everywhere, but not below a file.
    const file = join(parent, 'file');
    writeFileSync(file, '');
    for (const below of [file, join(file, 'below')]) {
      const told: string[] = [];
      const cache = folderHints({ folder: below, onTrouble: (reason) => told.push(reason) });
      for (const i of [1, 2]) {
        await cache.save(digestOf(i), hint);
        expect(await cache.load(digestOf(i), 1000)).toBe(undefined);
      }
      expect(told).toHaveLength(1);
      expect(told[0]).toMatch(new RegExp(`^hints are not kept in ${below}: E(EXIST|NOTDIR)$`));
      // Nobody has to listen.
      await folderHints({ folder: below }).save(digestOf(1), hint);
    }
  });

  it('are saved beside one that cannot be read, which is said once', async () => {
    const told: string[] = [];
    const cache = folderHints({ folder, onTrouble: (reason) => told.push(reason) });
    const path = join(folder, `${digestOf(1)}.hint`);
    mkdirSync(path, { recursive: true });
    for (let i = 0; i < 2; i++) {
      expect(await cache.load(digestOf(1), statSync(path).size)).toBe(undefined);
    }
    expect(told).toEqual([`a hint cannot be read from ${folder}: EISDIR`]);
    await cache.save(digestOf(2), hint);
    expect(await cache.load(digestOf(2), 1000)).toHaveLength(1000);
  });

  const root = process.getuid?.() === 0;
  if (root) console.log('read-only folders skipped: root may write to them');
  it.skipIf(root)('are read from a folder that is read-only, and none is saved', async () => {
    const told: string[] = [];
    const cache = folderHints({ folder, onTrouble: (reason) => told.push(reason) });
    await cache.save(digestOf(1), hint);
    chmodSync(folder, 0o500);
    try {
      expect(await cache.load(digestOf(1), 1000)).toHaveLength(1000);
      for (const i of [2, 3]) await cache.save(digestOf(i), hint);
      expect(told).toEqual([`hints are not kept in ${folder}: EACCES`]);
      expect(filesNow()).toEqual(names(1));
    } finally {
      chmodSync(folder, 0o700);
    }
  });

  it.each(['', '../../etc/passwd', digestOf(1).toUpperCase().replace('0', 'F'), `${digestOf(1)}0`])(
    'have digests for names, which "%s" is not',
    async (name) => {
      const cache = folderHints({ folder });
      expect(await failureOf(cache.load(name, 1000))).toBeInstanceOf(RangeError);
      expect(await failureOf(cache.save(name, hint))).toBeInstanceOf(RangeError);
      expect(existsSync(folder)).toBe(false);
    },
  );

  it('are where caches are, unless the environment says otherwise', () => {
    const at = (environment: Record<string, string>, platform = 'linux') =>
      defaultHintFolder(environment, platform);
    const home = homedir();
    expect(at({})).toBe(join(home, '.cache/sotto'));
    expect(at({}, 'darwin')).toBe(join(home, 'Library/Caches/sotto'));
    expect(at({ XDG_CACHE_HOME: '/caches' })).toBe('/caches/sotto');
    expect(at({ XDG_CACHE_HOME: 'relative' })).toBe(join(home, '.cache/sotto'));
    expect(at({ XDG_CACHE_HOME: '/caches', SOTTO_CACHE: '/own' }, 'darwin')).toBe('/own');
    expect(at({ SOTTO_CACHE: '' })).toBe(join(home, '.cache/sotto'));
  });
});
