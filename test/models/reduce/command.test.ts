/** `sotto reduce` and `sotto audit` as they are run, from the built files. */

import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { countGraph, loadGraph, saveGraph } from '../../../models/graph/index.ts';
import { drawAudit, formatAudit } from '../../../models/reduce/audit.ts';
import { drawBudgets, drawChart } from '../../../models/reduce/chart.ts';
import { reduceCommand } from '../../../models/reduce/command.ts';
import { chanceWarning, holdOut } from '../../../models/reduce/data.ts';
import { groupTable } from '../../../models/reduce/groups.ts';
import { PUBLISHED_CIFAR10 } from '../../../models/reduce/published.ts';
import type { LabelledImages } from '../../../models/train/index.ts';
import { costOf } from '../../../protocol/inference/cost.ts';
import { layoutOf } from '../../../protocol/inference/layout.ts';
import { decodeModel } from '../../../protocol/program/model.ts';
import { pairs, smallTraining, trainedResNet } from './support.ts';

const cli = resolve(import.meta.dirname, '../../../dist/cli.js');
let folder: string;
const at = (name: string) => join(folder, name);

function sotto(...args: string[]) {
  const done = spawnSync(process.execPath, [cli, ...args], { cwd: folder, encoding: 'utf8' });
  return { code: done.status, out: done.stdout, error: done.stderr };
}

/** Writes a set as a pair of IDX files. */
function writeIdx(name: string, { pixels, labels }: LabelledImages): void {
  const header = (kind: number, ...sizes: number[]) => {
    const view = new DataView(new ArrayBuffer(4 + 4 * sizes.length));
    view.setUint32(0, 0x800 + kind);
    sizes.forEach((size, i) => {
      view.setUint32(4 + 4 * i, size);
    });
    return new Uint8Array(view.buffer);
  };
  const file = (...parts: Uint8Array[]) => Buffer.concat(parts);
  const count = labels.length;
  writeFileSync(at(`${name}-images-idx3-ubyte`), file(header(3, count, 8, 8), pixels));
  writeFileSync(at(`${name}-labels-idx1-ubyte`), file(header(1, count), labels));
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-reduce-'));
  writeFileSync(at('dense.sottonet'), saveGraph(await trainedResNet(smallTraining())));
  writeIdx('train', pairs(480, 3));
  writeIdx('test', pairs(100, 4));
});
afterAll(() => rmSync(folder, { recursive: true }));

const data = ['--data', 'train-images-idx3-ubyte'];
const small = ['--batch', '32', '--shards', '1', '--augment', 'none', '--workers', '1'];
const short = ['--search-epochs', '3', '--tune-epochs', '2', ...small];
const reduce = ['reduce', 'dense.sottonet', ...data, '--budget', '48', ...short, '-o', 'small'];

/** Milliseconds for several runs of the command, on a machine that has other things to do. */
const WHOLE_RUNS = 600_000;

