/** Runs one lane of a gadget, both halves in one process, over dealt correlations. */

import type { Gadget, GadgetParams } from '../../../protocol/gadgets/gadget.ts';
import { deriveSeed, Prg, randomRing } from '../../../protocol/random/index.ts';
import { lowBits, signed } from '../../../protocol/ring/packing.ts';
import { dealtCots } from '../ot/support.ts';

export const testSeed = (n: number): Uint8Array => new Uint8Array(16).fill(n);

/** Everything that crossed the wire, in order, and the client's and the server's share of y. */
export interface LaneRun {
  readonly corrections: Uint8Array;
  readonly tables: Uint8Array;
  readonly material: Uint8Array;
  readonly result: Uint8Array;
  readonly mask: Int32Array;
  readonly share: Int32Array;
  /** share + mask, as signed numbers of the result's ring. */
  readonly y: Int32Array;
}

/**
 * @param x - pre-activations; they are shared with a uniform c, or with the given one. The sum of both shares is x modulo
 *   2^ring only: their higher bits are arbitrary
 */
export function runLane(
  gadget: Gadget,
  params: GadgetParams,
  x: Int32Array,
  seed: Uint8Array,
  given: { c?: Int32Array; ring?: number } = {},
): LaneRun {
  const n = x.length;
  const c = given.c ?? randomRing(new Prg(deriveSeed(seed, 'c')), n);
  const counts = lowBits(given.ring ?? 32);
  const higher = randomRing(new Prg(deriveSeed(seed, 'higher bits of a')), n);
  const a = x.map((value, i) => ((value - c[i]!) & counts) | (higher[i]! & ~counts));
  const clientSeed = deriveSeed(seed, 'client');
  const serverSeed = deriveSeed(seed, 'server');
  const labelTweaks = { start: deriveSeed(seed, 'label tweaks'), first: 2 ** 33 + 5 };
  const productTweaks = { start: deriveSeed(seed, 'product tweaks'), first: 7 };

  const labelCount = gadget.labelCots(params) * n;
  const productCount = gadget.productCots(params) * n;
  const choices = gadget.draw(params, n, serverSeed);
  const bits = gadget.choose(params, c, clientSeed);
  const deal = (label: string, chosen: Uint8Array, count: number) =>
    dealtCots(new Prg(deriveSeed(seed, label)), chosen, count);
  const labels = deal('labels', bits, labelCount);
  const products = deal('products', choices, productCount);

  const mask = randomRing(new Prg(deriveSeed(seed, 'mask')), n);
  const opened = gadget.correct(params, {
    c,
    mask,
    labels: { blocks: labels.t, choices: bits, tweaks: labelTweaks },
    products: { blocks: products.q, offset: products.offset, tweaks: productTweaks },
    seed: clientSeed,
  });
  const prepared = gadget.prepare(params, {
    n,
    labels: { blocks: labels.q, offset: labels.offset, tweaks: labelTweaks },
    products: { blocks: products.t, choices, tweaks: productTweaks },
    corrections: opened.message,
    seed: serverSeed,
  });
  const stored = gadget.store(params, n, opened.state, prepared.message);
  const revealed = gadget.reveal(params, prepared.state, a);
  const result = gadget.evaluate(params, n, stored, revealed.message);
  const share = gadget.finish(params, revealed.state, result);
  return {
    corrections: opened.message,
    tables: prepared.message,
    material: revealed.message,
    result,
    mask,
    share,
    y: share.map((value, i) => signed(value + mask[i]!, params.outBits)),
  };
}
