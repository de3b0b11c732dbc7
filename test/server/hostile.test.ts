/**
 * Hostile peers. One honest session is recorded; then one side replays its frames up to some point and does something
 * else there. All randomness comes from seeds, so that what is replayed is what the honest side expects.
 */

import { beforeAll, describe, expect, it } from 'vitest';
import { openSession } from '../../client/session.ts';
import type { Channel } from '../../protocol/channel/index.ts';
import { memoryPair } from '../../protocol/channel/memory.ts';
import { type RecordedFrame, recorded } from '../../protocol/channel/recorded.ts';
import { ProtocolError } from '../../protocol/errors.ts';
import { Kind } from '../../protocol/inference/messages.ts';
import { Prg } from '../../protocol/random/index.ts';
import { seedOf } from '../support/model.ts';
import { failureOf, LocalServer, somePixels, tinyModel, within } from '../system/support.ts';

const model = tinyModel('label');
const named = { name: 'tiny', model };
const pixels = somePixels(model);

/** Patience of the honest side in ms, and how long it may take in all. */
const STALL_MS = 400;
const DEADLINE_MS = 10_000;

const names = Object.fromEntries(Object.entries(Kind).map(([name, kind]) => [kind, name]));

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
  'the end of the connection': async (channel) => channel.close(),
  silence: async () => {},
};

/** Misdeeds that every receiver sees at once. */
const malformed = ['cut short', 'made longer', 'of another kind', 'of an unknown kind'];

let fromClient: RecordedFrame[];
let fromServer: RecordedFrame[];

const serverSeed = seedOf(801);
const clientSeed = seedOf(802);

beforeAll(async () => {
  const server = new LocalServer([named], { random: new Prg(serverSeed) });
  const channel = recorded(server.accept().near);
  const session = await openSession({ channel, pool: server.pool, random: new Prg(clientSeed) });
  await session.infer(pixels);
  await session.close();
  await server.settled();
  fromClient = channel.transcript.filter(({ direction }) => direction === 'sent');
  fromServer = channel.transcript.filter(({ direction }) => direction === 'received');
});

/** Sends the frames, with a misdeed in place of frame `at`; the rest too, unless the misdeed ends it all. */
async function replay(channel: Channel, frames: RecordedFrame[], at: number, misdeed: string) {
  for (const [i, frame] of frames.entries()) {
    if (i === at) {
      await misdeeds[misdeed]!(channel, frame);
      if (misdeed === 'silence') return;
    } else {
      await channel.send(frame.kind, frame.payload);
    }
  }
}

/** The first frame of each kind. */
const firsts = (frames: RecordedFrame[]) =>
  frames.flatMap(({ kind }, i) => (frames.findIndex((f) => f.kind === kind) === i ? [i] : []));

it('prints', () => {
  console.log(fromClient.map(({ kind, payload }) => `${names[kind]} ${payload.length}`));
  console.log(fromServer.map(({ kind, payload }) => `${names[kind]} ${payload.length}`));
});

describe.each(Object.keys(misdeeds))('a client whose frame is %s', (misdeed) => {
  it('ends its own session, and no other', async () => {
    for (const at of firsts(fromClient)) {
      const where = `${names[fromClient[at]!.kind]}`;
      const server = new LocalServer([named], {
        random: new Prg(serverSeed),
        limits: { stallMs: STALL_MS, idleMs: STALL_MS },
      });
      const { near, served } = server.accept();
      const start = performance.now();
      await replay(near, fromClient, at, misdeed).catch(() => {});
      await within(DEADLINE_MS, served);
      console.log(
        misdeed,
        where,
        server.events.map((e) => JSON.stringify(e)).slice(-2),
        performance.now() - start,
      );
    }
  });
});
