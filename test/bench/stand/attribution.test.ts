import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  attribute,
  BYTE_CLASSES,
  bytesByClass,
  CLASS_OF_FRAME,
  CLASSES,
  classOfTask,
} from '../../../bench/stand/attribution.ts';
import { IDLE } from '../../../bench/stand/samples.ts';
import type { PartyTrace, TaskSpan } from '../../../bench/stand/trace.ts';
import { SEAL_BYTES } from '../../../protocol/channel/sealed.ts';
import { costOf } from '../../../protocol/inference/cost.ts';
import { layoutOf } from '../../../protocol/inference/layout.ts';
import { COMMAND_BYTES, wireBytes } from '../../../protocol/inference/messages.ts';
import * as tasks from '../../../protocol/inference/tasks.ts';
import { offsetMessageBytes } from '../../../protocol/ot/offsets.ts';
import { IDENTITY, RELU, SQUARE } from '../../../protocol/program/kinds.ts';
import { packedBytes } from '../../../protocol/ring/packing.ts';
import { sizeOf } from '../../../protocol/ring/shape.ts';
import { residualModel } from '../../support/model.ts';

const task = (start: number, end: number, name = 'serverShares', kind?: 0 | 1 | 2): TaskSpan => ({
  task: name,
  ...(kind === undefined ? {} : { kind }),
  thread: 1,
  start,
  end,
});

function party(
  spans: readonly TaskSpan[],
  main: readonly (readonly [part: string, start: number, end: number])[] = [],
): PartyTrace {
  return {
    tasks: spans,
    main: main.map(([part, start, end]) => ({ part, start, end })),
    sent: [],
  };
}

const none = { linear: 0, ReLU: 0, square: 0, identity: 0, output: 0, other: 0, wait: 0 };

describe('attribution', () => {
  it('shares each instant equally among what runs, and gives the rest to waiting', () => {
    const client = party(
      [task(10, 30)],
      [
        ['ReLU', 20, 40],
        [IDLE, 40, 90],
        ['other', 90, 100],
      ],
    );
    const server = party([task(20, 30, 'evaluate', RELU)]);
    // 0..10 nobody; 10..20 linear; 20..30 linear and two ReLUs; 30..40 ReLU; 40..90 nobody; 90..100 other.
    const shares = attribute([client, server], { start: 0, end: 100 });
    expect(shares.linear).toBeCloseTo(10 + 10 / 3);
    expect(shares.ReLU).toBeCloseTo(20 / 3 + 10);
    expect(shares).toMatchObject({ square: 0, identity: 0, output: 0, other: 10, wait: 60 });
  });

  it('looks at the phase alone', () => {
    const traces = [party([task(0, 1000)])];
    expect(attribute(traces, { start: 200, end: 250 })).toEqual({ ...none, linear: 50 });
    expect(attribute(traces, { start: 2000, end: 2010 })).toEqual({ ...none, wait: 10 });
  });

  it('adds up to the phase, whatever runs', () => {
    const spans = fc.array(
      fc.record({
        start: fc.integer({ min: 0, max: 200 }),
        length: fc.integer({ min: 0, max: 50 }),
      }),
    );
    fc.assert(
      fc.property(spans, spans, (near, far) => {
        const party1 = party(near.map(({ start, length }) => task(start, start + length)));
        const party2 = party(
          [],
          far.map(({ start, length }) => ['square', start, start + length]),
        );
        const shares = attribute([party1, party2], { start: 30, end: 180 });
        expect(CLASSES.reduce((sum, name) => sum + shares[name], 0)).toBeCloseTo(150, 6);
        for (const name of CLASSES) expect(shares[name]).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  it('knows the class of every task of the protocol', () => {
    const lane = ['drawBatch', 'openBatch', 'prepareBatch', 'reveal', 'evaluate'];
    const classes = Object.keys(tasks).map((name) => [name, classOfTask(name, undefined)]);
    expect(Object.fromEntries(classes)).toMatchObject({
      maskInput: 'linear',
      clientShares: 'linear',
      serverShares: 'linear',
      correctLayer: 'linear',
      linearOnline: 'linear',
      openArgmax: 'output',
      prepareArgmax: 'output',
      evaluateArgmax: 'output',
    });
    // What is left has a kind, or belongs to the setup or a probe, which is no part of an inference.
    const left = classes.filter(([, of]) => of === 'other').map(([name]) => name!);
    expect(left.filter((name) => !/Setup$|^probe$/.test(name)).sort()).toEqual(lane.sort());
    expect(
      ([RELU, SQUARE, IDENTITY] as const).map((kind) => classOfTask('evaluate', kind)),
    ).toEqual(['ReLU', 'square', 'identity']);
  });

  it('files frames of a main thread under classes', () => {
    const classOf = (frame: string) => CLASS_OF_FRAME.find(([, test]) => test.test(frame))?.[0];
    expect(classOf('reveal file:///x/dist/protocol/gadgets/relu.js')).toBe('ReLU');
    expect(classOf('reveal file:///x/dist/protocol/gadgets/relu-garbled.js')).toBe('ReLU');
    expect(classOf('evaluate file:///x/dist/protocol/gadgets/square.js')).toBe('square');
    expect(classOf('finish file:///x/dist/protocol/gadgets/identity.js')).toBe('identity');
    expect(classOf('linear file:///x/dist/protocol/ring/linear.js')).toBe('linear');
    expect(classOf('(idle) ')).toBe(IDLE);
    expect(classOf('send file:///x/dist/protocol/channel/endpoint.js')).toBeUndefined();
  });
});

describe('bytes by class', () => {
  it.each(['logits', 'label'] as const)('add up to the formulas, %s', (reveal) => {
    const layout = layoutOf(residualModel(reveal).program);
    const bytes = bytesByClass(layout);
    const { offline, online, steps } = costOf(layout);
    const sum = (phase: 'offline' | 'online') =>
      BYTE_CLASSES.reduce((total, name) => total + bytes[name][phase], 0);
    const all = steps.flatMap((step) => [step.offline, step.online]);
    const sent = all.reduce((total, { up, down }) => total + up + down, 0);
    expect(sum('offline') + sum('online')).toBe(sent);
    // The rest is a command in each phase, offline another for the draw; the offsets; the masked input; five seals.
    const rest = offline.up + offline.down + online.up + online.down - sent;
    const input = packedBytes(sizeOf(layout.program.input.shape), layout.rings[0]!);
    const offsets = offsetMessageBytes().reduce((total, own) => total + wireBytes(own), 0);
    const seals = 5 * wireBytes(SEAL_BYTES);
    expect(rest).toBe(3 * wireBytes(COMMAND_BYTES) + offsets + wireBytes(input) + seals);
    for (const name of ['linear', 'ReLU', 'square', 'identity'] as const) {
      expect(bytes[name].offline + bytes[name].online, name).toBeGreaterThan(0);
    }
  });
});
