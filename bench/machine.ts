/** What a figure was measured on. */

import { execFileSync } from 'node:child_process';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';

export interface Machine {
  readonly cpu: string;
  /** Threads that run at a time. */
  readonly cores: number;
  readonly memoryGb: number;
  readonly node: string;
  /** `+` behind it: files differed from it. Undefined outside a git checkout. */
  readonly commit: string | undefined;
}

export function machineInfo(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGb: Math.round(totalmem() / 1e9),
    node: process.version,
    commit: commit(),
  };
}

/** What else the machine was doing: measured while the benchmark itself was not running. */
export interface Disturbance {
  /** Processes that wanted a core over the last minute, on average. */
  readonly load: number;
  /** Share of all cores' time that was used in the last second. */
  readonly busy: number;
}

/** Looks for a second. */
export async function disturbance(): Promise<Disturbance> {
  const load = loadavg()[0] ?? 0;
  const before = coreTimes();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const after = coreTimes();
  return { load, busy: 1 - (after.idle - before.idle) / (after.total - before.total) };
}

function coreTimes(): { idle: number; total: number } {
  let idle = 0;
  let total = 0;
  for (const { times } of cpus()) {
    idle += times.idle;
    total += times.idle + times.user + times.nice + times.sys + times.irq;
  }
  return { idle, total };
}

function commit(): string | undefined {
  try {
    const hash = git('rev-parse', '--short=12', 'HEAD');
    return git('status', '--porcelain', '--untracked-files=no') === '' ? hash : `${hash}+`;
  } catch {
    return undefined;
  }
}

function git(...args: string[]): string {
  const cwd = fileURLToPath(new URL('.', import.meta.url));
  return execFileSync('git', args, { cwd, stdio: ['ignore', 'pipe', 'ignore'] })
    .toString()
    .trim();
}
