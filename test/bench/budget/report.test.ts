import { describe, expect, it } from 'vitest';
import { CLASSES } from '../../../bench/budget/attribution.ts';
import { computedMs } from '../../../bench/budget/links.ts';
import { htmlPage, markdownPage } from '../../../bench/budget/page.ts';
import type { BudgetReport, Load, NetworkRun, PointResult } from '../../../bench/budget/results.ts';
import { simulateLoads } from '../../../bench/budget/throughput.ts';
import { PUBLISHED_ACCURACIES, PUBLISHED_LATENCIES } from '../../../bench/references.ts';
import { LINKS, LOOPBACK } from '../../../protocol/inference/links.ts';

const attribution = Object.fromEntries(CLASSES.map((name, i) => [name, i])) as Record<
  (typeof CLASSES)[number],
  number
>;
const cost = {
  offline: { up: 4e5, down: 1.4e6, rounds: 2 },
  online: { up: 34_000, down: 445_000, rounds: 5 },
};

function pointOf(id: string, relus: number, change: Partial<PointResult> = {}): PointResult {
  const repetition = (factor: number) => {
    const phase = (ms: number) => ({
      ms: factor * ms,
      bytesUp: 1,
      bytesDown: 2,
      rounds: 3,
      clientCpuMs: 250 * factor,
      serverCpuMs: 1250 * factor,
    });
    return { offline: phase(100), online: phase(20) };
  };
  const repetitions = [repetition(1), repetition(2), repetition(3)];
  const loopback: NetworkRun = {
    network: LOOPBACK.name,
    origin: 'measured',
    ms: { offline: [100, 200, 300], online: [20, 40, 60] },
    repetitions,
    attribution: { offline: attribution, online: attribution },
    computed: undefined,
    planned: { offline: 150, online: 30 },
  };
  const others = LINKS.slice(1).map((network): NetworkRun => {
    const computed = {
      offline: computedMs('offline', 200, cost.offline, network),
      online: computedMs('online', 40, cost.online, network),
    };
    const run = network.name === 'LAN';
    return {
      ...loopback,
      network: network.name,
      origin: run ? 'emulated' : 'computed',
      ms: run ? loopback.ms : { offline: [computed.offline], online: [computed.online] },
      repetitions: run ? repetitions : [],
      computed,
    };
  });
  return {
    id,
    network: id.split('/')[0]!,
    series: 'identity',
    accuracy: undefined,
    relus,
    squares: 0,
    identities: 1000 - relus,
    macs: 1e6,
    cost,
    bytes: {
      linear: { offline: 1e6, online: 0 },
      ReLU: { offline: 5e5, online: 4e5 },
      square: { offline: 1e5, online: 5e4 },
      identity: { offline: 1e5, online: 1e4 },
      output: { offline: 0, online: 1e3 },
    },
    stored: { client: 1.5e6, server: 5e5 },
    memory: { client: 2e8, server: 3e8 },
    runs: [loopback, ...others],
    ...change,
  };
}

const digits = pointOf('zoo/digits', 900, {
  network: 'digits',
  series: 'trained',
  accuracy: { share: 0.9953, data: 'MNIST' },
});

const load: Load = {
  network: 'zoo/digits',
  origin: 'measured',
  clients: 3,
  store: 4,
  arrivalsPerMinute: 120,
  answeredPerMinute: 118,
  medianMs: 33,
  p95Ms: 77,
  ready: 0.9,
  inferences: 12,
};

const report: BudgetReport = {
  version: 1,
  mode: 'quick',
  machine: { cpu: 'a <CPU>', cores: 2, memoryGb: 4, node: 'v20', commit: 'abc123' },
  date: '2026-01-02T03:04:05.000Z',
  seed: 1,
  seconds: 83,
  disturbance: { load: 0.25, busy: 0.034 },
  points: [
    digits,
    pointOf('ResNet-20/identity/1000', 1000),
    pointOf('ResNet-20/identity/0', 0),
    pointOf('ResNet-20/square/0', 0, { series: 'square', squares: 1000, identities: 0 }),
    pointOf('ResNet-20/half-gates/1000', 1000, { series: 'half gates' }),
    pointOf('ResNet-32/identity/303104', 303_104),
    pointOf('zoo/cifar10-500', 500, {
      network: 'cifar10',
      series: 'trained',
      accuracy: { share: 0.87, data: 'CIFAR-10' },
    }),
  ],
  links: {
    against: 'relay',
    reason: 'no <netem>',
    checks: [
      {
        id: 'zoo/digits',
        network: 'LAN',
        decorator: { offline: [100], online: [22] },
        other: { offline: [200], online: [20] },
      },
    ],
  },
  throughput: { loads: [load, ...simulateLoads(digits)] },
};

const page = markdownPage(report).replace(/ +/g, ' ');

