/** Timing: every figure is a median with its quartiles, made here. */

/** What is left of some samples. */
export interface Summary {
  readonly lower: number;
  readonly median: number;
  readonly upper: number;
  readonly samples: number;
}

/**
 * Median and quartiles, by linear interpolation between the sorted samples.
 * @throws RangeError when there is no sample
 */
export function summarise(samples: readonly number[]): Summary {
  if (samples.length === 0) throw new RangeError('no sample: a median needs at least one');
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (part: number): number => {
    const place = part * (sorted.length - 1);
    const [below, above] = [sorted[Math.floor(place)]!, sorted[Math.ceil(place)]!];
    return below + (above - below) * (place - Math.floor(place));
  };
  return { lower: at(0.25), median: at(0.5), upper: at(0.75), samples: samples.length };
}

export const medianOf = (samples: readonly number[]): number => summarise(samples).median;

/** What 95 % of some samples do not exceed. */
export function p95Of(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.ceil(0.95 * sorted.length) - 1]!;
}

/** Samples of a stretch of {@link isFlat}. */
const STRETCH = 3;

/**
 * Whether times have stopped falling: the median of the last three is at least 95 % of that of the three before. Whatever
 * compiles code, fills caches or grows heaps is over then.
 */
export function isFlat(times: readonly number[]): boolean {
  if (times.length < 2 * STRETCH) return false;
  const last = medianOf(times.slice(-STRETCH));
  return last >= 0.95 * medianOf(times.slice(-2 * STRETCH, -STRETCH));
}

/** Milliseconds that one call of `fn` takes, and what it returns. */
export async function timed<T>(fn: () => T | Promise<T>): Promise<{ ms: number; result: T }> {
  const start = performance.now();
  const result = await fn();
  return { ms: performance.now() - start, result };
}

/** Milliseconds of processor time of this process, its helper threads included: other processes do not count in it. */
export function processorTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** How often and how long {@link sample} looks. */
export interface SampleEffort {
  /** Samples of each part. */
  readonly repetitions: number;
  /** A sample calls again until it has lasted this long, in ms, and counts the time of one call. */
  readonly sampleMs: number;
}

/**
 * Times several parts in turn, one sample of each before the next of any: what disturbs the machine for a while then
 * disturbs all of them, and they stay comparable. The first round compiles and warms caches and is not counted.
 * @param now milliseconds of the clock that counts; default: the time that passes
 * @returns of each part the ms of one call, a sample a round
 */
export async function sample(
  { repetitions, sampleMs }: SampleEffort,
  parts: readonly (() => unknown)[],
  now: () => number = () => performance.now(),
): Promise<number[][]> {
  const samples: number[][] = parts.map(() => []);
  for (let round = 0; round <= repetitions; round++) {
    for (const [i, part] of parts.entries()) {
      const start = now();
      let calls = 0;
      let elapsed: number;
      do {
        await part();
        calls++;
        elapsed = now() - start;
      } while (elapsed < sampleMs);
      if (round > 0) samples[i]!.push(elapsed / calls);
    }
  }
  return samples;
}

/** `work` units done in each of those times, as units per second. */
export function perSecond({ lower, median, upper, samples }: Summary, work: number): Summary {
  const rate = (ms: number): number => (1000 * work) / ms;
  return { lower: rate(upper), median: rate(median), upper: rate(lower), samples };
}
