import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { countGraph, type Graph, preprocessAll } from '../../../models/graph/index.ts';
import { best, type Method } from '../../../models/reduce/auto.ts';
import { type CostBudget, formatBudget, readBudget } from '../../../models/reduce/budget.ts';
import { formatPoints } from '../../../models/reduce/card.ts';
import { type PricedPoint, Pricing, spent, withRelus } from '../../../models/reduce/cost.ts';
import { activationsOf } from '../../../models/reduce/elements.ts';
import { accuracy, type Training } from '../../../models/reduce/training.ts';
import { reduceWithin } from '../../../models/reduce/within.ts';
import { Network, slice } from '../../../models/train/index.ts';
import { costOf } from '../../../protocol/inference/cost.ts';
import { layoutOf } from '../../../protocol/inference/layout.ts';
import { LINKS } from '../../../protocol/inference/links.ts';
import type { OtK } from '../../../protocol/ot/groups.ts';
import { countKinds } from '../../../protocol/program/kinds.ts';
import type { Program } from '../../../protocol/program/program.ts';
import { GraphBuilder } from '../builder.ts';
import { smallTraining, trainedResNet } from './support.ts';

const mobile = LINKS.find(({ name }) => name === 'mobile')!;
const bytes = (most: number): CostBudget => ({ unit: 'bytes', most });

/** Bytes of one inference, both phases and directions. */
function bytesOf(program: Program, otK?: OtK): number {
  const { offline, online } = costOf(layoutOf(program), otK);
  return offline.up + offline.down + online.up + online.down;
}

const programOf = ({ compiled }: PricedPoint) => compiled!.model.program;

let training: Training;
let dense: PricedPoint;
let pricing: Pricing;
let images: Float32Array[];
const folder = mkdtempSync(join(tmpdir(), 'sotto-cost-'));

