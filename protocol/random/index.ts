/**
 * Where randomness comes from.
 *
 * Contract
 * - The core never asks the system for randomness: a {@link Random} is injected. Production passes {@link systemRandom}
 *   or a {@link Prg} whose seed came from it; tests pass a {@link Prg} with a fixed seed.
 * - One purpose, one stream: every use derives its seed with {@link deriveSeed}, named by a label and indices,
 *   so that no two masks ever share a stream and results do not depend on which worker did the work.
 */

import { sha256 } from '@noble/hashes/sha2.js';
import { aesCounterStream } from './aes.ts';

/** A stream of uniform bytes. */
export interface Random {
  /** Fills `out` with the next bytes of the stream. */
  fill(out: Uint8Array): void;
}

/** Bytes of a seed. SECURITY: 128 bits. */
export const SEED_BYTES = 16;

/** The system's cryptographic generator. */
export const systemRandom: Random = {
  fill(out) {
    // The platform caps one call at 65,536 bytes.
    for (let i = 0; i < out.length; i += 65536) {
      crypto.getRandomValues(out.subarray(i, i + 65536) as Uint8Array<ArrayBuffer>);
    }
  },
};

/** A fresh seed. */
export function freshSeed(random: Random = systemRandom): Uint8Array {
  return randomBytes(random, SEED_BYTES);
}

/** The next `length` bytes of `random`. */
export function randomBytes(random: Random, length: number): Uint8Array {
  const out = new Uint8Array(length);
  random.fill(out);
  return out;
}

/** `length` uniform elements of Z_2^32. */
export function randomRing(random: Random, length: number): Int32Array {
  const out = new Int32Array(length);
  random.fill(new Uint8Array(out.buffer));
  return out;
}

/**
 * Pseudorandom stream: AES-128-CTR of zeros under a 16-byte seed, from counter block `firstBlock`.
 *
 * Bits: reading n bytes in one call or in several gives the same stream as long as every call but the last asks for a
 * multiple of 16 bytes; a call always starts at a fresh block, so no byte is ever handed out twice.
 */
export class Prg implements Random {
  readonly #seed: Uint8Array;
  #block: number;

  constructor(seed: Uint8Array, firstBlock = 0) {
    if (seed.length !== SEED_BYTES) {
      throw new RangeError(`PRG seed: expected ${SEED_BYTES} bytes, got ${seed.length}`);
    }
    this.#seed = seed.slice();
    this.#block = firstBlock;
  }

  fill(out: Uint8Array): void {
    aesCounterStream(this.#seed, this.#block, out);
    this.#block += Math.ceil(out.length / 16);
  }
}

/**
 * The seed of one purpose: the first 16 bytes of SHA-256(parent, label, indices), unambiguously encoded.
 * @param label - the purpose, part of the code and public
 * @param indices - which one: layer, chunk, ... (unsigned 32-bit)
 */
export function deriveSeed(parent: Uint8Array, label: string, ...indices: number[]): Uint8Array {
  const name = new TextEncoder().encode(label);
  const message = new Uint8Array(SEED_BYTES + 8 + name.length + 4 * indices.length);
  const view = new DataView(message.buffer);
  if (parent.length !== SEED_BYTES) {
    throw new RangeError(`parent seed: expected ${SEED_BYTES} bytes, got ${parent.length}`);
  }
  message.set(parent, 0);
  view.setUint32(SEED_BYTES, name.length, true);
  view.setUint32(SEED_BYTES + 4, indices.length, true);
  message.set(name, SEED_BYTES + 8);
  indices.forEach((index, i) => {
    view.setUint32(SEED_BYTES + 8 + name.length + 4 * i, index, true);
  });
  return sha256(message).slice(0, SEED_BYTES);
}
