/**
 * What a party gets that sends inconsistent choices in OTs, which is how a client once learnt the server's garbling offset, four
 * bits an inference: an end of the session that says nothing, or what it has guessed already.
 */

import { describe, expect, it } from 'vitest';
import { encodeError } from '../../protocol/channel/frames.ts';
import { corrupted } from '../../protocol/errors.ts';
import { argmax } from '../../protocol/gadgets/argmax.ts';
import { Kind } from '../../protocol/inference/messages.ts';
import { redeemSender } from '../../protocol/ot/correlations.ts';
import { extensionBytes } from '../../protocol/ot/softspoken.ts';
import { Prg, randomBytes } from '../../protocol/random/index.ts';
import { type Flip, fitted, flipped, groupOf } from '../protocol/ot/support.ts';
import { seedOf } from '../support/model.ts';
import type { Change } from '../support/resealed.ts';
import { failureOf, LocalServer, plainAnswer, somePixels } from '../system/support.ts';
import {
  attackedModel,
  bestMessage,
  deviatingClient,
  deviatingServer,
  failing,
  hooked,
  type InputOf,
  inFrames,
  noting,
  upToError,
} from './support.ts';

const model = attackedModel();
const named = { name: 'attacked', model };
const pixels = somePixels(model);

const seen = { prepareBatch: [] as InputOf<'prepareBatch'>[] };
const server = new LocalServer([named], { pool: hooked(noting(seen)) });

type Damage = (payload: Uint8Array) => Uint8Array;

const noise: Damage = (payload) => randomBytes(new Prg(seedOf(712)), payload.length);
const lastByte: Damage = (payload) =>
  payload.map((byte, i) => (i === payload.length - 1 ? byte ^ 1 : byte));
/** Of a message of choices. */
const flip =
  (...flips: Flip[]): Damage =>
  (payload) =>
    flipped(payload, flips);

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** The error of every check, as the party that finds it has it. */
const refusal = corrupted();

/** An offset of which four bits are not zero. */
function bitsOf(bits: number, group: number): Uint8Array {
  const offset = new Uint8Array(16);
  offset[group >> 1] = bits << (4 * (group & 1));
  return offset;
}

describe('a client that deviates in OTs', () => {
  it('hears one refusal, the same for all, at its first deviation, and nothing that depends on it', async () => {
    const { session, frames: honest } = deviatingClient(server);
    await (await session).infer(pixels);
    await (await session).close();
    const one = { correlation: 100, group: 7 };
    const four = [7, 8, 9, 10].map((group, i) => ({ correlation: 3 * i, group }));
    const last = { correlation: seen.prepareBatch[0]!.labels.count - 1, group: 31 };
    const ofReLUs = (damage: Damage) => inFrames(Kind.labelChoices, damage, 0);
    // What it changes, which of the honest server's frames it waits for in vain, and how many tables it has by then.
    const deviations: [string, Change, missed: number, tables: number][] = [
      ['a choice for a ReLU', ofReLUs(flip(one)), Kind.tables, 0],
      ['choices for ReLUs, to four groups', ofReLUs(flip(...four)), Kind.tables, 0],
      ['the last choice for a ReLU', ofReLUs(flip(last)), Kind.tables, 0],
      ['what it says to the check', ofReLUs(lastByte), Kind.tables, 0],
      ['a choice for the argmax', inFrames(Kind.labelChoices, flip(one), 1), Kind.tables, 1],
      ['a bundle’s trees', inFrames(Kind.labelTrees, noise), Kind.tables, 0],
      ['a choice of its offset', inFrames(Kind.clientOffset, flip(one)), Kind.serverOffset, 0],
      ['the session’s trees', inFrames(Kind.setupExtend, noise), Kind.serverOffset, 0],
      ['no deviation, the seal of a reservation', inFrames(Kind.seal, lastByte, 1), Kind.grant, 0],
      ['no deviation, a bundle’s seal', inFrames(Kind.seal, lastByte, 2), Kind.tables, 1],
    ];
    const errors: string[] = [];
    for (const [what, change, missed, tables] of deviations) {
      const { session, frames } = deviatingClient(server, { change });
      const failure = await failureOf(session.then((open) => open.infer(pixels)));
      await server.settled();
      const { said, error } = upToError(frames);
      expect(said, what).toEqual(honest.slice(0, said.length));
      expect(honest[said.length]!.kind, what).toBe(missed);
      expect(said.filter(({ kind }) => kind === Kind.tables).length, what).toBe(tables);
      expect(failure.message, what).toBe(`the peer gave up: ${refusal.message}`);
      errors.push(hex(error!));
    }
    expect(new Set(errors)).toEqual(new Set([hex(encodeError(refusal))]));
    const { code, message } = refusal;
    expect(server.of('error')).toMatchObject(deviations.map(() => ({ code, message })));
  });

  it('and guesses four bits of the offset passes the check in one of sixteen sessions, and knows them then', async () => {
    const flips = [{ correlation: 100, group: 5 }];
    const passed: number[] = [];
    for (let guess = 0; guess < 16; guess++) {
      const { session } = deviatingClient(server, {
        hooks: {
          openBatch: async (input, run) => ({
            ...(await run()),
            choices: bestMessage(input, flips, bitsOf(guess, 5)),
          }),
        },
      });
      const open = await session;
      const failure = await failing(open.prepare());
      if (failure === undefined) passed.push(guess);
      else expect(failure.message).toBe(`the peer gave up: ${refusal.message}`);
      await open.close();
    }
    await server.settled();
    const offsets = seen.prepareBatch.map(({ labels }) => labels.seeds.offset);
    expect(new Set(offsets.map(hex)).size).toBe(1);
    expect(passed.map((guess) => bitsOf(guess, 5))).toEqual([groupOf(offsets[0]!, 5)]);
  });

  it('and guesses eight bits of the offset passes with one of 256 guesses', async () => {
    const opened: InputOf<'openBatch'>[] = [];
    const hooks = noting({ openBatch: opened });
    const open = await deviatingClient(server, { hooks }).session;
    await open.prepare();
    await open.close();
    const { labels } = seen.prepareBatch.at(-1)!;
    const flips = [5, 20].map((group) => ({ correlation: 3 * group, group }));
    const passed: Uint8Array[] = [];
    for (let guess = 0; guess < 256; guess++) {
      const low = bitsOf(guess & 15, 5);
      const guessed = bitsOf(guess >> 4, 20).map((byte, i) => byte | low[i]!);
      try {
        // What the server does with the choices of a batch before anything else.
        redeemSender(labels, bestMessage(opened[0]!, flips, guessed));
        passed.push(guessed);
      } catch (error) {
        expect(error).toEqual(refusal);
      }
    }
    const { offset } = labels.seeds;
    const [low, high] = [groupOf(offset, 5), groupOf(offset, 20)];
    expect(passed).toEqual([low.map((byte, i) => byte | high[i]!)]);
  });
});