beforeAll(async () => {
  training = smallTraining();
  const graph = await trainedResNet(training);
  training = { ...training, teacher: { graph, share: 0.5, temperature: 4 } };
  images = preprocessAll(graph.input, slice(training.training, 0, 40).pixels, 40);
  pricing = new Pricing({ images });
  const right = await accuracy(new Network(graph, training.batch), training);
  dense = pricing.price({ name: 'dense', relus: 480, accuracy: right, graph }, bytes(1));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('a budget', () => {
  it('is a count of ReLUs, bytes, or a time over a link', () => {
    expect(readBudget('12900')).toEqual({ unit: 'ReLUs', most: 12_900 });
    expect(readBudget('8MB')).toEqual({ unit: 'bytes', most: 8e6, link: undefined });
    expect(readBudget(' 64 KiB', mobile)).toEqual({ unit: 'bytes', most: 65_536, link: mobile });
    expect(readBudget('400ms', mobile)).toEqual({ unit: 'ms', most: 400, link: mobile });
    expect(readBudget('1.5s', mobile)).toMatchObject({ most: 1500 });
    expect(() => readBudget('400ms')).toThrow('a budget of 400ms needs --link');
    for (const text of ['', 'many', '8 apples', '-3', '0MB', '12k']) {
      expect(() => readBudget(text, mobile), text).toThrow(/should be a number of ReLUs, a size/);
    }
    expect([bytes(8e6), readBudget('2s', mobile), readBudget('7')].map(formatBudget)).toEqual([
      ...['8.000 MB', '2000 ms over mobile', '7 ReLUs'],
    ]);
  });

  it('counts what it says of a point, and nothing less than all of one without a program', () => {
    const onlineMs = { mobile: 400 };
    const cost = { offlineBytes: 100, onlineBytes: 20, rounds: 4, onlineMs };
    const point = { name: 'x', relus: 7, accuracy: 0.5, cost };
    expect(spent(point, { unit: 'ReLUs', most: 1 })).toBe(7);
    expect(spent(point, bytes(1))).toBe(120);
    expect(spent(point, { unit: 'ms', most: 1, link: mobile })).toBe(400);
    expect(spent({ ...point, cost: undefined } as never, bytes(1))).toBe(Number.POSITIVE_INFINITY);
  });

  it('has a frontier by what it counts', () => {
    const point = (name: string, relus: number, offlineBytes: number, accuracy: number) => {
      const onlineMs = Object.fromEntries(LINKS.map((link) => [link.name, 10]));
      const cost = { offlineBytes, onlineBytes: 1000, rounds: 4, onlineMs };
      return { name, relus, accuracy, cost };
    };
    const points = [point('squares', 5, 9e6, 0.9), point('identities', 10, 1e6, 0.8)];
    const rows = (text: string) => text.split('\n').map((line) => line.trim().split(/ {2,}/));
    const [head, ...byBytes] = rows(formatPoints(points, bytes(1)));
    expect(head).toEqual([
      ...['ReLUs', 'accuracy', 'offline', 'online', 'rounds', 'loopback', 'LAN', 'WAN', 'mobile'],
    ]);
    const times = ['10 ms', '10 ms', '10 ms', '10 ms'];
    expect(byBytes).toEqual([
      ['10', '80.00 %', '1.000 MB', '0.001 MB', '4', ...times, 'identities'],
      ['5', '90.00 %', '9.000 MB', '0.001 MB', '4', ...times, 'squares'],
    ]);
    expect(rows(formatPoints(points, { unit: 'ReLUs', most: 20 }))).toHaveLength(2);
  });
});

describe('prices', () => {
  it('are those of the program, to the byte, with OTs as for the link', () => {
    const { cost } = dense;
    expect(cost!.offlineBytes + cost!.onlineBytes).toBe(bytesOf(programOf(dense)));
    const { rounds } = costOf(layoutOf(programOf(dense))).online;
    expect(cost!.rounds).toBe(rounds);
    expect(Object.keys(cost!.onlineMs)).toEqual(LINKS.map(({ name }) => name));
    for (const { name, roundTripMs } of LINKS) {
      expect(cost!.onlineMs[name]).toBeGreaterThan(rounds * roundTripMs);
    }
    const slow = pricing.price(dense, { unit: 'bytes', most: 1, link: mobile });
    expect(slow.cost!.offlineBytes + slow.cost!.onlineBytes).toBe(bytesOf(programOf(dense), 6));
  });

  it('are asked of the same program with other elements', () => {
    const none = new Set<string>();
    const all = new Set(activationsOf(dense.graph).map(({ id }) => id));
    const counts = (program: Program) =>
      countKinds(
        ...program.steps.flatMap((step) => (step.op === 'activation' ? [step.kinds] : [])),
      );
    const program = programOf(dense);
    const at = (relus: number, squares = none) => withRelus(program, dense.graph, relus, squares);
    expect(at(480)).toEqual(program);
    expect(counts(at(0))).toEqual({ relus: 0, squares: 0, identities: 480 });
    expect(counts(at(0, all))).toEqual({ relus: 0, squares: 480, identities: 0 });
    const some = counts(at(100, all));
    expect(some.relus + some.squares).toBe(480);
    // Each of five layers is rounded.
    expect(Math.abs(some.relus - 100)).toBeLessThanOrEqual(2.5);
    const prices = [0, 60, 120, 240, 480].map((relus) => bytesOf(at(relus)));
    expect(prices).toEqual(prices.toSorted((a, b) => a - b));
  });

  it('say how many ReLUs a budget pays for', () => {
    const program = programOf(dense);
    const none = new Set<string>();
    const price = (relus: number) => bytesOf(withRelus(program, dense.graph, relus, none));
    for (const most of [price(0), price(100) + 7, price(479)]) {
      const relus = pricing.relusWithin(dense, bytes(most), none, 480)!;
      expect(price(relus)).toBeLessThanOrEqual(most);
      expect(price(relus + 1)).toBeGreaterThan(most);
    }
    expect(pricing.relusWithin(dense, bytes(1e9), none, 480)).toBe(480);
    expect(pricing.relusWithin(dense, bytes(price(0) - 1), none, 480)).toBeUndefined();
  });

  it('keep squares out where they cost more than ReLUs, as by bytes', () => {
    const all = new Set(activationsOf(dense.graph).map(({ id }) => id));
    expect(pricing.squaresPay(dense, bytes(1), all)).toBe(false);
    expect(pricing.squaresPay(dense, bytes(1), new Set())).toBe(true);
  });
});

const tune = { epochs: 3, rate: 2e-3 };
const options = {
  snl: { searchEpochs: 6, searchRate: 3e-3, maskRate: 5, tune },
  autorep: { searchEpochs: 5, searchRate: 3e-3, maskRate: 3, tune },
  tune,
};

/** Bytes half way between the network without and with all of its ReLUs. */
function half(): number {
  const bare = withRelus(programOf(dense), dense.graph, 0, new Set());
  return Math.round((bytesOf(bare) + bytesOf(programOf(dense))) / 2);
}

describe('a network within a budget of bytes', () => {
  it.each<Method>(['snl', 'autorep'])(
    'is compiled to a program that costs no more: %s',
    async (method) => {
      const budget = bytes(half());
      const points = await reduceWithin(dense, budget, method, training, pricing, options);
      const chosen = best(points, budget.most, (point) => spent(point, budget));
      const program = programOf(chosen);
      expect(bytesOf(program)).toBeLessThanOrEqual(budget.most);
      // What is left would not pay for much.
      expect(bytesOf(program)).toBeGreaterThan(0.8 * budget.most);
      const { relus, squares } = countGraph(chosen.graph);
      expect(relus).toBe(chosen.relus);
      expect(squares).toBe(0);
      expect(chosen.accuracy).toBeGreaterThan(0.8);
    },
  );

  it('is the network itself where that costs no more', async () => {
    const budget = bytes(bytesOf(programOf(dense)));
    expect(await reduceWithin(dense, budget, 'snl', training, pricing)).toEqual([dense]);
  });

  it('cannot be below what it costs without any ReLU', async () => {
    await expect(reduceWithin(dense, bytes(10_000), 'snl', training, pricing)).rejects.toThrow(
      /^a budget of 0.010 MB cannot be met: without any ReLU this network costs 0\.\d{3} MB$/,
    );
  });

  it('goes on after a stop as if there had been none', async () => {
    const budget = bytes(half());
    const run = (more: Partial<Training>, memory?: string) =>
      reduceWithin(
        dense,
        budget,
        'snl',
        { ...training, ...more },
        new Pricing({ images, memory }),
        options,
      );
    const strip = (points: readonly PricedPoint[]) =>
      points.map(({ cost, ...point }) => ({
        ...point,
        bytes: cost!.offlineBytes + cost!.onlineBytes,
      }));
    const whole = await run({});
    const checkpoints = join(folder, 'stopped');
    const memory = join(checkpoints, 'prices.json');
    const stop = new AbortController();
    let epochs = 0;
    const onEpoch = () => {
      if (++epochs === 7) stop.abort();
    };
    const cut = { checkpoints, onEpoch, signal: stop.signal };
    await expect(run(cut, memory)).rejects.toThrow('was cancelled');
    expect(readdirSync(checkpoints)).toContain('prices.json');
    const again = await run({ checkpoints }, memory);
    expect(strip(again)).toEqual(strip(whole));
    // Times are remembered, not measured anew.
    expect(await run({ checkpoints }, memory)).toEqual(again);
  });
});

/** A network whose layers can be merged: 256 ReLUs in three layers. */
function pointwise(): Graph {
  const b = new GraphBuilder(5, [1, 8, 8]);
  const one = b.activation(b.conv('image', 4, { stride: 2 }), 'relu');
  const two = b.activation(b.conv(one, 6, { kernel: 1, pad: 0 }), 'relu');
  const three = b.activation(b.conv(two, 6, { kernel: 1, pad: 0 }), 'relu');
  return b.build(b.dense(b.flatten(three), 4));
}

describe('a network within a budget of time', () => {
  it.each<Method>(['snl', 'autorep'])(
    'loses layers whose rounds it does not pay for: %s',
    async (method) => {
      const graph = pointwise();
      const start = { name: 'dense', relus: 256, accuracy: 0.25, graph };
      const own = new Pricing({ images });
      const priced = own.price(start, { unit: 'ReLUs', most: 256 });
      expect(priced.cost!.rounds).toBe(4);
      // Two round trips less, and half of one for whatever the planner measures.
      const most = priced.cost!.onlineMs['mobile']! - 1.5 * mobile.roundTripMs;
      const budget: CostBudget = { unit: 'ms', most, link: mobile };
      const short = { searchEpochs: 1, tune: { epochs: 1 } };
      const surroundings = { ...training, teacher: undefined };
      const all = { snl: short, autorep: short };
      const points = await reduceWithin(priced, budget, method, surroundings, own, all);
      const chosen = best(points, budget.most, (point) => spent(point, budget));
      expect(chosen.cost!.onlineMs['mobile']).toBeLessThanOrEqual(most);
      expect(chosen.cost!.rounds).toBe(2);
      expect(chosen.relus).toBeGreaterThan(0);
    },
  );
});