describe('the table', () => {
  it('has every figure of a point', () => {
    expect(page).toContain(
      '| digits | 900 / 0 / 100 | 200 (150 to 250) | 40.0 (30.0 to 50.0) | 0.400 / 1.40 | 0.0340 / 0.445 | 2 + 5 | ' +
        '0.500 + 0.500 | 2.50 + 2.50 | 200 / 300 | 1.50 / 0.500 | 99.53 % (MNIST) |',
    );
    expect(page).toContain('| ResNet-20, 0, squares | 0 / 1,000 / 0 |');
    expect(page).toContain('| ResNet-20, 1,000, half gates | 1,000 / 0 / 0 |');
    expect(page).toContain('random weights |');
  });

  it('says where the bytes go, and what is left', () => {
    expect(page).toContain('| digits: offline | 1.00 | 0.500 | 0.100 | 0.100 | 0 | 0.100 |');
    expect(page).toContain('| digits: online | 0 | 0.400 | 0.0500 | 0.0100 | 0.00100 | 0.0180 |');
  });

  it('says of every time how it was found', () => {
    const row = page.split('\n').filter((line) => line.startsWith('| digits |'))[1];
    // 100 Mbit/s: the offline run is longer than its bytes; online adds them up.
    expect(row).toBe('| digits | 200 | 40.0 | 200 e | 40.0 e | 280 c | 278 c | 680 c | 532 c |');
  });

  it('compares the planner, the calculation and the other emulation with what was run', () => {
    // Of the runs alone: a point that was computed proves nothing.
    expect(page).toContain('| loopback | 7 | 0.750 (0.750 to 0.750, from 0.750 to 0.750) |');
    expect(page).toContain('| LAN | 7 |');
    expect(page).not.toContain('| WAN | 7 |');
    expect(page).toContain('| digits over loopback | 150 | 200 | 0.750 | 30.0 | 40.0 | 0.750 |');
    expect(page).toContain('| digits over LAN: offline | 100 | 200 | 0.500 |');
    expect(page).toContain('not to be had: no <netem>');
  });

  it('has machine, commit, seed and duration', () => {
    for (const text of [
      '| commit | abc123 |',
      '| seed of weights, maps and arrivals | 1 |',
      '1 min 23 s',
    ]) {
      expect(page).toContain(text);
    }
  });

  it('shows published figures with source, machine and tag, and none from memory', () => {
    for (const { system, network, source, machine, tag } of PUBLISHED_LATENCIES) {
      const row = page.split('\n').find((line) => line.startsWith(`| ${system}: ${network} |`))!;
      expect(row).toContain(source);
      expect(row).toContain(machine);
      expect(row.endsWith(`| ${tag} |`)).toBe(true);
      expect(['read', 'computed']).toContain(tag);
    }
    expect(PUBLISHED_ACCURACIES.map(({ method }) => method)).toEqual([
      'DeepReDuce',
      'SNL',
      'AutoReP',
    ]);
  });
});

describe('the page', () => {
  const html = htmlPage(report);
  const titles = [...html.matchAll(/<h3>(.*?)<\/h3>/g)].map(([, title]) => title);

  it('has a figure for everything there is data for', () => {
    expect(titles).toEqual([
      'Online latency against ReLU budget: ResNet-20',
      'Accuracy against online latency',
      'Accuracy against ReLU budget on CIFAR-10',
      'Where the online time goes over loopback',
      'Where the offline time goes over loopback',
      'Where the online time goes over WAN',
      'Where the offline time goes over WAN',
      'Where the online time goes over loopback: the zoo',
      'Where the offline time goes over loopback: the zoo',
      'Offline against online over loopback',
      'Bytes of one inference against ReLU budget',
      'Beside what others publish',
      'The planner: predicted against run',
      'digits: inferences per minute against arrivals',
      'digits: latency against arrivals',
    ]);
    expect(html.match(/<svg/g)?.length).toBe(titles.length);
  });

  it('names the unit of every axis', () => {
    for (const label of ['online, ms', 'offline, ms', 'MB', 'ReLUs →', 's →', 'planned, ms']) {
      expect(html.includes(label)).toBe(true);
    }
  });

  it('draws what was run filled, what was computed hollow', () => {
    const [latency] = html.split('</figure>').filter((part) => part.includes('budget: ResNet-20'));
    // Four points: two networks were run, two computed.
    expect(latency!.match(/<circle[^>]*fill="none"[^>]*>/g)?.length).toBe(8);
    // Each series has its dashes.
    for (const dashes of ['6 4', '2 3']) expect(latency).toContain(`stroke-dasharray="${dashes}"`);
  });

  it('is a document of its own in light and dark, its words escaped', () => {
    expect(html.includes('a &lt;CPU&gt;')).toBe(true);
    expect(html.includes('no &lt;netem&gt;')).toBe(true);
    expect(/<(script|link|img)\b/.test(html)).toBe(false);
    expect(html.includes('prefers-color-scheme: dark')).toBe(true);
    expect(html.includes('NaN')).toBe(false);
    expect(html.includes('undefined')).toBe(false);
  });

  it('does without parts that were not run', () => {
    const bare = htmlPage({
      ...report,
      points: [pointOf('ResNet-20/identity/0', 0)],
      links: undefined,
      throughput: undefined,
    });
    expect(bare.includes('NaN')).toBe(false);
    expect(bare.includes('The emulation checked')).toBe(false);
  });
});
