/** What the studies found, as files of JSON beside them: a run that was stopped goes on behind the last result. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { replaceFile } from '../../protocol/files.ts';

/** The working folder is the repository's root, as for every script of the zoo. */
export const FOLDER: string = join('models', 'studies');

/** The results of a study so far; none when there is no file. */
export function readStudy<T>(name: string): T[] {
  const path = join(FOLDER, `${name}.json`);
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as T[]) : [];
}

export async function writeResults<T>(name: string, results: readonly T[]): Promise<void> {
  const text = `${JSON.stringify(results, null, 2)}\n`;
  await replaceFile(join(FOLDER, `${name}.json`), text);
}
