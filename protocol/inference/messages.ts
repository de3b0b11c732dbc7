/**
 * The messages of a session: their kinds, and how long ones travel.
 *
 * A kind belongs to one flight: messages of a flight depend only on those of flights before it. Two flights make a round
 * trip, so the number of rounds of a phase is half its flights.
 *
 *   handshake   client hello | server welcome, program
 *   setup       client setupOffer | server setupChoice | client setupExtend
 *   hint        client hint | server hint: once for a client that has not kept it
 *   reserve     client reserve | server grant: of the bundles that a call is going to prepare
 *   draw        client draw, clientOffset | server serverOffset, productChoices: of one bundle, ahead of it
 *   offline     client prepare, layer, labelTrees, labelChoices, corrections | server tables
 *   online      client infer, maskedInput | then per activation layer: server material | client result
 *               at last: server output
 *
 * Kinds from 32 on are the online lane, which goes on beside the other: an inference does not wait for a preparation. Each lane has
 * its seals.
 *
 * A seal (channel/sealed.ts) ends a flight whose effect the receiver is about to believe, as a frame of that flight:
 *
 *   client      behind setupExtend; behind a reservation; behind its last frame of a bundle; behind the goodbye
 *               online: behind the last result, or the masked input where there is no activation layer
 *   server      behind setupChoice, the hint, the grant, the choices of a draw, the last tables
 *               online: behind the output
 *
 * The server verifies the client's before it finishes a setup or a bundle and before it sends an output; the client verifies
 * the server's before it uses a setup or a hint, and before it has a bundle or a result. A seal is of all that its sender has
 * sent on its lane in the session.
 */

import { bulkBytes } from '../bulk.ts';
import type { Channel } from '../channel/index.ts';
import { FRAME_HEADER_BYTES } from '../channel/index.ts';
import type { SealedChannel } from '../channel/sealed.ts';

/** Frame kinds. AGREEMENT. */
export const Kind = {
  hello: 1,
  welcome: 2,
  program: 3,
  setupOffer: 4,
  hint: 5,
  setupChoice: 6,
  setupExtend: 7,
  command: 16,
  layer: 17,
  clientOffset: 18,
  productChoices: 19,
  labelChoices: 20,
  corrections: 21,
  tables: 22,
  serverOffset: 23,
  labelTrees: 24,
  grant: 25,
  seal: 26,
  infer: 32,
  maskedInput: 33,
  material: 34,
  result: 35,
  output: 36,
  onlineSeal: 37,
} as const;

/** What a command frame asks for. No two differ in one bit, so that a changed bit makes no other command. AGREEMENT. */
export const Command = { prepare: 1, infer: 2, bye: 4, draw: 7, hint: 8, reserve: 11 } as const;

/** Bytes of a command frame's payload: the command, and the number of the bundle it is about, how many it asks for, or 0. */
export const COMMAND_BYTES = 8;

/** Longest payload of one frame of a long message. AGREEMENT. */
export const PIECE_BYTES: number = 1 << 21;

/** Bytes on the wire of a message of `bytes` bytes, headers included; an empty message is not sent. */
export function wireBytes(bytes: number): number {
  return bytes + FRAME_HEADER_BYTES * Math.ceil(bytes / PIECE_BYTES);
}

/** Sends a message of any length in frames of at most {@link PIECE_BYTES}. */
export async function sendMessage(
  channel: Channel,
  kind: number,
  message: Uint8Array,
): Promise<void> {
  for (let at = 0; at < message.length; at += PIECE_BYTES) {
    await channel.send(kind, message.subarray(at, at + PIECE_BYTES));
  }
}

/**
 * Receives a message of exactly `bytes` bytes.
 * @param onBytes - called with the bytes that have come
 */
export async function receiveMessage(
  channel: Channel,
  kind: number,
  bytes: number,
  onBytes?: (bytes: number) => void,
): Promise<Uint8Array> {
  if (bytes > 0 && bytes <= PIECE_BYTES) {
    const message = await channel.receive(kind, bytes);
    onBytes?.(bytes);
    return message;
  }
  const message = bulkBytes(bytes);
  for (let at = 0; at < bytes; at += PIECE_BYTES) {
    message.set(await channel.receive(kind, Math.min(PIECE_BYTES, bytes - at)), at);
    onBytes?.(Math.min(at + PIECE_BYTES, bytes));
  }
  return message;
}

/** A command's payload. */
export function encodeCommand(command: number, bundle: number): Uint8Array {
  const payload = new Uint8Array(COMMAND_BYTES);
  const view = new DataView(payload.buffer);
  view.setUint32(0, command, true);
  view.setUint32(4, bundle, true);
  return payload;
}

/** Reads a command's payload of {@link COMMAND_BYTES} bytes. */
export function decodeCommand(payload: Uint8Array): { command: number; bundle: number } {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  return { command: view.getUint32(0, true), bundle: view.getUint32(4, true) };
}

/** Client: says goodbye and ends the channel. A server that is gone already needs none. */
export async function sayGoodbye(channel: SealedChannel): Promise<void> {
  await channel.send(Kind.command, encodeCommand(Command.bye, 0)).catch(() => {});
  await channel.seal().catch(() => {});
  channel.close();
}
