/** The handshake: both sides use the k that the hello asks for, and the client's look at the program, or there is no session. */

import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { decodeControl, encodeControl } from '../../../protocol/channel/codec.ts';
import type { Channel } from '../../../protocol/channel/index.ts';
import { memoryPair } from '../../../protocol/channel/memory.ts';
import { ProtocolError } from '../../../protocol/errors.ts';
import { costOf } from '../../../protocol/inference/cost.ts';
import { PROTOCOL_VERSION } from '../../../protocol/inference/hello.ts';
import { Kind } from '../../../protocol/inference/messages.ts';
import {
  bundleSeed,
  type ClientOptions,
  openClient,
  openServer,
} from '../../../protocol/inference/session.ts';
import * as tasks from '../../../protocol/inference/tasks.ts';
import { DEFAULT_OT_K, OT_KS } from '../../../protocol/ot/groups.ts';
import { createInlinePool } from '../../../protocol/pool/inline.ts';
import type { CheckedProgram } from '../../../protocol/program/check.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import type { OutputStep } from '../../../protocol/program/program.ts';
import { Prg } from '../../../protocol/random/index.ts';
import {
  hintsOf,
  inferBoth,
  offerOf,
  openSessions,
  prepareBoth,
  randomInput,
  residualModel,
  seedOf,
} from '../../support/model.ts';

const model = residualModel();

type Hello = Record<string, unknown>;
const fields = z.record(z.string(), z.any());

/** Two connected channels; what the first says in its hello is changed on the way. */
function changing(change: (hello: Hello) => Hello): [Channel, Channel] {
  const [near, far] = memoryPair();
  const send = near.send.bind(near);
  near.send = (kind, payload) => {
    if (kind !== Kind.hello) return send(kind, payload);
    return send(kind, encodeControl(change(decodeControl(payload, fields)) as never));
  };
  return [near, far];
}

const open = (change: (hello: Hello) => Hello, k = DEFAULT_OT_K) =>
  openSessions(model, seedOf(5), undefined, changing(change), k);

it('a server of another version is told of by a client that names both', async () => {
  const [near, far] = memoryPair();
  const pool = createInlinePool(tasks);
  const client = openClient({ channel: near, pool, random: new Prg(seedOf(7)) }, {});
  await far.receiveUpTo(Kind.hello, 4096);
  const version = PROTOCOL_VERSION + 1;
  await far.send(Kind.welcome, encodeControl({ version, agreement: new Uint8Array(32), later: 1 }));
  await expect(client).rejects.toMatchObject({
    code: 'version-mismatch',
    message: `the peer speaks protocol version ${version}, this side version ${PROTOCOL_VERSION}`,
  });
});

it('a client of another version is told of by a server that names both', async () => {
  const later = (hello: Hello) => ({ ...hello, version: PROTOCOL_VERSION + 1, later: 1 });
  await expect(open(later)).rejects.toMatchObject({
    code: 'version-mismatch',
    message: `the peer speaks protocol version ${PROTOCOL_VERSION + 1}, this side version ${PROTOCOL_VERSION}`,
  });
});

describe("the session's k", () => {
  it.each(OT_KS)('%i: both sides use it, and the answer is right', async (k) => {
    const sessions = await openSessions(model, seedOf(5), undefined, undefined, k);
    expect([sessions.client.otK, sessions.server.otK]).toEqual([k, k]);
    await prepareBoth(sessions);
    const input = randomInput(model, seedOf(6));
    const result = await inferBoth(sessions, input);
    const { tolerance } = model.program.steps.at(-1) as OutputStep;
    const clear = runClear(model, input);
    for (const [i, value] of result.entries()) {
      expect(Math.abs(value - clear[i]!)).toBeLessThanOrEqual(tolerance);
    }
  });

  it('is 4 unless the client asks for another', async () => {
    expect((await openSessions(model, seedOf(5))).server.otK).toBe(4);
  });

  it.each([0, 1, 2, 3, 5, 7, 16, -4])('%i is refused', async (otK) => {
    await expect(open((hello) => ({ ...hello, otK }))).rejects.toMatchObject({
      name: 'ProtocolError',
      code: 'refused',
      message: `the client asks for OTs with k = ${otK}, this server makes them with one of 4, 6, 8`,
    });
  });

  it.each([4.5, '4', null])('%j is no k', async (otK) => {
    await expect(open((hello) => ({ ...hello, otK }))).rejects.toMatchObject({
      code: 'bad-message',
    });
  });

  it('is not asked for by earlier versions, which are told of the version', async () => {
    const earlier = ({ otK: _, ...hello }: Hello) => ({ ...hello, version: PROTOCOL_VERSION - 1 });
    await expect(open(earlier)).rejects.toMatchObject({ code: 'version-mismatch' });
  });

  it('cannot differ between the parties', async () => {
    for (const [asked, heard] of [
      [4, 6],
      [6, 4],
      [8, 6],
    ] as const) {
      await expect(open((hello) => ({ ...hello, otK: heard }), asked)).rejects.toMatchObject({
        code: 'bad-message',
      });
    }
  });

  it('is part of what names the session', async () => {
    const starts = await Promise.all(
      OT_KS.map(async (k) => {
        const { client, server } = await openSessions(model, seedOf(5), undefined, undefined, k);
        const { start } = client.root;
        expect(server.root.start).toEqual(start);
        return start.join();
      }),
    );
    expect(new Set(starts).size).toBe(OT_KS.length);
  });
});

