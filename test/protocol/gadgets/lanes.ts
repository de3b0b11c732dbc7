/**
 * One lane of a gadget with every input in the open: what each party holds, and what random values it was made from.
 *
 * The dealer of the OTs stands here in the open, so that a test can give two OTs the same blocks. A test that looks for a
 * leak plants the fault in `Sources`, or in what a party keeps between two steps.
 */

import { type ArgmaxParams, argmax } from '../../../protocol/gadgets/argmax.ts';
import { getBit } from '../../../protocol/gadgets/bits.ts';
import type { Gadget, GadgetParams, LaneState } from '../../../protocol/gadgets/gadget.ts';
import { gadgetOf } from '../../../protocol/gadgets/index.ts';
import type { ReceiverCots, SenderCots } from '../../../protocol/ot/pads.ts';
import { type ActivationKind, kindOf, SQUARE } from '../../../protocol/program/kinds.ts';
import type { Comparison } from '../../../protocol/program/program.ts';
import type { Tweaks } from '../../../protocol/random/hash.ts';
import { deriveSeed, Prg, randomBytes, randomRing } from '../../../protocol/random/index.ts';
import { signed } from '../../../protocol/ring/packing.ts';

/** OTs of one direction before anyone has chosen: the sender's blocks, OT by OT, n blocks each. */
export interface Dealt {
  readonly blocks: Uint8Array;
  readonly offset: Uint8Array;
  readonly tweaks: Tweaks;
}

/** Everything a lane's randomness comes from. */
export interface Sources {
  readonly labels: Dealt;
  readonly products: Dealt;
  readonly clientSeed: Uint8Array;
  readonly serverSeed: Uint8Array;
  /** r'. */
  readonly mask: Int32Array;
}

/** All that the client holds and receives. */
export interface ClientView {
  readonly params: GadgetParams;
  readonly n: number;
  readonly c: Int32Array;
  readonly mask: Int32Array;
  readonly labels: ReceiverCots;
  readonly products: SenderCots;
  readonly seed: Uint8Array;
  readonly state: LaneState;
  readonly tables: Uint8Array;
  readonly material: Uint8Array;
}

/** All that the server holds and receives. */
export interface ServerView {
  readonly params: GadgetParams;
  readonly n: number;
  readonly a: Int32Array;
  readonly labels: SenderCots;
  readonly products: ReceiverCots;
  readonly seed: Uint8Array;
  readonly state: LaneState;
  readonly corrections: Uint8Array;
  readonly result: Uint8Array;
  /** y - r'. */
  readonly share: Int32Array;
}

/** Both views, and y. */
export interface Played {
  readonly client: ClientView;
  readonly server: ServerView;
  readonly y: Int32Array;
}

export interface Case {
  readonly kind: ActivationKind;
  readonly params: GadgetParams;
}

/** A lane of a kind with the numbers of a real layer: m = 14. */
export const caseOf = (kind: ActivationKind, comparison: Comparison): Case => ({
  kind,
  params:
    kind === SQUARE
      ? { rangeBits: 28, dropBits: 12, shift: 16, outBits: 27, comparison }
      : { rangeBits: 30, dropBits: 15, shift: 9, outBits: 27, comparison },
});

/** What a gadget is called in titles. */
export const titleOf = ({ kind, params }: Case): string =>
  kindOf(kind).compares ? `${params.comparison} ${kindOf(kind).name}` : kindOf(kind).name;

/** Fresh sources of the lane number `index` of a session: all its lanes share offsets and the starts of the tweaks. */
export function sourcesOf(own: Case, n: number, session: Uint8Array, index: number): Sources {
  const { params } = own;
  const gadget = gadgetOf(own);
  const seed = deriveSeed(session, 'lane', index);
  const deal = (label: string, count: number, tweaks: number): Dealt => {
    const offset = deriveSeed(session, `offset of ${label}`);
    offset[0]! |= 1;
    return {
      blocks: randomBytes(new Prg(deriveSeed(seed, label)), 16 * n * count),
      offset,
      tweaks: { start: deriveSeed(session, `tweaks of ${label}`), first: tweaks * index },
    };
  };
  return {
    labels: deal('labels', gadget.labelCots(params), gadget.labelTweaks(params, n)),
    products: deal('products', gadget.productCots(params), gadget.productTweaks(params, n)),
    clientSeed: deriveSeed(seed, 'client'),
    serverSeed: deriveSeed(seed, 'server'),
    mask: randomRing(new Prg(deriveSeed(seed, 'mask')), n),
  };
}

