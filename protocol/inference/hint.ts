/**
 * The static hint of a whole model: how a server makes and keeps it, and what a client keeps of it. One hint serves all
 * sessions of a model; protocol/linear/hint says what it is.
 *
 * The hint of a model is the hints of its layers in the order of the layout. What both parties need of it again and again,
 * transforms of its polynomials, they keep from the first bundle on as long as that is not too much memory.
 */

import { bulkCopy } from '../bulk.ts';
import {
  type HintPlan,
  hintBytes,
  mergeWeights,
  POLYNOMIAL_WORDS,
  rowSeeds,
  type TileRange,
} from '../linear/index.ts';
import { digestOf, encodeProgram } from '../program/encode.ts';
import type { LinearWeights, Model } from '../program/model.ts';
import type { ConvShape } from '../ring/shape.ts';
import type { Layout, LinearLayout } from './layout.ts';
import type { ProtocolRunner } from './tasks.ts';

/** Input polynomials of one task, some 3 ms. LOCAL. */
const TASK_INPUTS = 64;

/** Output polynomials of one task, some 4 ms: handing a task over takes a tenth of that. LOCAL. */
const TASK_OUTPUTS = 256;

/**
 * Bytes of transforms that a party keeps of one hint. Keeping one saves a client some 30 us a bundle and a server, whose are
 * the same for all its sessions, some 100 us. LOCAL.
 */
const KEPT_BYTES = { client: 128 << 20, server: 512 << 20 };

function rangesOf(total: number, step: number): TileRange[] {
  return Array.from({ length: Math.ceil(total / step) }, (_, i) => [
    i * step,
    Math.min((i + 1) * step, total),
  ]);
}

/** Input tiles of the tasks that make a layer's masks. */
export function inputRanges({ packing }: HintPlan): TileRange[] {
  const step = Math.max(1, Math.floor(TASK_INPUTS / packing.spatialTiles));
  return rangesOf(packing.inTiles, step);
}

/** Output tiles of the tasks that make a layer's shares. */
export function outputRanges({ packing }: HintPlan): TileRange[] {
  const step = Math.max(1, Math.floor(TASK_OUTPUTS / packing.spatialTiles));
  return rangesOf(packing.outTiles, step);
}

/** Bytes of a program's hint. */
export function hintBytesOf({ linears }: Layout): number {
  return linears.reduce((sum, { plan }) => sum + hintBytes(plan), 0);
}

/** Whether the transforms of all output tiles of a program take no more than `most` bytes, and threads can share them. */
function keepsTransforms({ linears }: Layout, most: number): boolean {
  const tiles = linears.reduce((sum, { plan }) => sum + plan.packing.outTiles, 0);
  return typeof SharedArrayBuffer !== 'undefined' && 4 * POLYNOMIAL_WORDS * tiles <= most;
}

/** What is made of each range of tiles at its first use, and kept. */
function kept<T>(make: (range: TileRange) => Promise<T>, ranges: readonly TileRange[]) {
  const made: (Promise<T> | undefined)[] = [];
  return (i: number): Promise<T> => {
    made[i] ??= make(ranges[i]!).catch((error) => {
      made[i] = undefined;
      throw error;
    });
    return made[i];
  };
}

// ------------------------------------------------------------------------------------------------------- server

/** What the hint of a model depends on beside the model. */
export interface HintSecret {
  /** 16 secret bytes, shared by all who serve the model with this hint. */
  readonly secret: Uint8Array;
  readonly generation: number;
}

/** The secrets of some rows, ready to use or as the seeds they come from. */
export interface Rows {
  readonly rows?: Uint32Array;
  readonly seeds: Uint8Array;
}

/** A layer as the server works with it, for all sessions. */
export interface ServedLayer {
  readonly plan: HintPlan;
  /** Of all its parts together. */
  readonly weights: Int32Array;
  readonly seeds: Uint8Array;
  /** Of each range of {@link outputRanges}. */
  rows(range: number): Promise<Rows>;
}

