/**
 * Hostile peers. One honest session is recorded; then one side replays its frames and does something else in place of one
 * of them. All randomness comes from seeds, so that what is replayed is what the honest side expects.
 */

import { beforeAll, describe, expect, it } from 'vitest';
import type { Channel } from '../../protocol/channel/index.ts';
import { memoryPair } from '../../protocol/channel/memory.ts';
import { ProtocolError } from '../../protocol/errors.ts';
import { Command, decodeCommand, Kind } from '../../protocol/inference/messages.ts';
import { POINT_BYTES } from '../../protocol/ot/base.ts';
import { Prg } from '../../protocol/random/index.ts';
import type { SessionEnd } from '../../server/limits.ts';
import { seedOf } from '../support/model.ts';
import { withRun } from '../support/pool.ts';
import { type RecordedFrame, recorded } from '../support/recorded.ts';
import { resealing } from '../support/resealed.ts';
import {
  failureOf,
  LocalServer,
  localPool,
  openLocal,
  somePixels,
  tinyModel,
  within,
} from '../system/support.ts';

const model = tinyModel('label');
const named = { name: 'tiny', model };
const pixels = somePixels(model);

/** Patience of the honest side where silence is what it meets, in ms. */
const STALL_MS = 300;

/** What is done in place of a frame. */
const misdeeds: Record<string, (channel: Channel, frame: RecordedFrame) => Promise<void>> = {
  'cut short': (channel, { kind, payload }) =>
    channel.send(kind, payload.subarray(0, payload.length - 1)),
  'made longer': (channel, { kind, payload }) => {
    const longer = new Uint8Array(payload.length + 1);
    longer.set(payload);
    return channel.send(kind, longer);
  },
  'of another kind': (channel, { kind, payload }) => channel.send(kind ^ 1, payload),
  'of an unknown kind': (channel, { payload }) => channel.send(200, payload),
  garbage: (channel, { kind, payload }) => {
    const noise = new Uint8Array(payload.length);
    new Prg(seedOf(kind)).fill(noise);
    return channel.send(kind, noise);
  },
  'sent twice': async (channel, { kind, payload }) => {
    await channel.send(kind, payload);
    await channel.send(kind, payload);
  },
  'all zero': (channel, { kind, payload }) => channel.send(kind, new Uint8Array(payload.length)),
  'the end of the connection': async (channel) => channel.close(),
  silence: async () => {},
};

/** Codes that the honest side may end with. Garbage of the right length is often a valid message: then a seal tells. */
const verdicts: Record<string, RegExp> = {
  'cut short': /^bad-message$/,
  'made longer': /^bad-message$/,
  'of another kind': /^bad-message$/,
  'of an unknown kind': /^bad-message$/,
  garbage: /^(bad-message|bad-point|program-mismatch|corrupted)$/,
  'sent twice': /^(none|bad-message|corrupted)$/,
  'all zero': /^(bad-message|bad-point|program-mismatch|corrupted)$/,
  'the end of the connection': /^lost$/,
  silence: /^timeout$/,
};

/** How a session ends that a misdeed meets between two requests, where that is no error. */
const RESTS: Readonly<Record<string, SessionEnd>> = {
  'the end of the connection': 'left',
  silence: 'idle',
};

let fromClient: RecordedFrame[];
let fromServer: RecordedFrame[];

/** An honest session of one inference: all frames, as the client sees them. */
async function record(offered: typeof named): Promise<RecordedFrame[]> {
  const server = new LocalServer([offered]);
  const channel = recorded(server.accept());
  const session = await openLocal(channel);
  await session.infer(pixels);
  await session.close();
  await server.settled();
  return [...channel.transcript];
}

beforeAll(async () => {
  const transcript = await record(named);
  fromClient = transcript.filter(({ direction }) => direction === 'sent');
  fromServer = transcript.filter(({ direction }) => direction === 'received');
});

const nameOf = (kind: number) => Object.entries(Kind).find(([, value]) => value === kind)![0];

/** Whether a client's bundle is prepared, or its inference answered; or the session over. */
type Reached = (what: 'bundle' | 'inference') => boolean;

