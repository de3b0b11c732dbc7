/**
 * A running digest: of a stream of messages, by BLAKE3, at a small part of its cost.
 *
 *     running = BLAKE3(the messages since the last time, keyed with running)
 *
 * The lengths of the messages are no part of it: whoever compares digests must know them. A message of 1,024 bytes or more is
 * condensed first, each 4,096 bytes of it to 32, what is left too, filled up with zeros to a multiple of 32: NH of UMAC
 * (Black, Halevi, Krawczyk, Krovetz, Rogaway, "UMAC: fast and secure message authentication", Crypto 1999; RFC 4418) under a
 * fixed public key, twice. A change that was made without looking at the key stays unseen with probability 2^-64 at most.
 * Whoever looks at the key can make one that does: where that matters, {@link blake3} it is.
 */

import { kernels } from '../kernels/index.ts';
import { aesCounterStream } from './aes.ts';
import { BLAKE3_BYTES, blake3 } from './blake3.ts';

/** Shortest message that is condensed. AGREEMENT. */
const LONG_BYTES = 1024;

/** Bytes that become 32. AGREEMENT. */
const BLOCK_BYTES = 4096;
const CONDENSED_BYTES = 32;

/** Bytes that are in kernel memory at a time: whole blocks. LOCAL. */
const PIECE_BYTES = 16 * BLOCK_BYTES;

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

/** The digest of a stream of messages; 32 zero bytes before the first. */
export class RunningDigest {
  #digest: Uint8Array = new Uint8Array(BLAKE3_BYTES);
  /** What the messages since the last {@link take} have become. */
  #pending = new Uint8Array(2 * BLOCK_BYTES);
  #length = 0;

  /** Adds a message, of any length; what becomes of its bytes later does not matter. */
  add(message: Uint8Array): void {
    const { length } = message;
    const long = length >= LONG_BYTES;
    const start = this.#length;
    this.#length += long ? CONDENSED_BYTES * Math.ceil(length / BLOCK_BYTES) : length;
    if (this.#length > this.#pending.length) {
      const more = new Uint8Array(2 * this.#length);
      more.set(this.#pending.subarray(0, start));
      this.#pending = more;
    }
    if (long) condense(message, this.#pending, start);
    else this.#pending.set(message, start);
  }

  /** The digest of all messages so far, 32 bytes. */
  take(): Uint8Array {
    this.#digest = blake3(this.#pending.subarray(0, this.#length), this.#digest);
    this.#length = 0;
    return this.#digest;
  }
}

/** Writes what `message` is condensed to from `out[at]` on. */
function condense(message: Uint8Array, out: Uint8Array, at: number): void {
  const { arena, condense: kernel } = kernels();
  const key = condensingKey();
  const most = Math.min(message.length, PIECE_BYTES);
  arena.scope(() => {
    const target = arena.alloc(CONDENSED_BYTES * Math.ceil(most / BLOCK_BYTES));
    const padded = (most + 31) & ~31;
    const source = arena.u8(arena.alloc(padded), padded);
    for (let from = 0; from < message.length; from += PIECE_BYTES) {
      const piece = message.subarray(from, from + PIECE_BYTES);
      source.set(piece);
      const bytes = (piece.length + 31) & ~31;
      if (bytes > piece.length) source.fill(0, piece.length, bytes);
      kernel.condense(target, source.byteOffset, bytes, key);
      const made = CONDENSED_BYTES * Math.ceil(bytes / BLOCK_BYTES);
      out.set(arena.u8(target, made), at + (from / BLOCK_BYTES) * CONDENSED_BYTES);
    }
  });
}