/** The layers of a model, in the order of the layout. */
export function servedLayers(
  pool: ProtocolRunner,
  layout: Layout,
  { program, weights }: Model,
  { secret, generation }: HintSecret,
): ServedLayer[] {
  const digest = digestOf(encodeProgram(program));
  const keeps = keepsTransforms(layout, KEPT_BYTES.server);
  return layout.linears.map((layer) => {
    const { plan } = layer;
    const merged = layerWeights(layer, weights as readonly LinearWeights[]);
    const seeds = rowSeeds(plan, merged, {
      secret,
      program: digest,
      generation,
      layer: layer.parts[0]!.index,
    });
    const ranges = outputRanges(plan);
    const transformed = kept(
      async (range) => ({
        seeds,
        rows: await pool.run('transformRows', { plan, range, seeds }),
      }),
      ranges,
    );
    const rows = keeps ? transformed : () => Promise.resolve({ seeds });
    return { plan, weights: merged, seeds, rows };
  });
}

function layerWeights({ parts }: LinearLayout, weights: readonly LinearWeights[]): Int32Array {
  const kernels = parts.map(({ index }) => weights[index]!.kernel);
  if (kernels.length === 1) return kernels[0]!;
  const shapes = parts.map(({ step }) => step.shape as ConvShape);
  return bulkCopy(mergeWeights(shapes, kernels), Int32Array);
}

/** Called as a hint is made: output tiles done, of how many, and the layer of the last. */
export type HintProgress = (done: number, total: number, layer: string) => void;

/** Makes the hint of a model: the same bytes for the same model and secret. Seconds of all cores for a large one. */
export async function makeHintOf(
  pool: ProtocolRunner,
  layout: Layout,
  model: Model,
  own: HintSecret,
  onProgress?: HintProgress,
): Promise<Uint8Array> {
  const { linears } = layout;
  const hint = new Uint8Array(hintBytesOf(layout));
  const total = linears.reduce((sum, { plan }) => sum + plan.packing.outTiles, 0);
  const layers = servedLayers(pool, layout, model, own);
  let [at, done] = [0, 0];
  const work = layers.flatMap(({ plan, weights, seeds }, i) => {
    const start = at;
    at += hintBytes(plan);
    const each = hintBytes(plan) / plan.packing.outTiles;
    return outputRanges(plan).map(async (range) => {
      const { generation } = own;
      const input = { plan, range, generation, weights, seeds };
      hint.set(await pool.run('makeHint', input), start + range[0] * each);
      done += range[1] - range[0];
      onProgress?.(done, total, linears[i]!.parts[0]!.step.name);
    });
  });
  await Promise.all(work);
  return hint;
}

// ------------------------------------------------------------------------------------------------------- client

/** Some output tiles of the hint: transforms, or the layer's part of the hint. */
export type HintTiles = { readonly transforms: Uint32Array } | { readonly part: Uint8Array };

/** A hint that a session has verified. */
export interface OpenHint {
  readonly generation: number;
  /** Of a layer's range of {@link outputRanges}. */
  tiles(layer: number, range: number): Promise<HintTiles>;
}

/** @param parts - the layers' parts of the hint, see `openHint` */
export function openedHint(
  pool: ProtocolRunner,
  layout: Layout,
  generation: number,
  parts: readonly Uint8Array[],
): OpenHint {
  const keeps = keepsTransforms(layout, KEPT_BYTES.client);
  const layers = layout.linears.map(({ plan }, layer) => {
    const part = parts[layer]!;
    const decode = async (range: TileRange) => ({
      transforms: await pool.run('decodeHint', { plan, range, part }),
    });
    return keeps ? kept<HintTiles>(decode, outputRanges(plan)) : () => Promise.resolve({ part });
  });
  return { generation, tiles: (layer, range) => layers[layer]!(range) };
}