/** Of session `session`. */
const reachedBy =
  (server: LocalServer, session = 1): Reached =>
  (what) =>
    [...server.of(what), ...server.of('closed')].some((event) => event.session === session);

/** What an honest client has waited for before it sends a frame: one lane does not wait for the other. */
function awaited({ kind, payload }: RecordedFrame): 'bundle' | 'inference' | undefined {
  if (kind === Kind.infer) return 'bundle';
  const bye = kind === Kind.command && decodeCommand(payload).command === Command.bye;
  return bye ? 'inference' : undefined;
}

/** Replays `frames` with a misdeed in place of frame `at`. What the channel says to that is not its business. */
async function replay(
  channel: Channel,
  frames: RecordedFrame[],
  at: number,
  misdeed: string,
  reached: Reached = () => true,
) {
  try {
    for (const [i, frame] of frames.entries()) {
      const before = awaited(frame);
      while (before && !reached(before)) await new Promise((resolve) => setTimeout(resolve, 1));
      if (i !== at) await channel.send(frame.kind, frame.payload);
      else await misdeeds[misdeed]!(channel, frame);
      if (i === at && misdeed === 'silence') return;
    }
  } catch (error) {
    expect(error).toBeInstanceOf(ProtocolError);
  }
}

it('a session has frames of every kind on either side', () => {
  const kinds = new Set([...fromClient, ...fromServer].map(({ kind }) => kind));
  expect(kinds).toEqual(new Set(Object.values(Kind)));
});

describe.each(Object.keys(misdeeds))('a frame %s', (misdeed) => {
  const patience = misdeed === 'silence' ? { stallMs: STALL_MS, idleMs: STALL_MS } : {};

  it('from a client ends its own session, spends its bundle, and no other session', async () => {
    const server = new LocalServer([named], { limits: patience });
    await Promise.all(
      fromClient.map((_, at) =>
        replay(server.accept(), fromClient, at, misdeed, reachedBy(server, at + 1)),
      ),
    );
    await server.settled();
    const inference = fromClient.findIndex(({ kind }) => kind === Kind.maskedInput);
    for (const [at, { kind }] of fromClient.entries()) {
      const ofThis = <T extends { session: number }>(events: T[]) =>
        events.filter(({ session }) => session === at + 1);
      const [error] = ofThis(server.of('error'));
      const where = `frame ${at}, ${nameOf(kind)}: ${error?.message}`;
      const [closed] = ofThis(server.of('closed'));
      // Between two requests a client may leave, or rest, and that is no error.
      if ((kind !== Kind.command && kind !== Kind.infer) || closed!.reason !== RESTS[misdeed]) {
        expect(error?.code ?? 'none', where).toMatch(verdicts[misdeed]!);
        expect(closed!.reason, where).toBe(error?.code ?? 'goodbye');
      } else expect(error, where).toBeUndefined();
      // Until the inference begins the bundle is prepared and dies with the session; from then on it is spent.
      const unused = at > inference ? 0 : expect.any(Number);
      expect(ofThis(server.of('closed')), where).toMatchObject([{ unused }]);
    }
    const honest = await server.connect();
    await honest.infer(pixels);
    await honest.close();
  });

  it('from a server ends the session with a typed error', async () => {
    const limits = misdeed === 'silence' ? { stallMs: STALL_MS } : {};
    await Promise.all(
      fromServer.map(async ({ kind }, at) => {
        const [near, far] = memoryPair();
        const run = async () => {
          const session = await openLocal(near, { limits });
          const error = await failureOf(session.infer(pixels));
          expect(session.available).toBe(0);
          expect(await failureOf(session.prepare())).toBe(error);
          throw error;
        };
        const outcome = failureOf(run());
        await replay(far, fromServer, at, misdeed);
        const error = await within(10_000, outcome);
        const where = `frame ${at}, ${nameOf(kind)}: ${error.message}`;
        const code = error.message === 'expected a rejection' ? 'none' : error.code;
        expect(code, where).toMatch(verdicts[misdeed]!);
      }),
    );
  });
});

