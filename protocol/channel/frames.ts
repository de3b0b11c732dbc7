/**
 * The frame: what one message on the wire looks like, encoded and decoded without I/O.
 *
 * ```
 * byte  0        magic and version, 0x51 (AGREEMENT)
 *       1        kind: what the payload is, chosen by the layer above up to 63; 255 is the ERROR frame, 254 a beat
 *       2.. 3    zero
 *       4.. 7    sequence number of the frame in its direction, from 0, little-endian
 *       8..11    payload length in bytes, little-endian
 *      12..15    zero
 *      16..      payload
 * ```
 *
 * The header is 16 bytes so that a payload in a separate buffer is 16-byte aligned: it can be viewed as an Int32Array
 * or handed to a SIMD kernel without a copy. The sequence number makes a dropped, repeated or reordered frame an error
 * instead of a wrong answer. It is no defence against an attacker on the network: that is TLS's job.
 */

import { isAbortError, ProtocolError, type ProtocolErrorCode } from '../errors.ts';

/** Bytes of a frame before its payload. AGREEMENT: every cost formula counts them. */
export const FRAME_HEADER_BYTES = 16;

/** Largest payload of one frame, in bytes: bulk data beyond it is split by the layer above. AGREEMENT. */
export const MAX_PAYLOAD_BYTES: number = 16 * 1024 * 1024;

/** Largest frame in bytes, and so the largest message a WebSocket has to accept. AGREEMENT. */
export const MAX_FRAME_BYTES: number = FRAME_HEADER_BYTES + MAX_PAYLOAD_BYTES;

/** The last kind that the layer above may choose: of what is none, nobody would ever ask. AGREEMENT. */
export const LAST_KIND = 63;

/** The kind of the frame in which a party says why it gives up. AGREEMENT. */
export const ERROR_KIND = 255;

/** The kind of an empty frame that says nothing but that its sender is there. AGREEMENT. */
export const BEAT_KIND = 254;

/** Longest sentence in an ERROR frame, in bytes of UTF-8. AGREEMENT. */
export const MAX_ERROR_TEXT_BYTES = 200;

const MAGIC = 0x51;

/** Codes by their byte in an ERROR frame. AGREEMENT: append only. */
const ERROR_CODES: readonly ProtocolErrorCode[] = [
  'lost',
  'version-mismatch',
  'program-mismatch',
  'bad-message',
  'bad-point',
  'refused',
  'timeout',
  'corrupted',
  'quota',
  'draining',
  'idle',
  'failed',
  'busy',
  'limit',
];

/** Frames of a lane arrive in order; those of the other may overtake them. */
export type ChannelLane = 0 | 1;

/**
 * The lane of a kind up to {@link LAST_KIND}: 1 from 32 on, else 0. Frames of one lane are received in order, whatever waits in the other. AGREEMENT.
 */
export function laneOf(kind: number): ChannelLane {
  return kind >> 5 === 1 ? 1 : 0;
}

/** One frame, decoded. */
export interface ChannelFrame {
  readonly kind: number;
  /** A view, 16-byte aligned, of a buffer that nothing else refers to. */
  readonly payload: Uint8Array;
}

/**
 * The header of a frame.
 * @param sequence - frames sent before this one, modulo 2^32
 * @param length - bytes of the payload that follows it
 */
export function encodeHeader(kind: number, sequence: number, length: number): Uint8Array {
  const header = new Uint8Array(FRAME_HEADER_BYTES);
  const view = new DataView(header.buffer);
  header[0] = MAGIC;
  header[1] = kind;
  view.setUint32(4, sequence, true);
  view.setUint32(8, length, true);
  return header;
}

/** A header and its payload in one piece. */
export function joinFrame(header: Uint8Array, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(header.length + payload.length);
  frame.set(header);
  frame.set(payload, header.length);
  return frame;
}

/**
 * Checks the header of a frame against its payload and its place.
 * @param bytes - the frame's first 16 bytes, or all it has if fewer
 * @param payload - what follows them, 16-byte aligned in a buffer that nothing else refers to
 * @param sequence - the sequence number it must carry
 * @throws ProtocolError `bad-message` when anything but a well-formed next frame arrived
 */
