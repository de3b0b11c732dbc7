#!/usr/bin/env node
/**
 * The `sotto` command. It only gathers commands, each of which lives with its subject.
 *
 * Exit codes: 0 done, 1 failed (one sentence on stderr, with a stack when SOTTO_DEBUG is set), 2 wrong usage.
 */

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Command, CommanderError, InvalidArgumentError } from 'commander';

/** Where each command lives. Only the one that is asked for is loaded: drawing and training take a while to start. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () =>
    (await import('./server/command.ts')).serveCommand(
      (await import('./models/shipped.ts')).shippedModels,
    ),
  hint: async () => (await import('./server/hint-command.ts')).hintCommand(),
  infer: async () => (await import('./client/command.ts')).inferCommand(),
  models: async () => (await import('./client/command.ts')).modelsCommand(),
  check: async () => (await import('./models/check-command.ts')).checkCommand(),
  compile: async () => (await import('./models/command.ts')).compileCommand(),
  reduce: async () => (await import('./models/reduce/command.ts')).reduceCommand(),
  audit: async () => (await import('./models/reduce/audit.ts')).auditCommand(),
  plan: async () => (await import('./bench/plan.ts')).planCommand(),
  ...(existsSync(new URL('./bench/command.js', import.meta.url)) && {
    // No package holds it.
    bench: async () => (await import('./bench/command.ts')).benchCommand(),
  }),
};

const { version, description } = createRequire(import.meta.url)('../package.json');

const program = new Command('sotto').description(description).version(version);
const asked = Object.entries(commands).filter(([name]) => name === process.argv[2]);
for (const [, load] of asked.length === 0 ? Object.entries(commands) : asked) {
  const command = await load();
  // The convention of all commands: an option whose value is called N is a whole number, COUNT one from 1 on, B a rate in
  // bits a second.
  for (const option of command.options) {
    if (option.flags.endsWith('<N>')) option.argParser(wholeNumber);
    if (option.flags.endsWith('<COUNT>')) option.argParser(count);
    if (option.flags.endsWith('<B>')) option.argParser(bandwidth);
  }
  program.addCommand(command.exitOverride());
}
program.exitOverride();

// What is printed may have no reader any more, as behind `| head -1`: the work goes on, and its files are written.
process.stderr.on('error', () => {});
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') return;
  process.stderr.write(`sotto: standard output cannot be written: ${error.message}\n`);
  process.exitCode = 1;
});

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
  if (!/^\d{1,9}$/.test(text))
    throw new InvalidArgumentError('It must be a whole number from 0 to 999999999.');
  return Number(text);
}

function count(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) {
    throw new InvalidArgumentError('It must be a whole number from 1 to 999999999.');
  }
  return Number(text);
}

/** Bits a second of text such as `100mbit`. */
function bandwidth(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(k|m|g)bit$/i.exec(text) ?? [];
  const bits = Number(number) * { k: 1e3, m: 1e6, g: 1e9 }[unit?.toLowerCase() as 'k' | 'm' | 'g'];
  if (!(bits > 0)) throw new InvalidArgumentError('It must be like 100mbit, 1gbit or 800kbit.');
  return bits;
}
