import { describe, expect, it } from 'vitest';
import { argumentOf } from '../../../bench/page/argument.ts';
import { htmlPage, markdownPage } from '../../../bench/page/page.ts';
import { tablesOf, withCosts } from '../../../bench/page/tables.ts';
import { markdownTable, significantDigits } from '../../../bench/page/text.ts';
import {
  ACCURACY_SOURCES,
  MEASURED_LATENCIES,
  PUBLISHED_LATENCIES,
} from '../../../bench/published.ts';
import { NO_RESULTS } from '../../../bench/results.ts';
import { PUBLISHED_CIFAR10 } from '../../../models/reduce/published.ts';
import { LINKS } from '../../../protocol/inference/links.ts';
import { digits, plannedOf, pointOf, results } from '../sample-results.ts';

const page = markdownPage(results).replace(/ +/g, ' ');
const rowsOf = (title: string): readonly (readonly string[])[] =>
  tablesOf(results).find((table) => table.title === title)!.rows;

describe('text', () => {
  it('shows three digits', () => {
    const shown = ['0', '0.0123', '1.23', '12.3', '123', '1235'];
    expect([0, 0.01234, 1.234, 12.34, 123.4, 1234.5].map(significantDigits)).toEqual(shown);
  });

  it('lays out tables of Markdown', () => {
    const text = markdownTable({ head: ['a', 'bytes'], rows: [['longer', '2']] });
    expect(text.split('\n')).toEqual([
      '| a      | bytes |',
      '| ------ | ----: |',
      '| longer |     2 |',
    ]);
  });
});

