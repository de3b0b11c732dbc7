import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { machineInfo } from '../../../bench/machine.ts';
import { cardAccuracy, ownPoints, publishedPoints, standardPoints } from '../../../bench/points.ts';
import type { PointResult, Results } from '../../../bench/results.ts';
import { attribute } from '../../../bench/stand/attribution.ts';
import { LINKS, LOOPBACK } from '../../../protocol/inference/links.ts';
import { encodeModel } from '../../../protocol/program/model.ts';
import { mapsOf } from '../../../protocol/program/program.ts';
import { residualModel } from '../../support/model.ts';

describe('the points', () => {
  const points = standardPoints(false);
  const ids = points.map(({ id }) => id);

  it('are told apart by name, and few when it has to be quick', () => {
    expect(new Set(ids).size).toBe(points.length);
    const quick = standardPoints(true).map(({ id }) => id);
    expect(quick.length).toBeLessThan(points.length / 2);
    for (const id of ['zoo/digits', 'ResNet-20/identity/188416', 'ResNet-20/identity/0']) {
      expect(quick).toContain(id);
    }
  });

  it('go from all ReLUs down to none, all ReLUs with half gates as well', () => {
    for (const id of [
      'ResNet-20/identity/188416',
      'ResNet-32/identity/303104',
      'ResNet-18/identity/557056',
    ]) {
      expect(ids).toEqual(expect.arrayContaining([id, `${id}/half-gates`]));
      expect(ids).toContain(id.replace(/\d+$/, '0'));
    }
    expect(ids).toEqual(expect.arrayContaining(['zoo/digits', 'zoo/digits/half-gates']));
  });

  it('are what their names say', async () => {
    const make = async (id: string) => points.find((point) => point.id === id)!.make();
    const { model, accuracy } = await make('ResNet-20/square/0');
    const kinds = mapsOf(model.program);
    expect(kinds.reduce((sum, map) => sum + map.length, 0)).toBe(188_416);
    expect(kinds.every((map) => map.every((kind) => kind === 2))).toBe(true);
    expect(accuracy).toBeUndefined();
    const half = (await make('zoo/digits/half-gates')).model.program;
    const digits = await make('zoo/digits');
    expect([half.comparison, digits.model.program.comparison]).toEqual(['garbled', 'encoded']);
    // Nothing else differs.
    expect(mapsOf(half)).toEqual(mapsOf(digits.model.program));
    expect(digits.accuracy).toEqual({ share: 0.9953, data: 'MNIST', images: 10_000 });
    expect(digits.graph?.input.shape).toEqual([1, 28, 28]);
  });

  it('have what others publish beside them', () => {
    const published = publishedPoints();
    expect(new Set(published.map(({ network }) => network))).toEqual(
      new Set(['SNL', 'DeepReDuce', 'AutoReP']),
    );
    expect(published.every(({ weights }) => weights === 'published')).toBe(true);
  });

  it('take models of one’s own, with the card beside them where there is one', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sotto-own-'));
    const path = join(folder, 'mine.sotto');
    writeFileSync(path, encodeModel(residualModel()));
    const [bare] = ownPoints([path]);
    expect(bare).toMatchObject({ id: 'models/mine', network: 'mine', weights: 'trained' });
    expect((await bare!.make()).accuracy).toBeUndefined();
    const card = { data: 'Birds: 7', fixedPointTestAccuracy: 0.5 };
    writeFileSync(join(folder, 'mine.json'), JSON.stringify(card));
    expect((await bare!.make()).accuracy).toEqual({ share: 0.5, data: 'Birds' });
    writeFileSync(join(folder, 'mine.json'), 'no card');
    expect(() => bare!.make()).toThrow(/mine\.json: it is not a card: /);
    rmSync(folder, { recursive: true });
  });
});

it('cards of either kind say how accurate a model is, and on which images', () => {
  const tested = { data: 'MNIST: 55,000 images', fixedPointTestAccuracy: 0.99 };
  expect(cardAccuracy(tested, 'digits')).toEqual({ share: 0.99, data: 'MNIST' });
  const reduced = { data: ['a/train.bin'], accuracy: { dense: 0.9, fixedPoint: 0.87 } };
  expect(cardAccuracy(reduced, 'cifar10')).toEqual({
    share: 0.87,
    data: 'cifar10, validation images',
  });
  expect(cardAccuracy({}, 'digits')).toBeUndefined();
});

// Only the built files can start processes and threads.
const built = new URL('../../../dist/bench/stand/', import.meta.url);
const missing = !existsSync(new URL('run.js', built));
if (missing) console.log('skipped: the project is not built: npm run build');

