/** The decorator's networks beside the kernel's, or beside a relay where the kernel has none, on a few points. */

import { join } from 'node:path';
import { LINKS, type NamedLink } from '../../protocol/inference/links.ts';
import { linkOf } from './links.ts';
import {
  type Effort,
  type Job,
  jobOf,
  measureJob,
  millisecondsOf,
  overLoopback,
} from './measurement.ts';
import type { Point } from './points.ts';
import { openRelay, withNetem } from './relay.ts';
import type { LinkCheck, LinkChecks } from './results.ts';

/** Which points over which networks. */
const CHECKED: readonly (readonly [id: string, network: string])[] = [
  ['zoo/digits', 'LAN'],
  ['zoo/digits', 'WAN'],
  ['zoo/digits', 'mobile'],
  ['ResNet-20/identity/9421', 'LAN'],
];

/** How many of them when it has to be quick. */
const QUICK_CHECKS = 2;

/** Compares those of `points` that are to be compared. */
export async function checkLinks(
  quick: boolean,
  points: readonly Point[],
  folder: string,
  effort: Effort,
  report: (line: string) => void,
  signal: AbortSignal,
): Promise<LinkChecks> {
  const checks: LinkCheck[] = [];
  let reason: string | undefined;
  for (const [id, name] of quick ? CHECKED.slice(0, QUICK_CHECKS) : CHECKED) {
    const point = points.find((candidate) => candidate.id === id);
    const network = LINKS.find((candidate) => candidate.name === name)!;
    if (point === undefined) continue;
    report(`links: ${id} over ${name}`);
    const job = await jobOf(point.make(), join(folder, 'links.sotto'));
    const decorator = await measureJob(job, overLoopback(linkOf(network)), effort, signal);
    const netem =
      reason === undefined
        ? await withNetem(network, (route) => measureJob(job, route, effort, signal))
        : { reason };
    if ('reason' in netem) reason = netem.reason;
    const other = 'result' in netem ? netem.result : await overRelay(job, network, effort, signal);
    checks.push({
      id,
      network: name,
      decorator: millisecondsOf(decorator.repetitions),
      other: millisecondsOf(other.repetitions),
    });
  }
  return { against: reason === undefined ? 'netem' : 'relay', reason, checks };
}

async function overRelay(job: Job, network: NamedLink, effort: Effort, signal: AbortSignal) {
  const relays: { close(): void }[] = [];
  const via = async (url: string): Promise<string> => {
    const relay = await openRelay(url, network);
    relays.push(relay);
    return relay.url;
  };
  try {
    return await measureJob(job, { ...overLoopback(undefined), via }, effort, signal);
  } finally {
    for (const relay of relays) relay.close();
  }
}
