/**
 * The secrets of prepared linear layers over whole sessions: none serves two layers, bundles or sessions, and what each gives
 * away to one who has it or sees it twice. Every attack is mounted on the session as built as well, where it finds nothing.
 */

import { describe, expect, it } from 'vitest';
import { memoryPair } from '../../../protocol/channel/memory.ts';
import { gadgetOf } from '../../../protocol/gadgets/index.ts';
import { BundleStore } from '../../../protocol/inference/bundle.ts';
import { Kind } from '../../../protocol/inference/messages.ts';
import {
  bundleSeed,
  type Offer,
  openClient,
  openServer,
  type ProtocolPool,
} from '../../../protocol/inference/session.ts';
import * as tasks from '../../../protocol/inference/tasks.ts';
import { publicPolynomial } from '../../../protocol/linear/hint/parameters.ts';
import { keyBytes } from '../../../protocol/linear/hint/plan.ts';
import { polynomialAt } from '../../../protocol/linear/hint/polynomial.ts';
import { type HintPlan, layerSecrets, publicPolynomials } from '../../../protocol/linear/index.ts';
import { MODULUS, POLYNOMIAL_BYTES } from '../../../protocol/linear/lattice/parameters.ts';
import { createInlinePool } from '../../../protocol/pool/inline.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import { IDENTITY } from '../../../protocol/program/kinds.ts';
import type { LinearWeights, Model } from '../../../protocol/program/model.ts';
import { deriveSeed, Prg, type Random, randomRing } from '../../../protocol/random/index.ts';
import { signed, unpack } from '../../../protocol/ring/packing.ts';
import {
  hintsOf,
  inferBoth,
  ModelBuilder,
  offerOf,
  prepareBoth,
  randomInput,
  type Sessions,
  seedOf,
} from '../../support/model.ts';
import { type RecordedFrame, recorded } from '../../support/recorded.ts';
import { CHI_SQUARE_LIMIT, chiSquare } from '../../support/statistics.ts';
import { productOf } from '../linear/hint/support.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** A task of a linear layer that runs on a seed of the client's, or the server's noise. */
const SEEDED = ['maskInput', 'clientShares', 'exactServerShares'] as const;

type Seeded = { readonly plan: HintPlan; readonly seed: Uint8Array };

interface Use {
  readonly task: (typeof SEEDED)[number];
  readonly layer: number;
  readonly seed: Uint8Array;
}

/** A session whose linear layers' seeds are noted, or replaced, as the pool is given them. */
interface Watched {
  readonly sessions: Sessions;
  readonly frames: readonly RecordedFrame[];
  readonly uses: Use[];
}

/** @param change - the seed that a task gets, of its layer and its own */
async function watch(
  model: Model,
  offer: Offer,
  [client, server]: readonly [Random, Random],
  change: (layer: number, seed: Uint8Array) => Uint8Array = (_, seed) => seed,
): Promise<Watched> {
  const inline = createInlinePool(tasks);
  const uses: Use[] = [];
  // The client lays the program out by itself: its plans are other objects, in the same order.
  const own: readonly HintPlan[][] = [offer.layout.linears.map(({ plan }) => plan), []];
  const layerOf = (plan: HintPlan) =>
    Math.max(...own.map((plans) => plans.findIndex(({ packing }) => packing === plan.packing)));
  const run = (task: Use['task'], input: Seeded, options?: object) => {
    if (!SEEDED.includes(task)) return inline.run(task, input as never, options);
    const layer = layerOf(input.plan);
    const seed = change(layer, input.seed);
    uses.push({ task, layer, seed });
    return inline.run(task, { ...input, seed } as never, options);
  };
  const pool = {
    ...inline,
    workers: 1,
    close: () => inline.close(),
    run,
  } as unknown as ProtocolPool;
  const [near, far] = memoryPair();
  const tape = recorded(near);
  const parties = await Promise.all([
    openClient({ channel: tape, pool, random: client }, { hints: hintsOf(offer) }),
    openServer({ channel: far, pool, random: server }, () => ({ offer })),
  ]);
  own[1]!.push(...parties[0].layout.linears.map(({ plan }) => plan));
  const sessions = {
    model,
    client: parties[0],
    server: parties[1],
    clientBundles: new BundleStore(),
    serverBundles: new BundleStore(),
  } as unknown as Sessions;
  return { sessions, frames: tape.transcript, uses };
}

