/** Asking a server what it offers, on every platform; the platform asks by HTTP. What comes is not believed before it is checked. */

import { printable } from '../protocol/channel/frames.ts';
import { abortError, ProtocolError, type ProtocolErrorCode } from '../protocol/errors.ts';
import {
  decodeListing,
  type ListedModel,
  MAX_LISTING_BYTES,
} from '../protocol/inference/listing.ts';
import { checkUrl, place } from './address.ts';
import type { ModelsOptions } from './api.ts';
import { CONNECTING_MS } from './connect.ts';
import { checkOptions } from './options.ts';

/** What a server answers by HTTP. */
export interface Answer {
  readonly status: number;
  /** @param name - in lower case */
  header(name: string): string | undefined;
  readonly body: AsyncIterable<Uint8Array>;
}

/** Why there is no answer, as far as that is known. */
export class Unreached extends Error {}

/**
 * Asks by HTTP, and follows no redirect: a token goes to the server that was asked for and nowhere else.
 * @throws Unreached when there is no answer
 */
export type Get = (
  address: URL,
  options: ModelsOptions & { readonly signal: AbortSignal },
) => Promise<Answer>;

/** How long nothing may come of an answer, in ms. LOCAL. */
const STALL_MS = 20_000;

/** Longest refusal that is read, in bytes. LOCAL. */
const MAX_REFUSAL_BYTES = 4096;

/** What refusals by HTTP mean. */
const REFUSALS: Readonly<Record<number, ProtocolErrorCode>> = {
  401: 'refused',
  403: 'refused',
  429: 'quota',
  503: 'busy',
};

/** Lists the models on a platform; the contract is that of its `models`. */
export async function listModels(
  get: Get,
  url: string,
  options: ModelsOptions,
): Promise<ListedModel[]> {
  checkUrl(url);
  checkOptions(options, ['signal', 'ca', 'headers']);
  const { signal } = options;
  const ended = new AbortController();
  const cancel = (): void => ended.abort(abortError('listing the models', signal?.reason));
  signal?.addEventListener('abort', cancel);
  if (signal?.aborted) cancel();
  const late = `cannot connect to ${place(url)}: no answer within ${CONNECTING_MS / 1000} s`;
  let timer = setTimeout(() => ended.abort(new ProtocolError('unreachable', late)), CONNECTING_MS);
  const moves = (): void => {
    clearTimeout(timer);
    const what = `the server has sent nothing for ${STALL_MS / 1000} s`;
    timer = setTimeout(() => ended.abort(new ProtocolError('timeout', what)), STALL_MS);
  };
  try {
    const answer = await get(addressOf(url), { ...options, signal: ended.signal });
    moves();
    return decodeListing(await textOf(answer, url, moves));
  } catch (error) {
    if (ended.signal.aborted) throw ended.signal.reason;
    if (error instanceof Unreached) {
      const why = `cannot connect to ${place(url)}: ${error.message}`;
      throw new ProtocolError('unreachable', why, { cause: error.cause });
    }
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', cancel);
    // Ends an answer that is not wanted to its end.
    ended.abort();
  }
}

/** `models` beside the last part of the WebSocket's path, with its query, which may hold a token. */
function addressOf(url: string): URL {
  const socket = new URL(url.replace(/^ws/, 'http'));
  const address = new URL('models', socket);
  address.search = socket.search;
  return address;
}

/** @throws ProtocolError when the answer is no list, or did not come whole */
async function textOf(answer: Answer, url: string, moves: () => void): Promise<string> {
  const { status } = answer;
  const isJson = /^application\/json\b/.test(answer.header('content-type') ?? '');
  if (status === 200 && isJson) return bodyOf(answer, MAX_LISTING_BYTES, moves);
  const refusal = REFUSALS[status];
  if (refusal !== undefined) {
    const plain = /^text\/plain\b/.test(answer.header('content-type') ?? '');
    const said = plain ? printable(await bodyOf(answer, MAX_REFUSAL_BYTES, moves)) : '';
    const seconds = Number(/^\d{1,9}$/.exec(answer.header('retry-after') ?? '')?.[0] ?? Number.NaN);
    const later = { retryAfterMs: Number.isNaN(seconds) ? undefined : 1000 * seconds };
    const what = `the peer gave up: ${said || 'it gave no reason'}`;
    throw new ProtocolError(refusal, what, later);
  }
  // What releases answer that do not list: no page at all, or none of this name beside the demo's.
  if (status === 200 || status === 404 || status === 426) {
    const what = 'it is older than this client, or no server of models';
    throw new ProtocolError('version-mismatch', `${place(url)} does not list its models: ${what}`);
  }
  throw new ProtocolError('unreachable', `cannot connect to ${place(url)}: it answered ${status}`);
}

async function bodyOf({ body }: Answer, most: number, moves: () => void): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  try {
    for await (const piece of body) {
      bytes += piece.length;
      if (bytes > most) break;
      text += decoder.decode(piece, { stream: true });
      moves();
    }
  } catch (cause) {
    throw new ProtocolError('lost', 'the connection broke as the answer came', { cause });
  }
  if (bytes <= most) return text + decoder.decode();
  throw new ProtocolError('bad-message', `the answer is longer than ${most} bytes`);
}
