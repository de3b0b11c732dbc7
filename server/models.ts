/** The models a server offers: from files, checked, laid out, their weights in memory that all threads share. */

import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { bulkCopy } from '../protocol/bulk.ts';
import {
  type HintProgress,
  type HintSecret,
  makeHintOf,
  servedLayers,
} from '../protocol/inference/hint.ts';
import { layoutOf } from '../protocol/inference/layout.ts';
import type { Offer, PublishedHint } from '../protocol/inference/session.ts';
import type { ProtocolPool } from '../protocol/inference/tasks.ts';
import { hintDigest } from '../protocol/linear/index.ts';
import { encodeProgram } from '../protocol/program/encode.ts';
import type { Model, StepWeights } from '../protocol/program/model.ts';
import { checkModel, decodeModel } from '../protocol/program/model.ts';
import { freshSeed, type Random, systemRandom } from '../protocol/random/index.ts';

/** A model and the name under which clients ask for it. */
export interface NamedModel {
  readonly name: string;
  readonly model: Model;
  /** The hint of its linear layers that is kept for it; made when it is first offered, and forgotten, when left out. */
  readonly hint?: (PublishedHint & HintSecret) | undefined;
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
 * Checks and lays out models, in the order in which they are offered, and makes the hints that are not kept.
 * @throws TypeError, RangeError when there is none, two have one name, or one cannot be run
 */
export async function offerModels(
  models: readonly NamedModel[],
  { pool, random = systemRandom, onHint }: OfferOptions,
): Promise<Map<string, OfferedModel>> {
  if (models.length === 0) throw new TypeError('models: expected at least one');
  const offers = new Map<string, OfferedModel>();
  for (const { name, model, hint } of models) {
    if (offers.has(name)) throw new RangeError(`models: two are named "${name}"`);
    const { program, shapes } = checkModel(model);
    const layout = layoutOf(program, shapes);
    const own = { program, weights: model.weights.map(shareWeights) };
    const secret = hint ?? { secret: freshSeed(random), generation: 0 };
    const published =
      hint ??
      publishedHint(
        await makeHintOf(pool, layout, own, secret, (...progress) => onHint?.(name, ...progress)),
      );
    offers.set(name, {
      name,
      program: encodeProgram(program),
      layout,
      model: own,
      layers: servedLayers(pool, layout, own, secret),
      hint: published,
    });
  }
  return offers;
}

function publishedHint(bytes: Uint8Array): PublishedHint {
  return { generation: 0, bytes, digest: hintDigest(bytes) };
}

/** What offering takes. */
export interface OfferOptions {
  readonly pool: ProtocolPool;
  /** Where secrets of hints come from; the system when left out. */
  readonly random?: Random | undefined;
  /** Called as a hint is made: the model, then as in HintProgress. */
  readonly onHint?: ((model: string, ...progress: Parameters<HintProgress>) => void) | undefined;
}

/** Threads receive a view of the same memory, where an ordinary array would be copied with each task. */
function shareWeights(weights: StepWeights): StepWeights {
  if (weights === undefined) return undefined;
  return 'kernel' in weights
    ? { kernel: shared(weights.kernel), bias: shared(weights.bias) }
    : { before: shared(weights.before), after: shared(weights.after) };
}

const shared = (values: Int32Array): Int32Array => bulkCopy(values, Int32Array);
