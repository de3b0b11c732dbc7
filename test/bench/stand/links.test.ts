import { describe, expect, it } from 'vitest';
import { computedMs, directionOf, occupationMs, preciseClock } from '../../../bench/links.ts';
import { delayed } from '../../../protocol/channel/delayed.ts';
import { memoryPair } from '../../../protocol/channel/memory.ts';
import { costOf } from '../../../protocol/inference/cost.ts';
import { layoutOf } from '../../../protocol/inference/layout.ts';
import { LINKS, LOOPBACK } from '../../../protocol/inference/links.ts';
import type { ProtocolRunner } from '../../../protocol/inference/session.ts';
import * as tasks from '../../../protocol/inference/tasks.ts';
import { call } from '../../../protocol/pool/task.ts';
import { VirtualClock } from '../../support/clock.ts';
import {
  drawBoth,
  inferBoth,
  openSessions,
  prepareBoth,
  randomInput,
  residualModel,
  seedOf,
} from '../../support/model.ts';

const [, lan, wan, mobile] = LINKS as [
  typeof LOOPBACK,
  typeof LOOPBACK,
  typeof LOOPBACK,
  typeof LOOPBACK,
];

describe('the links', () => {
  it('are half a round trip long in each direction; nothing stands in front of loopback', () => {
    expect(directionOf(LOOPBACK)).toBeUndefined();
    expect(directionOf(wan)).toEqual({ latencyMs: 20, bitsPerSecond: 100e6 });
    expect(LINKS.map(({ roundTripMs }) => roundTripMs)).toEqual([0.1, 0.5, 40, 60]);
  });

  it('are computed: offline the slowest of three, online the sum, both with round trips', () => {
    // 1 MB at 20 Mbit/s is 400 ms.
    const cost = { upBytes: 1e6, downBytes: 2e6, roundTrips: 3 };
    expect(computedMs('offline', 100, cost, mobile)).toBe(800 + 180);
    expect(computedMs('offline', 1000, cost, mobile)).toBe(1000 + 180);
    expect(computedMs('online', 100, cost, mobile)).toBe(100 + 400 + 800 + 180);
    expect(occupationMs([cost, cost], mobile)).toBe(2 * (1200 + 180));
  });
});

/** Tasks that take no turn of the event loop, so that virtual time stands still while they run. */
const instantPool: ProtocolRunner = {
  workers: 1,
  run: async (task, input) => call(tasks, task, input) as never,
};

describe('a protocol run in virtual time', () => {
  const model = residualModel();
  const { offline: all, draw, online: answer } = costOf(layoutOf(model.program));
  const bytesOf = ({ up, down, rounds }: typeof all) => ({
    upBytes: up,
    downBytes: down,
    roundTrips: rounds,
  });
  const online = bytesOf(answer);
  const offline = bytesOf({ ...all, up: all.up - draw.up, down: all.down - draw.down });

  async function phases(link: typeof LOOPBACK): Promise<{ offline: number; online: number }> {
    const clock = new VirtualClock();
    const direction = directionOf(link)!;
    const [a, b] = memoryPair();
    const sessions = await openSessions(model, seedOf(2), instantPool, [
      delayed(a, direction, clock),
      delayed(b, direction, clock),
    ]);
    await drawBoth(sessions);
    const start = clock.now();
    await prepareBoth(sessions);
    const middle = clock.now();
    await inferBoth(sessions, randomInput(model, seedOf(3)));
    return { offline: middle - start, online: clock.now() - middle };
  }

  it.each([lan, wan, mobile])('over $name takes what is computed for it', async (link) => {
    const times = await phases(link);
    // Nothing was computed in that time. The online formula adds up what lanes may overlap; the offline formula lets all
    // overlap that may not.
    const sum = computedMs('online', 0, online, link);
    expect(times.online / sum).toBeLessThan(1.01);
    expect(times.online / sum).toBeGreaterThan(0.9);
    const most = computedMs('offline', 0, offline, link);
    expect(times.offline / most).toBeGreaterThan(0.75);
    expect(times.offline / most).toBeLessThan(1.35);
  });

  it('takes exactly as long when it is repeated', async () => {
    expect(await phases(wan)).toEqual(await phases(wan));
  });
});

it('the precise clock never wakes early, and late by much less than a timer', async () => {
  const late: number[] = [];
  for (let i = 0; i < 20; i++) {
    const time = preciseClock.now() + 0.3;
    await preciseClock.sleepUntil(time);
    late.push(preciseClock.now() - time);
  }
  expect(Math.min(...late)).toBeGreaterThanOrEqual(0);
  expect(late.sort((a, b) => a - b)[5]).toBeLessThan(0.7);
});
