/** Results as the stand leaves them, small and made up. */

import { computedMs } from '../../bench/links.ts';
import { summarise } from '../../bench/measure.ts';
import { byPhase } from '../../bench/phases.ts';
import type { LinkResult, PointResult, Results, Run } from '../../bench/results.ts';
import { type Attribution, CLASSES } from '../../bench/stand/attribution.ts';
import { LINKS, LOOPBACK } from '../../protocol/inference/links.ts';

const costs = {
  offline: { upBytes: 4e5, downBytes: 1.4e6, roundTrips: 2 },
  online: { upBytes: 34_000, downBytes: 445_000, roundTrips: 5 },
};

const near = { offline: summarise([100, 200, 300]), online: summarise([20, 40, 60]) };

export function pointOf(id: string, relus: number, change: Partial<PointResult> = {}): PointResult {
  const links = LINKS.map((link): LinkResult => {
    const plannedMs = { offline: 150, online: 30 };
    const cpuMs = {
      offline: { client: 500, server: 2500 },
      online: { client: 500, server: 2500 },
    };
    const shared = { link: link.name, plannedMs };
    if (link === LOOPBACK) return { ...shared, origin: 'measured', ms: near, cpuMs };
    const computed = byPhase((phase) => computedMs(phase, near[phase].median, costs[phase], link));
    if (link.name === 'LAN') {
      return { ...shared, origin: 'emulated', ms: near, cpuMs, computedMs: computed };
    }
    const ms = byPhase((phase) => summarise([computed[phase]]));
    return { ...shared, origin: 'computed', ms, computedMs: computed };
  });
  return {
    id,
    run: 'r',
    network: id.split('/')[0]!,
    weights: 'random',
    comparison: 'encoded',
    relus,
    squares: 0,
    identities: 1000 - relus,
    macs: 1e6,
    costs,
    classBytes: {
      linear: { offline: 1e6, online: 0 },
      ReLU: { offline: 5e5, online: 4e5 },
      square: { offline: 1e5, online: 5e4 },
      identity: { offline: 1e5, online: 1e4 },
      output: { offline: 0, online: 1e3 },
    },
    hintBytes: 2e6,
    hintMs: 300,
    connectMs: { cold: 500, warm: 400 },
    storedBytes: { client: 1.5e6, server: 5e5 },
    peakBytes: { client: 2e8, server: 3e8 },
    links,
    ...change,
  };
}

/** A point whose times are planned over every link. */
export function plannedOf(point: PointResult, factor: number): PointResult {
  const links = LINKS.map(({ name }, i): LinkResult => {
    const ms = byPhase(() => summarise([factor * (i + 1) * 100]));
    return { link: name, origin: 'planned', ms };
  });
  return { ...point, links };
}

const trained = { weights: 'trained' } as const;
const accuracy = (share: number) => ({ share, data: 'CIFAR-10', images: 1000 });
const half = (point: PointResult): PointResult => ({
  ...point,
  id: `${point.id}/half-gates`,
  comparison: 'garbled',
});

export const digits = pointOf('zoo/digits', 900, {
  ...trained,
  network: 'digits',
  accuracy: { share: 0.9953, data: 'MNIST' },
  plainMs: summarise([2]),
});

const own = { ...trained, network: 'cifar10' };
const all = pointOf('zoo/cifar10', 1000, { ...own, accuracy: accuracy(0.89) });
const few = pointOf('zoo/cifar10-100', 100, { ...own, accuracy: accuracy(0.865) });
const twenty = pointOf('ResNet-20/identity/188416', 1000);

export const run: Run = {
  id: 'r',
  mode: 'quick',
  machine: { cpu: 'a <CPU>', cores: 2, memoryGb: 4, node: 'v20', commit: 'abc123' },
  seed: 1,
  seconds: 83,
  busyShare: 0.034,
  loadAverage: 0.25,
};

const attribution = Object.fromEntries(CLASSES.map((name, i) => [name, i])) as Attribution;
const once = { lower: 1, median: 2, upper: 3, samples: 3 };

export const results: Results = {
  version: 2,
  runs: [run],
  points: [
    digits,
    all,
    few,
    plannedOf(half(all), 20),
    plannedOf(half(few), 5),
    twenty,
    half(twenty),
    pointOf('ResNet-20/identity/0', 0),
    pointOf('ResNet-20/square/0', 0, { squares: 1000, identities: 0 }),
    pointOf('ResNet-18/identity/12900', 12_900),
    plannedOf(
      pointOf('published/SNL/12900', 12_900, {
        weights: 'published',
        network: 'SNL',
        accuracy: accuracy(0.8823),
      }),
      8,
    ),
  ],
  traces: [{ point: 'zoo/digits', run: 'r', ms: { offline: attribution, online: attribution } }],
  sections: {
    kernels: {
      run: 'r',
      results: [{ name: 'part', unit: 'M/s', value: once, bytes: '4 B', reference: 'peer 9 M/s' }],
    },
    loads: {
      run: 'r',
      results: [
        {
          point: 'zoo/digits',
          clients: 3,
          store: 4,
          arrivalsPerMinute: 120,
          answeredPerMinute: 118,
          medianMs: 33,
          p95Ms: 77,
          readyShare: 0.9,
          inferences: 12,
        },
      ],
    },
    steady: {
      run: 'r',
      results: [
        {
          point: 'zoo/digits',
          sessions: 32,
          prepared: 4,
          perSecond: 51,
          onlineMs: { ...once, p95: 65 },
          offlineMs: { ...once, p95: 700 },
        },
      ],
    },
    beside: {
      run: 'r',
      results: [
        {
          point: 'zoo/digits',
          ...{ upBytes: 20_000, downBytes: 21_000, roundTrips: 4 },
          ...{ aloneMs: once, besideMs: once, ratio: once },
        },
      ],
    },
    browser: {
      run: 'r',
      results: [
        {
          point: 'zoo/digits',
          relus: 900,
          parts: [{ name: 'online', nodeMs: 10, browserMs: 20, ratio: once }],
          longestTaskMs: 0,
        },
      ],
    },
  },
};