const parties = (client: number, server: number) =>
  [new Prg(seedOf(client)), new Prg(seedOf(server))] as const;

/** Layers of all three ways of masking, the first of more than one spatial tile. */
function threeWays(): Model {
  const net = new ModelBuilder([1, 48, 48], seedOf(400));
  net.activation([IDENTITY], net.conv(1, 3));
  const y = net.activation([IDENTITY], net.conv(3, 3, 4, 1));
  const both = net.add(net.conv(3, 3, 1, 1, y), net.conv(3, 3, 1, 1, y, 3));
  net.activation([IDENTITY], both);
  net.dense(3);
  return net.finish();
}

interface Key {
  readonly place: string;
  readonly key: string;
}

/** All keys that a session's client has sent, one for each spatial tile of each layer of each bundle. */
function keysOf({ sessions, frames }: Watched, name: string): Key[] {
  const { linears } = sessions.client.layout;
  return frames
    .filter(({ kind, direction }) => kind === Kind.layer && direction === 'sent')
    .flatMap(({ payload }, i) => {
      const { plan } = linears[i % linears.length]!;
      const place = `${name}, bundle ${Math.floor(i / linears.length)}, layer ${i % linears.length}`;
      return Array.from({ length: keyBytes(plan) / POLYNOMIAL_BYTES }, (_, tile) => ({
        place: `${place}, tile ${tile}`,
        key: hex(payload.subarray(tile * POLYNOMIAL_BYTES, (tile + 1) * POLYNOMIAL_BYTES)),
      }));
    });
}

/** Which keys are the same: what a server that keeps all it was sent would notice. */
function repeated(keys: readonly Key[]): string[] {
  const places = new Map<string, string[]>();
  for (const { key, place } of keys) places.set(key, [...(places.get(key) ?? []), place]);
  return [...places.values()].filter((same) => same.length > 1).map((same) => same.join(' = '));
}

describe('a secret of a linear layer', async () => {
  const model = threeWays();
  const offer = await offerOf(model);
  const { linears } = offer.layout;

  it('is of one layer of one bundle of one session, though another session draws the same randomness: the server reads inputs where it is of two', async () => {
    expect(linears.map(({ masks }) => masks)).toEqual(['free', 'free', 'free', 'fixed', 'exact']);
    expect(linears[0]!.plan.packing.spatialTiles).toBeGreaterThan(1);
    const keys: Key[] = [];
    const seeds: string[] = [];
    const roots: string[] = [];
    for (const [name, own] of [
      ['first', parties(410, 411)],
      ['second', parties(412, 413)],
      ['same client randomness', parties(410, 414)],
      ['same server randomness', parties(415, 411)],
    ] as const) {
      const watched = await watch(model, offer, own);
      roots.push(hex(watched.sessions.server.root.offset));
      for (let bundle = 0; bundle < 2; bundle++) {
        watched.uses.splice(0);
        await prepareBoth(watched.sessions);
        for (const layer of linears.keys()) {
          const of = (task: string) =>
            watched.uses.filter((use) => use.layer === layer && use.task === task);
          const client = [...of('maskInput'), ...of('clientShares')];
          expect(new Set(client.map(({ task }) => task)).size).toBe(2);
          // All that the client makes of a layer comes of one seed; so does all noise of the server's.
          for (const own of [client, of('exactServerShares')]) {
            seeds.push(...new Set(own.map(({ seed }) => hex(seed))));
          }
        }
      }
      keys.push(...keysOf(watched, name));
    }
    // Nor is a root's offset of two: with its points the same in both, a client would read it.
    expect(new Set(roots).size).toBe(4);
    // Per bundle five layers of the client's and one of the server's.
    expect(seeds.length).toBe(4 * 2 * 6);
    expect(new Set(seeds).size).toBe(seeds.length);
    const tiles = linears.reduce((sum, { plan }) => sum + plan.packing.spatialTiles, 0);
    expect(keys.length).toBe(4 * 2 * tiles);
    expect(repeated(keys)).toEqual([]);
  });

  it('used twice shows in the keys: in two layers, in two bundles, in two sessions', async () => {
    const layers = await watch(model, offer, parties(420, 421), (layer, seed) =>
      layer === 2 || layer === 3 ? seedOf(1) : seed,
    );
    await prepareBoth(layers.sessions);
    expect(repeated(keysOf(layers, 's'))).toEqual([
      's, bundle 0, layer 2, tile 0 = s, bundle 0, layer 3, tile 0',
    ]);
    const always = (layer: number) => deriveSeed(seedOf(2), 'layer', layer);
    const bundles = await watch(model, offer, parties(422, 423), always);
    for (let bundle = 0; bundle < 2; bundle++) await prepareBoth(bundles.sessions);
    const found = repeated(keysOf(bundles, 's'));
    expect(found.length).toBe(keysOf(bundles, 's').length / 2);
    expect(found[0]).toBe('s, bundle 0, layer 0, tile 0 = s, bundle 1, layer 0, tile 0');
    // The same randomness of both parties is the same session over again.
    const twice = [];
    for (const name of ['one', 'other']) {
      const watched = await watch(model, offer, parties(424, 425));
      await prepareBoth(watched.sessions);
      twice.push(...keysOf(watched, name));
    }
    expect(repeated(twice).length).toBe(twice.length / 2);
  });
});

