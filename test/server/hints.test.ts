/** Hints kept beside their models: real files, and processes that race for them. */

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
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
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { rolldown } from 'rolldown';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HintSecret } from '../../protocol/inference/hint.ts';
import { Prg } from '../../protocol/random/index.ts';
import { type HintRequest, hintPaths, loadOrMakeHint, type ModelFile } from '../../server/hints.ts';
import { failureOf } from '../system/support.ts';

const sha256 = (...parts: (Uint8Array | string)[]): Uint8Array => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return Uint8Array.from(hash.digest());
};
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

const BYTES = 1000;

let folder: string;
let file: ModelFile;
let paths: ReturnType<typeof hintPaths>;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-hints-'));
  file = { path: join(folder, 'net.sotto'), digest: sha256('model') };
  writeFileSync(file.path, 'model');
  paths = hintPaths(file.path);
});

afterEach(() => rmSync(folder, { recursive: true }));

/** Makes bytes that depend on all that a hint's do; counts how often. */
function maker(weights = 'model', version = '1') {
  const secrets: HintSecret[] = [];
  const request: HintRequest = {
    program: sha256('program'),
    bytes: BYTES,
    version,
    async make(secret) {
      secrets.push(secret);
      await new Promise((resolve) => setTimeout(resolve, 5));
      const out = new Uint8Array(BYTES);
      const seed = sha256(secret.secret, Uint8Array.of(secret.generation), weights, version);
      new Prg(seed.slice(0, 16)).fill(out);
      return out;
    },
  };
  return { request, secrets };
}

const plain = (bytes: Uint8Array) => Uint8Array.from(bytes);
const filesNow = () => readdirSync(folder).sort();
const KEPT = ['net.sotto', 'net.sotto.hint', 'net.sotto.hint-secret'];

