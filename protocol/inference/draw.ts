/**
 * Drawing a bundle: what of it depends on nothing else. Fresh offsets in both directions (ot/offsets.ts), and the server's random
 * choices in the product OTs; the first flight of the offline phase, that may go ahead of it.
 *
 *     client                                                     server
 *       |  ---- draw, choices of its offset -------------------->  |
 *       |  <--- trees, choices of its offset --------------------  |
 *       |  <--- per batch: choices in the product OTs; seal -----  |
 *
 * Each number is drawn once, in order: base OTs of the same number under two choices of the client would give it both keys.
 */

import { ProtocolError } from '../errors.ts';
import type { BaseReceiverKeys } from '../ot/base.ts';
import { cotBytes } from '../ot/correlations.ts';
import {
  answerOffsets,
  type BundleName,
  drawOffsets,
  finishOffsets,
  offsetMessageBytes,
} from '../ot/offsets.ts';
import { deriveSeed, Prg, type Random } from '../random/index.ts';
import { type BatchLane, batchesOf, type LaneBatch, over, productCount } from './batches.ts';
import type { ClientDraw } from './bundle.ts';
import { Deferred, Ordered, type Slots, slotsOf } from './flow.ts';
import { Command, encodeCommand, Kind, receiveMessage, sendMessage } from './messages.ts';
import { bundleSeed, type ClientSession, type ServerSession } from './session.ts';
import type { LaneInput } from './tasks.ts';

/**
 * Client: draws the next bundle's offsets, and takes the server's choices, ahead of it, which saves its preparation a round trip.
 * Does nothing when it has them.
 */
export async function drawClient(session: ClientSession): Promise<void> {
  if (session.drawn !== undefined) return;
  session.drawn = await takeDraw(session, await sendDraw(session, session.nextBundle));
}

/** What the client keeps until the server's answer to a draw. */
export interface AskedDraw {
  readonly name: BundleName;
  readonly keys: BaseReceiverKeys;
  readonly random: Random;
}

/** Asks for the draw of bundle `number`. */
export async function sendDraw(session: ClientSession, number: number): Promise<AskedDraw> {
  const { channel, id, root } = session;
  const name = { sessionId: id, number };
  const random = new Prg(deriveSeed(bundleSeed(session), 'offsets'));
  const { message, state: keys } = drawOffsets(name, root, random);
  await channel.send(Kind.command, encodeCommand(Command.draw, number));
  await channel.send(Kind.clientOffset, message);
  return { name, keys, random };
}

/** The answer to a draw, as it arrives. */
export interface ArrivingDraw {
  readonly offsets: Deferred<Pick<ClientDraw, 'cots' | 'trees'>>;
  /** The server's choices in the product OTs. */
  readonly choices: Slots<Uint8Array>;
}

/** Hands on the answer as it arrives. */
export async function receiveDraw(
  { channel, otK }: ClientSession,
  { name, keys, random }: AskedDraw,
  batches: readonly LaneBatch[],
  { offsets, choices }: ArrivingDraw,
): Promise<void> {
  const answer = await channel.receive(Kind.serverOffset, offsetMessageBytes(otK)[1]);
  const { message: trees, cots } = finishOffsets(name, keys, answer, random, otK);
  offsets.resolve({ cots, trees });
  for (const [i, lanes] of batches.entries()) {
    const bytes = cotBytes(over(lanes, productCount), otK);
    choices[i]!.resolve(await receiveMessage(channel, Kind.productChoices, bytes));
  }
  await channel.expectSeal();
}

/** The whole answer. */
export async function takeDraw(session: ClientSession, asked: AskedDraw): Promise<ClientDraw> {
  const batches = batchesOf(session.layout);
  const choices = slotsOf<Uint8Array>(batches);
  const arriving = { offsets: new Deferred<Pick<ClientDraw, 'cots' | 'trees'>>(), choices };
  await receiveDraw(session, asked, batches, arriving);
  return {
    number: asked.name.number,
    ...(await arriving.offsets.promise),
    choices: await Promise.all(choices.map((slot) => slot!.promise)),
  };
}

/**
 * Server: draws the offsets and its choices for the product OTs of bundle `number`, and sends them; the client's command has been
 * read.
 * @throws ProtocolError `bad-message` out of turn, `corrupted` when the check of the client's offset fails
 */
export async function drawServer(session: ServerSession, number: number): Promise<void> {
  const { channel, pool, id, layout, otK, root } = session;
  if (session.drawn !== undefined) {
    throw new ProtocolError(
      'bad-message',
      `another bundle is drawn, and not prepared, before ${number}`,
    );
  }
  // A number drawn twice would give the client both keys of the same base OTs.
  if (number !== session.nextBundle) {
    throw new ProtocolError('bad-message', `bundle ${number} is drawn out of turn`);
  }
  session.nextBundle++;
  const seed = bundleSeed(session);
  const request = await channel.receive(Kind.clientOffset, offsetMessageBytes(otK)[0]);
  const random = new Prg(deriveSeed(seed, 'offsets'));
  const { message, state: offsets } = answerOffsets(
    { sessionId: id, number },
    root,
    request,
    random,
  );
  await channel.send(Kind.serverOffset, message);
  const batches: { blocks: Uint8Array; choices: Uint8Array }[] = [];
  const messages = new Ordered<() => Promise<void>>(pool.workers + 1, (send) => send());
  for (const batch of batchesOf(layout)) {
    const lanes = batch.map((lane) => laneInput(lane, seed));
    const ticket = offsets.products.take(over(batch, productCount));
    const work = pool.run('drawBatch', { lanes, ticket });
    await messages.add(
      work.then(({ message, ...own }) => async () => {
        batches.push(own);
        await sendMessage(channel, Kind.productChoices, message);
      }),
    );
  }
  await messages.drain();
  await channel.seal();
  session.drawn = { number, seed, offsets, batches };
}

/** What a task needs of a lane, with the seed of what is random in it. */
export function laneInput({ kind, params, n, at }: BatchLane, seed: Uint8Array): LaneInput {
  return { kind, params, n, seed: deriveSeed(seed, 'lane', at) };
}