/** x, then an identity of w x, then another layer: each of the two makes masks. */
function chain(): Model {
  const net = new ModelBuilder([1, 16, 16], seedOf(430));
  net.activation([IDENTITY], net.conv(1, 1));
  net.activation([IDENTITY], net.conv(1, 1));
  net.dense(2);
  return net.finish();
}

/** What the server has of one inference: the masked input, and what each activation layer leaves it, y - r'. */
async function serverView({ sessions, frames }: Watched, input: Int32Array) {
  const { activations, rings } = sessions.client.layout;
  const gadget = gadgetOf(activations[0]!.lanes[0]!);
  const { finish } = gadget;
  const activated: Int32Array[] = [];
  Object.assign(gadget, {
    finish(...args: Parameters<typeof finish>) {
      const values = finish(...args);
      activated.push(values.slice());
      return values;
    },
  });
  try {
    await inferBoth(sessions, input);
  } finally {
    Object.assign(gadget, { finish });
  }
  const message = frames.filter(({ kind }) => kind === Kind.maskedInput).at(-1)!.payload;
  return { masked: unpack(message, input.length, rings[0]!), activated };
}

/** The share of numbers that a guess meets up to `off`. */
const hits = (guess: ArrayLike<number>, truth: ArrayLike<number>, off: number): number =>
  Array.from(guess).filter((value, i) => Math.abs(value - truth[i]!) <= off).length / guess.length;

