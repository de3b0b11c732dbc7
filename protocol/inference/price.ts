/**
 * What a program will take here, before anybody connects: exact bytes and rounds from its costs, and milliseconds and
 * memory from a short measurement of the program's steps on this machine (one lane or one task of each distinct kind).
 *
 * Times are of one core; a profile says how many there are and what lies between the parties. Offline, computation and
 * transfer overlap; online they alternate. A plan, not a promise: expect it within a factor of two.
 */

import type { GadgetParams, LaneState } from '../gadgets/gadget.ts';
import { gadgetOf } from '../gadgets/index.ts';
import { type LinearPrice, measureLayer } from '../linear/price.ts';
import { DEFAULT_OT_K, type OtK } from '../ot/groups.ts';
import {
  COTS_PER_CHUNK,
  extendReceiver,
  extendSender,
  prepareReceiver,
  prepareSender,
} from '../ot/softspoken.ts';
import type { ActivationKind } from '../program/kinds.ts';
import { deriveSeed, Prg, randomBytes, randomRing } from '../random/index.ts';
import { type Bytes, type Cost, costOf, type StepCost } from './cost.ts';
import { inputRanges, outputRanges } from './hint.ts';
import type { ActivationLayout, Layout, LinearLayout } from './layout.ts';

/** Milliseconds of one core, by phase and party. */
export interface StepTime {
  readonly clientOffline: number;
  readonly serverOffline: number;
  readonly clientOnline: number;
  readonly serverOnline: number;
}

/** One step's cost, time and what a bundle keeps of it. */
export interface StepPrice extends StepCost {
  readonly time: StepTime;
  /** Bytes each party stores of one bundle. */
  readonly clientStored: number;
  readonly serverStored: number;
}

export interface MeasuredProgram {
  readonly cost: Cost;
  readonly steps: readonly StepPrice[];
  /** Milliseconds of one core that the hint takes: the server to make, once a model, the client to decode, once a session. */
  readonly hint: { readonly make: number; readonly decode: number };
  /** Lanes of the layer that has most: what cores can share online. */
  readonly parallel: number;
}

/** What lies between the parties, and what they have. */
export interface Profile {
  /** Bits a second in each direction. */
  readonly bitsPerSecond: number;
  readonly roundTripMs: number;
  readonly clientCores: number;
  readonly serverCores: number;
  /** Both parties share the client's cores, as on loopback. */
  readonly shared?: boolean;
}

/** Milliseconds of one phase. */
export interface PhasePrice {
  readonly computeMs: number;
  readonly networkMs: number;
  readonly totalMs: number;
}

export interface Price {
  /** What comes on top of a client's first inference: fetching and decoding the hint. */
  readonly hint: PhasePrice;
  readonly offline: PhasePrice;
  readonly online: PhasePrice;
}

const seed = new Uint8Array(16).fill(7);
const random = (label: string) => new Prg(deriveSeed(seed, label));
const noTime: StepTime = { clientOffline: 0, serverOffline: 0, clientOnline: 0, serverOnline: 0 };

/** Most elements of a measured lane: one hash key's worth. */
const LANE = 1024;

// What surrounds the steps, in milliseconds, as found on 2 cores (see bench/). LOCAL.
/** Handing a task to a worker and back. */
const TASK_MS = 0.3;
/** An activation layer's turn of messages online, and moving one of its elements to its lane and back. */
const TURN_MS = 2;
const ELEMENT_MS = 6e-5;
/** A megabyte, sender and receiver together: frames, copies and a WebSocket, whose masks make upwards dearer. */
const UP_MS_PER_MB = 6;
const DOWN_MS_PER_MB = 3;

/** What each core beyond the first adds: cores share caches and often an arithmetic unit. LOCAL. */
const FURTHER_CORE = 0.6;

/** What so many cores do in the time in which one does 1. */
export const effective = (cores: number): number => 1 + FURTHER_CORE * (cores - 1);

/** Half of what a transfer takes the two parties. */
const handling = ({ up, down }: Bytes) => (UP_MS_PER_MB * up + DOWN_MS_PER_MB * down) / 2e6;

/** Milliseconds that `work` typically takes: the median of some runs after two that compile it. */
function time(work: () => unknown): number {
  const runs = Array.from({ length: 5 }, () => {
    const start = performance.now();
    work();
    return performance.now() - start;
  });
  return runs.slice(2).sort((a, b) => a - b)[1]!;
}

const storedBytes = (state: LaneState) =>
  Object.values(state).reduce((sum, array) => sum + array.byteLength, 0);

