/** Files as commands read them. Node only. */

import { readFileSync } from 'node:fs';

/** Reads a file whole; says in one sentence when it cannot. */
export function readWhole(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    const what = missing ? 'there is no such file' : 'it cannot be read';
    throw new Error(`${path}: ${what}`, { cause });
  }
}

/** The text of a file. */
export function readText(path: string): string {
  return new TextDecoder().decode(readWhole(path));
}

/** The lines of a text file that are not empty. */
export function readLines(path: string): string[] {
  return readText(path)
    .split(/\r?\n/)
    .filter((line) => line !== '');
}
