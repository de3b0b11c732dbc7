import { describe, expect, it } from 'vitest';
import { trainingTable } from '../../bench/training.ts';

const rates = (median: number) => ({ lower: median - 10, median, upper: median + 10, samples: 9 });

describe('the report of training', () => {
  it('has each engine as a share of PyTorch on as many threads', () => {
    const text = trainingTable({
      rates: [
        { engine: 'Sotto', threads: 1, rate: rates(300) },
        { engine: 'PyTorch', threads: 1, rate: rates(400) },
        { engine: 'Sotto', threads: 2, rate: rates(500) },
        { engine: 'PyTorch', threads: 2, rate: rates(1000) },
      ],
    });
    const shares = text
      .split('\n')
      .flatMap((line) => /^\| Sotto .* (\d+ %) \|$/.exec(line)?.[1] ?? []);
    expect(shares).toEqual(['75 %', '50 %']);
    expect(text).toContain('290 to 310');
  });

  it('says why PyTorch is not there, and claims no share of it', () => {
    const text = trainingTable({
      rates: [{ engine: 'Sotto', threads: 1, rate: rates(300) }],
      skipped: 'no python3 with torch',
    });
    expect(text).toContain('PyTorch was not measured: no python3 with torch.');
    expect(text).not.toMatch(/\d %/);
  });
});
