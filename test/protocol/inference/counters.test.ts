/**
 * How much work one inference of the shipped model is, in counts that no machine changes: a regression shows here
 * without a clock. Both parties together, one bundle and one inference, all randomness from a seed. What is made once a
 * session or once a model, such as transforms of the hint, is made before.
 */

import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { trafficBetween } from '../../../protocol/channel/counted.ts';
import type { ProtocolRunner } from '../../../protocol/inference/session.ts';
import { kernels } from '../../../protocol/kernels/index.ts';
import { encodeInput } from '../../../protocol/program/input.ts';
import { decodeModel } from '../../../protocol/program/model.ts';
import { opensslAes, wasmAes } from '../../../protocol/random/aes.ts';
import { sizeOf } from '../../../protocol/ring/shape.ts';
import { Lockstep } from '../../support/lockstep.ts';
import { inferBoth, openSessions, prepareBoth, seedOf } from '../../support/model.ts';

const counters = {
  bytesUp: 0,
  bytesDown: 0,
  /** Deliveries; two are a round trip. */
  flights: 0,
  /** Blocks encrypted by hashes of garbling and transfers, and by the trees of the OT extension. */
  aesBlocks: 0,
  /** Calls that encrypted them: each sets up a key. */
  aesCalls: 0,
  /** Blocks of key stream: all randomness. */
  streamBlocks: 0,
  transforms: 0,
  inverseTransforms: 0,
  /** Pointwise products of polynomials: those that are summed up, with weights of layers that reach the output. */
  products: 0,
  tasks: 0,
  /** Arrays of 1 MiB or more that were made. */
  largeArrays: 0,
};

type Counters = typeof counters;

const restores: (() => void)[] = [];
afterAll(() => {
  for (const restore of restores) restore();
});

/** Replaces members of an object until the end of the tests. */
function replace<T extends object>(object: T, members: Partial<T>): void {
  const before = Object.entries(members).map(([name]) => [name, object[name as keyof T]]);
  Object.assign(object, members);
  restores.push(() => Object.assign(object, Object.fromEntries(before)));
}

for (const engine of [opensslAes, wasmAes]) {
  if (engine === undefined) continue;
  const { encryptBlocks, counterStream, encryptAt } = engine;
  replace(engine, {
    encryptBlocks(key, input) {
      counters.aesCalls++;
      counters.aesBlocks += input.length / 16;
      return encryptBlocks(key, input);
    },
    encryptAt(key, target, source, blocks) {
      counters.aesCalls++;
      counters.aesBlocks += blocks;
      encryptAt(key, target, source, blocks);
    },
    counterStream(key, firstBlock, out) {
      counters.streamBlocks += Math.ceil(out.length / 16);
      counterStream(key, firstBlock, out);
    },
  });
}

const { ntt } = kernels();
replace(kernels(), {
  ntt: {
    ...ntt,
    forward(...args) {
      counters.transforms++;
      ntt.forward(...args);
    },
    inverse(...args) {
      counters.inverseTransforms++;
      ntt.inverse(...args);
    },
    accumulateProduct(...args) {
      counters.products++;
      ntt.accumulateProduct(...args);
    },
  },
});

/** Counts what `new` makes of a length; `slice` and what C++ makes are not seen. */
function countLarge<K extends 'Uint8Array' | 'Int32Array' | 'Uint32Array' | 'SharedArrayBuffer'>(
  name: K,
  width: number,
): void {
  const type = globalThis[name];
  replace(globalThis, {
    [name]: new Proxy(type, {
      construct(target, args, self) {
        if (typeof args[0] === 'number' && args[0] * width >= 1 << 20) counters.largeArrays++;
        return Reflect.construct(target, args, self);
      },
    }),
  } as Partial<typeof globalThis>);
}

const network = new Lockstep();
const pool: ProtocolRunner = {
  workers: network.pool.workers,
  run(...args) {
    counters.tasks++;
    return network.pool.run(...args);
  },
};

const model = decodeModel(
  readFileSync(new URL('../../../models/zoo/digits.sotto', import.meta.url)),
);

/** Every count of both phases, made once. */
async function countBoth(): Promise<{ offline: Counters; online: Counters }> {
  const sessions = await network.run(openSessions(model, seedOf(2), pool, network.pair));
  await network.run(prepareBoth(sessions));
  countLarge('SharedArrayBuffer', 1);
  countLarge('Uint8Array', 1);
  countLarge('Int32Array', 4);
  countLarge('Uint32Array', 4);
  const counted = async (work: () => Promise<unknown>): Promise<Counters> => {
    for (const key of Object.keys(counters) as (keyof Counters)[]) counters[key] = 0;
    const before = sessions.traffic.snapshot();
    const { flights } = network;
    await network.run(work());
    const traffic = trafficBetween(before, sessions.traffic.snapshot());
    const { bytesSent: bytesUp, bytesReceived: bytesDown } = traffic;
    return { ...counters, bytesUp, bytesDown, flights: network.flights - flights };
  };
  const image = new Float32Array(sizeOf(model.program.input.shape)).map((_, i) => (i % 7) / 7);
  const input = encodeInput(model.program, image);
  const offline = await counted(() => prepareBoth(sessions));
  const online = await counted(() => inferBoth(sessions, input));
  return { offline, online };
}

/**
 * The most of each. Work that becomes less than nine tenths of it is good news and fails too: write the new number here,
 * so that it cannot creep back.
 */
const most: { offline: Counters; online: Counters } = {
  offline: {
    bytesUp: 266_234,
    bytesDown: 138_819,
    flights: 4,
    aesBlocks: 518_478,
    aesCalls: 306,
    streamBlocks: 25_598,
    transforms: 58,
    inverseTransforms: 286,
    products: 20,
    tasks: 26,
    largeArrays: 0,
  },
  online: {
    bytesUp: 24_218,
    bytesDown: 20_563,
    flights: 10,
    aesBlocks: 0,
    aesCalls: 0,
    streamBlocks: 0,
    transforms: 0,
    inverseTransforms: 0,
    products: 0,
    tasks: 0,
    largeArrays: 0,
  },
};

const { offline, online } = await countBoth();

it('sees a large array, and only a large one', () => {
  const before = counters.largeArrays;
  expect([new Uint8Array(1 << 20), new Int32Array(1 << 18)].length).toBe(2);
  expect([new Uint8Array((1 << 20) - 1), new Uint8Array(new ArrayBuffer(1 << 21))].length).toBe(2);
  expect(counters.largeArrays - before).toBe(2);
});

describe.each([
  ['offline', offline, most.offline],
  ['online', online, most.online],
] as const)('%s', (_, counts, limits) => {
  it.each(Object.keys(limits) as (keyof Counters)[])('%s', (name) => {
    expect(counts[name]).toBeLessThanOrEqual(limits[name]);
    expect(counts[name], 'less work than before').toBeGreaterThanOrEqual(0.9 * limits[name]);
  });
});