/** One correlated OT at either end, in milliseconds. */
function measureOt(k: OtK): { receiver: number; sender: number } {
  const count = COTS_PER_CHUNK;
  const keys = { zero: randomBytes(random('zero'), 2048), one: randomBytes(random('one'), 2048) };
  const { message: trees, seeds } = prepareReceiver(seed, keys, random('roots'), k);
  // An offset of zeros has chosen the keys of zeros.
  const offset = { choices: new Uint8Array(16), chosen: keys.zero };
  const sender = prepareSender(seed, offset, trees, k);
  const choices = randomBytes(random('choices'), count / 8);
  const { message } = extendReceiver(seeds, 0, count, choices);
  return {
    receiver: time(() => extendReceiver(seeds, 0, count, choices)) / count,
    sender: time(() => extendSender(sender, 0, count, message)) / count,
  };
}

interface LaneTime extends StepTime {
  readonly clientStored: number;
  readonly serverStored: number;
}

/** A gadget, per element of a lane of n, its OTs included. */
function measureLane(
  kind: ActivationKind,
  params: GadgetParams,
  n: number,
  ot: { receiver: number; sender: number },
): LaneTime {
  const gadget = gadgetOf({ kind, params });
  const labels = gadget.labelCots(params);
  const products = gadget.productCots(params);
  const offset = randomBytes(random('offset'), 16);
  offset[0]! |= 1;
  const tweaks = { start: seed, first: 0 };
  const c = randomRing(random('c'), n);
  const mask = randomRing(random('mask'), n);
  const choices = gadget.draw(params, n, seed);
  const chosen = gadget.choose(params, c, seed);
  const client = {
    c,
    mask,
    labels: { blocks: randomBytes(random('labels'), 16 * n * labels), choices: chosen, tweaks },
    products: { blocks: randomBytes(random('products'), 16 * n * products), offset, tweaks },
    seed,
  };
  const { message: corrections, state: opened } = gadget.correct(params, client);
  const server = {
    n,
    labels: { blocks: client.labels.blocks, offset, tweaks },
    products: { blocks: client.products.blocks, choices, tweaks },
    corrections,
    seed,
  };
  const prepare = () => gadget.prepare(params, server);
  const { message: tables, state: prepared } = prepare();
  const store = () => gadget.store(params, n, opened, tables);
  const stored = store();
  const { message: material, state: pending } = gadget.reveal(params, prepared, c);
  const evaluate = () => gadget.evaluate(params, n, stored, material);
  const result = evaluate();
  const perElement = (work: () => unknown) => time(work) / n;
  return {
    clientOffline:
      perElement(() => {
        gadget.choose(params, c, seed);
        gadget.correct(params, client);
        store();
      }) +
      labels * ot.receiver +
      products * ot.sender,
    serverOffline: perElement(prepare) + labels * ot.sender + products * ot.receiver,
    clientOnline: perElement(evaluate),
    serverOnline:
      perElement(() => gadget.reveal(params, prepared, c)) +
      perElement(() => gadget.finish(params, pending, result)),
    clientStored: storedBytes(stored) / n,
    serverStored: storedBytes(prepared) / n,
  };
}

const scaled = (times: StepTime, factor: number): StepTime => ({
  clientOffline: times.clientOffline * factor,
  serverOffline: times.serverOffline * factor,
  clientOnline: times.clientOnline * factor,
  serverOnline: times.serverOnline * factor,
});

/** Milliseconds of one core that all steps take. */
export const timeOf = ({ steps }: Pick<MeasuredProgram, 'steps'>): StepTime =>
  steps.reduce((times, step) => sum(times, step.time), noTime);

const sum = (x: StepTime, y: StepTime): StepTime => ({
  clientOffline: x.clientOffline + y.clientOffline,
  serverOffline: x.serverOffline + y.serverOffline,
  clientOnline: x.clientOnline + y.clientOnline,
  serverOnline: x.serverOnline + y.serverOnline,
});

/** An activation layer's turn online, apart from its lanes. */
const turn = (elements: number): StepTime => ({
  ...noTime,
  clientOnline: TURN_MS / 2,
  serverOnline: TURN_MS / 2 + ELEMENT_MS * elements,
});

/** The tasks of one lane. */
const laneTasks = (heavy: boolean): StepTime => ({
  clientOffline: TASK_MS,
  serverOffline: 2 * TASK_MS,
  clientOnline: heavy ? TASK_MS : 0,
  serverOnline: heavy ? TASK_MS : 0,
});

/**
 * Measures each distinct layer once, OTs made with `otK`, and gives every step its price. Takes about a second; blocks its
 * thread.
 */
export function measureProgram(layout: Layout, otK: OtK = DEFAULT_OT_K): MeasuredProgram {
  return planner(otK)(layout);
}

/** As {@link measureProgram}, of several programs: what one has in common with those before is not measured again. */
export function planner(otK: OtK = DEFAULT_OT_K): (layout: Layout) => MeasuredProgram {
  const ot = measureOt(otK);
  const known = new Map<string, StepTime>();
  const once: Once = (key, measure) => {
    const name = JSON.stringify(key);
    if (!known.has(name)) known.set(name, measure());
    return known.get(name) as ReturnType<typeof measure>;
  };
  return (layout) => measured(layout, otK, ot, once);
}

