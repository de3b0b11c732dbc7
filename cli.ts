#!/usr/bin/env node
/**
 * The `sotto` command. It only gathers commands, each of which lives with its subject.
 *
 * Exit codes: 0 done, 1 failed (one sentence on stderr, with a stack when SOTTO_DEBUG is set), 2 wrong usage, 130 cancelled by
 * SIGINT.
 */

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Command, CommanderError, InvalidArgumentError, type Option } from 'commander';
import { nearestWord } from './models/nearest.ts';

/** Where each command lives. Only the one that is asked for is loaded: drawing and training take a while to start. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () => {
    const { modelPath, shippedModels } = await import('./models/shipped.ts');
    const { serveCommand } = await import('./server/command.ts');
    return serveCommand({ paths: shippedModels, pathOf: modelPath });
  },
  hint: async () => {
    const { modelPath } = await import('./models/shipped.ts');
    return (await import('./server/hint-command.ts')).hintCommand(modelPath);
  },
  infer: async () => (await import('./client/command.ts')).inferCommand(),
  models: async () => (await import('./client/command.ts')).modelsCommand(),
  check: async () => (await import('./models/check-command.ts')).checkCommand(),
  compile: async () => (await import('./models/command.ts')).compileCommand(),
  reduce: async () => (await import('./models/reduce/command.ts')).reduceCommand(),
  audit: async () => (await import('./models/reduce/audit.ts')).auditCommand(),
  plan: async () => {
    const { modelPath } = await import('./models/shipped.ts');
    return (await import('./server/plan.ts')).planCommand(modelPath);
  },
  completion: async () => (await import('./completion.ts')).completionCommand(everything),
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
  // The convention of all commands: an option whose value is called N is a whole number, COUNT one from 1 on.
  for (const option of command.options) {
    if (option.flags.endsWith('<N>')) option.argParser(wholeNumber);
    if (option.flags.endsWith('<COUNT>')) option.argParser(count);
    // One that may be a file instead decides itself.
    const choices = option.flags.includes('FILE') ? undefined : option.argChoices;
    if (choices !== undefined) option.argParser(collecting(option, oneOf(choices)));
    else if (option.parseArg !== undefined) option.argParser(refusing(option.parseArg));
  }
  program.addCommand(wantingLast(command).exitOverride());
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
  if (error instanceof InvalidArgumentError) {
    // Of options that do not go together; what is wrong with one alone commander has told.
    process.stderr.write(`sotto: ${error.message}\n`);
    process.exitCode = 2;
  } else if (error instanceof CommanderError) {
    // Help that was not asked for, when no command is named, is a mistake too.
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    const { message, stack } = error as Error;
    process.stderr.write(`sotto: ${process.env['SOTTO_DEBUG'] ? stack : message}\n`);
    process.exitCode = isCancelled(error) ? 130 : 1;
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

/** Tells of an option that is missing behind all else: where it was misspelt, that is what is wrong. */
function wantingLast(command: Command): Command {
  const needed = command.options.filter(({ mandatory }) => mandatory);
  for (const option of needed) option.makeOptionMandatory(false);
  return command.hook('preAction', () => {
    const missing = needed.find((one) => command.getOptionValue(one.attributeName()) === undefined);
    if (missing) command.error(`error: required option '${missing.flags}' not specified`);
  });
}

/** What shells complete. */
async function everything() {
  const { shippedNames } = await import('./models/shipped.ts');
  const loaded = await Promise.all(Object.values(commands).map((load) => load()));
  return { commands: loaded, models: shippedNames() };
}

/** One of some words; the sentence for another lists them, with the one that may have been meant. */
function oneOf(words: readonly string[]): (text: string) => string {
  return (text) => {
    if (words.includes(text)) return text;
    const meant = nearestWord(text, words);
    const which = meant === undefined ? '' : ` (Did you mean ${meant}?)`;
    throw new InvalidArgumentError(`It must be one of ${words.join(', ')}.${which}`);
  };
}

/** A parser of one word, for an option that may take several. */
function collecting({ variadic }: Option, parse: (text: string) => string) {
  return (text: string, before: unknown): unknown =>
    variadic ? [...((before ?? []) as string[]), parse(text)] : parse(text);
}

/** A parser whose RangeErrors are wrong usage, as those of protocol/units.ts are. */
function refusing<T>(parse: (text: string, before: T) => T): (text: string, before: T) => T {
  return (text, before) => {
    try {
      return parse(text, before);
    } catch (error) {
      if (error instanceof RangeError) throw new InvalidArgumentError(error.message);
      throw error;
    }
  };
}

/** Whether work ended because its signal fired, which SIGINT alone does here. */
function isCancelled(error: unknown): boolean {
  const { name, cause } = error as Error;
  return name === 'AbortError' || (cause instanceof Error && cause.name === 'AbortError');
}
