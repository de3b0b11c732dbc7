/**
 * The steps of linear layers as tasks of the pool, each function a task: plain data in and out, each a range of a layer's
 * tiles. What a thread needs again and again, public polynomials and packed weights, it keeps.
 */

import { bulkCopy, isBulk } from '../bulk.ts';
import type { HintPlan, MaskedTiles, PublicPolynomials, TileRange } from './index.ts';
import * as hint from './index.ts';

/** The public polynomials of the latest generation that this thread has met, as many as a layer needed so far. */
let known: PublicPolynomials | undefined;

function publicsFor(generation: number, { packing }: HintPlan): PublicPolynomials {
  const count = packing.inTiles + 1;
  if (known?.generation !== generation || hint.publicCount(known) < count) {
    known = hint.publicPolynomials(generation, count);
  }
  return known;
}

export interface LayerInput {
  readonly plan: HintPlan;
  readonly range: TileRange;
}

/** The secrets of some rows: their transforms, or the seeds of all the layer's rows. */
export interface RowsInput {
  readonly rows?: Uint32Array;
  readonly seeds: Uint8Array;
}

function rowsOf({ plan, range, rows, seeds }: LayerInput & RowsInput): Uint32Array {
  return rows ?? hint.rowTransforms(plan, seeds, range);
}

/** What is made once and read by every thread. */
const shared = (transforms: Uint32Array): Uint32Array =>
  isBulk(transforms) ? bulkCopy(transforms, Uint32Array) : transforms;

/** Server, once a model: the hint of some output tiles. */
export function makeHint(
  input: LayerInput & { generation: number; weights: Int32Array; seeds: Uint8Array },
): Uint8Array {
  const { plan, range, generation, weights, seeds } = input;
  return hint.makeHint(plan, weights, publicsFor(generation, plan), seeds, range);
}

/** Server, once a model: transforms of the secrets u of some output tiles. */
export function transformRows({
  plan,
  range,
  seeds,
}: LayerInput & { seeds: Uint8Array }): Uint32Array {
  return shared(hint.rowTransforms(plan, seeds, range));
}

/** Client, once a session: transforms of some output tiles of the hint. */
export function decodeHint({ plan, range, part }: LayerInput & { part: Uint8Array }): Uint32Array {
  return shared(hint.decodeHint(plan, part, range));
}

/** Client: masks and corrections of some input tiles; with the first of them come the keys of the layer. */
export function maskInput(
  input: LayerInput & {
    generation: number;
    seed: Uint8Array;
    given?: Int32Array | undefined;
  },
): MaskedTiles & { keys: Uint8Array | undefined } {
  const { plan, range, generation, seed, given } = input;
  const publics = publicsFor(generation, plan);
  const secrets = hint.layerSecrets(plan, seed);
  const keys = range[0] === 0 ? hint.layerKeys(plan, publics, secrets, seed) : undefined;
  return { ...hint.maskInput(plan, publics, { secrets, seed, given }, range), keys };
}

/** Client: its shares of some output tiles. */
export function clientShares(
  input: LayerInput & { seed: Uint8Array; transforms?: Uint32Array; part?: Uint8Array },
): Int32Array {
  const { plan, range, seed, part } = input;
  const transforms = input.transforms ?? hint.decodeHint(plan, part!, range);
  return hint.clientShares(plan, transforms, hint.layerSecrets(plan, seed), range);
}

/** Server: its shares of some output tiles, without the product of its corrections. */
export function serverShares(input: LayerInput & RowsInput & { keys: Uint8Array }): Int32Array {
  const { plan, range, keys } = input;
  return hint.serverShares(plan, rowsOf(input), hint.decodeKeys(plan, keys), range);
}

/** Server: its shares of some output tiles of an exact layer. */
export function exactServerShares(
  input: LayerInput &
    RowsInput & {
      keys: Uint8Array;
      corrections: Uint8Array;
      weights: Int32Array;
      seed: Uint8Array;
    },
): Int32Array {
  const { plan, range, keys, weights, seed } = input;
  const corrections = hint.decodeExactCorrections(plan, input.corrections);
  const exact = { weights, corrections, seed };
  const decoded = hint.decodeKeys(plan, keys);
  return hint.exactServerShares(plan, rowsOf(input), decoded, range, exact);
}

/** Server: W times the corrections. */
export function correctLayer(input: {
  plan: HintPlan;
  corrections: Uint8Array;
  /** As they are, or packed for the online pass. */
  weights: Int32Array | Int16Array;
}): Int32Array {
  const { plan, corrections, weights } = input;
  return hint.correctedLinear(plan, weights, hint.decodeCorrections(plan, corrections));
}
