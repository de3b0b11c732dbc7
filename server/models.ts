/** The models a server offers: from files, checked, laid out, their weights in memory that all threads share. */

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { bulkCopy } from '../protocol/bulk.ts';
import { hintBytesOf, makeHintOf } from '../protocol/inference/hint.ts';
import { layoutOf } from '../protocol/inference/layout.ts';
import { AGREEMENT_DIGEST, type Offer, type ProtocolPool } from '../protocol/inference/session.ts';
import { digestOf, encodeProgram } from '../protocol/program/encode.ts';
import type { Model, StepWeights } from '../protocol/program/model.ts';
import { checkModel, decodeModel } from '../protocol/program/model.ts';
import { type KeptHint, loadOrMakeHint, type ModelFile } from './hints.ts';

/** A model and the name under which clients ask for it. */
export interface NamedModel {
  readonly name: string;
  readonly model: Model;
  /** The file it was read from: its hint is kept beside that. */
  readonly file?: ModelFile | undefined;
}

/** A model that is offered. */
export interface OfferedModel extends Offer, NamedModel {
  readonly name: string;
}

/**
 * Reads a `.sotto` file; its name is the file's, without folder and `.sotto`.
 * @throws Error with one sentence when there is no such file, it is cut short, or it is not a model
 */
export async function loadModelFile(path: string): Promise<NamedModel> {
  try {
    const bytes = await readFile(path);
    const model = decodeModel(bytes);
    const digest = Uint8Array.from(createHash('sha256').update(bytes).digest());
    return { name: basename(path, '.sotto'), model, file: { path, digest } };
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
  for (const { name, model, file } of models) {
    if (offers.has(name)) throw new RangeError(`models: two are named "${name}"`);
    const { program, shapes } = checkModel(model);
    offers.set(name, {
      name,
      program: encodeProgram(program),
      layout: layoutOf(program, shapes),
      model: { program, weights: model.weights.map(shareWeights) },
      file,
    });
  }
  return offers;
}

/**
 * The hint of an offered model: read, or made on the pool and kept beside the model's file.
 * @param onProgress - told, while it is made, of the layers that are done, of how many, and the name of the last
 * @throws Error as {@link loadOrMakeHint} does
 */
export function hintOf(
  pool: ProtocolPool,
  { layout, model, program, file }: OfferedModel,
  onProgress?: (done: number, total: number, layer: string) => void,
): Promise<KeptHint> {
  return loadOrMakeHint(file, {
    program: digestOf(program),
    bytes: hintBytesOf(layout),
    version: Buffer.from(AGREEMENT_DIGEST).toString('hex'),
    make: (context) => makeHintOf(pool, layout, model, context, onProgress),
  });
}

/** Threads receive a view of the same memory, where an ordinary array would be copied with each task. */
function shareWeights(weights: StepWeights): StepWeights {
  if (weights === undefined) return undefined;
  return 'kernel' in weights
    ? { kernel: shared(weights.kernel), bias: shared(weights.bias) }
    : { before: shared(weights.before), after: shared(weights.after) };
}

const shared = (values: Int32Array): Int32Array => bulkCopy(values, Int32Array);
