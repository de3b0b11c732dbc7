/** Files as commands read and write them: whole, and what goes wrong as one sentence that names the file. Node only. */

import { randomBytes } from 'node:crypto';
import { accessSync, constants, mkdirSync, readFileSync, type Stats, statSync } from 'node:fs';
import { link, readFile, realpath, rename, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Options of reading. */
export interface ReadWholeOptions {
  /** Bytes of the largest file that is read; default: what Node reads at once, 2 GiB. */
  readonly most?: number | undefined;
}

/**
 * Reads a file whole.
 * @throws Error with one sentence that names the file, and Node's `code`: it is not there, may not be read, is too large, or is a
 *   folder, a pipe or a device
 */
export async function readWhole(path: string, options: ReadWholeOptions = {}): Promise<Uint8Array> {
  let refusal: string | undefined;
  try {
    refusal = whyRefused(await stat(path), options);
    if (refusal === undefined) return await readFile(path);
  } catch (cause) {
    throw failure(`${path}: ${whyUnread(cause)}`, cause);
  }
  throw failure(`${path}: ${refusal}`, NO_FILE);
}

/** As {@link readWhole}, while everything else waits. */
export function readWholeSync(path: string, options: ReadWholeOptions = {}): Uint8Array {
  let refusal: string | undefined;
  try {
    refusal = whyRefused(statSync(path), options);
    if (refusal === undefined) return readFileSync(path);
  } catch (cause) {
    throw failure(`${path}: ${whyUnread(cause)}`, cause);
  }
  throw failure(`${path}: ${refusal}`, NO_FILE);
}

/**
 * Puts a file in place whole or not at all: it is written beside the old one, flushed to the disk and renamed. Of a link, the
 * file that it leads to is replaced.
 * @param mode permissions of the file; default: those of the old file, of a new one what the process gives new files
 * @throws Error with one sentence that names the file, and Node's `code`; what was there stays
 */
export async function replaceFile(
  path: string,
  content: string | Uint8Array,
  mode?: number,
): Promise<void> {
  const old = outputStats(path);
  let beside: string | undefined;
  try {
    const target = old === undefined ? path : await realpath(path);
    beside = besideOf(target);
    const permissions = mode ?? (old && old.mode & 0o777);
    const own = permissions === undefined ? {} : { mode: permissions };
    await writeFile(beside, content, { flag: 'wx', flush: true, ...own });
    await rename(beside, target);
  } catch (cause) {
    throw failure(
      `${path} could not be written: ${whyUnwritten(cause)}${old === undefined ? '' : '; what was there stays'}`,
      cause,
    );
  } finally {
    if (beside !== undefined) await rm(beside, { force: true });
  }
}

/**
 * Puts a file in place whole, flushed to the disk, where there is none yet.
 * @returns whether it did: another process may have been faster
 * @throws Error with one sentence that names the file, and Node's `code`
 */
export async function placeFile(
  path: string,
  content: string | Uint8Array,
  mode: number,
): Promise<boolean> {
  const beside = besideOf(path);
  try {
    await writeFile(beside, content, { flag: 'wx', flush: true, mode });
    // Not renamed, which would replace another's. Made under its name, the file would be empty to others for a moment.
    await link(beside, path);
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw failure(`${path} cannot be made: ${whyUnwritten(cause)}`, cause);
  } finally {
    await unlink(beside).catch(() => {});
  }
}

/** A name beside a file that no other process uses. */
export function besideOf(path: string): string {
  return `${path}.${randomBytes(8).toString('hex')}.tmp`;
}

/**
 * Says before long work that a file will not be writable at its end.
 * @throws Error with one sentence that names the file, and Node's `code`
 */
export function checkOutput(path: string): void {
  outputStats(path);
  try {
    accessSync(dirname(path), constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw failure(`${path} cannot be written: ${whyUnwritten(cause)}`, cause);
  }
}

/**
 * Makes a folder, and those above it; nothing where it is there already.
 * @param mode permissions of a new folder; default: what the process gives new folders
 * @throws Error with one sentence that names the folder, and Node's `code`
 */
export function makeFolder(path: string, mode?: number): void {
  try {
    mkdirSync(path, { recursive: true, mode });
  } catch (cause) {
    throw failure(`the folder ${path} cannot be made: ${whyUnwritten(cause)}`, cause);
  }
}

/**
 * What is at the place of an output, undefined when nothing is.
 * @throws Error with one sentence that names what is there and is no file, before anybody opens it and would wait for a pipe
 */
export function outputStats(path: string): Stats | undefined {
  let stats: Stats | undefined;
  try {
    stats = statSync(path, { throwIfNoEntry: false });
  } catch (cause) {
    throw failure(`${path} cannot be written: ${whyUnwritten(cause)}`, cause);
  }
  const kind = stats && kindOf(stats);
  if (kind !== undefined) {
    throw failure(`${path} cannot be written: it is ${kind}, not a file`, NO_FILE);
  }
  return stats;
}

/** The code of what is no file, or too large a one. */
const NO_FILE = { code: 'EINVAL' };

/** What something is that is no file. */
function kindOf(stats: Stats): string | undefined {
  if (stats.isFile()) return undefined;
  if (stats.isDirectory()) return 'a folder';
  if (stats.isFIFO()) return 'a pipe';
  return stats.isSocket() ? 'a socket' : 'a device';
}

/** Why a file is not read. Nothing is opened that is no file: a pipe would be waited for, a device may never end. */
function whyRefused(stats: Stats, { most = 2 ** 31 - 1 }: ReadWholeOptions): string | undefined {
  const kind = kindOf(stats);
  if (kind !== undefined) return `it is ${kind}, not a file`;
  if (stats.size <= most) return undefined;
  return `it has ${stats.size} bytes, files up to ${most} bytes are read`;
}

function whyUnread(cause: unknown): string {
  const { code } = cause as NodeJS.ErrnoException;
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'there is no such file';
    case 'EACCES':
    case 'EPERM':
      return 'this user may not read it';
    default:
      return `it cannot be read (${code})`;
  }
}

/** Why a file, or the one beside it that takes its place, is not written. */
export function whyUnwritten(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException;
  switch (code) {
    case 'ENOENT':
      return 'its folder is not there';
    case 'ENOTDIR':
      return 'a part of its path is no folder';
    case 'EACCES':
    case 'EPERM':
      return 'this user may not write in its folder';
    case 'EROFS':
      return 'its folder can only be read';
    case 'EEXIST':
      return 'a file of that name is there';
    case 'ENOSPC':
    case 'EDQUOT':
      return 'the disk is full';
    case 'EFBIG':
      return 'it is larger than files may be here';
    default:
      return code ?? message;
  }
}

function failure(message: string, cause: unknown): Error {
  const { code } = cause as NodeJS.ErrnoException;
  const options = cause instanceof Error ? { cause } : {};
  return Object.assign(new Error(message, options), code === undefined ? {} : { code });
}