describe('sotto reduce', () => {
  it(
    'makes a reduced, compiled, carded model, and does nothing twice',
    () => {
      const first = sotto(...reduce);
      expect(first.error).toMatch(
        /^autorep-48-search: epoch 1\/3, loss .*, \d+ ReLUs, pressure [\d.]+$/m,
      );
      expect(first.code, first.error).toBe(0);
      expect(first.out).toMatch(
        /^ +48 +\d+\.\d\d % +0\.\d{3} MB +0\.\d{3} MB +\d( +\d+ ms){4} {2}autorep$/m,
      );
      expect(first.out).toMatch(/0 without scores/);
      expect(first.out).toMatch(/small.sotto: \d+ bytes, 48 ReLUs, 432 squares, 0 identities\n$/);
      const graph = loadGraph(readFileSync(at('small.sottonet')));
      expect(countGraph(graph)).toMatchObject({ relus: 48, squares: 432 });
      expect(decodeModel(readFileSync(at('small.sotto'))).program.name).toBe('small');
      const card = JSON.parse(readFileSync(at('small.json'), 'utf8'));
      expect(card).toMatchObject({
        ...{ name: 'small', method: 'autorep', budget: 48, seed: 1, relus: 48, squares: 432 },
        data: ['train-images-idx3-ubyte'],
      });
      expect(card.command).toBe(`sotto ${reduce.join(' ')}`);
      expect(card.accuracy.reduced).toBeGreaterThan(0.9);
      expect(card.accuracy.fixedPoint).toBeGreaterThan(0.9);
      expect(
        card.layers.reduce((sum: number, { relus }: { relus: number }) => sum + relus, 0),
      ).toBe(48);
      expect(card.groups.classes.reduced.groups).toHaveLength(4);
      expect(existsSync(at('small.checkpoints/autorep-48-tune.checkpoint'))).toBe(true);

      const again = sotto(...reduce);
      expect(again.error).toBe('');
      expect(again.out).toBe(first.out);
    },
    WHOLE_RUNS,
  );

  it('prices all networks on the way, in what it prints and on the card', () => {
    const { budget, points } = JSON.parse(readFileSync(at('small.json'), 'utf8'));
    expect(budget).toBe(48);
    expect(points.map(({ name }: { name: string }) => name)).toEqual(['all ReLUs', 'autorep']);
    const { program } = decodeModel(readFileSync(at('small.sotto')));
    const { offline, online } = costOf(layoutOf(program));
    expect(points[1]).toMatchObject({
      relus: 48,
      offlineBytes: offline.up + offline.down,
      onlineBytes: online.up + online.down,
      rounds: online.rounds,
    });
    expect(Object.keys(points[1].onlineMs)).toEqual(['loopback', 'LAN', 'WAN', 'mobile']);
  });

  it(
    'tunes groups alike',
    () => {
      const fair = sotto(...reduce, '--fair', 'halves', '--one-sided', '-o', 'small');
      expect(fair.error).toMatch(/^mitigate: epoch 2\/2, .*, multipliers \d\.\d{3} \d\.\d{3}$/m);
      expect(fair.out).toMatch(/small.sotto: \d+ bytes, 48 ReLUs/);
    },
    WHOLE_RUNS,
  );

  it(
    'reduces further, the dense network teaching',
    () => {
      const further = ['--budget', '24', '--method', 'random', '-o', 'smaller'];
      const reduceFurther = ['reduce', 'small.sottonet', ...data, ...short, ...further];
      const { code, out, error } = sotto(...reduceFurther, '--teacher', 'dense.sottonet');
      expect(code, error).toBe(0);
      expect(out).toMatch(/smaller.sotto: \d+ bytes, 24 ReLUs, 432 squares, 24 identities\n$/);
      // Its checkpoint is of that teacher.
      expect(sotto(...reduceFurther).error).toMatch(
        /'random-24-tune' in .* is of a run with another/,
      );
    },
    WHOLE_RUNS,
  );

  it(
    'meets a budget of bytes with the program that it writes',
    () => {
      const { points } = JSON.parse(readFileSync(at('small.json'), 'utf8'));
      const [{ offlineBytes, onlineBytes }] = points;
      const most = Math.round(0.93 * (offlineBytes + onlineBytes));
      const bytes = ['--budget', `${most}B`, '--method', 'snl', '-o', 'light'];
      const { code, out, error } = sotto('reduce', 'dense.sottonet', ...data, ...short, ...bytes);
      expect(code, error).toBe(0);
      expect(out).toMatch(/light.sotto: \d+ bytes, \d+ ReLUs, 0 squares, \d+ identities\n$/);
      const { offline, online } = costOf(
        layoutOf(decodeModel(readFileSync(at('light.sotto'))).program),
      );
      expect(offline.up + offline.down + online.up + online.down).toBeLessThanOrEqual(most);
      const card = JSON.parse(readFileSync(at('light.json'), 'utf8'));
      expect(card.budget).toEqual({ bytes: most });
    },
    WHOLE_RUNS,
  );

  it.each<[string, string[], RegExp]>([
    ['a budget above the count', ['--budget', '481'], /a budget of 481 ReLUs cannot be met.* 480/],
    [
      'an unknown method',
      ['--method', 'magic'],
      /argument 'magic' is invalid. It must be one of autorep, snl/,
    ],
    [
      'an unknown augmentation',
      ['--augment', 'blur'],
      /argument 'blur' is invalid. Allowed choices are crop, cut, none/,
    ],
    [
      'scores of other images',
      ['--scores', 'dense.sottonet'],
      /dense.sottonet has \d+ bytes; scores of \d+ training images in 4 classes are \d+/,
    ],
    [
      'two teachers',
      ['--scores', 'dense.sottonet', '--teacher', 'dense.sottonet'],
      /'--scores <FILE>' cannot be used with option '--teacher <FILE>'/,
    ],
    [
      'a teacher of other images',
      ['--teacher', 'digits.sottonet'],
      /digits.sottonet takes 1x28x28 images to 10 results, the network 1x8x8 images to 4: it cannot teach it/,
    ],
    ['a time without a link', ['--budget', '400ms'], /a budget of 400ms needs --link/],
    [
      'a budget of nothing known',
      ['--budget', '12k'],
      /--budget should be a number of ReLUs, a size/,
    ],
    ['half an epoch', ['--settle-epochs', '1.5'], /--settle-epochs should be a whole number/],
    ['no pressure', ['--pressure', '0'], /--pressure should be above 0, not 0/],
    ['no learning rate', ['--rate', 'fast'], /--rate should be above 0, not fast/],
    ['no data', ['--data', 'missing-images'], /missing-images: there is no such file/],
    ['images without labels', ['--data', 'bare-images'], /bare-images has no labels to learn from/],
    ['data of another format', ['--data', 'dense.sottonet'], /dense.sottonet .*two zero bytes/],
  ])('refuses %s before it trains', async (_what, changes, sentence) => {
    writeFileSync(at('groups-images'), '0,a');
    cpSync(resolve('models/zoo/digits.sottonet'), at('digits.sottonet'));
    writeFileSync(at('bare-images'), readFileSync(at('test-images-idx3-ubyte')));
    const args = [...reduce.slice(1), ...changes].map((arg) =>
      /sottonet$|images/.test(arg) ? at(arg) : arg,
    );
    const command = reduceCommand().exitOverride();
    await expect(command.parseAsync(args, { from: 'user' })).rejects.toThrow(sentence);
  });

  it('refuses a checkpoint of other settings in one sentence, and a negative budget as wrong usage', () => {
    const { code, error } = sotto(...reduce, '--seed', '7');
    expect(error).toMatch(
      /^sotto: the checkpoint 'autorep-48-search' in .* is of a run with another/,
    );
    expect(error.trim().split('\n')).toHaveLength(1);
    expect(code).toBe(1);
    expect(sotto(...reduce, '--budget', '-3')).toMatchObject({ code: 2 });
  });
});