describe('the tables', () => {
  it('have every figure of a point', () => {
    expect(page).toContain(
      '| digits | 900 / 0 / 100 | 2.00 | 200 (150 to 250) | 40.0 (30.0 to 50.0) | 0.400 / 1.40 | 0.0340 / 0.445 | ' +
        '2 + 5 | 0.500 + 0.500 | 2.50 + 2.50 | 200 / 300 | 1.50 / 0.500 | 99.53 % (MNIST) |',
    );
    expect(page).toContain('| ResNet-20, 0, squares | 0 / 1,000 / 0 |');
    expect(page).toContain('| ResNet-20, 1,000, half gates | 1,000 / 0 / 0 |');
  });

  it('say what many sessions, and preparations beside them, make of an inference', () => {
    expect(rowsOf('Sessions without a pause')).toEqual([
      ['digits', '32', '4', '51.0', '2.00 (1.00 to 3.00)', '65.0', '2.00 (1.00 to 3.00)', '700'],
    ]);
    expect(rowsOf('An inference beside a preparation')).toEqual([
      [
        'digits',
        '2.00 (1.00 to 3.00)',
        '2.00 (1.00 to 3.00)',
        '2.00 (1.00 to 3.00)',
        '0.0200',
        '0.0210',
        '4',
      ],
    ]);
  });

  it('say where the bytes go, and what is left', () => {
    expect(page).toContain('| digits: offline | 1.00 | 0.500 | 0.100 | 0.100 | 0 | 0.100 |');
    expect(page).toContain('| digits: online | 0 | 0.400 | 0.0500 | 0.0100 | 0.00100 | 0.0180 |');
  });

  it('say of every time how it was found', () => {
    const [first] = rowsOf('Every point over every link');
    // 100 Mbit/s: the offline run is longer than its bytes; online adds them up.
    expect(first!.join(' | ')).toBe(
      'digits | 200 | 40.0 | 200 e | 40.0 e | 280 c | 278 c | 680 c | 532 c',
    );
    const planned = rowsOf('Every point over every link').at(-1)!;
    expect(planned.slice(0, 2)).toEqual(['SNL, published, 12,900 ReLUs', '800 p']);
  });

  it('compare comparisons where both are there', () => {
    const rows = rowsOf('The encoded comparison against half gates');
    expect(rows.map(([name]) => name)).toEqual(['cifar10', 'cifar10-100', 'ResNet-20, 1,000']);
    // 200 of 2000 ms offline, 40 of 2000 online, planned; the bytes of both are the same here.
    expect(rows[0]).toEqual(['cifar10', '0.100 p', '0.0200 p', '1.00', '1.00', '1.00']);
    expect(rows[2]![1]).toBe('1.00');
  });

  it('compare the planner and the calculation with what was run, and with nothing else', () => {
    const rows = rowsOf('Predicted against run');
    expect(rows.map(([link, points]) => [link, points])).toEqual([
      ['loopback', '8'],
      ['LAN', '8'],
    ]);
    expect(rows[0]![2]).toBe('0.750 (0.750 to 0.750), 0.750 to 0.750');
  });

  it('have the run of every figure, the plain network, the hint and the browser', () => {
    for (const text of ['| abc123 |', '1 min 23 s', '| digits | 2.00 | 20.0 |']) {
      expect(page).toContain(text);
    }
    expect(page).toContain('| digits | 2.00 | 300 | 500 | 400 |');
    expect(page).toContain('| digits, 900 ReLUs | online | 10.0 | 20.0 | 2.00 (1.00 to 3.00) |');
    expect(page).toContain('| part | 2.00 M/s | 1.00 to 3.00 | 4 B | peer 9 M/s |');
  });

  it('show published figures with source, machine and tag', () => {
    for (const entry of [...PUBLISHED_LATENCIES, ...MEASURED_LATENCIES]) {
      const { system, network, source, machine, tag } = entry;
      const row = page
        .split('\n')
        .find((line) => line.startsWith(`| ${system}: ${network} |`) && line.includes(machine))!;
      expect(row).toContain(source);
      expect(row.endsWith(`| ${tag} |`)).toBe(true);
    }
    const methods = PUBLISHED_CIFAR10.map(({ name }) => name.split(',')[0]!);
    expect(Object.keys(ACCURACY_SOURCES).sort()).toEqual(methods.sort());
  });

  it('set our best networks of no more ReLUs and of no more bytes beside a published one', () => {
    const [row] = rowsOf('Beside published networks, CIFAR-10');
    // sqrt(0.8823 * 0.1177 / 1000) is one point.
    expect(row!.slice(0, 2)).toEqual(['SNL, 12,900', '88.2 ± 1.0']);
    expect(row![3]).toMatch(/^89\.0 ± 1\.0 \(cifar10, [\d.]+ MB\)$/);
    const dear = results.points.filter(({ id }) => id !== 'zoo/cifar10-100');
    const rows = tablesOf({
      ...results,
      points: dear.map((point) =>
        point.weights === 'published' ? { ...point, relus: 999 } : point,
      ),
    }).find(({ title }) => title.startsWith('Beside published'))!.rows;
    expect(rows[0]![3]).toBe('');
  });

  it('are those of what was measured alone', () => {
    expect(tablesOf({ ...NO_RESULTS }).map(({ title }) => title)).toEqual(['What others publish']);
  });
});

describe('the costs of a document', () => {
  const document = 'before\n<!-- sotto bench: costs -->\nold\n<!-- end -->\nafter\n';

  it('are drawn anew between their lines, and nothing else is touched', () => {
    const text = withCosts(document, results);
    expect(text.startsWith('before\n<!-- sotto bench: costs -->\n| network')).toBe(true);
    expect(text.endsWith('|\n<!-- end -->\nafter\n')).toBe(true);
    expect(text).toContain(
      '| ResNet-20 | 1,000 | 2.0 MB | 0.20 s, 1.8 MB | 0.040 s, 0.48 MB | 2 + 5 |',
    );
    expect(text).not.toContain('old');
    expect(withCosts(text, results)).toBe(text);
  });

  it('need their place', () => {
    expect(() => withCosts('nothing', results)).toThrow(/no place/);
  });
});