describe('a hint beside its model', () => {
  it('is made once, and read from then on', async () => {
    const { request, secrets } = maker();
    const first = await loadOrMakeHint(file, request);
    expect(first).toMatchObject({ made: true, unkept: undefined, generation: 1 });
    expect(first.secret).toHaveLength(16);
    expect(first.digest).toEqual(sha256(first.hint));
    expect(filesNow()).toEqual(KEPT);
    expect(plain(readFileSync(paths.hint))).toEqual(plain(first.hint));
    const again = await loadOrMakeHint(file, request);
    expect({ ...again, hint: plain(again.hint) }).toEqual({ ...first, made: false });
    expect(secrets).toHaveLength(1);
  });

  it('has a secret that no other user may read, and no other model has', async () => {
    const { secret } = await loadOrMakeHint(file, maker().request);
    if (process.platform !== 'win32') expect(statSync(paths.secret).mode & 0o777).toBe(0o600);
    expect(readFileSync(paths.hint).includes(Buffer.from(secret))).toBe(false);
    const other = { ...file, path: join(folder, 'other.sotto') };
    expect((await loadOrMakeHint(other, maker().request)).secret).not.toEqual(secret);
  });

  it('has the secret that its random source gives', async () => {
    const random = { fill: (out: Uint8Array) => void out.fill(7) };
    const { secret } = await loadOrMakeHint(file, { ...maker().request, random });
    expect(secret).toEqual(new Uint8Array(16).fill(7));
  });

  it.each(['cut', 'changed', 'swapped', 'longer', 'missing', 'a folder'])(
    'is made again, the same, when its file is %s',
    async (how) => {
      const { request, secrets } = maker();
      const first = await loadOrMakeHint(file, request);
      const bytes = readFileSync(paths.hint);
      rmSync(paths.hint);
      if (how === 'cut') writeFileSync(paths.hint, bytes.subarray(1));
      if (how === 'longer') writeFileSync(paths.hint, Buffer.concat([bytes, bytes]));
      if (how === 'swapped') writeFileSync(paths.hint, Buffer.alloc(BYTES, 3));
      if (how === 'a folder') mkdirSync(paths.hint);
      if (how === 'changed') {
        bytes[BYTES - 1]! ^= 1;
        writeFileSync(paths.hint, bytes);
      }
      const again = await loadOrMakeHint(file, request);
      expect(again).toMatchObject({ secret: first.secret, digest: first.digest, made: true });
      expect(secrets).toHaveLength(2);
      if (how === 'a folder') expect(again.unkept).toMatch(/^the hint is not kept, because /);
      else expect(plain(readFileSync(paths.hint))).toEqual(plain(first.hint));
      expect(filesNow()).toEqual(KEPT);
    },
  );

  it('is another, with the same secret, when the model, the program or the parameters are', async () => {
    const first = await loadOrMakeHint(file, maker().request);
    const changed = { ...file, digest: sha256('other model') };
    const second = await loadOrMakeHint(changed, maker('other model').request);
    expect(second).toMatchObject({ made: true, secret: first.secret });
    expect(second.digest).not.toEqual(first.digest);
    const third = await loadOrMakeHint(changed, maker('other model', '2').request);
    expect(third).toMatchObject({ made: true, secret: first.secret });
    const program = sha256('other program');
    const { request } = maker('other model', '2');
    expect((await loadOrMakeHint(changed, { ...request, program })).made).toBe(true);
    expect((await loadOrMakeHint(changed, { ...request, program })).made).toBe(false);
    // And back: the first one again.
    const back = await loadOrMakeHint(file, maker().request);
    expect({ ...back, hint: plain(back.hint) }).toEqual(first);
    expect(filesNow()).toEqual(KEPT);
  });

  it('is refused when the same model and secret make another one', async () => {
    const { digest } = await loadOrMakeHint(file, maker().request);
    rmSync(paths.hint);
    const { message } = await failureOf(loadOrMakeHint(file, maker('not what it was').request));
    expect(message).toMatch(/: the same model and secret made another hint before, and both /);
    expect(existsSync(paths.hint)).toBe(false);
    expect(JSON.parse(readFileSync(paths.secret, 'utf8')).made.hint).toBe(hex(digest));
  });

  it('is refused when another process has made another one meanwhile', async () => {
    const make = async () => {
      await loadOrMakeHint(file, maker().request);
      return new Uint8Array(BYTES);
    };
    const { message } = await failureOf(loadOrMakeHint(file, { ...maker().request, make }));
    expect(message).toMatch(/: the same model and secret made another hint before, and both /);
    expect((await loadOrMakeHint(file, maker().request)).made).toBe(false);
  });

  it('fails with the one who makes it, and leaves nothing half done', async () => {
    const make = () => Promise.reject(new Error('out of memory'));
    const failure = await failureOf(loadOrMakeHint(file, { ...maker().request, make }));
    expect(failure.message).toBe('out of memory');
    const short = { ...maker().request, make: async () => new Uint8Array(1) };
    expect((await failureOf(loadOrMakeHint(file, short))).message).toBe(
      `hint: expected ${BYTES} bytes, made 1`,
    );
    expect(filesNow()).toEqual(['net.sotto', 'net.sotto.hint-secret']);
    expect((await loadOrMakeHint(file, maker().request)).made).toBe(true);
  });

  it.skipIf(process.platform === 'win32')(
    'is refused when others may read its secret',
    async () => {
      await loadOrMakeHint(file, maker().request);
      for (const mode of [0o640, 0o604, 0o660]) {
        chmodSync(paths.secret, mode);
        const { message } = await failureOf(loadOrMakeHint(file, maker().request));
        expect(message).toMatch(
          `${paths.secret}: its permissions are ${mode.toString(8)}, so that others may use the secret in it: set them to 600`,
        );
      }
      chmodSync(paths.secret, 0o400);
      expect((await loadOrMakeHint(file, maker().request)).made).toBe(false);
    },
  );

  it.each(['', '{', '[]', '{"format":2}', 'not JSON'])(
    'is refused when its secret is "%s"',
    async (text) => {
      writeFileSync(paths.secret, text, { mode: 0o600 });
      const { message } = await failureOf(loadOrMakeHint(file, maker().request));
      expect(message).toBe(
        `${paths.secret}: this is not the secret of a hint, or one of a later release; remove it for a new secret`,
      );
    },
  );

  it('lives in memory where its folder cannot be used, or the model has none', async () => {
    // Root may write everywhere, but not below a file.
    const path = join(file.path, 'net.sotto');
    const { request } = maker();
    const first = await loadOrMakeHint({ ...file, path }, request);
    expect(first.unkept).toMatch(
      `the hint is not kept, because ${file.path} cannot be used (ENOTDIR): let this user read and write the files net.sotto.hint`,
    );
    expect([first.hint.length, first.made]).toEqual([BYTES, true]);
    const second = await loadOrMakeHint(undefined, request);
    expect(second.unkept).toBe('the model comes from no file');
    expect(second.secret).not.toEqual(first.secret);
    expect(filesNow()).toEqual(['net.sotto']);
  });

  const root = process.getuid?.() === 0;
  if (root) console.log('read-only folders skipped: root may write to them');
  it.skipIf(root)('is read from a folder that is read-only, or lives in memory', async () => {
    const { request, secrets } = maker();
    chmodSync(folder, 0o500);
    try {
      expect((await loadOrMakeHint(file, request)).unkept).toMatch(/cannot be used \(EACCES\)/);
      chmodSync(folder, 0o700);
      const first = await loadOrMakeHint(file, request);
      chmodSync(folder, 0o500);
      expect((await loadOrMakeHint(file, request)).unkept).toBe(undefined);
      expect(secrets).toHaveLength(2);
      chmodSync(folder, 0o700);
      rmSync(paths.hint);
      chmodSync(folder, 0o500);
      const unkept = await loadOrMakeHint(file, request);
      expect(unkept.unkept).toMatch(/cannot be used \(EACCES\)/);
      expect(unkept.digest).toEqual(first.digest);
    } finally {
      chmodSync(folder, 0o700);
    }
  });

  it('clears away what killed processes left behind, and nothing else', async () => {
    const old = `${paths.hint}.0123456789abcdef.tmp`;
    const recent = `${paths.secret}.fedcba9876543210.tmp`;
    const others = [`${paths.hint}.backup.tmp`, join(folder, 'other.hint.0123456789abcdef.tmp')];
    for (const path of [old, recent, ...others]) {
      writeFileSync(path, '');
      if (path !== recent) utimesSync(path, 0, 0);
    }
    await loadOrMakeHint(file, maker().request);
    expect([old, recent, ...others].map(existsSync)).toEqual([false, true, true, true]);
  });
});