/** What a receiver with these choices (packed) holds. */
function chosen({ blocks, offset, tweaks }: Dealt, choices: Uint8Array): ReceiverCots {
  const words = new Int32Array(blocks.slice().buffer);
  const shift = new Int32Array(offset.slice().buffer);
  for (let i = 0; i < words.length; i++) words[i]! ^= -getBit(choices, i >> 2) & shift[i & 3]!;
  return { blocks: new Uint8Array(words.buffer), choices, tweaks };
}

/** A change of what a party keeps after its offline step: the planting of a fault. */
export interface Tampering {
  readonly client?: (state: LaneState) => LaneState;
  readonly server?: (state: LaneState) => LaneState;
}

/** Runs one step of a party. */
export type Turn = <T>(party: 'client' | 'server', step: () => T) => T;

/**
 * Plays both halves.
 * @param turn - runs the steps, for a test that looks at what each takes
 */
export function play(
  own: Case,
  a: Int32Array,
  c: Int32Array,
  sources: Sources,
  { client = (state) => state, server = (state) => state }: Tampering = {},
  turn: Turn = (_, step) => step(),
): Played {
  const { params } = own;
  const gadget: Gadget = gadgetOf(own);
  const n = a.length;
  const { clientSeed, serverSeed, mask } = sources;
  const drawn = turn('server', () => gadget.draw(params, n, serverSeed));
  const choices = turn('client', () => gadget.choose(params, c, clientSeed));
  const bought = chosen(sources.labels, choices);
  const products = chosen(sources.products, drawn);
  const clientLane = { c, mask, labels: bought, products: sources.products, seed: clientSeed };
  const opened = turn('client', () => gadget.correct(params, clientLane));
  const corrections = opened.message;
  const serverLane = { n, labels: sources.labels, products, corrections, seed: serverSeed };
  const prepared = turn('server', () => gadget.prepare(params, serverLane));
  const tables = prepared.message;
  const state = client(turn('client', () => gadget.store(params, n, opened.state, tables)));
  const kept = server(prepared.state);
  const revealed = turn('server', () => gadget.reveal(params, kept, a));
  const { message: material, state: pending } = revealed;
  const result = turn('client', () => gadget.evaluate(params, n, state, material));
  const share = turn('server', () => gadget.finish(params, pending, result));
  return {
    client: { params, n, ...clientLane, state, tables, material },
    server: { params, a, ...serverLane, state: kept, result, share },
    y: share.map((value, i) => signed(value + mask[i]!, params.outBits)),
  };
}

/** Everything an argmax's randomness comes from. */
export type ArgmaxSources = Pick<Sources, 'labels' | 'serverSeed'>;

/** Fresh sources of the argmax of bundle `index` of a session. */
export function argmaxSources(
  params: ArgmaxParams,
  session: Uint8Array,
  index: number,
): ArgmaxSources {
  const seed = deriveSeed(session, 'argmax', index);
  const offset = deriveSeed(session, 'offset of labels');
  offset[0]! |= 1;
  const first = argmax.labelTweaks(params) * index;
  return {
    labels: {
      blocks: randomBytes(new Prg(deriveSeed(seed, 'labels')), 16 * argmax.labelCots(params)),
      offset,
      tweaks: { start: deriveSeed(session, 'tweaks of labels'), first },
    },
    serverSeed: deriveSeed(seed, 'server'),
  };
}

/** An argmax: what the client holds and receives, and what it must not learn. */
export interface PlayedArgmax {
  readonly params: ArgmaxParams;
  readonly a: Int32Array;
  readonly c: Int32Array;
  /** The client's input labels. */
  readonly bought: Uint8Array;
  readonly tables: Uint8Array;
  readonly material: Uint8Array;
  readonly index: number;
  /** The server's. */
  readonly offset: Uint8Array;
}

/** Plays both halves of an argmax. */
export function playArgmax(
  params: ArgmaxParams,
  a: Int32Array,
  c: Int32Array,
  { labels, serverSeed }: ArgmaxSources,
  turn: Turn = (_, step) => step(),
): PlayedArgmax {
  const choices = turn('client', () => argmax.choose(params, c));
  const { blocks: bought } = chosen(labels, choices);
  const { message: tables, state } = turn('server', () =>
    argmax.prepare(params, labels, serverSeed),
  );
  const material = turn('server', () => argmax.reveal(params, state, a));
  const index = turn('client', () =>
    argmax.evaluate(params, bought, tables, labels.tweaks, material),
  );
  return { params, a, c, bought, tables, material, index, offset: labels.offset };
}
