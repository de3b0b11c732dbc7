/** The models that ship. */

import { readdir, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

/** Where they are, from the built module. */
const ZOO = fileURLToPath(new URL('../../models/zoo/', import.meta.url));

/** Paths of the models that ship, those with the fewest bytes first. */
export async function shippedModels(): Promise<string[]> {
  const names = (await readdir(ZOO)).filter((name) => name.endsWith('.sotto'));
  const files = await Promise.all(
    names.map(async (name) => ({ path: ZOO + name, bytes: (await stat(ZOO + name)).size })),
  );
  return files.sort((a, b) => a.bytes - b.bytes).map(({ path }) => path);
}
