import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { InferenceResult } from '../../bench/inference.ts';
import { benchKernels, type KernelResult } from '../../bench/kernels.ts';
import { disturbance, machineInfo } from '../../bench/machine.ts';
import type { NetworkResult } from '../../bench/networks.ts';
import { figure, markdown, type Report, table } from '../../bench/report.ts';
import { targetsOf } from '../../bench/targets.ts';

const once = { lower: 1, median: 2, upper: 3, samples: 1 };

function reportOf(inference: Partial<InferenceResult>, kernels: KernelResult[] = []): Report {
  return {
    machine: { cpu: 'a CPU', cores: 2, memoryGb: 4, node: 'v20', commit: undefined },
    date: '2026-01-02T03:04:05.000Z',
    disturbance: { before: { load: 0.25, busy: 0.034 }, after: { load: 1.5, busy: 0.5 } },
    inference: {
      model: 'digits',
      relus: 1829,
      activations: 5488,
      phases: [{ name: 'online', ms: once, bytesUp: 34468, bytesDown: 606297, rounds: 5 }],
      plain: { ms: once, ratio: { ...once, median: 45.61 } },
      ...inference,
    },
    kernels,
    networks: [],
  };
}

describe('the report', () => {
  it('shows three digits', () => {
    expect([0, 0.01234, 1.234, 12.34, 123.4, 1234.5].map(figure)).toEqual([
      '0',
      '0.0123',
      '1.23',
      '12.3',
      '123',
      '1235',
    ]);
  });

  it('lays out tables of Markdown', () => {
    const page = table(['a', 'bytes'], [['longer', '2']]);
    expect(page.split('\n')).toEqual([
      '| a      | bytes |',
      '| ------ | ----: |',
      '| longer |     2 |',
    ]);
  });

  it('has every figure: phases with bytes and rounds, ratio, load, kernels beside peers', () => {
    const kernel = {
      name: 'part',
      unit: 'M/s',
      value: once,
      bytes: '4 B',
      reference: 'peer 9 M/s',
    };
    // Without the blanks that align columns.
    const page = markdown(reportOf({}, [kernel])).replace(/ +/g, ' ');
    expect(page).toContain('| online | 2.00 | 1.00 to 3.00 | 34,468 | 606,297 | 5 |');
    expect(page).toContain('**45.6** (1.00 to 3.00)');
    expect(page).toContain('| load average before / after | 0.250 / 1.50 |');
    expect(page).toContain('| cores busy just before / after | 3 % / 50 % |');
    expect(page).toContain('| part | 2.00 M/s | 1.00 to 3.00 | 4 B | peer 9 M/s |');
    expect(page).toContain('1,829 ReLUs of 5,488 activations');
    expect(page).toContain('| commit | unknown |');
  });

  it('holds what was measured to the targets, and says what keeps the missed ones back', () => {
    const rate = (name: string, median: number) => ({
      name,
      unit: 'M',
      value: { ...once, median },
    });
    const kernels = [
      rate('garble, 18 AND x 1024, AES by openssl', 27),
      rate('evaluate, 18 AND x 1024, AES by openssl', 49.9),
      rate('RLWE convolution: upload to shares', 121),
    ];
    const loop = { ...once, median: 0.4 };
    const scaling = {
      one: once,
      two: once,
      gain: { ...once, median: 1.7 },
      ceiling: once,
      loop,
    };
    const page = markdown({ ...reportOf({}, kernels), scaling }).replace(/ +/g, ' ');
    expect(page).toContain('| garbling, OpenSSL | | >= 27 M AND/s | 27.0 M AND/s | yes |');
    expect(page).toContain('| evaluation, OpenSSL | | >= 50 M AND/s | 49.9 M AND/s | no |');
    expect(page).toMatch(/\| two workers.*\| 1.70 times \| yes \|/);
    expect(page.match(/^- \*\*.*\*\*: ./gm)).toHaveLength(1);
    expect(page).toContain('busy 40 % of the time');
    expect(page).not.toContain('ReLU/s |');
  });

  it('has a network with half gates as a row of its own, and the ratios of the pairs', () => {
    const time = { totalMs: 4, computeMs: 4, networkMs: 0 };
    const taken = {
      offline: once,
      online: { ...once, median: 250 },
      offlineBytes: 64e6,
      onlineBytes: 9e6,
      rounds: 18,
      clientStored: 14e6,
      linearBytes: 0.5e6,
      hintBytes: 30e6,
      planned: { hint: time, offline: time, online: time },
    };
    const ratio = { offline: { ...once, median: 0.7 }, online: { ...once, median: 0.25 } };
    const network: NetworkResult = {
      name: 'ResNet-18, all ReLUs',
      relus: 557_056,
      ...taken,
      halfGates: { ...taken, onlineBytes: 90e6, ratio },
      plain: { ms: once, ratio: once },
    };
    const page = markdown({ ...reportOf({}), networks: [network] }).replace(/ +/g, ' ');
    expect(page).toContain('| ResNet-18, all ReLUs, half gates | 2.00 | 1.00 to 3.00 | 250 |');
    expect(page).toContain('| ResNet-18: hint, once | | <= 22 MB | 30.0 MB | no |');
    expect(page).toContain('| 0.700 (1.00 to 3.00) | 0.250 (1.00 to 3.00) | 1.00 | 0.100 | 1.00 |');
    expect(page).toContain('online bytes | 124 MB | <= 9.5 MB | 9.00 MB | yes |');
    expect(page).toContain('client keeps of a bundle | 360 MB | <= 20 MB | 14.0 MB | yes |');
  });

  it('says why there is no baseline', () => {
    const page = markdown(reportOf({ plain: 'not installed' }));
    expect(page).toContain('The plaintext baseline was not run: not installed.');
    expect(page).not.toContain('**');
  });

  it('knows the machine and how busy it is', async () => {
    const { cores, node, cpu } = machineInfo();
    expect([cores > 0, node, cpu.length > 0]).toEqual([true, process.version, true]);
    const { load, busy } = await disturbance();
    expect(load >= 0 && busy >= 0 && busy <= 1).toBe(true);
  });
});

