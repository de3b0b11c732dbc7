import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { corrupted, ProtocolError } from '../../../protocol/errors.ts';
import { offerBaseOt } from '../../../protocol/ot/base.ts';
import { redeemReceiver, redeemSender } from '../../../protocol/ot/correlations.ts';
import { DEFAULT_OT_K, OT_KS, type OtK } from '../../../protocol/ot/groups.ts';
import {
  answerOffsets,
  type BundleName,
  type ClientCots,
  drawOffsets,
  finishOffsets,
  joinOffsets,
  offsetMessageBytes,
  type ServerCots,
} from '../../../protocol/ot/offsets.ts';
import {
  BASE_PARTS,
  chooseSetup,
  extendSetup,
  finishSetup,
  freshOffset,
  keySetup,
  setupMessageBytes,
} from '../../../protocol/ot/setup.ts';
import { randomBytes } from '../../../protocol/random/index.ts';
import { broken, stream } from './support.ts';

const joined = (parts: readonly Uint8Array[]) =>
  Uint8Array.from(parts.flatMap((part) => [...part]));

/** The root of a session, at both parties. */
function rootOf(session: Uint8Array, seed: number, serverSession = session, k: OtK = DEFAULT_OT_K) {
  const offer = offerBaseOt(stream(seed));
  const choices = freshOffset(stream(seed + 500));
  const parts = BASE_PARTS.map((from) =>
    chooseSetup(serverSession, choices, offer.message, from, stream(seed + 1000 + from)),
  );
  const choice = joined(parts.map(({ message }) => message));
  const keys = BASE_PARTS.map((from) => keySetup(session, offer, choice, from));
  const [zero, one] = [joined(keys.map((own) => own.zero)), joined(keys.map((own) => own.one))];
  const { message, seeds } = extendSetup(session, { zero, one }, stream(seed + 2000), k);
  const chosen = joined(parts.map((part) => part.chosen));
  const sender = finishSetup(serverSession, { choices, chosen }, message, k);
  return { messages: [offer.message, choice, message], client: seeds, server: sender, offer };
}

interface Bundle {
  readonly messages: Uint8Array[];
  readonly client: ClientCots;
  readonly server: ServerCots;
}

/** The correlations of one bundle. */
function bundleOf(
  { client, server }: ReturnType<typeof rootOf>,
  name: BundleName,
  seed: number,
): Bundle {
  const request = drawOffsets(name, client, stream(seed));
  const answer = answerOffsets(name, server, request.message, stream(seed + 1));
  const own = finishOffsets(name, request.state, answer.message, stream(seed + 2), client.k);
  const peer = joinOffsets(name, answer.state, own.message);
  return {
    messages: [request.message, answer.message, own.message],
    client: own.cots,
    server: peer,
  };
}

/** How many of 300 correlations in each direction do not hold. */
function wrong({ client, server }: Bundle, seed: number): number[] {
  const choices = randomBytes(stream(seed), 38);
  const direction = (sender: ServerCots['labels'], receiver: ClientCots['labels']) => {
    const { message, blocks } = redeemReceiver(receiver.take(300), choices);
    const q = redeemSender(sender.take(300), message);
    return broken(q, blocks, choices, sender.seeds.offset, 300);
  };
  return [direction(server.labels, client.labels), direction(client.products, server.products)];
}

const session = randomBytes(stream(200), 16);
const root = rootOf(session, 201);
const name = { sessionId: session, number: 0 };

describe('OT setup', () => {
  it('sends messages of the stated lengths', () => {
    expect(root.messages.map((message) => message.length)).toEqual([...setupMessageBytes()]);
    expect(setupMessageBytes()).toEqual([32, 8192, 3072]);
    expect(setupMessageBytes(6)).toEqual([32, 8192, (128 - 22) * 32]);
    expect(setupMessageBytes(8)).toEqual([32, 8192, (128 - 16) * 32]);
  });

  it('draws another offset in every session', () => {
    const again = rootOf(session, 206);
    expect(again.server.offset).not.toEqual(root.server.offset);
    expect(root.server.offset[0]! & 1).toBe(1);
  });

  it('does not work between parties of different sessions', () => {
    const apart = rootOf(session, 208, randomBytes(stream(209), 16));
    expect(() => bundleOf(apart, name, 210)).toThrow(corrupted().message);
  });

  it('refuses wrong lengths', () => {
    const keys = { choices: new Uint8Array(16), chosen: new Uint8Array(2048) };
    for (const change of [-1, 1]) {
      const bytes = setupMessageBytes().map((length) => new Uint8Array(length + change));
      const choose = () => chooseSetup(session, keys.choices, bytes[0]!, 0, stream(212));
      expect(choose).toThrow(ProtocolError);
      expect(() => keySetup(session, root.offer, bytes[1]!, 0)).toThrow(ProtocolError);
      expect(() => finishSetup(session, keys, bytes[2]!)).toThrow(ProtocolError);
    }
    // The trees of one k are not those of another.
    const trees = new Uint8Array(setupMessageBytes(4)[2]);
    expect(() => finishSetup(session, keys, trees, 6)).toThrow(ProtocolError);
  });
});

