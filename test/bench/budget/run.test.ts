import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLASSES } from '../../../bench/budget/attribution.ts';
import { accuracyOf, pointsOf } from '../../../bench/budget/points.ts';
import { machineInfo } from '../../../bench/machine.ts';
import { LINKS } from '../../../protocol/inference/links.ts';
import { mapsOf } from '../../../protocol/program/program.ts';

describe('the points', () => {
  const points = pointsOf(false);

  it('are told apart by name, and few when it has to be quick', () => {
    expect(new Set(points.map(({ id }) => id)).size).toBe(points.length);
    const quick = pointsOf(true).map(({ id }) => id);
    expect(quick.length).toBeLessThan(points.length / 2);
    for (const id of ['zoo/digits', 'ResNet-20/identity/188416', 'ResNet-20/identity/0']) {
      expect(quick).toContain(id);
    }
  });

  it('go from all ReLUs down to none', () => {
    const graphs = [
      'ResNet-20/identity/188416',
      'ResNet-32/identity/303104',
      'ResNet-18/identity/557056',
    ];
    for (const id of graphs) {
      expect(points.map((point) => point.id)).toContain(id.replace('identity', 'half-gates'));
    }
    for (const id of [...graphs, 'HybReNet-5x5x3x/identity/343040']) {
      expect(points.map((point) => point.id)).toContain(id);
      expect(points.map((point) => point.id)).toContain(id.replace(/\d+$/, '0'));
    }
  });

  it('are what their names say', () => {
    const { model, accuracy } = points.find(({ id }) => id === 'ResNet-20/square/0')!.make();
    const kinds = model.program.steps.flatMap((step) =>
      step.op === 'activation' ? [step.kinds] : [],
    );
    expect(kinds.reduce((sum, map) => sum + map.length, 0)).toBe(188_416);
    expect(kinds.every((map) => map.every((kind) => kind === 2))).toBe(true);
    expect(accuracy).toBeUndefined();
    const garbled = points.find(({ id }) => id === 'ResNet-20/half-gates/188416')!;
    const encoded = points.find(({ id }) => id === 'ResNet-20/identity/188416')!;
    expect(garbled.series).toBe('half gates');
    const [half, whole] = [garbled, encoded].map((point) => point.make().model.program);
    expect([half!.comparison, whole!.comparison]).toEqual(['garbled', 'encoded']);
    // Nothing else differs but how far logits may be off, which depends on the comparison.
    expect(mapsOf(half!)).toEqual(mapsOf(whole!));
    const digits = points.find(({ id }) => id === 'zoo/digits')!.make();
    expect(digits.accuracy).toEqual({ share: 0.9953, data: 'MNIST' });
  });
});

it('cards of either kind say how accurate a model is, and on which images', () => {
  const tested = { data: 'MNIST: 55,000 images', fixedPointTestAccuracy: 0.99 };
  expect(accuracyOf(tested, 'digits')).toEqual({ share: 0.99, data: 'MNIST' });
  const reduced = { data: ['a/train.bin'], accuracy: { dense: 0.9, fixedPoint: 0.87 } };
  expect(accuracyOf(reduced, 'cifar10')).toEqual({
    share: 0.87,
    data: 'cifar10, validation images',
  });
  expect(accuracyOf({}, 'digits')).toBeUndefined();
});

// Only the built files can start processes and threads.
const built = new URL('../../../dist/bench/budget/', import.meta.url);
const missing = !existsSync(new URL('run.js', built));
if (missing) console.log('skipped: the project is not built: npm run build');

type Measurement = typeof import('../../../bench/budget/measurement.ts');
type Run = typeof import('../../../bench/budget/run.ts');
type Links = typeof import('../../../bench/budget/links.ts');