describe.skipIf(missing)('a run', () => {
  let folder: string;
  let measurement: typeof import('../../../bench/stand/measurement.ts');
  let stand: typeof import('../../../bench/stand/run.ts');
  const { signal } = new AbortController();
  const once = { least: 1, most: 1, ms: 0, warmMs: 0 };
  const digits = standardPoints(true).filter(({ id }) => id === 'zoo/digits');

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sotto-stand-test-'));
    measurement = await import(new URL('measurement.js', built).href);
    stand = await import(new URL('run.js', built).href);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('has times of both parties, over loopback and over an emulated link, and a trace', async () => {
    const job = await measurement.jobOf(await digits[0]!.make(), join(folder, 'digits.sotto'));
    let between = 0;
    const count = async () => void between++;
    const effort = { least: 2, most: 2, ms: 0, warmMs: 0 };
    const near = await measurement.measureJob(job, LOOPBACK, effort, signal, count);
    const far = await measurement.measureJob(job, LINKS[2]!, once, signal);
    expect([near.ms.online.samples, far.ms.online.samples, between]).toEqual([2, 1, 2]);
    for (const { ms, cpuMs, connectMs, peakBytes } of [near, far]) {
      for (const phase of ['offline', 'online'] as const) {
        const { client, server } = cpuMs[phase];
        expect(Math.min(ms[phase].median, client, server)).toBeGreaterThan(0);
      }
      expect(Math.min(connectMs.cold, connectMs.warm)).toBeGreaterThan(0);
      expect(Math.min(peakBytes.client, peakBytes.server)).toBeGreaterThan(50e6);
    }
    expect(near.hintMs).toBeGreaterThan(0);
    // Five round trips of 40 ms, and the bytes at 100 Mbit/s.
    const { upBytes, downBytes } = job.costs.online;
    expect(far.ms.online.median).toBeGreaterThan(200 + (8 * (upBytes + downBytes)) / 100e3);
    const shares = ({ trace }: typeof near, phase: 'offline' | 'online') =>
      attribute([trace.parties.client, trace.parties.server], trace.phases[phase]);
    expect(shares(far, 'online').wait).toBeGreaterThan(150);
    expect(shares(near, 'offline').linear).toBeGreaterThan(0);
    const batches = near.trace.parties.server.tasks.filter(({ task }) => task === 'prepareBatch');
    expect(batches.length).toBeGreaterThan(0);
    for (const { kind } of batches) expect(kind).toBeDefined();
    expect(near.trace.parties.client.sent.length).toBeGreaterThan(5);
  });

  it('fails on a wrong answer and on bytes that no formula knows', async () => {
    const subject = await digits[0]!.make();
    const job = await measurement.jobOf(subject, join(folder, 'wrong.sotto'));
    // Held to another image, the answer is wrong.
    const check = measurement.checkAgainstClear(subject.model, new Uint8Array(28 * 28));
    const measured = (change: Partial<typeof job>) =>
      measurement.measureJob({ ...job, ...change }, LOOPBACK, once, signal);
    await expect(measured({ check })).rejects.toThrow(/logit/);
    const costs = { ...job.costs, online: { ...job.costs.online, upBytes: 1 } };
    await expect(measured({ costs })).rejects.toThrow(
      /counted \d{5} bytes up .* the formulas say 1 /,
    );
  });

  it('ends with its signal, and leaves nothing behind where no point is done', async () => {
    const controller = new AbortController();
    const partial = join(folder, 'partial.json');
    const lines: string[] = [];
    const run = stand.runStand({
      mode: 'quick',
      points: digits,
      sections: {},
      partial,
      signal: controller.signal,
      report(line) {
        lines.push(line);
        if (line.endsWith('loopback')) setTimeout(() => controller.abort(new Error('enough')), 200);
      },
    });
    await expect(run).rejects.toThrow('enough');
    expect(lines[0]).toContain('zoo/digits: compiling');
    expect(existsSync(partial)).toBe(false);
  });

  const runOf = (id: string, commit: string | undefined) => ({
    id,
    mode: 'quick' as const,
    machine: { ...machineInfo(), commit },
    seed: 1,
    seconds: 100,
    busyShare: 0,
    loadAverage: 0,
  });
  const left = (commit: string | undefined): Results => ({
    version: 2,
    runs: [runOf('before', 'old'), runOf('now', commit)],
    points: [
      { id: 'zoo/digits', run: 'now', links: [] } as unknown as PointResult,
      { id: 'zoo/fashion', run: 'before', links: [] } as unknown as PointResult,
    ],
    traces: [],
    sections: {},
  });

  it('goes on from what a cut run has left, but not from one of other code or extent', async () => {
    const partial = join(folder, 'resumed.json');
    const options = {
      mode: 'quick' as const,
      points: digits,
      sections: { loads: async () => [] },
      partial,
      signal,
      report: () => {},
    };
    const cut = left(machineInfo().commit);
    writeFileSync(partial, JSON.stringify(cut));
    const results = await stand.runStand(options);
    expect(results.points).toEqual(cut.points);
    expect(results.sections.loads).toEqual({ run: 'now', results: [] });
    expect(results.runs.map(({ id }) => id)).toEqual(['before', 'now']);
    expect(results.runs[1]!.seconds).toBeGreaterThan(100);
    expect(existsSync(partial)).toBe(false);

    const other = left('another');
    writeFileSync(partial, JSON.stringify(other));
    const stopped = AbortSignal.abort(new Error('stopped'));
    await expect(stand.runStand({ ...options, signal: stopped })).rejects.toThrow('stopped');
    expect(JSON.parse(readFileSync(partial, 'utf8'))).toEqual(other);
  });

  it('plans what others publish and does not run it', async () => {
    const [point] = publishedPoints();
    const model = residualModel();
    const make = () => ({ model, image: new Uint8Array(), accuracy: { share: 0.9, data: 'x' } });
    const results = await stand.runStand({
      mode: 'quick',
      points: [{ ...point!, make }],
      sections: {},
      partial: join(folder, 'planned.json'),
      signal,
      report: () => {},
    });
    const [{ links, classBytes, hintBytes }] = results.points as [PointResult];
    expect(links.map(({ link, origin }) => [link, origin])).toEqual(
      LINKS.map(({ name }) => [name, 'planned']),
    );
    const times = links.map(({ ms }) => ms.online.median);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(classBytes!.ReLU.online).toBeGreaterThan(0);
    expect(hintBytes).toBeGreaterThan(0);
    expect(results.traces).toEqual([]);
  });
});
