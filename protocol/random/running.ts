/**
 * A running digest: of a stream of messages, by BLAKE3, at a small part of its cost where messages are long.
 *
 *     running = BLAKE3(message, keyed with running)
 *
 * A message of 1,024 bytes or more is condensed first, each 4,096 bytes of it to 32, the last filled up with zeros: NH of UMAC
 * (Black, Halevi, Krawczyk, Krovetz, Rogaway, "UMAC: fast and secure message authentication", Crypto 1999; RFC 4418) under a
 * fixed public key, twice. A change that was made without looking at the key stays unseen with probability 2^-64 at most.
 * Whoever looks at the key can make one that does: where that matters, {@link blake3} it is.
 */

import { kernels } from '../kernels/index.ts';
import { aesCounterStream } from './aes.ts';
import { blake3 } from './blake3.ts';

/** Shortest message that is condensed. AGREEMENT. */
const LONG_BYTES = 1024;

/** Bytes that become 32. AGREEMENT. */
const BLOCK_BYTES = 4096;
const CONDENSED_BYTES = 32;

/** Blocks that are in kernel memory at a time. LOCAL. */
const PIECE_BLOCKS = 16;

/** Where the key lies in the kernel memory of this thread. */
let keyPointer: number | undefined;

/** The key: the AES-128-CTR stream under a key of zeros. AGREEMENT. */
function condensingKey(): number {
  if (keyPointer === undefined) {
    const key = new Uint8Array(BLOCK_BYTES + 16);
    aesCounterStream(new Uint8Array(16), 0, key);
    const { arena } = kernels();
    keyPointer = arena.permanent(key.length);
    arena.u8(keyPointer, key.length).set(key);
  }
  return keyPointer;
}

/**
 * The digest after `message`, from the one before.
 * @param running - 32 bytes
 * @returns 32 fresh bytes
 * @throws RangeError when `running` is not 32 bytes
 */
export function nextDigest(running: Uint8Array, message: Uint8Array): Uint8Array {
  return blake3(message.length < LONG_BYTES ? message : condensed(message), running);
}

function condensed(message: Uint8Array): Uint8Array {
  const { arena, condense } = kernels();
  const blocks = Math.ceil(message.length / BLOCK_BYTES);
  const out = new Uint8Array(blocks * CONDENSED_BYTES);
  const key = condensingKey();
  arena.scope(() => {
    const most = Math.min(blocks, PIECE_BLOCKS);
    const source = arena.u8(arena.alloc(most * BLOCK_BYTES), most * BLOCK_BYTES);
    const target = arena.u8(arena.alloc(most * CONDENSED_BYTES), most * CONDENSED_BYTES);
    for (let block = 0; block < blocks; block += PIECE_BLOCKS) {
      const count = Math.min(PIECE_BLOCKS, blocks - block);
      const from = block * BLOCK_BYTES;
      const piece = message.subarray(from, from + count * BLOCK_BYTES);
      source.set(piece);
      source.fill(0, piece.length, count * BLOCK_BYTES);
      condense.condense(target.byteOffset, source.byteOffset, count, key);
      out.set(target.subarray(0, count * CONDENSED_BYTES), block * CONDENSED_BYTES);
    }
  });
  return out;
}