describe.skipIf(missing)('a run', () => {
  let folder: string;
  let measurement: Measurement;
  const { signal } = new AbortController();
  const effort = { least: 2, most: 2, ms: 0 };
  const once = { least: 1, most: 1, ms: 0 };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sotto-budget-test-'));
    measurement = await import(new URL('measurement.js', built).href);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const digits = () =>
    pointsOf(true)
      .find(({ id }) => id === 'zoo/digits')!
      .make();

  it('repeats the same bytes and rounds exactly, over loopback and over an emulated network', async () => {
    const { linkOf }: Links = await import(new URL('links.js', built).href);
    const job = await measurement.jobOf(digits(), join(folder, 'digits.sotto'));
    const near = await measurement.measureJob(
      job,
      measurement.overLoopback(undefined),
      effort,
      signal,
    );
    const link = linkOf(LINKS[2]!);
    const far = await measurement.measureJob(job, measurement.overLoopback(link), once, signal);
    const runs = [...near.repetitions, ...far.repetitions];
    const bytes = runs.map(({ offline, online }) =>
      [offline, online].map(({ bytesUp, bytesDown, rounds }) => [bytesUp, bytesDown, rounds]),
    );
    const { offline, online: inference } = job.cost;
    const formulas = [offline, inference].map(({ up, down, rounds }) => [up, down, rounds]);
    // The choices of a session's first bundle are drawn ahead, those of the others take a round trip.
    const drawn = [[offline.up, offline.down, 2], formulas[1]];
    for (const own of bytes) expect([formulas, drawn]).toContainEqual(own);
    for (const { offline, online } of runs) {
      for (const { ms, clientCpuMs, serverCpuMs } of [offline, online]) {
        expect(Math.min(ms, clientCpuMs, serverCpuMs)).toBeGreaterThan(0);
      }
    }
    // Five round trips of 40 ms, and the bytes at 100 Mbit/s.
    const transfer = (8 * (inference.up + inference.down)) / 100e3;
    for (const { online } of far.repetitions) expect(online.ms).toBeGreaterThan(200 + transfer);
    expect(far.attribution.online.wait).toBeGreaterThan(150);
    const { online } = near.attribution;
    expect(CLASSES.reduce((sum, name) => sum + online[name], 0)).toBeGreaterThan(0);
    expect(near.attribution.offline.linear).toBeGreaterThan(0);
    expect(Math.min(near.memory.client, near.memory.server)).toBeGreaterThan(50e6);
  });

  it('fails on a wrong answer and on bytes that no formula knows', async () => {
    const subject = digits();
    const job = await measurement.jobOf(subject, join(folder, 'wrong.sotto'));
    const over = measurement.overLoopback(undefined);
    // Held to another image, the answer is wrong.
    const check = measurement.checkAgainstClear(subject.model, new Uint8Array(28 * 28));
    await expect(measurement.measureJob({ ...job, check }, over, effort, signal)).rejects.toThrow(
      /logit/,
    );
    const cost = { ...job.cost, online: { ...job.cost.online, up: 1 } };
    await expect(measurement.measureJob({ ...job, cost }, over, effort, signal)).rejects.toThrow(
      /counted \d{5} bytes up .* the formulas say 1 /,
    );
  });

  it('ends with its signal, and leaves its processes and the partial file behind in order', async () => {
    const { runBudget }: Run = await import(new URL('run.js', built).href);
    const controller = new AbortController();
    const partial = join(folder, 'partial.json');
    const lines: string[] = [];
    const run = runBudget({
      quick: true,
      only: 'zoo/digits',
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

  it('goes on from what a cut run has left, but not from one of other code or extent', async () => {
    const { runBudget }: Run = await import(new URL('run.js', built).href);
    const partial = join(folder, 'resumed.json');
    const left = {
      version: 1,
      mode: 'quick',
      machine: machineInfo(),
      seconds: 100,
      disturbance: { load: 0, busy: 0 },
      points: [{ id: 'ResNet-20/identity/0', runs: [] }],
      links: { against: 'relay', reason: 'x', checks: [] },
      loads: [],
    };
    const options = {
      quick: true,
      only: 'ResNet-20/identity/0',
      partial,
      signal,
      report: () => {},
    };
    writeFileSync(partial, JSON.stringify(left));
    const report = await runBudget(options);
    expect(report.points).toEqual(left.points);
    expect(report.seconds).toBeGreaterThan(100);
    expect(existsSync(partial)).toBe(false);

    const other = { ...left, machine: { ...left.machine, commit: 'another' } };
    writeFileSync(partial, JSON.stringify(other));
    const stopped = AbortSignal.abort(new Error('stopped'));
    await expect(runBudget({ ...options, signal: stopped })).rejects.toThrow('stopped');
    expect(JSON.parse(readFileSync(partial, 'utf8'))).toEqual(other);
  });
});