export function decodeFrame(
  bytes: Uint8Array,
  payload: Uint8Array,
  sequence: number,
): ChannelFrame {
  if (bytes.length !== FRAME_HEADER_BYTES || payload.length > MAX_PAYLOAD_BYTES) {
    throw malformed(
      `expected between ${FRAME_HEADER_BYTES} and ${MAX_FRAME_BYTES} bytes, got ${bytes.length + payload.length}`,
    );
  }
  const header = new DataView(bytes.buffer, bytes.byteOffset, FRAME_HEADER_BYTES);
  if (bytes[0] !== MAGIC) {
    throw malformed(`expected it to begin with byte ${MAGIC}, got ${bytes[0]}`);
  }
  if (header.getUint16(2, true) !== 0 || header.getUint32(12, true) !== 0) {
    throw malformed('its reserved bytes must be zero');
  }
  const gotSequence = header.getUint32(4, true);
  if (gotSequence !== sequence) {
    throw malformed(`expected number ${sequence} of its direction, got number ${gotSequence}`);
  }
  const length = header.getUint32(8, true);
  if (length !== payload.length) {
    throw malformed(`it announces ${length} payload bytes, it has ${payload.length}`);
  }
  const kind = bytes[1]!;
  if (kind > LAST_KIND && kind < BEAT_KIND) throw malformed(`there is no kind ${kind}`);
  return { kind, payload };
}

/** Bytes of an ERROR frame before its sentence: the code, and after how many ms it is worth asking again, 0 where that is not said. */
const ERROR_HEADER_BYTES = 5;

/**
 * The payload of an ERROR frame. Only a {@link ProtocolError} speaks to the peer in its own words, which are about the
 * peer's behaviour; anything else might describe our inside, so it is replaced by a general sentence.
 */
export function encodeError(reason: Error): Uint8Array {
  let code: ProtocolErrorCode = isAbortError(reason) ? 'lost' : 'failed';
  let text = code === 'lost' ? 'the other side cancelled' : 'the other side failed';
  let retryAfterMs = 0;
  if (reason instanceof ProtocolError) {
    // What one side has closed is lost to the other.
    code = reason.code === 'closed' ? 'lost' : reason.code;
    text = reason.message;
    retryAfterMs = Math.min(reason.retryAfterMs ?? 0, 2 ** 32 - 1);
  }
  const payload = new Uint8Array(ERROR_HEADER_BYTES + MAX_ERROR_TEXT_BYTES);
  payload[0] = ERROR_CODES.indexOf(code);
  new DataView(payload.buffer).setUint32(1, retryAfterMs, true);
  // encodeInto stops before a character that does not fit, so the text never ends inside one.
  const { written } = new TextEncoder().encodeInto(text, payload.subarray(ERROR_HEADER_BYTES));
  return payload.slice(0, ERROR_HEADER_BYTES + written);
}

/** What the peer said in its ERROR frame, as the error our callers see. Total: any payload gives an error. */
export function decodeError(payload: Uint8Array): ProtocolError {
  const text = new TextDecoder().decode(payload.subarray(ERROR_HEADER_BYTES));
  const code = ERROR_CODES[payload[0] ?? -1] ?? 'failed';
  const said = `the peer gave up: ${printable(text) || 'it gave no reason'}`;
  if (payload.length < ERROR_HEADER_BYTES) return new ProtocolError(code, said);
  const { buffer, byteOffset } = payload;
  const retryAfterMs = new DataView(buffer, byteOffset).getUint32(1, true);
  return new ProtocolError(code, said, { retryAfterMs: retryAfterMs || undefined });
}

/** Text in which the peer had a hand, fit for a message that may end on a terminal: short, no control characters. */
export function printable(text: string): string {
  return text.slice(0, MAX_ERROR_TEXT_BYTES).replace(/\p{C}/gu, '');
}

function malformed(what: string): ProtocolError {
  return new ProtocolError('bad-message', `frame: ${what}`);
}
