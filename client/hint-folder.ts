/** Hints kept in a folder, one file each. Node only. */

import { mkdir, readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { replaceFile } from '../protocol/files.ts';
import type { StoredHintsOptions } from './api.ts';
import { CACHE_BYTES, type HintCache } from './hints.ts';

/** Temporary files older than this were left behind by a process that was killed, in ms. LOCAL. */
const LEFT_BEHIND_MS = 60 * 60_000;

const HINT = /^[0-9a-f]{64}\.hint$/;
const TEMPORARY = /^[0-9a-f]{64}\.hint\.[0-9a-f-]{16,36}\.tmp$/;

/** Where hints are kept: what SOTTO_CACHE names, else the folder for caches of this user's programs. */
export function defaultHintFolder(
  environment: Readonly<Record<string, string | undefined>> = process.env,
  platform: string = process.platform,
): string {
  const { SOTTO_CACHE: own, XDG_CACHE_HOME: caches } = environment;
  if (own) return own;
  // The specification of XDG wants relative paths to be ignored.
  if (caches && isAbsolute(caches)) return join(caches, 'sotto');
  return join(homedir(), platform === 'darwin' ? 'Library/Caches' : '.cache', 'sotto');
}

/**
 * Keeps hints in a folder that any number of processes may use at once. Beyond its limit, those go first that were not used
 * for longest. Its methods reject for what is no digest alone: with a RangeError.
 */
export function folderHints({
  folder = defaultHintFolder(),
  maxBytes = CACHE_BYTES,
  onTrouble,
}: StoredHintsOptions = {}): HintCache {
  let told = false;
  /** Tells of the first trouble alone. */
  const tell = (what: string, { code, message }: NodeJS.ErrnoException): void => {
    if (!told) onTrouble?.(`${what}: ${code ?? message}`);
    told = true;
  };
  /** Whether saving has failed: a hundred megabytes are not written again to see. */
  let unwritable = false;
  return {
    async load(digest, bytes) {
      const path = pathOf(folder, digest);
      try {
        // Whatever lies there under this name is not to fill the memory.
        if ((await stat(path)).size !== bytes) return undefined;
        const hint = await readFile(path);
        const now = new Date();
        // So that it counts as used; a folder that is only read does without.
        await utimes(path, now, now).catch(() => {});
        return hint.length === bytes ? hint : undefined;
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code !== 'ENOENT') tell(`a hint cannot be read from ${folder}`, error as Error);
        return undefined;
      }
    },
    async save(digest, hint) {
      if (unwritable || hint.length > maxBytes) return;
      const path = pathOf(folder, digest);
      try {
        // What one keeps tells which models one uses.
        await mkdir(folder, { recursive: true, mode: 0o700 });
        await makeRoom(folder, maxBytes - hint.length, path);
        await replaceFile(path, hint, 0o600);
      } catch (error) {
        unwritable = true;
        tell(`hints are not kept in ${folder}`, error as Error);
      }
    },
  };
}

function pathOf(folder: string, digest: string): string {
  const name = `${digest}.hint`;
  if (!HINT.test(name)) throw new RangeError('digest: expected 64 lower-case hexadecimal digits');
  return join(folder, name);
}

/** Removes hints until the others, `except` not counted, take `maxBytes`; and what killed processes left behind. */
async function makeRoom(folder: string, maxBytes: number, except: string): Promise<void> {
  const files: { path: string; bytes: number; used: number }[] = [];
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    if (path === except || !(HINT.test(name) || TEMPORARY.test(name))) continue;
    // Another process may have removed it.
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) continue;
    if (HINT.test(name)) files.push({ path, bytes: found.size, used: found.mtimeMs });
    else if (Date.now() - found.mtimeMs > LEFT_BEHIND_MS) await rm(path, { force: true });
  }
  let total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  for (const { path, bytes } of files.sort((a, b) => a.used - b.used)) {
    if (total <= maxBytes) return;
    await rm(path, { force: true });
    total -= bytes;
  }
}
