#!/usr/bin/env node
/**
 * The `sotto` command. It only gathers commands, each of which lives with its subject.
 *
 * Exit codes: 0 done, 1 failed (one sentence on stderr, with a stack when SOTTO_DEBUG is set), 2 wrong usage.
 */

import { createRequire } from 'node:module';
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { benchCommand } from './bench/command.ts';
import { planCommand } from './bench/plan.ts';
import { inferCommand } from './client/command.ts';
import { compileCommand } from './models/command.ts';
import { auditCommand } from './models/reduce/audit.ts';
import { reduceCommand } from './models/reduce/command.ts';
import { serveCommand } from './server/command.ts';

const { version, description } = createRequire(import.meta.url)('../package.json');

const program = new Command('sotto').description(description).version(version);
for (const command of [
  serveCommand(),
  inferCommand(),
  compileCommand(),
  reduceCommand(),
  auditCommand(),
  planCommand(),
  benchCommand(),
]) {
  // The convention of all commands: an option whose value is called N is a whole number.
  for (const option of command.options) {
    if (option.flags.endsWith('<N>')) option.argParser(wholeNumber);
  }
  program.addCommand(command.exitOverride());
}
program.exitOverride();

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Help that was not asked for, when no command is named, is a mistake too.
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    const { message, stack } = error as Error;
    process.stderr.write(`sotto: ${process.env['SOTTO_DEBUG'] ? stack : message}\n`);
    process.exitCode = 1;
  }
}

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}
