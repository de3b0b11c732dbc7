/** How images of another size are made to fit: the options of every command that reads images for a network. */

import { type Command, InvalidArgumentError } from 'commander';
import type { Fit } from './samples/index.ts';

/** What commander makes of the options. */
export interface FitOptions {
  readonly resize?: string;
  readonly crop?: true;
}

/** Gives a command the options that say how its images are made to fit. */
export function withFitOptions(command: Command): Command {
  return command
    .option('--resize <N>', 'resize images so that their shorter side has N pixels')
    .option('--crop', 'cut the middle out of larger images, after resizing');
}

/** @throws InvalidArgumentError when the shorter side is no whole number */
export function fitOf({ resize, crop }: FitOptions): Fit {
  return {
    ...(resize === undefined ? {} : { resize: countOf('--resize', resize) }),
    ...(crop === undefined ? {} : { crop }),
  };
}

/**
 * A whole number of an option.
 * @throws InvalidArgumentError when it is none from 1 on
 */
export function countOf(option: string, text: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`${option} should be a whole number from 1 on, not ${text}`);
}