describe('the identity in place of a point', () => {
  const identity = new Uint8Array(POINT_BYTES);

  /** Frames in which the first point of the message of that kind is the identity. */
  function withIdentity(frames: RecordedFrame[], kind: number): RecordedFrame[] {
    return frames.map((frame) => {
      if (frame.kind !== kind) return frame;
      const payload = frame.payload.slice();
      payload.set(identity);
      return { ...frame, payload };
    });
  }

  it('in the offer of a client is a bad point', async () => {
    const server = new LocalServer([named]);
    await replay(server.accept(), withIdentity(fromClient, Kind.setupOffer), -1, '');
    await server.settled();
    expect(server.of('error')).toMatchObject([{ code: 'bad-point' }]);
  });

  it('in the choices of a server is a bad point', async () => {
    const [near, far] = memoryPair();
    resealing(near);
    const opening = failureOf(openLocal(near));
    await replay(far, withIdentity(fromServer, Kind.setupChoice), -1, '');
    expect(await within(10_000, opening)).toMatchObject({ code: 'bad-point' });
  });
});

it('a client that answers before it is asked, and leaves then, is no reason to wait', async () => {
  // Garbled ReLUs are revealed by the pool, so that there is something to wait for.
  const garbled = {
    ...named,
    model: { ...model, program: { ...model.program, comparison: 'garbled' as const } },
  };
  const frames = (await record(garbled)).filter(({ direction }) => direction === 'sent');
  let leave = () => {};
  const inner = localPool();
  const run = (task: string, input: never) => {
    if (task === 'reveal') leave();
    return inner.run(task as 'reveal', input);
  };
  const pool = withRun(inner, run);
  const server = new LocalServer([garbled], { pool });
  const channel = server.accept();
  leave = () => channel.close();
  // All but the goodbye and its seal.
  await replay(channel, frames.slice(0, -2), -1, '', reachedBy(server));
  await server.settled();
  expect(server.of('error')).toMatchObject([{ code: 'lost' }]);
});

it('bundles out of turn, unknown and spent ones are refused', async () => {
  const command = (command: number, bundle: number): RecordedFrame => ({
    direction: 'sent',
    kind: command === Command.infer ? Kind.infer : Kind.command,
    payload: new Uint8Array(Uint32Array.of(command, bundle).buffer),
  });
  const setup = fromClient.slice(
    0,
    fromClient.findIndex(({ kind }) => kind === Kind.command),
  );
  // All but the goodbye and its seal.
  const served = fromClient.slice(0, -2);
  const offset = fromClient.find(({ kind }) => kind === Kind.clientOffset)!;
  for (const [frames, message] of [
    [[...setup, command(1, 7)], 'bundle 7 is prepared out of turn'],
    [[...setup, command(1, 0)], 'bundle 0 was not reserved'],
    // One was reserved, and is prepared in what was recorded.
    [[...served, command(1, 1)], 'bundle 1 was not reserved'],
    [[...setup, command(7, 1)], 'bundle 1 is drawn out of turn'],
    [
      [...setup, command(7, 0), offset, command(7, 1)],
      `another bundle is drawn, and not prepared, before 1`,
    ],
    // It would give the client both keys of the same base OTs.
    [[...served, command(7, 0)], 'bundle 0 is drawn out of turn'],
    [[...served, command(1, 0)], 'bundle 0 is prepared out of turn'],
    [[...setup, command(2, 0)], 'bundle 0 is not ready: it was never prepared, or it is spent'],
    [[...served, command(2, 0)], 'bundle 0 is not ready: it was never prepared, or it is spent'],
    [[...setup, command(6, 0)], 'there is no command 6'],
  ] as const) {
    const server = new LocalServer([named]);
    const prepares = frames.some(({ kind }) => kind === Kind.corrections);
    const reached = reachedBy(server);
    await replay(server.accept(), [...frames], -1, '', prepares ? reached : undefined);
    await server.settled();
    expect(server.of('error')).toMatchObject([{ code: 'bad-message', message }]);
  }
});
