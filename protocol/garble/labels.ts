/**
 * From bits to labels and back. Labels are 16-byte blocks in any order that both sides agree on, bits one byte 0 or 1
 * for each label. No branch on a bit.
 */

import { kernels } from '../kernels/index.ts';
import { LABEL_BYTES } from './halfgates.ts';

/** Labels converted at a time, so that the pieces stay in cache. LOCAL. */
const PIECE = 4096;

/**
 * The labels that stand for `bits`: zero label xor bit * delta. How the garbler encodes its inputs.
 * @throws RangeError when the number of bits is not the number of labels
 */
export function activeLabels(
  zeroLabels: Uint8Array,
  delta: Uint8Array,
  bits: Uint8Array,
): Uint8Array {
  checkCount(zeroLabels, bits);
  checkDelta(delta);
  const { arena, garble } = kernels();
  const out = new Uint8Array(zeroLabels.length);
  arena.scope(() => {
    const offset = arena.put(delta);
    const labels = arena.alloc(PIECE * LABEL_BYTES);
    const choices = arena.alloc(PIECE);
    for (let from = 0; from < bits.length; from += PIECE) {
      const n = Math.min(PIECE, bits.length - from);
      const view = arena.u8(labels, n * LABEL_BYTES);
      view.set(zeroLabels.subarray(from * LABEL_BYTES, (from + n) * LABEL_BYTES));
      arena.u8(choices, n).set(bits.subarray(from, from + n));
      garble.xorSelected(labels, labels, choices, offset, n);
      out.set(view, from * LABEL_BYTES);
    }
  });
  return out;
}

/**
 * Turns zero labels into the labels of words' bits, in place: wire w, of words.length labels, takes bit positions[w].
 * @throws RangeError when the number of labels is not a wire for each position
 */
export function activateWords(
  labels: Uint8Array,
  delta: Uint8Array,
  words: Int32Array,
  positions: readonly number[],
): void {
  const wireBytes = words.length * LABEL_BYTES;
  if (labels.length !== positions.length * wireBytes) {
    throw new RangeError(
      `labels: expected ${positions.length * wireBytes} bytes for ${positions.length} bits of ` +
        `${words.length} words, got ${labels.length}`,
    );
  }
  checkDelta(delta);
  const { arena, garble } = kernels();
  arena.scope(() => {
    const offset = arena.put(delta);
    const values = arena.put(words);
    const wire = arena.alloc(wireBytes);
    const view = arena.u8(wire, wireBytes);
    positions.forEach((position, w) => {
      view.set(labels.subarray(w * wireBytes, (w + 1) * wireBytes));
      garble.xorSelectedByWord(wire, wire, values, position, offset, words.length);
      labels.set(view, w * wireBytes);
    });
  });
}

/** The colour of each label: its lowest bit, one byte 0 or 1. */
export function colours(labels: Uint8Array): Uint8Array {
  if (labels.length % LABEL_BYTES !== 0) {
    throw new RangeError(`labels: expected a multiple of 16 bytes, got ${labels.length}`);
  }
  // A strided read of one byte in sixteen: copying the labels to a kernel would cost more.
  const out = new Uint8Array(labels.length / LABEL_BYTES);
  for (let i = 0; i < out.length; i++) out[i] = labels[LABEL_BYTES * i]! & 1;
  return out;
}

/**
 * The bits that active labels stand for, given the colours of the zero labels: the evaluator's decoding of outputs the
 * garbler lets it learn.
 * @throws RangeError when the number of colours is not the number of labels
 */
export function decodeBits(labels: Uint8Array, zeroColours: Uint8Array): Uint8Array {
  checkCount(labels, zeroColours);
  return colours(labels).map((colour, i) => colour ^ (zeroColours[i]! & 1));
}

function checkDelta(delta: Uint8Array): void {
  if (delta.length !== LABEL_BYTES) {
    throw new RangeError(`garbling offset: expected ${LABEL_BYTES} bytes, got ${delta.length}`);
  }
}

function checkCount(labels: Uint8Array, bits: Uint8Array): void {
  if (labels.length !== bits.length * LABEL_BYTES) {
    throw new RangeError(
      `labels: expected ${bits.length * LABEL_BYTES} bytes for ${bits.length} bits, got ${labels.length}`,
    );
  }
}