describe('the offered program', async () => {
  const offer = await offerOf(model);
  const connect = (options: ClientOptions) => {
    const [near, far] = memoryPair();
    const pool = createInlinePool(tasks);
    const random = new Prg(seedOf(7));
    const server = openServer({ channel: far, pool, random }, () => ({ offer }));
    const client = openClient(
      { channel: near, pool, random },
      { hints: hintsOf(offer), ...options },
    );
    client.catch((error) => near.close(error));
    return Promise.all([client, server.catch(() => undefined)]);
  };

  it('is looked at with its shapes before it is laid out, then with its cost', async () => {
    const seen: unknown[] = [];
    const [client] = await connect({
      otK: 8,
      acceptProgram: (program, digest) => seen.push(program, digest),
      acceptCost: (cost) => seen.push(cost),
    });
    const { layout, digest } = client;
    const { program, shapes } = layout;
    expect(seen).toEqual([{ program, shapes }, digest, costOf(layout, 8)]);
    expect(seen[0]).toMatchObject({ program: offer.layout.program, shapes: offer.layout.shapes });
    expect(client.cost).toBe(seen[2]);
    // The layout took the shapes that were looked at, and did not check again.
    expect(shapes).toBe((seen[0] as CheckedProgram).shapes);
  });

  it.each(['acceptProgram', 'acceptCost'] as const)('is refused by %s', async (name) => {
    const refusal = new ProtocolError('refused', 'not this one');
    const refuse = () => {
      throw refusal;
    };
    await expect(connect({ [name]: refuse })).rejects.toBe(refusal);
  });
});

describe('the name of a session', () => {
  /** The id where byte `flipped` of a party's nonce is another, and the offer is changed. */
  async function idWith(
    party?: 'client' | 'server',
    flipped = 0,
    changed: { weights?: Uint8Array } = {},
  ): Promise<Uint8Array> {
    const [near, far] = memoryPair();
    const offer = { ...(await offerOf(model)), ...changed };
    const pool = createInlinePool(tasks);
    const random = (own: 'client' | 'server') => {
      const stream = new Prg(seedOf(own === 'client' ? 520 : 521));
      // The nonce is the first that is drawn.
      let first = own === party;
      return {
        fill(out: Uint8Array) {
          stream.fill(out);
          if (first) out[flipped]! ^= 1;
          first = false;
        },
      };
    };
    const [client, server] = await Promise.all([
      openClient({ channel: near, pool, random: random('client') }, { hints: hintsOf(offer) }),
      openServer({ channel: far, pool, random: random('server') }, () => ({ offer })),
    ]);
    expect(client.id).toEqual(server.id);
    return client.id;
  }

  it('depends on all of both nonces in all of its words: one of few bits comes again, and with it keys, tweaks and the seeds of a generator that repeats itself', async () => {
    const ids = [
      await idWith(),
      await idWith('client', 5),
      await idWith('client', 31),
      await idWith('server', 5),
      await idWith('server', 31),
    ];
    for (const word of [0, 4, 8, 12]) {
      const words = ids.map((id) => id.slice(word, word + 4).join());
      expect(new Set(words).size, `bytes ${word} and on`).toBe(ids.length);
    }
    expect(await idWith()).toEqual(ids[0]);
  });

  it('depends on the digest of the weights, which both parties hold', async () => {
    const weights = new Uint8Array(32).fill(7);
    expect(await idWith(undefined, 0, { weights })).not.toEqual(await idWith());
    const short = idWith(undefined, 0, { weights: weights.subarray(1) });
    await expect(short).rejects.toMatchObject({ code: 'bad-message' });
  });

  it('and all of a fresh seed are in the seed of a bundle: in few bits a server would find it by trying, and read inputs', () => {
    const own = seedOf(522);
    const of = (fresh: Uint8Array, id: Uint8Array) =>
      bundleSeed({ id, random: { fill: (out) => out.set(fresh.subarray(0, out.length)) } }).join();
    const seen = new Set([of(own, own)]);
    for (let byte = 0; byte < 16; byte++) {
      const flipped = own.slice();
      flipped[byte]! ^= 1;
      seen.add(of(flipped, own)).add(of(own, flipped));
    }
    expect(seen.size).toBe(33);
  });
});
