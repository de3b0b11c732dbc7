import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { csv, readResults, resultsText, tidied, withPoint } from '../../bench/results.ts';
import { LINKS } from '../../protocol/inference/links.ts';
import { pointOf, results } from './sample-results.ts';

/** Cells of a CSV without quoted line ends. */
const cellsOf = (line: string): string[] =>
  [...line.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g)]
    .map(([, cell]) => cell!.replace(/^"|"$/g, '').replaceAll('""', '"'))
    .slice(0, -1);

describe('the CSV', () => {
  const lines = csv(results).trimEnd().split('\n');
  const head = lines[0]!.split(',');
  const rows = lines.slice(1).map(cellsOf);
  const row = (point: string, link: string) => {
    const cells = rows.find(([id, ...rest]) => id === point && rest.includes(link))!;
    return Object.fromEntries(head.map((name, i) => [name, cells[i]]));
  };

  it('has a row for each point and link, every row as long as the head', () => {
    expect(rows.length).toBe(results.points.length * LINKS.length);
    for (const cells of rows) expect(cells.length).toBe(head.length);
    expect(new Set(head).size).toBe(head.length);
  });

  it('has units in the names of all columns that measure something', () => {
    for (const name of ['online_ms_median', 'offline_up_bytes', 'hint_bytes', 'link_bits_per_s']) {
      expect(head).toContain(name);
    }
    const measures = head.filter((name) => /^(offline|online|client|server|hint)_/.test(name));
    for (const name of measures) expect(name).toMatch(/_ms_|_bytes$|_round_trips$/);
  });

  it('has medians, quartiles and how they were found', () => {
    expect(row('zoo/digits', 'loopback')).toMatchObject({
      online_ms_median: '40',
      online_ms_lower_quartile: '30',
      online_ms_upper_quartile: '50',
      online_down_bytes: '445000',
      samples: '3',
      origin: 'measured',
      accuracy_share: '0.9953',
      commit: 'abc123',
    });
    const far = row('ResNet-20/identity/188416/half-gates', 'mobile');
    expect(far).toMatchObject({ comparison: 'garbled', origin: 'computed', accuracy_share: '' });
  });

  it('quotes what has commas', () => {
    const [point] = results.points;
    const odd = { ...point!, network: 'a "b", c' };
    const [, line] = csv({ ...results, points: [odd] }).split('\n');
    expect(line).toContain('"a ""b"", c"');
  });
});

describe('results', () => {
  it('have a new point in place of the old one, and its trace', () => {
    const newer = pointOf('zoo/digits', 7);
    const { ms } = results.traces[0]!;
    const changed = withPoint(results, newer, { point: 'zoo/digits', run: 'later', ms });
    expect(changed.points.map(({ id }) => id)).toEqual(results.points.map(({ id }) => id));
    expect(changed.points[0]).toBe(newer);
    expect(changed.traces).toEqual([{ point: 'zoo/digits', run: 'later', ms }]);
    const more = withPoint(results, pointOf('models/mine', 7));
    expect(more.points.at(-1)!.id).toBe('models/mine');
    expect(more.traces).toBe(results.traces);
  });

  it('lose runs of which nothing is left', () => {
    const runs = [...results.runs, { ...results.runs[0]!, id: 'nothing' }];
    expect(tidied({ ...results, runs }).runs).toEqual(results.runs);
  });

  it('are read as they were written, and refused of another version', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sotto-results-'));
    const path = join(folder, 'results.json');
    expect(await readResults(path)).toBeUndefined();
    writeFileSync(path, resultsText(results));
    expect((await readResults(path))!.points[1]).toEqual(results.points[1]);
    writeFileSync(path, '{"version": 1}');
    await expect(readResults(path)).rejects.toThrow(
      `${path}: expected results of version 2, got version 1`,
    );
    rmSync(folder, { recursive: true });
  });
});
