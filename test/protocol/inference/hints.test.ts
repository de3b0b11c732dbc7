/**
 * Hints over whole sessions: a client computes with the one it was promised or not at all, wherever it has it from, and
 * nothing that depends on a bundle leaves it before it has checked.
 */

import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { decodeControl, encodeControl } from '../../../protocol/channel/codec.ts';
import type { Channel } from '../../../protocol/channel/index.ts';
import { memoryPair } from '../../../protocol/channel/memory.ts';
import { ProtocolError } from '../../../protocol/errors.ts';
import { BundleStore } from '../../../protocol/inference/bundle.ts';
import {
  COMMAND_BYTES,
  Command,
  decodeCommand,
  Kind,
} from '../../../protocol/inference/messages.ts';
import {
  type HintSource,
  type Offer,
  openClient,
  openServer,
  sendHint,
} from '../../../protocol/inference/session.ts';
import * as tasks from '../../../protocol/inference/tasks.ts';
import { hintBytes, hintDigest } from '../../../protocol/linear/index.ts';
import { createInlinePool } from '../../../protocol/pool/inline.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import type { OutputStep } from '../../../protocol/program/program.ts';
import { Prg } from '../../../protocol/random/index.ts';
import {
  inferBoth,
  offerOf,
  prepareBoth,
  randomInput,
  residualModel,
  type Sessions,
  seedOf,
} from '../../support/model.ts';
import { recorded } from '../../support/recorded.ts';
import { resealing } from '../../support/resealed.ts';

const model = residualModel();
const offer = await offerOf(model);
const other = await offerOf(model, undefined, seedOf(4));
const { bytes, digest } = offer.hint;

/** The hint with two output tiles of one layer swapped, and with two layers of equal parts swapped. */
function swapped(): Uint8Array[] {
  const [first, second] = offer.layout.linears;
  const tile = hintBytes(first!.plan) / first!.plan.packing.outTiles;
  const swap = (from: number, length: number) => {
    const out = bytes.slice();
    out.set(bytes.subarray(from, from + length), from + length);
    out.set(bytes.subarray(from + length, from + 2 * length), from);
    return out;
  };
  const whole = hintBytes(first!.plan);
  expect(hintBytes(second!.plan)).toBeGreaterThanOrEqual(whole);
  return [swap(0, tile), swap(0, whole)];
}

const flipped = bytes.slice();
flipped[bytes.length >> 1]! ^= 1;

/** Hints that are not the promised one. */
const WRONG: [string, Uint8Array][] = [
  ['with one bit changed', flipped],
  ['with two rows swapped', swapped()[0]!],
  ['with two layers swapped', swapped()[1]!],
  ['of the same model and another secret', other.hint.bytes],
  ['of zeros', new Uint8Array(bytes.length)],
];
const CUT: [string, Uint8Array][] = [
  ['cut by a byte', bytes.slice(0, -1)],
  ['a byte too long', Uint8Array.from([...bytes, 0])],
  ['empty', new Uint8Array(0)],
];

/** A client, and a server that sends `sent` when it is asked for the hint that `promised` names. */
async function open(hints: HintSource, sent: Uint8Array = bytes, promised: Offer = offer) {
  const [near, far] = memoryPair();
  const tape = recorded(near);
  const pool = createInlinePool(tasks);
  const party = (channel: typeof near, seed: number) => ({
    channel,
    pool,
    random: new Prg(seedOf(seed)),
  });
  const serving = async () => {
    const server = await openServer(party(far, 500), () => ({ offer: promised }));
    let asked = false;
    // Until the client has its hint it asks for nothing else; then it is the test's turn.
    const answer = async () => {
      const { command } = decodeCommand(await server.channel.receive(Kind.command, COMMAND_BYTES));
      expect(command).toBe(Command.hint);
      asked = true;
      await sendHint(server, { ...promised, hint: { ...promised.hint, bytes: sent } });
    };
    return { server, answer, asked: () => asked };
  };
  const side = serving();
  const opening = openClient(party(tape, 501), { hints });
  opening.catch((error) => near.close(error));
  const { server, answer, asked } = await side;
  const answered = kept(hints) ? Promise.resolve() : answer().catch(() => {});
  const client = await opening.catch((error: unknown) => ({ error }));
  if ('error' in client) return { error: client.error, frames: tape.transcript, asked };
  // Whoever was not asked waits for ever.
  expect(asked()).toBe(!kept(hints));
  await answered;
  const sessions = {
    model,
    client,
    server,
    clientBundles: new BundleStore(),
    serverBundles: new BundleStore(),
  } as unknown as Sessions;
  return { sessions, frames: tape.transcript, asked };
}

const keeping = new WeakSet<HintSource>();
const kept = (hints: HintSource) => keeping.has(hints);

