/**
 * Hints at the client: where those that it has are kept, and how it gets one that it has not.
 *
 * A hint is public and named by its SHA-256. Whoever uses one checks that first: what comes from a cache or by HTTP is only
 * said to be it. That a cache or a request fails costs time and nothing else, so neither is an error.
 */

import { abortError } from '../protocol/errors.ts';
import { nextTurn } from '../protocol/slices.ts';

/** Keeps hints between sessions. Digests are SHA-256, 64 lower-case hexadecimal digits. No method rejects. */
export interface HintCache {
  /** The hint of that digest, not verified; undefined when there is none of `bytes` bytes. */
  load(digest: string, bytes: number): Promise<Uint8Array | undefined>;
  /** Keeps a hint that was verified, as long as there is room. */
  save(digest: string, hint: Uint8Array): Promise<void>;
}

/** Bytes of all hints together that a cache keeps unless told, 2 GiB: a dozen of the largest networks. LOCAL. */
export const CACHE_BYTES: number = 2 ** 31;

/** Bytes after which the download lets its thread have a turn. LOCAL. */
const TURN_BYTES = 256 * 1024;

/** Keeps hints as long as it lives itself. */
export function memoryHints(): HintCache {
  const hints = new Map<string, Uint8Array>();
  return {
    async load(digest, bytes) {
      const hint = hints.get(digest);
      return hint?.length === bytes ? hint : undefined;
    },
    async save(digest, hint) {
      hints.set(digest, hint);
    },
  };
}

/** Options of {@link fetchHint}. */
export interface FetchHintOptions {
  readonly signal?: AbortSignal | undefined;
  /** Told of the bytes that have come, of `total`. */
  readonly onProgress?: ((bytes: number, total: number) => void) | undefined;
  /** How long nothing may come before it gives up, in ms; default: 20,000. LOCAL. */
  readonly stallMs?: number | undefined;
}

/**
 * Gets a hint by HTTP from the address of a server's WebSocket: hints/DIGEST, beside the last part of its path.
 * @param url - ws://HOST:PORT or wss://HOST:PORT
 * @returns `bytes` bytes, not verified; undefined when the server, a proxy or the page's policy does not give them
 * @throws TypeError when `url` is none
 * @throws AbortError when `signal` fires first
 */
export async function fetchHint(
  url: string,
  digest: string,
  bytes: number,
  { signal, onProgress, stallMs = 20_000 }: FetchHintOptions = {},
): Promise<Uint8Array | undefined> {
  // It goes to the server that was asked for and nowhere else, and says nothing of who asks.
  const address = new URL(`hints/${digest}`, url.replace(/^ws/, 'http'));
  const manners = {
    redirect: 'error',
    credentials: 'omit',
    referrerPolicy: 'no-referrer',
  } as const;
  const cancel = new AbortController();
  const abort = (): void => cancel.abort();
  signal?.addEventListener('abort', abort);
  if (signal?.aborted) abort();
  let stalled = setTimeout(abort, stallMs);
  // Whatever goes wrong, there is another way to the hint.
  const lost = (): undefined => {
    if (signal?.aborted) throw abortError('getting the hint', signal.reason);
  };
  try {
    const request = fetch(address, { ...manners, signal: cancel.signal });
    const response = await request.catch(lost);
    if (response?.status !== 200 || response.body === null) return undefined;
    const hint = new Uint8Array(bytes);
    let at = 0;
    let turnAt = TURN_BYTES;
    const reader = response.body.getReader();
    for (;;) {
      const piece = await reader.read().catch(lost);
      if (piece?.value === undefined) return piece?.done && at === bytes ? hint : undefined;
      if (at + piece.value.length > bytes) return undefined;
      hint.set(piece.value, at);
      at += piece.value.length;
      clearTimeout(stalled);
      stalled = setTimeout(abort, stallMs);
      onProgress?.(at, bytes);
      if (at < turnAt) continue;
      turnAt = at + TURN_BYTES;
      await nextTurn();
    }
  } finally {
    clearTimeout(stalled);
    signal?.removeEventListener('abort', abort);
    // Ends a response that is not wanted to its end.
    abort();
  }
}
