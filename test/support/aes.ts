/** What AES was used for while something ran: all randomness and all hashes go through it. */

import { type AesEngine, opensslAes, wasmAes } from '../../protocol/random/aes.ts';
import { hex } from './bytes.ts';

/** Blocks [from, to) of the stream of a seed. */
export interface Drawn {
  readonly seed: string;
  readonly from: number;
  readonly to: number;
}

/** Blocks encrypted under one key in one call: hashes, or the streams of OTs. */
export interface Hashed {
  readonly key: string;
  readonly blocks: number;
}

export interface AesUse {
  readonly streams: Drawn[];
  readonly hashes: Hashed[];
}

const engines = [opensslAes, wasmAes].filter((engine) => engine !== undefined);

/** Runs `work`, which must not wait for anything. */
export function watchAes<T>(work: () => T): [result: T, use: AesUse] {
  const use: AesUse = { streams: [], hashes: [] };
  const before = engines.map((engine): AesEngine => ({ ...engine }));
  engines.forEach((engine, i) => {
    const { encryptBlocks, encryptAt, counterStream } = before[i]!;
    Object.assign(engine, {
      encryptBlocks(key: Uint8Array, input: Uint8Array) {
        use.hashes.push({ key: hex(key), blocks: input.length / 16 });
        return encryptBlocks(key, input);
      },
      encryptAt(key: Uint8Array, target: number, source: number, blocks: number) {
        use.hashes.push({ key: hex(key), blocks });
        encryptAt(key, target, source, blocks);
      },
      counterStream(key: Uint8Array, from: number, out: Uint8Array) {
        use.streams.push({ seed: hex(key), from, to: from + Math.ceil(out.length / 16) });
        counterStream(key, from, out);
      },
    });
  });
  try {
    return [work(), use];
  } finally {
    engines.forEach((engine, i) => {
      Object.assign(engine, before[i]);
    });
  }
}

/** The seeds of streams of which a block was drawn twice. */
export function drawnTwice(streams: readonly Drawn[]): string[] {
  const ends = new Map<string, number>();
  const found = new Set<string>();
  const inOrder = [...streams].sort((x, y) => x.from - y.from);
  for (const { seed, from, to } of inOrder) {
    if (from === to) continue;
    if ((ends.get(seed) ?? 0) > from) found.add(seed);
    ends.set(seed, Math.max(ends.get(seed) ?? 0, to));
  }
  return [...found];
}

/** The keys under which blocks were encrypted in two calls. */
export function hashedTwice(hashes: readonly Hashed[]): string[] {
  const seen = new Set<string>();
  return hashes.flatMap(({ key }) => {
    if (seen.has(key)) return [key];
    seen.add(key);
    return [];
  });
}
