/** `sotto hint`: makes the hints of models before a server needs them, or checks those that are kept. */

import { Command } from 'commander';
import { createPool } from '../protocol/inference/threads.ts';
import { showStatus } from '../protocol/terminal.ts';
import { hintPaths } from './hints.ts';
import { loadModelFile, offerModels } from './models.ts';

interface HintCommandOptions {
  readonly workers?: number;
}

/** @param pathOf - the path of a model that is named by its file or by its name */
export function hintCommand(pathOf = (text: string): string => text): Command {
  return new Command('hint')
    .description(
      'make the public files that clients of a model keep, or check those that are there',
    )
    .argument(
      '<model...>',
      '.sotto files, or names of models that ship; the hint of NAME.sotto is NAME.sotto.hint',
    )
    .option('--workers <COUNT>', 'threads; default: as many as the machine runs at a time')
    .action((models: readonly string[], options: HintCommandOptions) =>
      run(models.map(pathOf), options),
    );
}

async function run(paths: readonly string[], { workers }: HintCommandOptions): Promise<void> {
  const models = await Promise.all(paths.map(loadModelFile));
  const pool = createPool({ workers });
  try {
    for (const [i, model] of models.entries()) {
      const path = hintPaths(paths[i]!).hint;
      const start = performance.now();
      const onHint = (_: string, done: number, total: number, layer: string) =>
        showStatus(`${path}: ${Math.round((100 * done) / total)} %, ${layer}`);
      const offers = await offerModels([model], { pool, onHint }).finally(() => showStatus(''));
      const { hint, kept } = offers.get(model.name)!;
      if (kept.unkept !== undefined) throw new Error(kept.unkept);
      const seconds = ((performance.now() - start) / 1000).toFixed(2);
      process.stdout.write(
        `${path}: ${(hint.bytes.length / 1e6).toFixed(1)} MB, SHA-256 ${Buffer.from(hint.digest).toString('hex')}, ` +
          `${kept.made ? 'made' : 'there already, checked'} in ${seconds} s\n`,
      );
    }
  } finally {
    await pool.close();
  }
}