it('every part runs and gives a rate above zero, its quartiles in order', async () => {
  const results = await benchKernels({ repetitions: 2, sampleMs: 0 });
  expect(new Set(results.map(({ name }) => name)).size).toBe(results.length);
  for (const { name, value } of results) {
    expect(Number.isFinite(value.upper) && value.lower > 0, name).toBe(true);
    expect(value.lower <= value.median && value.median <= value.upper, name).toBe(true);
  }
  // Each target finds one part, or throws.
  const targets = targetsOf({ ...reportOf({}), kernels: results }).map(({ what }) => what);
  expect(targets.filter((what) => what.startsWith('ReLUs of'))).toHaveLength(2);
  expect(targets).toHaveLength(8);
  const compared = results.filter(({ reference }) => reference !== undefined);
  expect(compared.length).toBeGreaterThanOrEqual(8);
});

// Only the built files can start processes and threads.
const built = new URL('../../dist/bench/inference.js', import.meta.url);
if (!existsSync(built)) console.log('skipped: the project is not built: npm run build');

it.skipIf(!existsSync(built))('a whole inference is measured in two processes', async () => {
  const { benchInference }: typeof import('../../bench/inference.ts') = await import(built.href);
  // Wrong answers, and bytes other than the formulas', make it throw.
  const { phases, plain, relus, activations } = await benchInference(1);
  expect(phases.map(({ name, rounds }) => [name, rounds])).toEqual([
    ['setup', 4],
    ['offline', 2],
    ['online', 5],
  ]);
  for (const { bytesUp, bytesDown } of phases) {
    expect(Math.min(bytesUp, bytesDown)).toBeGreaterThan(0);
  }
  expect([relus, activations]).toEqual([1829, 5488]);
  expect(typeof plain === 'string' || plain.ratio.median > 0).toBe(true);
});
