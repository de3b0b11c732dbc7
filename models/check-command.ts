/** `sotto check`: says whether a network can be read, and what is in the way when it cannot. */

import { Command } from 'commander';
import { checkReading, formatCheck } from './onnx/check.ts';
import { MODEL_HELP, type NetworkReadOptions, tryGraph, withReadOptions } from './read.ts';

export function checkCommand(): Command {
  const command = new Command('check')
    .description('say what a network needs, or every operator in it that cannot be read')
    .argument('<model>', MODEL_HELP);
  return withReadOptions(command).action((path: string, options: NetworkReadOptions) => {
    const check = checkReading(tryGraph(path, options));
    process.stdout.write(`${formatCheck(check)}\n`);
    if (check.refused !== undefined) process.exitCode = 1;
  });
}