describe('the offsets of a bundle', () => {
  it('wire baseline: the same seeds send the same bytes as ever', () => {
    const bundle = bundleOf(root, name, 220);
    const digests = [...root.messages, ...bundle.messages].map((message) =>
      createHash('sha256').update(message).digest('hex').slice(0, 16),
    );
    expect(digests).toEqual([
      'a8742d82716ee39d',
      'ef3cb75d3ba312fe',
      'de3ed1e3d14fe442',
      '19ca84f10378adff',
      'e21eca6df7606e50',
      '10747aa47b46830e',
    ]);
  });

  it.each(OT_KS)('correlate both ways, with messages of the stated lengths, k = %i', (k) => {
    const own = k === DEFAULT_OT_K ? root : rootOf(session, 230, session, k);
    const bundle = bundleOf(own, name, 231);
    expect(bundle.messages.map(({ length }) => length)).toEqual([...offsetMessageBytes(k)]);
    const groups = Math.ceil(128 / k);
    const [choices, trees] = [2 * 16 * groups + 48, (128 - groups) * 32];
    expect(offsetMessageBytes(k)).toEqual([choices, trees + choices, trees]);
    expect(wrong(bundle, 232)).toEqual([0, 0]);
    // Tickets go on where the last ones ended.
    expect(wrong(bundle, 233)).toEqual([0, 0]);
  });

  it("differ in both directions, from bundle to bundle, and from the root's; all fit for point-and-permute", () => {
    const offsets = [0, 1, 2].flatMap((number) => {
      const { client, server } = bundleOf(root, { sessionId: session, number }, 240 + number);
      return [client.products.seeds.offset, server.labels.seeds.offset];
    });
    offsets.push(root.server.offset);
    expect(new Set(offsets.map((offset) => offset.join())).size).toBe(7);
    for (const offset of offsets) expect(offset[0]! & 1).toBe(1);
    // The control: a party that draws the same randomness for two bundles has the same offset in both.
    const [one, two] = [3, 4].map(
      (number) => bundleOf(root, { sessionId: session, number }, 250).client.products.seeds.offset,
    );
    expect(one).toEqual(two);
  });

  it('share nothing else between bundles: leaves, streams and checks are of one bundle alone', () => {
    // Even where both parties draw the same randomness twice.
    const [one, two] = [0, 1].map((number) => bundleOf(root, { sessionId: session, number }, 260));
    for (const direction of ['labels', 'products'] as const) {
      for (const part of ['start', 'check', 'leaves'] as const) {
        for (const end of ['client', 'server'] as const) {
          const [a, b] = [one, two].map((own) => own![end][direction].seeds[part]);
          expect(a).not.toEqual(b);
        }
      }
    }
  });

  it('do not work between bundles', () => {
    const request = drawOffsets(name, root.client, stream(270));
    const other = { ...name, number: 1 };
    const answer = () => answerOffsets(other, root.server, request.message, stream(271));
    expect(answer).toThrow(corrupted().message);
  });

  it('refuse wrong lengths', () => {
    const request = drawOffsets(name, root.client, stream(280));
    const { state } = answerOffsets(name, root.server, request.message, stream(281));
    for (const change of [-1, 1]) {
      const bytes = offsetMessageBytes().map((length) => new Uint8Array(length + change));
      const answer = () => answerOffsets(name, root.server, bytes[0]!, stream(282));
      const finish = () => finishOffsets(name, request.state, bytes[1]!, stream(283));
      for (const work of [answer, finish, () => joinOffsets(name, state, bytes[2]!)]) {
        expect(work).toThrow(ProtocolError);
      }
    }
  });
});
