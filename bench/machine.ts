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

/** Processes that wanted a core over the last minute, on average: beyond the benchmark's own, others disturbed it. */
export function loadAverage(): number {
  return loadavg()[0] ?? 0;
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
