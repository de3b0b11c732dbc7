import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Profile } from '../../bench/profile.ts';
import { IDLE, type Part, partsOf } from '../../bench/samples.ts';
import { handOver, overlap, page, section, sharesOf, union } from '../../bench/shares.ts';
import { COLOURS, groups, tickStep, timeline } from '../../bench/timeline.ts';
import type { PartyTrace, TaskSpan } from '../../bench/trace.ts';
import { Kind } from '../../protocol/inference/messages.ts';
import { tasks } from '../../protocol/inference/tasks.ts';

const span = (start: number, end: number) => ({ start, end });

const task = (task: string, called: number, start: number, end: number, thread = 1): TaskSpan => ({
  task,
  thread,
  called,
  start,
  end,
  done: end + 1,
});

const part = (part: string, start: number, end: number): Part => ({ part, start, end });

/** A party that does one task, with its frames and samples. */
function party(name: string, at: number, kind: number, sent: number, received: number): PartyTrace {
  const frame = (time: number) => ({ kind, bytes: 1016, at: time });
  return {
    workers: 1,
    tasks: [task(name, at, at + 5, at + 25)],
    main: [part('frames', 0, 10), part(IDLE, 10, 95), part('garbage collection', 95, 100)],
    threads: [{ thread: 1, parts: [part('AES', 0, at + 15), part('NTT', at + 15, 200)] }],
    sent: [frame(sent)],
    received: [frame(received)],
  };
}

const profile: Profile = {
  name: 'a <net> & "more"',
  slug: 'a-net',
  commit: 'abc',
  offline: span(0, 100),
  online: span(100, 200),
  client: party('maskInput', 10, Kind.layer, 30, 90),
  server: party('prepareBatch', 50, Kind.tables, 80, 40),
};

describe('time that is shared', () => {
  it('unites and overlaps spans', () => {
    expect(union([span(5, 7), span(0, 2), span(1, 3), span(9, 9)])).toEqual([
      span(0, 3),
      span(5, 7),
    ]);
    expect(overlap([span(0, 10)], [span(5, 7), span(9, 12)])).toBe(3);
    expect(overlap([span(0, 10)], [span(10, 12)])).toBe(0);
  });

  it('counts a hand-over only where a free worker and a waiting task meet', () => {
    const phase = span(0, 100);
    // The second waits for the one worker until 20, then 3 ms for its hand-over.
    const tasks = [task('a', 0, 2, 20), task('b', 1, 23, 30)];
    expect(handOver(tasks, 1, phase)).toBe(2 + 3);
    expect(handOver(tasks, 2, phase)).toBe(1 + 2 + 21);
    expect(handOver(tasks, 1, span(0, 21))).toBe(2 + 1);
  });

  it('gives every millisecond of workers and main thread to one share', () => {
    const shares = sharesOf(profile.client, profile.offline);
    expect(shares.tasks).toEqual(new Map([['maskInput', { count: 1, ms: 20 }]]));
    expect([shares.handOver, shares.unused]).toEqual([5, 75]);
    expect([...shares.main.values()].reduce((a, b) => a + b)).toBe(100);
    // 15..35 is the task: what its thread did outside does not count.
    expect(shares.inside).toEqual(
      new Map([
        ['AES', 10],
        ['NTT', 10],
      ]),
    );
    expect(shares.active).toEqual([span(0, 10), span(15, 35), span(95, 100)]);
    expect(sharesOf(profile.client, profile.online)).toMatchObject({ unused: 100, active: [] });
  });

  it('says who waited, in sentences and a table', () => {
    // Both 15 ms of their main threads; the client 20 ms, the server 20 ms of other times.
    const text = section(profile).replace(/ +/g, ' ');
    expect(text).toContain('both parties compute 15 % of the time, the client alone 20 %');
    expect(text).toContain('the server alone 20 %, neither 45 %');
    expect(text).toContain('| - prepareBatch | | 20.0 (1 x 20.0) | | |');
    expect(text).toContain('| - hand-over | 5.00 | 5.00 | | |');
    expect(page([profile], 'CPU')).toContain('## a <net>');
  });
});

describe('samples', () => {
  const node = (id: number, functionName: string, url: string, children: number[] = []) => ({
    id,
    callFrame: { functionName, url, scriptId: '', lineNumber: 0, columnNumber: 0 },
    children,
  });

  it('are filed under the innermost frame that is known', () => {
    const nodes = [
      node(1, '(root)', '', [2, 3, 6, 8, 9]),
      node(2, '(idle)', ''),
      node(3, 'garble', 'file:///x/protocol/garble/halfgates.js', [4]),
      node(4, 'encrypt', 'file:///x/protocol/random/aes.js', [5, 7]),
      node(5, 'update', 'node:internal/crypto/cipher'),
      node(6, 'mystery', 'file:///elsewhere.js'),
      node(7, 'set', ''),
      node(8, 'bulkCopy', 'file:///x/protocol/bulk.js'),
      node(9, 'reveal', 'file:///x/protocol/gadgets/relu.js', [10]),
      node(10, 'encodeOnline', 'file:///x/protocol/compare/encoding.js'),
    ];
    const samples = [2, 2, 3, 5, 4, 7, 8, 9, 10, 6];
    const timeDeltas = [1000, 1000, 1000, 2000, 1000, 1000, 1000, 1000, 1000, 1000];
    expect(partsOf({ nodes, samples, timeDeltas, startTime: 0, endTime: 11_000 })).toEqual([
      part(IDLE, 1, 3),
      part('garbling', 3, 5),
      part('AES', 5, 8),
      part('memory', 8, 9),
      part('gadgets', 9, 10),
      part('encoded comparison', 10, 11),
      part('other', 11, 11),
    ]);
  });
});