describe('sotto audit', () => {
  it('tells groups apart, and draws them', () => {
    writeFileSync(
      at('groups.csv'),
      Array.from({ length: 100 }, (_, i) => `${i},${i < 30 ? 'few' : 'many'}`).join('\n'),
    );
    const models = ['audit', 'dense.sottonet', 'small.sottonet'];
    const test = ['--data', 'test-images-idx3-ubyte', '--workers', '1'];
    const files = ['--svg', 'audit.svg'];
    const { code, out, error } = sotto(...models, ...test, ...files, '--groups', 'groups.csv');
    expect(error).toBe('');
    expect(code).toBe(0);
    expect(out).toMatch(/dense.sottonet: 480 ReLUs\n {2}overall/);
    expect(out).toMatch(/small.sottonet: 48 ReLUs\n/);
    expect(out).toMatch(/few +\d+\.\d\d % {2}loss \d\.\d{4} +[+-]?\d+\.\d\d {2}30 images/);
    const json = sotto(...models, ...test, '--groups', 'groups.csv', '--json');
    const { groups, networks } = JSON.parse(json.out);
    expect(groups).toEqual(['few', 'many']);
    expect(networks[1].table.groups[1].images).toBe(70);
    expect(readFileSync(at('audit.svg'), 'utf8')).toMatch(/^<svg .*[\s\S]*few[\s\S]*<\/svg>\n$/);
    expect(sotto(...models, ...test, '--groups', 'halves').out).toMatch(/minority +/);
    writeFileSync(at('groups.csv'), '0,a');
    expect(sotto(...models, ...test, '--groups', 'groups.csv')).toMatchObject({
      code: 1,
      error: 'sotto: groups.csv: image 1 has no group\n',
    });
  });
});

