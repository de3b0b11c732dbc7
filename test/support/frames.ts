/** Whole frames, as tests make and read them. */

import {
  type ChannelFrame,
  decodeFrame,
  encodeHeader,
  FRAME_HEADER_BYTES,
  joinFrame,
} from '../../protocol/channel/frames.ts';

/** A frame in one piece. */
export function encodeFrame(kind: number, sequence: number, payload: Uint8Array): Uint8Array {
  return joinFrame(encodeHeader(kind, sequence, payload.length), payload);
}

/** Reads a frame in one piece. */
export function readFrame(frame: Uint8Array, sequence: number): ChannelFrame {
  const cut = FRAME_HEADER_BYTES;
  return decodeFrame(frame.subarray(0, cut), frame.subarray(cut), sequence);
}