/** A place that has `found`, and what is put there. */
function place(found: Uint8Array | undefined) {
  const saved: Uint8Array[] = [];
  const hints: HintSource = {
    load: () => Promise.resolve(found),
    save: (_, hint) => Promise.resolve(void saved.push(hint)),
  };
  if (found !== undefined && Buffer.compare(found, bytes) === 0) keeping.add(hints);
  return { hints, saved };
}

async function expectRight(sessions: Sessions): Promise<void> {
  await prepareBoth(sessions);
  const input = randomInput(model, seedOf(502));
  const clear = runClear(model, input);
  const { tolerance } = model.program.steps.at(-1) as OutputStep;
  const result = await inferBoth(sessions, input);
  for (const [i, value] of result.entries()) {
    expect(Math.abs(value - clear[i]!)).toBeLessThanOrEqual(tolerance);
  }
}

describe('a hint that the client has kept', () => {
  it('is not asked for again', async () => {
    const { hints } = place(bytes);
    const { sessions, frames, asked } = await open(hints);
    await expectRight(sessions!);
    expect(asked()).toBe(false);
    expect(frames.filter(({ kind }) => kind === Kind.hint)).toEqual([]);
  });

  it.each([...WRONG, ...CUT])('%s: it is asked for, and kept in its place', async (_, found) => {
    const { hints, saved } = place(found);
    const { sessions, frames, asked } = await open(hints);
    await expectRight(sessions!);
    expect(asked()).toBe(true);
    const received = frames.filter(({ kind }) => kind === Kind.hint).map(({ payload }) => payload);
    expect(Buffer.compare(Buffer.concat(received), bytes)).toBe(0);
    expect(saved.map(hintDigest)).toEqual([digest]);
  });
});

describe('a server that sends another hint than it promised', () => {
  it.each([...WRONG, ...CUT.slice(0, 2)])('%s: gets no key of any layer', async (_, sent) => {
    const { hints, saved } = place(undefined);
    const { error, frames, asked } = await open(hints, sent);
    expect(asked()).toBe(true);
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error).toMatchObject({ code: 'bad-message' });
    // Nothing left after the question for the hint, and nothing is kept.
    const left = frames.filter(({ direction }) => direction === 'sent');
    expect(left.at(-1)!.kind).toBe(Kind.command);
    expect(left.filter(({ kind }) => kind === Kind.command).length).toBe(1);
    expect(left.some(({ kind }) => kind === Kind.layer)).toBe(false);
    expect(saved).toEqual([]);
  });

  it('another promise with it is another hint: that one is right for it alone', async () => {
    // The server's own layers are those of its promise: another hint, the same answers.
    const { hints } = place(undefined);
    const { sessions } = await open(hints, other.hint.bytes, other);
    await expectRight(sessions!);
    expect(other.hint.digest).not.toEqual(digest);
  });
});

/** The welcome with `change` made to it on the way. */
function changing(channel: Channel, change: object): void {
  const receive = channel.receiveUpTo.bind(channel);
  channel.receiveUpTo = async (kind, limit) => {
    const payload = await receive(kind, limit);
    if (kind !== Kind.welcome) return payload;
    const welcome = decodeControl(payload, z.record(z.string(), z.any()));
    return encodeControl({ ...welcome, ...change } as never);
  };
}

describe('a promise changed on the way', () => {
  const connect = (near: Channel, far: Channel, promised: Uint8Array) => {
    const pool = createInlinePool(tasks);
    const party = (channel: Channel, seed: number) => ({
      channel,
      pool,
      random: new Prg(seedOf(seed)),
    });
    return Promise.all([
      openClient(party(near, 503), { hints: place(promised).hints }),
      openServer(party(far, 504), () => ({ offer })),
    ]);
  };

  it.each([{ hint: other.hint.digest }, { generation: offer.hint.generation + 1 }])(
    'is seen by its seal',
    async (change) => {
      const [near, far] = memoryPair();
      changing(near, change);
      const opening = connect(near, far, 'hint' in change ? other.hint.bytes : bytes);
      await expect(opening).rejects.toMatchObject({ code: 'corrupted' });
    },
  );

  it('names another session: keys, offsets and tweaks of the parties have nothing in common', async () => {
    const [same, ...changed] = await Promise.all(
      [{}, { hint: other.hint.digest }, { generation: offer.hint.generation + 1 }].map(
        async (change) => {
          const [near, far] = memoryPair();
          changing(near, change);
          resealing(near);
          // The client has whatever it is promised.
          const promised = 'hint' in change ? other.hint.bytes : bytes;
          return (await connect(near, far, promised)).map((side) => [
            side.id.join(),
            side.root.start.join(),
          ]);
        },
      ),
    );
    expect(same![0]).toEqual(same![1]);
    for (const [client, server] of changed) {
      // The server is in the session it would be in; the client in another.
      expect(server).toEqual(same![1]);
      for (const [i, own] of client!.entries()) expect(own).not.toBe(server![i]);
    }
  });
});
