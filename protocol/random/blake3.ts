/**
 * BLAKE3, unkeyed and keyed, 32 bytes out, by the SIMD kernel: O'Connor, Aumasson, Neves, Wilcox-O'Hearn, "BLAKE3: one
 * function, fast everywhere", 2020.
 *
 * A message is a binary tree over chunks of 1,024 bytes: neighbours are joined, level by level, and the odd one moves up as
 * it is. The kernel makes the nodes of a piece of the message at a time, and joins the pieces' nodes at the end.
 */

import { kernels } from '../kernels/index.ts';

/** Bytes of a digest, of a key, and of a node of the tree. */
export const BLAKE3_BYTES = 32;

const CHUNK_BYTES = 1024;

/** Bytes of a message that are in kernel memory at a time: a power of two of chunks, so that a piece is one node. LOCAL. */
const PIECE_BYTES = 64 * CHUNK_BYTES;

/** What the kernel reads or overwrites behind a piece, and behind nodes. */
const PIECE_SLACK = 3 * CHUNK_BYTES;
const NODE_SLACK = 6 * BLAKE3_BYTES;

const ROOT = 8;
const KEYED = 16;

/** What takes the place of the key where there is none. */
const START = Uint32Array.of(
  0x6a09e667,
  0xbb67ae85,
  0x3c6ef372,
  0xa54ff53a,
  0x510e527f,
  0x9b05688c,
  0x1f83d9ab,
  0x5be0cd19,
);

/** Words change places between rounds: the word that comes i-th is the one that came PERMUTATION[i]-th before. */
const PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
const ROUNDS = 7;

/** Where each round's words lie in the kernel's 16-byte rows, in bytes. */
const SCHEDULE = schedule();

function schedule(): Uint8Array {
  const offsets = new Uint8Array(16 * ROUNDS);
  let order = Array.from({ length: 16 }, (_, i) => i);
  for (let round = 0; round < ROUNDS; round++) {
    offsets.set(
      order.map((word) => 16 * word),
      16 * round,
    );
    order = PERMUTATION.map((place) => order[place]!);
  }
  return offsets;
}

/** Bytes that the kernel works in: schedule, chaining values, words. */
const WORK_BYTES = 16 * ROUNDS + 8 * 16 + 16 * 16;

/**
 * BLAKE3 of `message`, of any length, in pieces of 64 KiB.
 * @param key - 32 bytes, for the keyed mode; the plain hash when left out
 * @returns 32 fresh bytes
 * @throws RangeError when the key is not 32 bytes
 */
export function blake3(message: Uint8Array, key?: Uint8Array): Uint8Array {
  if (key !== undefined && key.length !== BLAKE3_BYTES) {
    throw new RangeError(`BLAKE3 key: expected ${BLAKE3_BYTES} bytes, got ${key.length}`);
  }
  const { arena, blake3: kernel } = kernels();
  const { length } = message;
  const pieces = Math.max(1, Math.ceil(length / PIECE_BYTES));
  const flags = key === undefined ? 0 : KEYED;
  return arena.scope(() => {
    const start = arena.put(key ?? START);
    const work = arena.alloc(WORK_BYTES);
    arena.u8(work, SCHEDULE.length).set(SCHEDULE);
    const most = Math.min(length, PIECE_BYTES);
    const piece = arena.alloc(most + PIECE_SLACK);
    // The nodes of the pieces so far, and behind them those of the piece at hand.
    const nodes = arena.alloc((pieces + most / CHUNK_BYTES) * BLAKE3_BYTES + NODE_SLACK);
    for (let i = 0; i < pieces; i++) {
      const from = i * PIECE_BYTES;
      const bytes = Math.min(PIECE_BYTES, length - from);
      arena.u8(piece, bytes).set(message.subarray(from, from + bytes));
      const own = nodes + i * BLAKE3_BYTES;
      const chunks = Math.max(1, Math.ceil(bytes / CHUNK_BYTES));
      const [root, joined] = pieces > 1 ? [0, 0] : chunks > 1 ? [0, ROOT] : [ROOT, 0];
      kernel.chunks(own, piece, bytes, start, from / CHUNK_BYTES, flags, root, work);
      kernel.parents(own, chunks, start, flags, joined, work);
    }
    kernel.parents(nodes, pieces, start, flags, ROOT, work);
    return arena.u8(nodes, BLAKE3_BYTES).slice();
  });
}
