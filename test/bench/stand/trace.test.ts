import { describe, expect, it } from 'vitest';
import { CLASS_OF_FRAME } from '../../../bench/stand/attribution.ts';
import { IDLE, type NamedSpan, partsOf } from '../../../bench/stand/samples.ts';
import { chromeTrace, type PartyTrace } from '../../../bench/stand/trace.ts';
import { Kind } from '../../../protocol/inference/messages.ts';
import { RELU } from '../../../protocol/program/kinds.ts';

const part = (part: string, start: number, end: number): NamedSpan => ({ part, start, end });

describe('samples', () => {
  const node = (id: number, functionName: string, url: string, children: number[] = []) => ({
    id,
    callFrame: { functionName, url, scriptId: '', lineNumber: 0, columnNumber: 0 },
    children,
  });

  it('are filed under the innermost frame that is known, equal neighbours joined', () => {
    const nodes = [
      node(1, '(root)', '', [2, 3, 6]),
      node(2, '(idle)', ''),
      node(3, 'linear', 'file:///x/protocol/ring/linear.js', [4, 5]),
      node(4, 'reveal', 'file:///x/protocol/gadgets/relu.js', [7]),
      node(5, 'set', ''),
      node(6, 'mystery', 'file:///elsewhere.js'),
      node(7, 'update', 'node:internal/crypto/cipher'),
    ];
    const samples = [2, 2, 3, 5, 4, 7, 6];
    const timeDeltas = [1000, 1000, 1000, 2000, 1000, 1000, 1000];
    const profile = { nodes, samples, timeDeltas, startTime: 0, endTime: 8000 };
    expect(partsOf(profile, CLASS_OF_FRAME)).toEqual([
      part(IDLE, 1, 3),
      part('linear', 3, 6),
      part('ReLU', 6, 8),
      part('other', 8, 8),
    ]);
  });
});

describe('a Chrome trace', () => {
  const client: PartyTrace = {
    main: [part('other', 10, 12), part(IDLE, 12, 90)],
    tasks: [{ task: 'openBatch', kind: RELU, thread: 7, start: 20.5, end: 30 }],
    sent: [{ kind: Kind.layer, bytes: 1000, at: 31 }],
  };
  const server: PartyTrace = { main: [], tasks: [], sent: [{ kind: 200, bytes: 1, at: 32 }] };
  const phases = { offline: { start: 10, end: 50 }, online: { start: 50, end: 100 } };
  const { traceEvents } = JSON.parse(chromeTrace({ phases, parties: { client, server } }));
  const named = (name: string) =>
    traceEvents.filter((event: { name: string }) => event.name === name);

  it('has phases, tasks, the main thread and frames in microseconds since the beginning', () => {
    expect(named('online')).toEqual([
      { ph: 'X', pid: 0, tid: 0, name: 'online', ts: 40_000, dur: 50_000 },
    ]);
    expect(named('openBatch ReLU')).toEqual([
      { ph: 'X', pid: 1, tid: 7, name: 'openBatch ReLU', ts: 10_500, dur: 9500 },
    ]);
    expect(named('other')).toMatchObject([{ pid: 1, tid: 0, ts: 0, dur: 2000 }]);
    expect(named('layer: 1000 bytes')).toMatchObject([{ ph: 'i', pid: 1, ts: 21_000 }]);
    expect(named('200: 1 bytes')).toMatchObject([{ ph: 'i', pid: 2, ts: 22_000 }]);
  });

  it('leaves idle time out, and names parties and threads', () => {
    expect(named(IDLE)).toEqual([]);
    const names = [...named('process_name'), ...named('thread_name')].map(({ args }) => args.name);
    expect(names).toEqual([
      ...['phases', 'client', 'server'],
      ...['main thread', 'worker 1', 'main thread'],
    ]);
  });
});
