/** Hints kept in a browser's Cache storage. Pages that have none, such as those of insecure origins, do without. */

import type { StoredHintsOptions } from './api.ts';
import { CACHE_BYTES, type HintCache } from './hints.ts';

const NAME = 'sotto-hints';
const LENGTH = 'content-length';

/** Under which address a hint is stored. Nothing is asked of that address: a key has to be one. */
const keyOf = (digest: string): string => `https://hints.invalid/${digest}`;

/** Keeps hints for the pages of an origin. Beyond its limit, those go first that were saved first. */
export function storedHints({ maxBytes = CACHE_BYTES }: StoredHintsOptions = {}): HintCache {
  return {
    async load(digest, bytes) {
      try {
        const cache = await caches.open(NAME);
        const stored = await cache.match(keyOf(digest));
        if (stored === undefined) return undefined;
        const hint = new Uint8Array(await stored.arrayBuffer());
        return hint.length === bytes ? hint : undefined;
      } catch {
        return undefined;
      }
    },
    async save(digest, hint) {
      if (hint.length > maxBytes) return;
      const stored = () =>
        new Response(inPieces(hint), { headers: { [LENGTH]: `${hint.length}` } });
      try {
        const cache = await caches.open(NAME);
        try {
          await makeRoom(cache, maxBytes - hint.length);
          await cache.put(keyOf(digest), stored());
        } catch {
          // The browser may grant less than that: then room for this one alone is asked for.
          await makeRoom(cache, 0);
          await cache.put(keyOf(digest), stored());
        }
      } catch {
        // Without storage, or without room in it, the next session gets the hint again.
      }
    },
  };
}

/** Bytes that are handed on at a time. LOCAL. */
const PIECE_BYTES = 1 << 20;

/** Bytes as a stream: to take them all at once would hold up the page, by a millisecond and more a megabyte. */
function inPieces(bytes: Uint8Array): ReadableStream<Uint8Array<ArrayBuffer>> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at < bytes.length) controller.enqueue(bytes.slice(at, (at += PIECE_BYTES)));
      else controller.close();
    },
  });
}

/** Removes hints until the others take `maxBytes`. */
async function makeRoom(cache: Cache, maxBytes: number): Promise<void> {
  const stored = await Promise.all(
    (await cache.keys()).map(async (key) => {
      const bytes = (await cache.match(key))?.headers.get(LENGTH);
      return { key, bytes: Number(bytes ?? 0) };
    }),
  );
  let total = stored.reduce((sum, { bytes }) => sum + bytes, 0);
  for (const { key, bytes } of stored) {
    if (total <= maxBytes) return;
    await cache.delete(key);
    total -= bytes;
  }
}