/** What was measured before under a key, or is now. */
type Once = <T extends StepTime>(key: unknown, measure: () => T) => T;

function measured(
  layout: Layout,
  otK: OtK,
  ot: ReturnType<typeof measureOt>,
  once: Once,
): MeasuredProgram {
  const cost = costOf(layout, otK);
  const layerOf = ({ plan }: LinearLayout): LinearPrice => {
    const { packing, masks, ringBits } = plan;
    return once([packing, masks, ringBits], () => measureLayer(plan, time));
  };
  const linearPrice = (linear: LinearLayout) => {
    const { plan } = linear;
    const layer = layerOf(linear);
    const [inputs, outputs] = [inputRanges(plan).length, outputRanges(plan).length];
    const handOver = {
      clientOffline: TASK_MS * (1 + inputs + outputs),
      serverOffline: TASK_MS * (1 + outputs),
      clientOnline: 0,
      serverOnline: TASK_MS,
    };
    const { clientStored, serverStored } = layer;
    return { time: sum(layer, handOver), clientStored, serverStored };
  };
  const activationPrice = ({ lanes, size }: ActivationLayout) =>
    lanes.reduce(
      (total, { kind, params, elements }) => {
        const n = elements.length;
        const size = Math.min(n, LANE);
        const lane = once([kind, params, size], () => measureLane(kind, params, size, ot));
        return {
          time: sum(sum(total.time, scaled(lane, n)), laneTasks(gadgetOf({ kind, params }).heavy)),
          clientStored: total.clientStored + Math.round(lane.clientStored * n),
          serverStored: total.serverStored + Math.round(lane.serverStored * n),
        };
      },
      { time: turn(size), clientStored: 0, serverStored: 0 },
    );
  const layers = new Map([
    ...layout.linears.map((layer) => [layer.parts[0]!.step.name, linearPrice(layer)] as const),
    ...layout.activations.map((layer) => [layer.step.name, activationPrice(layer)] as const),
  ]);
  const rest = { time: noTime, clientStored: 4 * layout.output.size, serverStored: 0 };
  const total = (part: 'hintMade' | 'hintDecoded') =>
    layout.linears.reduce((ms, layer) => ms + layerOf(layer)[part], 0);
  return {
    cost,
    hint: { make: total('hintMade'), decode: total('hintDecoded') },
    parallel: Math.max(1, ...layout.activations.map(({ lanes }) => lanes.length)),
    steps: cost.steps.map((step) => {
      const price = layers.get(step.name) ?? rest;
      const [offline, online] = [handling(step.offline), handling(step.online)];
      const frames = {
        clientOffline: offline,
        serverOffline: offline,
        clientOnline: online,
        serverOnline: online,
      };
      return { ...step, ...price, time: sum(price.time, frames) };
    }),
  };
}

/** The price of the hint, one bundle and one inference under a profile. */
export function priceOf(measured: MeasuredProgram, profile: Profile): Price {
  const { cost, hint, parallel } = measured;
  const { clientCores, serverCores, shared, bitsPerSecond, roundTripMs } = profile;
  const total = timeOf(measured);
  const transfer = (bytes: number) => (8000 * bytes) / bitsPerSecond;
  const offlineCompute = shared
    ? (total.clientOffline + total.serverOffline) / effective(clientCores)
    : Math.max(
        total.clientOffline / effective(clientCores),
        total.serverOffline / effective(serverCores),
      );
  // A layer of one lane cannot use more than one core.
  const online = (ms: number, cores: number) => ms / effective(Math.min(cores, parallel));
  const onlineCompute =
    online(total.clientOnline, clientCores) +
    online(total.serverOnline, shared ? clientCores : serverCores);
  const offlineNetwork =
    Math.max(transfer(cost.offline.up), transfer(cost.offline.down)) +
    cost.offline.rounds * roundTripMs;
  const onlineNetwork =
    transfer(cost.online.up) + transfer(cost.online.down) + cost.online.rounds * roundTripMs;
  const hintCompute = hint.decode / effective(clientCores);
  const hintNetwork = transfer(cost.hint) + roundTripMs;
  return {
    hint: {
      computeMs: hintCompute,
      networkMs: hintNetwork,
      totalMs: hintCompute + hintNetwork,
    },
    offline: {
      computeMs: offlineCompute,
      networkMs: offlineNetwork,
      totalMs: Math.max(offlineCompute, offlineNetwork),
    },
    online: {
      computeMs: onlineCompute,
      networkMs: onlineNetwork,
      totalMs: onlineCompute + onlineNetwork,
    },
  };
}