describe('makers at once', () => {
  it('in one process agree on one secret and one hint', async () => {
    const { request } = maker();
    const all = await Promise.all(Array.from({ length: 8 }, () => loadOrMakeHint(file, request)));
    expect(new Set(all.map(({ secret }) => hex(secret))).size).toBe(1);
    expect(new Set(all.map(({ digest }) => hex(digest))).size).toBe(1);
    expect(all.map(({ unkept }) => unkept)).toEqual(all.map(() => undefined));
    expect(filesNow()).toEqual(KEPT);
    expect((await loadOrMakeHint(file, request)).made).toBe(false);
  });

  it('in several processes agree too', async () => {
    const out = mkdtempSync(join(tmpdir(), 'sotto-hints-race-'));
    try {
      const bundle = await rolldown({
        input: join(import.meta.dirname, '../../server/hints.ts'),
        platform: 'node',
      });
      await bundle.write({ file: join(out, 'hints.mjs') });
      await bundle.close();
      const script = join(out, 'race.mjs');
      writeFileSync(
        script,
        `import { loadOrMakeHint } from './hints.mjs';
        const [path, at] = process.argv.slice(2);
        await new Promise((resolve) => setTimeout(resolve, at - Date.now()));
        const make = async ({ secret }) => new Uint8Array(4e6).map((_, i) => secret[i % 16]);
        const digest = new Uint8Array(32);
        const request = { program: digest, bytes: 4e6, version: '1', make };
        const kept = await loadOrMakeHint({ path, digest }, request);
        const hex = (bytes) => Buffer.from(bytes).toString('hex');
        console.log(JSON.stringify([hex(kept.secret), hex(kept.digest), kept.unkept ?? null]));`,
      );
      const at = String(Date.now() + 1000);
      const race = () => promisify(execFile)(process.execPath, [script, file.path, at]);
      const [first, ...others] = await Promise.all([race(), race(), race(), race()]);
      const [, digest, unkept] = JSON.parse(first.stdout);
      expect(unkept).toBe(null);
      expect(others.map(({ stdout }) => stdout)).toEqual(others.map(() => first.stdout));
      expect(hex(sha256(readFileSync(paths.hint)))).toBe(digest);
      expect(filesNow()).toEqual(KEPT);
    } finally {
      rmSync(out, { recursive: true });
    }
  });
});
