/** The models that ship, naming one of them instead of a file, and the float networks of some. */

import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readWholeSync } from '../protocol/files.ts';
import { ModelError } from './errors.ts';
import { type Graph, loadGraph } from './graph/index.ts';
import { nearestWord } from './nearest.ts';

const [fromSource, fromBuilt] = ['./zoo/', '../../models/zoo/'].map((path) =>
  fileURLToPath(new URL(path, import.meta.url)),
) as [string, string];

/** The folder that they are in, with a slash behind it. */
export const ZOO: string = existsSync(`${fromSource}digits.sotto`) ? fromSource : fromBuilt;

/** Paths of the models that ship, those with the fewest bytes first. */
export function shippedModels(): string[] {
  return readdirSync(ZOO)
    .filter((name) => name.endsWith('.sotto'))
    .map((name) => ({ path: ZOO + name, bytes: statSync(ZOO + name).size }))
    .sort((a, b) => a.bytes - b.bytes)
    .map(({ path }) => path);
}

/** Names of the models that ship, in that order. */
export function shippedNames(): string[] {
  return shippedModels().map((path) => basename(path, '.sotto'));
}

/**
 * The path of a model that is named by its file, or by its name if it ships. A file of that name goes first.
 * @throws ModelError `argument` that lists the names when it can only be one, and is none of them
 */
export function modelPath(text: string): string {
  // A folder is no model, and may well have the name of one.
  const there = statSync(text, { throwIfNoEntry: false });
  if (there !== undefined && !there.isDirectory()) return text;
  const names = shippedNames();
  if (names.includes(text)) return `${ZOO}${text}.sotto`;
  // What is wrong with such a path is told by whoever reads it.
  if (there !== undefined || /[\\/]|\.sotto$/.test(text)) return text;
  const meant = nearestWord(text, names);
  const which = meant === undefined ? '' : `did you mean ${meant}? `;
  throw new ModelError(
    'argument',
    `there is no file and no model named "${text}"; ${which}the models that ship are ${names.join(', ')}`,
  );
}

/**
 * The trained float network of a model that ships, to reduce, to train on or to compile otherwise.
 * @param name - `fashion`, `cifar10` or `air`, all ReLUs, or `digits`, some; of those that were reduced none is kept
 * @throws ModelError `argument` that lists the names when there is none of this one
 */
export function shippedNetwork(name: string): Graph {
  const names = readdirSync(ZOO).flatMap((file) => /^(.+)\.sottonet$/.exec(file)?.[1] ?? []);
  if (names.includes(name)) return loadGraph(readWholeSync(`${ZOO}${name}.sottonet`));
  const which = names.length === 0 ? 'none ships here' : `those that ship are ${names.join(', ')}`;
  throw new ModelError('argument', `there is no network named "${name}": ${which}`);
}
