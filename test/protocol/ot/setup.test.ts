import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ProtocolError } from '../../../protocol/errors.ts';
import {
  ClientSetup,
  type Cots,
  SETUP_MESSAGE_BYTES,
  ServerSetup,
} from '../../../protocol/ot/setup.ts';
import { type Random, randomBytes } from '../../../protocol/random/index.ts';
import { broken, stream } from './support.ts';

function run(sessionId: Uint8Array, clientRandom: Random, serverRandom: Random) {
  const client = new ClientSetup(sessionId, clientRandom);
  const server = new ServerSetup(sessionId, serverRandom);
  const offer = client.offer();
  const choice = server.choose(offer);
  const trees = client.extend(choice);
  const { message, cots } = server.finish(trees);
  return {
    messages: [offer, choice, trees, message],
    client: client.finish(message),
    server: cots,
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
  const made = run(session, stream(201), stream(202));

  it('sends messages of the stated lengths', () => {
    expect(made.messages.map((message) => message.length)).toEqual([...SETUP_MESSAGE_BYTES]);
    expect(SETUP_MESSAGE_BYTES).toEqual([32, 4096, 4096 + 512, 4096]);
  });

  it('wire baseline: the same seeds send the same bytes as ever', () => {
    const again = run(session, stream(201), stream(202));
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
      'd1226a17058ea5be',
      'c0bf878208f3ea80',
      '3bab947d8398b6c3',
      '401a5c1bd26ec9e6',
      '5daa6265a775c99c',
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

  it('draws another offset in every session', () => {
    const again = run(session, stream(206), stream(207));
    expect(again.server.sender.offset).not.toEqual(made.server.sender.offset);
    expect(again.client.sender.offset).not.toEqual(made.client.sender.offset);
  });

  it('does not work between parties of different sessions', () => {
    const client = new ClientSetup(session, stream(208));
    const server = new ServerSetup(randomBytes(stream(209), 16), stream(210));
    const { message, cots } = server.finish(client.extend(server.choose(client.offer())));
    expect(correlate(cots, client.finish(message), 211)).toBe(300);
  });

  it('refuses wrong lengths and steps out of order', () => {
    const client = new ClientSetup(session, stream(212));
    const server = new ServerSetup(session, stream(213));
    expect(() => client.extend(made.messages[1]!)).toThrow(RangeError);
    expect(() => client.finish(made.messages[3]!)).toThrow(RangeError);
    expect(() => server.finish(made.messages[2]!)).toThrow(RangeError);
    const choice = server.choose(client.offer());
    const trees = client.extend(choice);
    expect(() => client.extend(choice)).toThrow(RangeError);
    for (const bytes of [0, trees.length - 1, trees.length + 1]) {
      expect(() => server.finish(new Uint8Array(bytes))).toThrow(ProtocolError);
    }
    for (const bytes of [0, 4095, 4097]) {
      expect(() => client.finish(new Uint8Array(bytes))).toThrow(ProtocolError);
    }
  });
});
