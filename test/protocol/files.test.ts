/** Files as commands meet them: what is no file, what cannot be written, and a disk that is full. */

import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  checkOutput,
  makeFolder,
  readWhole,
  readWholeSync,
  replaceFile,
} from '../../protocol/files.ts';
import { failureOf, within } from '../system/support.ts';

const windows = process.platform === 'win32';
const isRoot = process.getuid?.() === 0;

let folder: string;
const at = (name: string) => join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-files-'));
  if (!windows) execFileSync('mkfifo', [at('pipe')]);
  mkdirSync(at('folder'));
  writeFileSync(at('file'), 'old');
});

afterAll(() => rmSync(folder, { recursive: true }));

/** What is no file, and what it is called. */
const others: [string, () => string][] = [
  ['a folder', () => at('folder')],
  ['a pipe', () => at('pipe')],
  ['a device', () => '/dev/zero'],
];
if (windows) others.length = 1;

describe('reading', () => {
  it('gives the bytes of a file', async () => {
    expect(Buffer.from(await readWhole(at('file'))).toString()).toBe('old');
    expect(Buffer.from(readWholeSync(at('file'), { most: 3 })).toString()).toBe('old');
  });

  it.each(others)('%s is refused at once', async (what, path) => {
    const sentence = `${path()}: it is ${what}, not a file`;
    expect((await within(1000, failureOf(readWhole(path())))).message).toBe(sentence);
    expect(() => readWholeSync(path())).toThrow(sentence);
  });

  it('a file that is not there, or too large, is one sentence and a code', async () => {
    expect(await failureOf(readWhole(at('none')))).toMatchObject({
      message: `${at('none')}: there is no such file`,
      code: 'ENOENT',
    });
    expect(() => readWholeSync(at('file/below'))).toThrow(/below: there is no such file$/);
    expect(() => readWholeSync(at('file'), { most: 2 })).toThrow(
      /file: it has 3 bytes, files up to 2 bytes are read$/,
    );
  });
});

describe('writing', () => {
  it('replaces a file, keeps its permissions, and leaves nothing beside it', async () => {
    const path = at('folder/kept');
    await replaceFile(path, 'one');
    if (!windows) chmodSync(path, 0o640);
    await replaceFile(path, Uint8Array.of(50));
    expect(readFileSync(path, 'utf8')).toBe('2');
    if (!windows) expect(statSync(path).mode & 0o777).toBe(0o640);
    await replaceFile(path, 'three', 0o600);
    if (!windows) expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(at('folder'))).toEqual(['kept']);
  });

  it.skipIf(windows)('replaces what a link leads to, not the link', async () => {
    symlinkSync('folder/linked', at('link'));
    writeFileSync(at('folder/linked'), 'old');
    await replaceFile(at('link'), 'new');
    expect(readlinkSync(at('link'))).toBe('folder/linked');
    expect(readFileSync(at('folder/linked'), 'utf8')).toBe('new');
    rmSync(at('folder/linked'));
  });

  it.each(others)('%s is refused before and after the work', async (what, path) => {
    const sentence = `${path()} cannot be written: it is ${what}, not a file`;
    expect(() => checkOutput(path())).toThrow(sentence);
    expect((await within(1000, failureOf(replaceFile(path(), 'x')))).message).toBe(sentence);
  });

  it('a folder that is not there is one sentence before and after the work', async () => {
    const path = at('none/x');
    expect(() => checkOutput(path)).toThrow(`${path} cannot be written: its folder is not there`);
    expect((await failureOf(replaceFile(path, 'x'))).message).toBe(
      `${path} could not be written: its folder is not there`,
    );
    expect(() => makeFolder(at('file'))).toThrow(/file cannot be made: a file of that name is/);
    expect(() => makeFolder(at('file/x'))).toThrow(
      /x cannot be made: a part of its path is no folder$/,
    );
  });

  it('a full disk leaves what was there', async ({ skip }) => {
    const disk = at('disk');
    mkdirSync(disk);
    if (!isRoot || spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', disk]).status) {
      console.log('skipped: a small disk can be mounted by root alone');
      return skip();
    }
    try {
      const path = join(disk, 'model');
      await replaceFile(path, 'good');
      expect(await failureOf(replaceFile(path, new Uint8Array(1 << 20)))).toMatchObject({
        message: `${path} could not be written: the disk is full; what was there stays`,
        code: 'ENOSPC',
      });
      expect(readFileSync(path, 'utf8')).toBe('good');
      expect(readdirSync(disk)).toEqual(['model']);
    } finally {
      execFileSync('umount', [disk]);
    }
  });

  it.skipIf(windows)('a limit on the size of files leaves what was there', async ({ skip }) => {
    const built = fileURLToPath(new URL('../../dist/protocol/files.js', import.meta.url));
    const path = at('limited');
    await replaceFile(path, 'good');
    const script = `
      process.on('SIGXFSZ', () => {});
      const { replaceFile } = await import(${JSON.stringify(built)});
      await replaceFile(${JSON.stringify(path)}, new Uint8Array(1 << 20)).catch(({ message }) => console.log(message));`;
    // Of 1024 bytes, or of 512: far below what is written.
    const command = `ulimit -f 8 && exec "$0" --input-type=module -e "$1"`;
    const { stdout, status } = spawnSync('sh', ['-c', command, process.execPath, script], {
      encoding: 'utf8',
    });
    if (status !== 0) {
      console.log('skipped: the project is not built, or this shell knows no ulimit -f');
      return skip();
    }
    expect(stdout).toBe(
      `${path} could not be written: it is larger than files may be here; what was there stays\n`,
    );
    expect(readFileSync(path, 'utf8')).toBe('good');
  });
});