describe('planted fault: a server that does not check the choices for its argmax', () => {
  it('goes on, and of the bits of its offset that a client asks for the label rules out most', async () => {
    const flips = [{ correlation: 3, group: 5 }];
    const opened: InputOf<'openArgmax'>[] = [];
    const rights: Uint8Array[] = [];
    // The check of what comes always fits, whatever was sent: it is made here, with the server's own offset for a guess.
    const careless = hooked({
      prepareArgmax(input, run) {
        const { offset } = input.ticket.seeds;
        const { params, c, ticket } = opened.at(-1)!;
        rights.push(groupOf(offset, 5));
        const chunk = {
          chunk: ticket.firstChunk,
          count: ticket.count,
          choices: argmax.choose(params, c),
        };
        return run({ ...input, choices: fitted(ticket.seeds, chunk, flips, offset) });
      },
    });
    const { label } = plainAnswer(model, pixels);
    const left: Uint8Array[][] = [];
    const { session } = deviatingClient(new LocalServer([named], { pool: careless }), {
      hooks: {
        ...noting({ openArgmax: opened }),
        async evaluateArgmax({ params, labels, tables, tweaks, material }) {
          const guesses = Array.from({ length: 16 }, (_, guess) => bitsOf(guess, 5));
          left.push(
            guesses.filter((guess) => {
              const own = labels.slice();
              guess.forEach((byte, i) => {
                own[16 * 3 + i]! ^= byte;
              });
              return argmax.evaluate(params, own, tables, tweaks, material) === label;
            }),
          );
          return label;
        },
      },
    });
    const open = await session;
    for (let i = 0; i < 8; i++) await open.infer(pixels);
    await open.close();
    left.forEach((guesses, i) => {
      expect(guesses).toContainEqual(rights[i]);
    });
    expect(left.flat().length).toBeLessThan((8 * 16) / 3);
  });
});

describe('a server that deviates in OTs', () => {
  /** What a client says to a server that changes its frames, and how it ends. */
  async function meet(change: Change) {
    const { pair, sessions } = deviatingServer(change);
    const deviating = new LocalServer([named], { pair });
    const run = async () => {
      const session = await deviating.connect();
      await session.infer(pixels);
      await session.close();
    };
    const failure = await failing(run());
    await deviating.settled();
    return { failure, ...upToError(sessions[0]!) };
  }

  it('hears one refusal, the same for all, and no correction that depends on what it chose', async () => {
    const { said: honest, failure: none } = await meet((_, payload) => payload);
    expect(none).toBeUndefined();
    const one = { correlation: 10, group: 3 };
    /** The choices of the server's offset, behind its trees. */
    const offset: Damage = (payload) => {
      const at = payload.length - extensionBytes(128);
      const changed = payload.slice();
      changed.set(flipped(payload.subarray(at), [one]), at);
      return changed;
    };
    // What it changes, and which of the honest client's frames it waits for in vain.
    const deviations: [string, Change, missed: number][] = [
      ['a choice for a ReLU', inFrames(Kind.productChoices, flip(one)), Kind.labelChoices],
      ['what it says to the check', inFrames(Kind.productChoices, lastByte), Kind.labelChoices],
      ['a choice of its offset', inFrames(Kind.serverOffset, offset), Kind.command],
      ['no deviation, the seal of a draw', inFrames(Kind.seal, lastByte, 2), Kind.command],
    ];
    const errors: string[] = [];
    for (const [what, change, missed] of deviations) {
      const { said, error, failure } = await meet(change);
      expect(said, what).toEqual(honest.slice(0, said.length));
      expect(honest[said.length]!.kind, what).toBe(missed);
      expect(
        said.map(({ kind }) => kind),
        what,
      ).not.toContain(Kind.corrections);
      expect(failure, what).toEqual(refusal);
      errors.push(hex(error!));
    }
    expect(new Set(errors)).toEqual(new Set([hex(encodeError(refusal))]));
  });
});

it('after all of this the server answers another client', async () => {
  const session = await server.connect();
  expect((await session.infer(pixels)).label).toBe(plainAnswer(model, pixels).label);
  await session.close();
});
