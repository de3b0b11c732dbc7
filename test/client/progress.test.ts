import { describe, expect, it } from 'vitest';
import { bytesText, ProgressLine, timeText } from '../../client/progress.ts';
import type { SessionProgress } from '../../client/reporter.ts';

const event = (phase: SessionProgress['phase'], done: number): SessionProgress => ({
  phase,
  layer: undefined,
  done,
  total: 4,
  bytes: 0,
  bytesTotal: undefined,
  bytesUp: 1500,
  bytesDown: 2_500_000,
});

/** A terminal that remembers what was written, and a clock that is set. */
function stage(options: { isTTY?: boolean; columns?: number; environment?: object } = {}) {
  const written: string[] = [];
  const clock = { now: 0 };
  const { isTTY = true, columns, environment = {} } = options;
  const terminal = { isTTY, columns, write: (text: string) => written.push(text) };
  const line = new ProgressLine(terminal, { ...environment }, () => clock.now);
  return { line, written, clock };
}

describe('the progress line', () => {
  it('shows phase, share and bytes, over itself', () => {
    const { line, written } = stage({ environment: { NO_COLOR: '1' } });
    line.update(event('prepare', 1));
    expect(written).toEqual(['\rpreparing   [#####---------------]  1.5 kB up, 2.5 MB down\x1b[K']);
  });

  it('is dim unless NO_COLOR is set, and no wider than the terminal', () => {
    const { line, written } = stage({ columns: 20 });
    line.update(event('infer', 0));
    expect(written).toEqual(['\r\x1b[2minferring   [------\x1b[0m\x1b[K']);
  });

  it('is redrawn only so often, and gone when the call is done', () => {
    const { line, written, clock } = stage();
    line.update(event('infer', 0));
    clock.now = 50;
    line.update(event('infer', 1));
    expect(written).toHaveLength(1);
    clock.now = 100;
    line.update(event('infer', 2));
    expect(written).toHaveLength(2);
    line.update(event('done', 1));
    line.clear();
    expect(written.slice(2)).toEqual(['\r\x1b[K']);
  });

  it('writes nothing where there is no terminal', () => {
    const { line, written } = stage({ isTTY: false });
    line.update(event('infer', 0));
    line.clear();
    expect(written).toEqual([]);
  });

  it('numbers are for people', () => {
    expect([0, 999, 1000, 1_234_567, 2.5e9].map(bytesText)).toEqual([
      '0 B',
      '999 B',
      '1.0 kB',
      '1.2 MB',
      '2.50 GB',
    ]);
    expect([3.6, 999, 1000, 12_345].map(timeText)).toEqual(['4 ms', '999 ms', '1.00 s', '12.35 s']);
  });
});
