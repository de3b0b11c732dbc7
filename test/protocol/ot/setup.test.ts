import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../protocol/errors.ts';
import {
  type Cots,
  chooseSetup,
  cotsOf,
  extendSetup,
  finishSetup,
  joinSetup,
  offerSetup,
  setupMessageBytes,
} from '../../../protocol/ot/setup.ts';
import { DEFAULT_OT_K, OT_KS, type OtK } from '../../../protocol/ot/softspoken.ts';
import { randomBytes } from '../../../protocol/random/index.ts';
import { broken, stream } from './support.ts';

function run(session: Uint8Array, seed: number, serverSession = session, k: OtK = DEFAULT_OT_K) {
  const offer = offerSetup(stream(seed));
  const choice = chooseSetup(serverSession, offer.message, stream(seed + 1000));
  const trees = extendSetup(session, offer.state, choice.message, stream(seed + 2000), k);
  const last = finishSetup(serverSession, choice.state, trees.message, stream(seed + 3000), k);
  return {
    messages: [offer, choice, trees, last].map(({ message }) => message),
    states: { offer: offer.state, choice: choice.state, trees: trees.state },
    client: cotsOf(joinSetup(session, trees.state, last.message)),
    server: cotsOf(last.seeds),
  };
}

function correlate(from: Cots, to: Cots, seed: number): number {
  const count = 300;
  const choices = randomBytes(stream(seed), Math.ceil(count / 8));
  from.sender.alloc(count);
  to.receiver.alloc(choices, count);
  from.sender.flush(to.receiver.flush());
  return broken(
    from.sender.take(count),
    to.receiver.take(count),
    choices,
    from.sender.offset,
    count,
  );
}

describe('OT setup', () => {
  const session = randomBytes(stream(200), 16);
  const made = run(session, 201);

  it('sends messages of the stated lengths', () => {
    expect(made.messages.map((message) => message.length)).toEqual([...setupMessageBytes()]);
    expect(setupMessageBytes()).toEqual([32, 4096, 4096 + 512, 4096]);
  });

  it('wire baseline: the same seeds send the same bytes as ever', () => {
    const again = run(session, 201);
    const digests = again.messages.map((message) =>
      createHash('sha256').update(message).digest('hex').slice(0, 16),
    );
    again.server.sender.alloc(200);
    again.client.receiver.alloc(new Uint8Array(25).fill(0x5a), 200);
    const flush = again.client.receiver.flush();
    again.server.sender.flush(flush);
    digests.push(createHash('sha256').update(flush).digest('hex').slice(0, 16));
    const q = again.server.sender.take(200);
    digests.push(createHash('sha256').update(q).digest('hex').slice(0, 16));
    expect(digests).toEqual([
      'a8742d82716ee39d',
      '65def06b18f64e83',
      '08d99936f8df70cf',
      'f9eaa129f84d3781',
      '3b0c0e63af4dc428',
      '381fa422bbfe7713',
    ]);
  });

  it('correlates both ways under two offsets fit for point-and-permute', () => {
    expect(correlate(made.server, made.client, 203)).toBe(0);
    expect(correlate(made.client, made.server, 204)).toBe(0);
    expect(correlate(made.server, made.client, 205)).toBe(0);
    const offsets = [made.server.sender.offset, made.client.sender.offset];
    expect(offsets[0]).not.toEqual(offsets[1]);
    for (const offset of offsets) expect(offset[0]! & 1).toBe(1);
  });

  it.each(OT_KS)('correlates both ways with k = %i', (k) => {
    const { messages, client, server } = run(session, 230, session, k);
    const bytes = setupMessageBytes(k);
    expect(messages.map((message) => message.length)).toEqual([...bytes]);
    expect(bytes).toEqual([32, 4096, 4096 + 16 * Math.ceil(128 / k), 4096]);
    expect(correlate(server, client, 231)).toBe(0);
    expect(correlate(client, server, 232)).toBe(0);
  });

  it('draws another offset in every session', () => {
    const again = run(session, 206);
    expect(again.server.sender.offset).not.toEqual(made.server.sender.offset);
    expect(again.client.sender.offset).not.toEqual(made.client.sender.offset);
  });

  it('does not work between parties of different sessions', () => {
    const { client, server } = run(session, 208, randomBytes(stream(209), 16));
    expect(correlate(server, client, 211)).toBe(300);
  });

  it('refuses wrong lengths', () => {
    const { offer, choice, trees } = made.states;
    const finish = (bytes: number, k: OtK) => () =>
      finishSetup(session, choice, new Uint8Array(bytes), stream(214), k);
    for (const change of [-1, 1]) {
      const bytes = setupMessageBytes().map((length) => new Uint8Array(length + change));
      expect(() => chooseSetup(session, bytes[0]!, stream(212))).toThrow(ProtocolError);
      expect(() => extendSetup(session, offer, bytes[1]!, stream(213))).toThrow(ProtocolError);
      expect(() => joinSetup(session, trees, bytes[3]!)).toThrow(ProtocolError);
      for (const k of OT_KS)
        expect(finish(setupMessageBytes(k)[2] + change, k)).toThrow(ProtocolError);
    }
    // The trees of one k are not those of another.
    expect(finish(setupMessageBytes(4)[2], 6)).toThrow(ProtocolError);
  });
});