describe('the timeline', () => {
  const svg = timeline(profile);

  it('has a row for each thread and direction, in order, and both phases', () => {
    const labels = [...svg.matchAll(/<text class="label"[^>]*>([^<]*)</g)].map(([, text]) => text);
    expect(labels.slice(0, 6)).toEqual([
      'client main',
      'client worker',
      'network up',
      'network down',
      'server main',
      'server worker',
    ]);
    expect(svg).toContain('offline, 100 ms');
    expect(svg).toContain('online, 100 ms');
  });

  it('places bars on the axis of time', () => {
    // 1230 pixels for 200 ms behind 150: the task of 15..35 ms.
    expect(svg).toMatch(
      /<rect x="242.3" [^>]*width="123.0"[^>]*><title>maskInput: 20 ms, at 15 ms</,
    );
    expect(svg).toMatch(/<title>layer: 1 frames, 1.0 kB, under way 10 ms, at 30 ms</);
    expect(svg).toMatch(/<title>tables: 1 frames, 1.0 kB, under way 10 ms, at 80 ms</);
  });

  it('is well-formed whatever a network is called', () => {
    expect(svg).toContain('a &lt;net&gt; &amp; "more"');
    expect(svg.replace(/<[^<>]*>/g, '')).not.toMatch(/[<>]/);
    for (const name of ['svg', 'text', 'title', 'style']) {
      const opened = svg.match(new RegExp(`<${name}[ >]`, 'g'));
      expect(opened?.length, name).toBe(svg.match(new RegExp(`</${name}>`, 'g'))?.length);
    }
    expect(svg).not.toMatch(/NaN|undefined/);
  });

  it('joins what is too close to tell apart, never what differs', () => {
    const spans = [
      task('a', 0, 0, 1),
      task('a', 0, 1.5, 2),
      task('b', 0, 2, 3),
      task('a', 0, 3, 4),
    ];
    const joined = groups(spans, ({ task }) => task, 1);
    expect(
      joined.map(({ name, start, end, members }) => [name, start, end, members.length]),
    ).toEqual([
      ['a', 0, 2, 2],
      ['b', 2, 3, 1],
      ['a', 3, 4, 1],
    ]);
  });

  it('has a colour of its own for every task and message behind the setup', () => {
    const setup = ['probe', 'makeHint', 'offerSetup', 'chooseSetup', 'keySetup'];
    const named = COLOURS.flatMap((colour) => colour.tasks);
    expect(named.sort()).toEqual(
      Object.keys(tasks)
        .filter((task) => !setup.includes(task))
        .sort(),
    );
    const kinds = COLOURS.flatMap((colour) => colour.kinds);
    expect(kinds.sort()).toEqual(
      Object.values(Kind).filter(
        (kind) =>
          kind > Kind.command && ![Kind.seal, Kind.infer, Kind.onlineSeal].includes(kind as never),
      ),
    );
    expect(new Set(COLOURS.map(({ fill }) => fill)).size).toBe(COLOURS.length);
  });

  it('chooses round ticks, at most twelve of them', () => {
    expect([1, 100, 119, 121, 5000].map(tickStep)).toEqual([0.1, 10, 10, 20, 500]);
  });
});

// Only the built files can start threads.
const built = new URL('../../dist/bench/profile.js', import.meta.url);
if (!existsSync(built)) console.log('skipped: the project is not built: npm run build');

it.skipIf(!existsSync(built))('an inference is traced on both sides', async () => {
  const { profileNetworks }: typeof import('../../bench/profile.ts') = await import(built.href);
  const profiles: Profile[] = [];
  for await (const traced of profileNetworks(true, () => {})) profiles.push(traced);
  expect(profiles.length).toBe(1);
  const [{ client, server, offline, online }] = profiles as [Profile];
  const names = ({ tasks }: PartyTrace) => new Set(tasks.map(({ task }) => task));
  expect(names(client)).toContain('openBatch');
  expect(names(server)).toContain('prepareBatch');
  // Each frame that left arrived, and no earlier: the clock is one.
  for (const [from, to] of [
    [client, server],
    [server, client],
  ] as const) {
    expect(from.sent.length).toBeGreaterThan(10);
    expect(to.received.map(({ kind, bytes }) => [kind, bytes])).toEqual(
      from.sent.map(({ kind, bytes }) => [kind, bytes]),
    );
    for (const [i, { at }] of to.received.entries()) expect(at).toBeGreaterThan(from.sent[i]!.at);
  }
  for (const trace of [client, server]) {
    for (const { called, start, end, done } of trace.tasks) {
      expect([called, start, end, done]).toEqual([called, start, end, done].sort((a, b) => a - b));
      expect(called > offline.start && done < online.end + 1000).toBe(true);
    }
    expect(trace.main.some(({ part }) => part === IDLE)).toBe(true);
    expect(trace.threads.length).toBe(trace.workers);
  }
});
