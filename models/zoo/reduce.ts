/**
 * Makes the reduced networks of the zoo from a dense one, each by one `sotto reduce`.
 *
 *   npm run build && node dist/models/zoo/reduce.js NAME [--cache FOLDER]
 *
 * Wants `NAME.sottonet` in the folder, see dense.ts. Networks that are there already are left alone, and one that was
 * stopped half-way goes on.
 */

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { dataFolder, missing } from '../train/index.ts';
import { recipeOf, reduceArguments, reducedName } from './recipes.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { cache: { type: 'string', default: '.cache/zoo' } },
});
const recipe = recipeOf(positionals[0]);
const data = dataFolder(recipe.data);
if (data === undefined) {
  console.log(missing(recipe.data));
} else {
  const cli = fileURLToPath(new URL('../../cli.js', import.meta.url));
  for (const reduction of recipe.reduced) {
    // The model is the last of the files that a run writes.
    if (existsSync(join(values.cache, `${reducedName(recipe, reduction)}.sotto`))) continue;
    const args = reduceArguments(recipe, reduction, values.cache, data);
    console.error(`sotto ${args.join(' ')}`);
    const { status } = spawnSync(process.execPath, [cli, ...args], { stdio: 'inherit' });
    if (status !== 0) process.exit(status ?? 1);
  }
}