describe('the argument', () => {
  it('has the times of all and of few ReLUs with either comparison, and what the few cost', () => {
    expect(argumentOf(results.points)).toBe(
      'Over a phone’s link (20 Mbit/s, 60 ms round trip) all ReLUs of a network answer in 0.5 s with the encoded ' +
        'comparison; with half gates they took 8.0 s, or 2.0 s without 90 % of them, at the price of 2.5 points of accuracy.',
    );
  });

  it('is not made without its points', () => {
    expect(argumentOf([digits])).toBeUndefined();
    expect(argumentOf([])).toBeUndefined();
  });
});

describe('the page', () => {
  const html = htmlPage(results);

  it('begins with the argument and its chart, for either width, then has the rest', () => {
    const [before] = html.split('<h2>');
    expect(before).toContain(`<h1>${argumentOf(results.points)}</h1>`);
    expect(before!.match(/<svg/g)?.length).toBe(2);
    for (const text of ['Sotto, encoded comparison', 'Sotto, half gates', 'SNL, published']) {
      expect(before).toContain(text);
    }
    const titles = [...html.matchAll(/<h2>(.*?)<\/h2>/g)].map(([, title]) => title!.slice(0, 30));
    expect(titles).toEqual([
      'What an answer over a phone’s ',
      'Bytes',
      'Online time over each link',
      'Where the time goes over loopb',
      'Inferences that arrive by them',
      'Tables',
    ]);
  });

  it('has axes that begin at 0 where lengths and savings are drawn, none logarithmic, with units', () => {
    const [, ...drawn] = html.split('<svg');
    expect(drawn.length).toBeGreaterThan(8);
    for (const svg of drawn) {
      const ticks = [...svg.matchAll(/aria-label="x-axis tick label"[\s\S]*?<\/g>/g)].join('');
      expect(ticks).toMatch(/>0(\.0+)?</);
    }
    for (const label of ['online time over a phone’s link, s →', 'MB of one inference →', 'ms →']) {
      expect(html).toContain(label);
    }
    expect(html).not.toMatch(/>\d+m</);
  });

  it('draws what was run filled, what was computed hollow', () => {
    const figures = html.split('</figure>');
    const dots = (title: string) =>
      figures
        .find((part) => part.includes(`<h3>${title}`))!
        .match(/<circle[^>]*fill="var\(--paper\)"[^>]*>/g)?.length ?? 0;
    expect(dots('Over LAN')).toBe(0);
    expect(dots('Over a phone’s link')).toBeGreaterThan(0);
  });

  it('has one’s own models beside the others', () => {
    const own = plannedOf(
      pointOf('models/mine', 10, {
        network: 'mine',
        weights: 'trained',
        accuracy: { share: 0.7, data: 'birds' },
      }),
      2,
    );
    const with_ = htmlPage({ ...results, points: [...results.points, own] });
    expect(with_.split('<h2>')[0]).toContain('mine (birds)');
    expect(with_).toContain('<td>mine</td>');
  });

  it('stands alone in light and dark, its text escaped', () => {
    expect(html).toContain('a &lt;CPU&gt;');
    expect(/<(script|link|img)\b/.test(html)).toBe(false);
    expect(html).toContain('prefers-color-scheme: dark');
    expect(html).not.toMatch(/NaN|undefined/);
  });

  it('does without parts that were not measured', () => {
    const bare = htmlPage({ ...NO_RESULTS, points: [pointOf('ResNet-20/identity/0', 0)] });
    expect(bare).toContain('<h1>What a private inference costs</h1>');
    expect(bare).not.toMatch(/NaN|undefined/);
    expect(htmlPage(NO_RESULTS)).not.toMatch(/NaN|undefined/);
  });

  it('knows every link by its name', () => {
    for (const { name } of LINKS) expect(html).toContain(name === 'mobile' ? 'a phone’s' : name);
  });
});
