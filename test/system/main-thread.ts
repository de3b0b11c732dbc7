/** How long tasks keep a page's main thread, by Chromium's traces. */

import type { Browser, Page } from 'playwright-core';

/** What browsers call a long task. */
const LONG_TASK_MS = 50;

/** An event of Chromium's traces; times in microseconds, `tdur` of the processor. */
interface Traced {
  readonly name: string;
  readonly cat: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur?: number;
  readonly tdur?: number;
}

export interface Task {
  readonly phase: string;
  /** Time of the processor, in ms: what else the machine did meanwhile is not in it. */
  readonly cpuMs: number;
}

/** The tasks of the page's main thread, the longest first, while `work` marks its phases by `performance.mark('phase: NAME')`. */
export async function tasksOf(
  browser: Browser,
  page: Page,
  work: () => Promise<unknown>,
): Promise<Task[]> {
  const categories = ['devtools.timeline', 'disabled-by-default-devtools.timeline', 'toplevel'];
  await browser.startTracing(page, { categories: [...categories, 'blink.user_timing'] });
  await work();
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString()) as {
    traceEvents: Traced[];
  };
  const marks = traceEvents
    .filter(({ cat, name }) => cat.includes('blink.user_timing') && name.startsWith('phase: '))
    .sort((a, b) => a.ts - b.ts);
  const [main] = marks;
  return traceEvents
    .filter(({ pid, tid, name }) => pid === main?.pid && tid === main.tid && /RunTask$/.test(name))
    .flatMap(({ ts, dur = 0, tdur = 0 }) => {
      const phase = marks.findLast((mark) => mark.ts < ts + dur)?.name.slice('phase: '.length);
      return phase === undefined ? [] : [{ phase, cpuMs: Math.round(tdur / 1000) }];
    })
    .sort((a, b) => b.cpuMs - a.cpuMs);
}

/** Whether a click that came in the middle of it would feel late. */
export const isLong = ({ cpuMs }: Task) => cpuMs >= LONG_TASK_MS;
