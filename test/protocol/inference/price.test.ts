import { describe, expect, it } from 'vitest';
import { costOf } from '../../../protocol/inference/cost.ts';
import { layoutOf } from '../../../protocol/inference/layout.ts';
import { measureProgram, type Profile, priceOf } from '../../../protocol/inference/price.ts';
import { openSessions, prepareBoth, residualModel } from '../../support/model.ts';

/** Bytes of all arrays below a value. */
function bytesBelow(value: unknown): number {
  if (ArrayBuffer.isView(value)) return value.byteLength;
  if (typeof value !== 'object' || value === null) return 0;
  const parts = value instanceof Map ? [...value.values()] : Object.values(value);
  return parts.reduce((sum: number, part) => sum + bytesBelow(part), 0);
}

describe('the price of a program', () => {
  const model = residualModel();
  const layout = layoutOf(model.program);
  const measured = measureProgram(layout);
  const profile: Profile = {
    bitsPerSecond: 1e8,
    roundTripMs: 40,
    clientCores: 2,
    serverCores: 2,
  };

  it('has the exact bytes and rounds, and a time for every step that works', () => {
    expect(measured.cost).toEqual(costOf(layout));
    for (const { op, time } of measured.steps) {
      if (op === 'output') continue;
      expect(time.clientOffline).toBeGreaterThan(0);
      expect(time.serverOffline).toBeGreaterThan(0);
      expect(time.serverOnline).toBeGreaterThan(0);
    }
  });

  it('has the hint apart, which costs its bytes and one round trip once', () => {
    expect(measured.hint.make).toBeGreaterThan(0);
    expect(measured.hint.decode).toBeGreaterThan(0);
    const { hint } = priceOf(measured, profile);
    expect(hint.networkMs).toBeCloseTo((8000 * measured.cost.hint) / 1e8 + 40);
    expect(hint.totalMs).toBe(hint.networkMs + hint.computeMs);
  });

  it('takes fewer bytes where k is larger', () => {
    const other = measureProgram(layout, 8);
    expect(other.cost).toEqual(costOf(layout, 8));
    expect(other.cost.offline.up).toBeLessThan(measured.cost.offline.up);
  });

  it('pays for round trips and bandwidth what they cost', () => {
    const { offline, online } = measured.cost;
    const base = priceOf(measured, profile);
    const far = priceOf(measured, { ...profile, roundTripMs: 140 });
    expect(far.online.networkMs - base.online.networkMs).toBeCloseTo(100 * online.rounds);
    expect(far.offline.networkMs - base.offline.networkMs).toBeCloseTo(100 * offline.rounds);
    const thin = priceOf(measured, { ...profile, bitsPerSecond: 5e7 });
    const bits = 8 * (online.up + online.down);
    expect(thin.online.networkMs - base.online.networkMs).toBeCloseTo((1000 * bits) / 1e8);
    const one = priceOf(measured, { ...profile, clientCores: 1, serverCores: 1, shared: true });
    const two = priceOf(measured, { ...profile, shared: true });
    expect(two.offline.computeMs).toBeLessThan(one.offline.computeMs);
  });

  it('knows what a bundle keeps, within 5 %', async () => {
    const sessions = await openSessions(model);
    await prepareBoth(sessions);
    const { inputMask: _, ...client } = sessions.clientBundles.take();
    const stored = (of: 'clientStored' | 'serverStored') =>
      measured.steps.reduce((sum, step) => sum + step[of], 0);
    expect(stored('clientStored') / bytesBelow(client)).toBeCloseTo(1, 1);
    expect(stored('serverStored') / bytesBelow(sessions.serverBundles.take())).toBeCloseTo(1, 1);
  });
});
