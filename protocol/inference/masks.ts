/**
 * The client's linear layers of a bundle: the masks of all values, what it sends of each layer, and its shares of what they
 * make.
 */

import { localOf } from '../program/local.ts';
import { walk } from '../program/walk.ts';
import { deriveSeed, Prg, randomRing } from '../random/index.ts';
import { lowBits } from '../ring/packing.ts';
import { linearInputSize } from '../ring/shape.ts';
import { Ordered } from './flow.ts';
import type { Layout, LinearLayout } from './layout.ts';
import { type MaskedLayer, maskLayer, shareLayer } from './linear.ts';
import { Kind, sendMessage } from './messages.ts';
import type { ClientSession } from './session.ts';

/** The masks of a bundle. */
export interface MaskSet {
  /** By the number of the value: the input's and those of all activations' results. */
  readonly of: Map<number, Int32Array>;
  /** How far their phases are above them, in 256ths of a unit, where that is a part of the truncation before. */
  readonly fractions: Map<number, Int8Array>;
}

/** A layer's seed, of its message and of what it is shared to. */
const layerSeed = (seed: Uint8Array, layer: number) => deriveSeed(seed, 'layer', layer);

/** Sends all layers. Those that make masks come first: what is given to the others is known then. */
export async function sendLayers(
  session: ClientSession,
  seed: Uint8Array,
  advance: (step: string) => void,
): Promise<MaskSet> {
  const { channel, pool, layout } = session;
  const { linears, sources } = layout;
  const random = (value: number, size: number) =>
    randomRing(new Prg(deriveSeed(seed, 'mask', value)), size);
  const masks = new Map(sources.map(({ value, size }) => [value, random(value, size)]));
  const fractions = new Map<number, Int8Array>();
  const messages = new Ordered<() => Promise<void>>(pool.workers + 1, (send) => send());
  const add = (i: number, input: Int32Array, done: (made: MaskedLayer) => void) => {
    const layer = linears[i]!;
    const work = maskLayer(session, layer, layerSeed(seed, i), input);
    return messages.add(
      work.then((made) => async () => {
        done(made);
        await sendMessage(channel, Kind.layer, made.message);
        advance(layer.parts[0]!.step.name);
      }),
    );
  };

  const free = linears.filter((layer) => layer.plan.masks === 'free').length;
  for (const [i, layer] of linears.slice(0, free).entries()) {
    // What no output reads keeps the uniform numbers it has, and so do bits above the layer's ring.
    const pieces = sourcePieces(layout, layer);
    const own = new Int32Array(linearInputSize(layer.plan.shape));
    for (const { value, from, to, at } of pieces) own.set(masks.get(value)!.subarray(from, to), at);
    const high = ~lowBits(layer.plan.ringBits);
    await add(i, own, (made) => {
      for (const { value, from, to, at } of pieces) {
        const mask = masks.get(value)!;
        for (let element = from, j = at; element < to; element++, j++) {
          mask[element] = (mask[element]! & high) | (made.masks[j]! & ~high);
        }
        if (!layer.merged) continue;
        if (!fractions.has(value)) fractions.set(value, new Int8Array(mask.length));
        fractions.get(value)!.set(made.fractions.subarray(at, at + to - from), from);
      }
    });
  }
  await messages.drain();
  const values = givenMasks(layout, masks);
  for (const [i, { value, plan }] of linears.entries()) {
    if (i < free) continue;
    const modulus = lowBits(plan.ringBits);
    await add(
      i,
      values.get(value)!.map((mask) => mask & modulus),
      () => {},
    );
  }
  await messages.drain();
  return { of: masks, fractions };
}

/** The masks of the values that layers read whose masks are given. */
function givenMasks(
  { program, shapes, linears }: Layout,
  masks: ReadonlyMap<number, Int32Array>,
): Map<number, Int32Array> {
  const read = new Set(
    linears.filter(({ plan }) => plan.masks !== 'free').map(({ value }) => value),
  );
  const values = new Map<number, Int32Array>();
  const keep = (value: number, mask: Int32Array | undefined) => {
    if (mask !== undefined && read.has(value)) values.set(value, mask);
    return mask;
  };
  // What is no mask is undefined; checkProgram keeps it out of linear layers.
  walk<Int32Array | undefined>(program, {
    input: () => keep(0, masks.get(0)),
    linear: () => undefined,
    local(step, inputs, index) {
      if (inputs.includes(undefined)) return undefined;
      return keep(index + 1, localOf(shapes, step, inputs as Int32Array[]));
    },
    activation: (_, __, index) => keep(index + 1, masks.get(index + 1)),
    output: () => undefined,
  });
  return values;
}

/** A part of a layer's input, from element `at` on: elements [from, to) of a value. */
interface SourcePiece {
  readonly value: number;
  readonly from: number;
  readonly to: number;
  readonly at: number;
}

/** What a free layer reads, in pieces. */
function sourcePieces({ sources }: Layout, { value, elements, plan }: LinearLayout): SourcePiece[] {
  if (elements === undefined) return [{ value, from: 0, to: linearInputSize(plan.shape), at: 0 }];
  const pieces: SourcePiece[] = [];
  for (let at = 0; at < elements.length; ) {
    const element = elements[at]!;
    const source = sources.findLast(({ start }) => start <= element)!;
    const end = source.start + source.size;
    let length = 1;
    while (elements[at + length] === element + length && element + length < end) length++;
    const from = element - source.start;
    pieces.push({ value: source.value, from, to: from + length, at });
    at += length;
  }
  return pieces;
}

/** The client's shares of all activation layers' inputs, by the index of their step, and of the output. */
export interface ClientShares {
  readonly preactivations: Map<number, Int32Array>;
  readonly output: Int32Array;
}

export async function shareLayers(
  session: ClientSession,
  seed: Uint8Array,
  masks: MaskSet,
): Promise<ClientShares> {
  const { pool, layout } = session;
  const { program, shapes, linears } = layout;
  const products = new Map<number, Int32Array>();
  const shares = new Ordered<() => void>(pool.workers + 1, (place) => place());
  for (const [i, { parts }] of linears.entries()) {
    const work = shareLayer(session, i, layerSeed(seed, i));
    await shares.add(
      work.then((c) => () => {
        for (const { index, from, size } of parts)
          products.set(index, c.subarray(from, from + size));
      }),
    );
  }
  await shares.drain();
  const preactivations = new Map<number, Int32Array>();
  const output = walk<Int32Array>(program, {
    input: () => masks.of.get(0)!,
    linear: (_, __, index) => products.get(index)!,
    local: (step, inputs) => localOf(shapes, step, inputs),
    activation(_, c, index) {
      preactivations.set(index, c);
      return masks.of.get(index + 1)!;
    },
    output: (_, c) => c,
  });
  return { preactivations, output };
}