describe('pictures and tables', () => {
  it('draw every point once, with names that are safe', () => {
    const points = [
      [100, 0.8],
      [1000, 0.9],
    ] as const;
    const chart = drawChart({
      title: 'A & B',
      axis: 'accuracy',
      lines: [
        { name: '<ours>', points },
        { name: 'theirs', points: [[10_000, 0.85]], published: true },
      ],
    });
    expect(chart.match(/<circle/g)).toHaveLength(3 + 2);
    expect(chart).toContain('A &amp; B');
    expect(chart).toContain('&lt;ours&gt;');
    expect(chart).toContain('stroke-dasharray');
    expect(chart).toContain('>10k<');
    expect(chart).not.toMatch(/NaN|Infinity/);
    expect(
      drawChart({ title: '', axis: '', lines: [{ name: 'x', points: [[0, 1]] }] }),
    ).not.toMatch(/NaN|Infinity/);
    expect(() => drawChart({ title: '', axis: '', lines: [] })).toThrow(/at least one point/);
  });

  it('show methods as lines, and what others published as such', () => {
    const made = [
      { method: 'autorep', relus: 1000, accuracy: 0.9 },
      { method: 'autorep', relus: 100, accuracy: 0.8 },
      { method: 'snl', relus: 100, accuracy: 0.7 },
    ];
    const picture = drawBudgets('Budgets', made, PUBLISHED_CIFAR10);
    const lines = [...picture.matchAll(/aria-label="line"><path d="M([\d.]+),[\d.]+L([\d.]+)/g)];
    expect(picture.match(/aria-label="line"/g)).toHaveLength(2 + PUBLISHED_CIFAR10.length);
    // By rising ReLUs, whatever the order they came in.
    expect(Number(lines[0]![1])).toBeLessThan(Number(lines[0]![2]));
    for (const { name, points } of PUBLISHED_CIFAR10) {
      expect(picture).toContain(`>${name}<`);
      for (const [, accuracy] of points) expect(accuracy).toBeLessThan(1);
    }
  });

  it('say what a group lost beyond the rest', async () => {
    // Four images of two classes; `right` says of each whether its class has the higher score.
    const labels = Uint8Array.of(0, 1, 0, 1);
    const grouping = { of: Uint8Array.of(0, 0, 1, 1), names: ['a', 'b'] };
    const scores = (right: readonly number[]) =>
      Float32Array.from({ length: 8 }, (_, i) =>
        (i % 2 === labels[i >> 1]) === Boolean(right[i >> 1]) ? 2 : 0,
      );
    const dense = groupTable(scores([1, 1, 1, 1]), labels, grouping);
    const reduced = groupTable(scores([1, 1, 1, 0]), labels, grouping);
    const audited = [
      { name: 'dense', relus: 10, table: dense },
      { name: 'reduced', relus: 5, table: reduced },
    ];
    const text = formatAudit(audited, grouping.names);
    expect(text).toMatch(/reduced: 5 ReLUs\n {2}overall +75.00 %/);
    expect(text).toMatch(/ a +100.00 % .* -25.00 {2}2 images/);
    expect(text).toMatch(/ b +50.00 % .* \+25.00 {2}2 images/);
    expect((await drawAudit(audited, grouping.names)).match(/aria-label="line"/g)).toHaveLength(2);
  });

  it('hold out the last tenth', () => {
    const set = pairs(25, 1);
    const { training, validation } = holdOut(set);
    expect([training.labels.length, validation.labels.length]).toEqual([22, 3]);
    expect(validation.pixels).toEqual(set.pixels.subarray(22 * 64));
    expect(holdOut(pairs(2, 1)).validation.labels).toHaveLength(1);
  });
});

describe('a network that does no better than chance', () => {
  it('is warned of where one class for all would do as well, within three standard errors', () => {
    const labels = Uint8Array.from({ length: 400 }, (_, i) => (i % 4 === 0 ? 1 : 2));
    // 75 % are of class 2, with a standard error of 2.165 points.
    expect(chanceWarning(0.75 + 3 * 0.0216, labels)).toMatch(
      /^warning: the network names 81\.5 % of the images rightly, and one class for all would be right for 75\.0 %/,
    );
    expect(chanceWarning(0.1, labels)).toMatch(/names 10\.0 %/);
    expect(chanceWarning(0.75 + 3 * 0.0217, labels)).toBeUndefined();
  });

  it('is told by audit, and where it does better nothing is', () => {
    const { labels, ...rest } = pairs(100, 4);
    writeIdx('swapped', { ...rest, labels: labels.map((label) => (label + 1) % 4) });
    const audit = (name: string) =>
      sotto('audit', 'dense.sottonet', '--data', `${name}-images-idx3-ubyte`, '--workers', '1');
    expect(audit('swapped').error).toMatch(/^warning: the network names [\d.]+ % of the images/);
    expect(audit('test').error).toBe('');
  });
});
