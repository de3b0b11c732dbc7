/** The models a server offers: from files, checked, laid out, their weights in memory that all threads share. */

import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { bulkCopy } from '../protocol/bulk.ts';
import { readWhole } from '../protocol/files.ts';
import { AGREEMENT_DIGEST } from '../protocol/inference/hello.ts';
import {
  type HintProgress,
  hintBytesOf,
  makeHintOf,
  servedLayers,
} from '../protocol/inference/hint.ts';
import { layoutOf } from '../protocol/inference/layout.ts';
import type { Offer } from '../protocol/inference/session.ts';
import type { ProtocolRunner } from '../protocol/inference/tasks.ts';
import { digestOf, encodeProgram } from '../protocol/program/encode.ts';
import type { Model, StepWeights } from '../protocol/program/model.ts';
import { checkModel, decodeModel, tensorsOf } from '../protocol/program/model.ts';
import { deriveSeed, type Random } from '../protocol/random/index.ts';
import { type KeptHint, loadOrMakeHint, type ModelFile } from './hints.ts';
import type { MadeHint } from './limits.ts';

/** A model and the name under which clients ask for it. */
export interface NamedModel {
  readonly name: string;
  readonly model: Model;
  /** The file it was read from: its hint is kept beside that. */
  readonly file?: ModelFile | undefined;
}

/** A model that is offered. */
export interface OfferedModel extends Offer {
  readonly model: Model;
  /** Whether its hint was made, not read, and why it is not kept, if it is not. */
  readonly kept: Pick<KeptHint, 'made' | 'unkept'>;
}

/**
 * Reads a `.sotto` file; its name is the file's, without folder and `.sotto`.
 * @throws Error with one sentence when there is no such file, it is cut short, or it is not a model
 */
export async function loadModelFile(path: string): Promise<NamedModel> {
  let bytes: Uint8Array;
  try {
    bytes = await readWhole(path);
  } catch (cause) {
    throw new Error(`cannot load ${(cause as Error).message}`, { cause });
  }
  try {
    const model = decodeModel(bytes);
    const digest = Uint8Array.from(createHash('sha256').update(bytes).digest());
    return { name: basename(path, '.sotto'), model, file: { path, digest } };
  } catch (cause) {
    throw new Error(`cannot load ${path}: ${(cause as Error).message}`, { cause });
  }
}

/** What offering models takes. */
export interface OfferOptions {
  readonly pool: ProtocolRunner;
  /** Where secrets of hints come from; default: the system. Who can predict it can read the weights out of the hint: others are for tests. */
  readonly random?: Random | undefined;
  /** Called as a hint is made: the model, then as HintProgress. */
  readonly onHint?: ((model: string, ...progress: Parameters<HintProgress>) => void) | undefined;
  /** Called when a hint is made or cannot be kept. */
  readonly onMade?: ((made: MadeHint) => void) | undefined;
}

/**
 * Checks and lays out models, in the order in which they are offered; reads their hints, or makes and keeps them.
 * @throws TypeError, RangeError when there is none, two have one name, or one cannot be run
 * @throws Error as loadOrMakeHint does
 */
export async function offerModels(
  models: readonly NamedModel[],
  options: OfferOptions,
): Promise<Map<string, OfferedModel>> {
  if (models.length === 0) throw new TypeError('models: expected at least one');
  const offers = new Map<string, OfferedModel>();
  for (const named of models) {
    if (offers.has(named.name)) throw new RangeError(`models: two are named "${named.name}"`);
    offers.set(named.name, await offerModel(named, options));
  }
  return offers;
}

async function offerModel(
  { name, model, file }: NamedModel,
  { pool, random, onHint, onMade }: OfferOptions,
): Promise<OfferedModel> {
  const { program, shapes } = checkModel(model);
  const layout = layoutOf(program, shapes);
  const encoded = encodeProgram(program);
  const own = { program, weights: model.weights.map(shareWeights) };
  const start = performance.now();
  const kept = await loadOrMakeHint(file, {
    program: digestOf(encoded),
    bytes: hintBytesOf(layout),
    version: Buffer.from(AGREEMENT_DIGEST).toString('hex'),
    make: (secret) =>
      makeHintOf(pool, layout, own, secret, (...progress) => onHint?.(name, ...progress)),
    random,
  });
  const { made, unkept, hint } = kept;
  if (made || unkept !== undefined) {
    onMade?.({ model: name, bytes: hint.length, ms: performance.now() - start, unkept });
  }
  return {
    name,
    program: encoded,
    layout,
    model: own,
    layers: servedLayers(pool, layout, own, kept),
    hint: { generation: kept.generation, bytes: kept.hint, digest: kept.digest },
    weights: weightsDigest(model, kept.secret),
    kept: { made, unkept },
  };
}

/**
 * Names the weights of a model: SHA-256 of a salt, then of each tensor its length and its numbers, little-endian, 32 bits each. The
 * salt comes from the hint's secret, so that nobody else can test a guess of the weights.
 */
function weightsDigest({ weights }: Model, secret: Uint8Array): Uint8Array {
  const hash = createHash('sha256').update(deriveSeed(secret, 'weights'));
  for (const tensor of weights.flatMap(tensorsOf)) {
    hash.update(Uint32Array.of(tensor.length)).update(tensor);
  }
  return Uint8Array.from(hash.digest());
}

/** Threads receive a view of the same memory, where an ordinary array would be copied with each task. */
function shareWeights(weights: StepWeights): StepWeights {
  if (weights === undefined) return undefined;
  return 'kernel' in weights
    ? { kernel: shared(weights.kernel), bias: shared(weights.bias) }
    : { before: shared(weights.before), after: shared(weights.after) };
}

const shared = (values: Int32Array): Int32Array => bulkCopy(values, Int32Array);