describe('who has a secret', async () => {
  const model = chain();
  const offer = await offerOf(model);
  const { layout } = offer;
  const input = randomInput(model, seedOf(431));
  const [first, second, last] = layout.linears as [
    (typeof layout.linears)[0],
    (typeof layout.linears)[0],
    (typeof layout.linears)[0],
  ];

  /** The masks that the phases of `s` are, at the elements of the layer's input. */
  function masksOf({ plan }: { plan: HintPlan }, seed: Uint8Array): Float64Array {
    const secrets = layerSecrets(plan, seed);
    const publics = publicPolynomials(offer.hint.generation, plan.packing.inTiles + 1);
    const out = new Float64Array(input.length);
    plan.inputs.forEach(({ free, freeElements, first: from }, inTile) => {
      const phases = productOf(publicPolynomial(publics, inTile + 1), polynomialAt(secrets, 0));
      free.forEach((at, i) => {
        out[from + freeElements[i]!] = (Number(phases[at]!) / MODULUS) * 2 ** plan.ringBits;
      });
    });
    return out;
  }

  it('is given inputs by s of the layer that reads them, and by no other', async () => {
    const watched = await watch(model, offer, parties(440, 441));
    await prepareBoth(watched.sessions);
    const { masked } = await serverView(watched, input);
    const read = (layer: number) => {
      const { seed } = watched.uses.find((use) => use.layer === layer)!;
      const masks = masksOf(first, seed);
      return masked.map((value, i) => signed(value + Math.round(masks[i]!), first.plan.ringBits));
    };
    expect(first.plan.packing.spatialTiles).toBe(1);
    expect(hits(read(0), input, 1)).toBe(1);
    expect(hits(read(1), input, 1)).toBeLessThan(0.05);
  });

  it('sees inputs where two layers share one: the masks of both are the same numbers', async () => {
    const { kernel, bias } = model.weights[0] as LinearWeights;
    const gain = kernel[0]! / 64;
    const [near, far] = [first.plan.ringBits, second.plan.ringBits];
    const read = async (change?: (layer: number, seed: Uint8Array) => Uint8Array) => {
      const watched = await watch(model, offer, parties(442, 443), change);
      await prepareBoth(watched.sessions);
      const { masked, activated } = await serverView(watched, input);
      // r and r' are one phase with the bits of two rings; y = gain x + bias / 64.
      const scale = 2 ** (far - near);
      return masked.map((value, i) => {
        const difference = value - (activated[0]![i]! >>> 0) / scale;
        const centred = difference - 2 ** near * Math.round(difference / 2 ** near);
        return Math.round((centred + bias[0]! / 64 / scale) / (1 - gain / scale));
      });
    };
    expect(Math.abs(1 - gain / 2 ** (far - near))).toBeGreaterThan(0.2);
    const same = (layer: number, seed: Uint8Array) => (layer < 2 ? seedOf(3) : seed);
    expect(hits(await read(same), input, 8)).toBe(1);
    expect(hits(await read(), input, 8)).toBeLessThan(0.1);
  });

  it('is given what nobody makes masks of by the seed of the masks', async () => {
    const [own, server] = parties(444, 445);
    let noted = new Uint8Array(16);
    const random: Random = {
      fill(out) {
        own.fill(out);
        if (out.length === 16) noted = out.slice();
      },
    };
    const watched = await watch(model, offer, [random, server]);
    await prepareBoth(watched.sessions);
    const { id } = watched.sessions.client;
    const seed = bundleSeed({ id, random: { fill: (out) => out.set(noted) } });
    const { activated } = await serverView(watched, input);
    // The last layer is exact: its masks are drawn, not phases.
    expect(last.plan.masks).toBe('exact');
    let truth = new Int32Array(0);
    runClear(model, input, (step, value) => {
      if (step.op === 'activation') truth = Int32Array.from(value);
    });
    const read = (of: Uint8Array) => {
      const masks = randomRing(new Prg(deriveSeed(of, 'mask', last.value)), truth.length);
      const bits = layout.rings[last.value]!;
      return activated[1]!.map((value, i) => signed(value + masks[i]!, bits));
    };
    const off = 40;
    expect(hits(read(seed), truth, off)).toBe(1);
    expect(hits(read(seedOf(9)), truth, off)).toBeLessThan(0.25);
  });

  it('learns nothing of a mask from its fraction', async () => {
    const inline = createInlinePool(tasks);
    const nibbles: number[] = [];
    const halves: number[] = [];
    for (let bundle = 0; bundle < 40; bundle++) {
      const { generation } = offer.hint;
      const work = { plan: first.plan, range: [0, 1] as const, generation };
      const seed = deriveSeed(seedOf(448), 'bundle', bundle);
      const { masks, fractions } = await inline.run('maskInput', { ...work, seed });
      masks.forEach((mask, i) => {
        const fraction = fractions[i]! & 0xff;
        nibbles.push((fraction & 0xf0) | (mask & 15));
        // The fault: a mask rounded where its fraction was cut from other bits, so that both share one.
        halves.push((fraction & 0xf0) | (mask & 14) | (fraction >> 7));
      });
    }
    expect(chiSquare(Uint8Array.from(nibbles))).toBeLessThan(CHI_SQUARE_LIMIT);
    expect(chiSquare(Uint8Array.from(halves))).toBeGreaterThan(CHI_SQUARE_LIMIT);
  });
});
