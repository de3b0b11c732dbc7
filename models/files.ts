/** Files of text as commands read them. Node only. */

import { readWholeSync } from '../protocol/files.ts';

/** The text of a file. */
export function readText(path: string): string {
  return new TextDecoder().decode(readWholeSync(path));
}

/** The lines of a text file that are not empty. */
export function readLines(path: string): string[] {
  return readText(path)
    .split(/\r?\n/)
    .filter((line) => line !== '');
}
