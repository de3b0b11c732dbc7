/** The models a server offers: from files, checked, laid out, their weights in memory that all threads share. */

import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { bulkCopy } from '../protocol/bulk.ts';
import { layoutOf } from '../protocol/inference/layout.ts';
import type { Offer } from '../protocol/inference/session.ts';
import { encodeProgram } from '../protocol/program/encode.ts';
import type { Model, StepWeights } from '../protocol/program/model.ts';
import { checkModel, decodeModel } from '../protocol/program/model.ts';

/** A model and the name under which clients ask for it. */
export interface NamedModel {
  readonly name: string;
  readonly model: Model;
}

/** A model that is offered. */
export interface OfferedModel extends Offer {
  readonly model: Model;
}

/**
 * Reads a `.sotto` file; its name is the file's, without folder and `.sotto`.
 * @throws Error with one sentence when there is no such file, it is cut short, or it is not a model
 */
export async function loadModelFile(path: string): Promise<NamedModel> {
  try {
    const model = decodeModel(await readFile(path));
    return { name: basename(path, '.sotto'), model };
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const what = code === 'ENOENT' ? 'there is no such file' : message;
    throw new Error(`cannot load ${path}: ${what}`, { cause });
  }
}

/**
 * Checks and lays out models, in the order in which they are offered.
 * @throws TypeError, RangeError when there is none, two have one name, or one cannot be run
 */
export function offerModels(models: readonly NamedModel[]): Map<string, OfferedModel> {
  if (models.length === 0) throw new TypeError('models: expected at least one');
  const offers = new Map<string, OfferedModel>();
  for (const { name, model } of models) {
    if (offers.has(name)) throw new RangeError(`models: two are named "${name}"`);
    const { program, shapes } = checkModel(model);
    offers.set(name, {
      name,
      program: encodeProgram(program),
      layout: layoutOf(program, shapes),
      model: { program, weights: model.weights.map(shareWeights) },
    });
  }
  return offers;
}

/** Threads receive a view of the same memory, where an ordinary array would be copied with each task. */
function shareWeights(weights: StepWeights): StepWeights {
  if (weights === undefined) return undefined;
  return 'kernel' in weights
    ? { kernel: shared(weights.kernel), bias: shared(weights.bias) }
    : { before: shared(weights.before), after: shared(weights.after) };
}

const shared = (values: Int32Array): Int32Array => bulkCopy(values, Int32Array);
