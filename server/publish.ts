/**
 * The hints of the offered models, to whoever asks by HTTP: GET /hints/<SHA-256, 64 hexadecimal digits>. A hint is public and
 * its name is its digest, so that anybody on the way, and the client, may keep it for ever. Pages of other origins may read it.
 */

import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { RequestHandler } from './demo.ts';
import { refusePages } from './listen.ts';

const FOLDER = '/hints/';

/** Bytes handed to the socket at a time: what a slow reader holds here. LOCAL. */
const PIECE_BYTES = 256 * 1024;

/** How long a reader may take nothing, in ms. LOCAL. */
const STALL_MS = 60_000;

const headers: Readonly<Record<string, string>> = {
  'access-control-allow-origin': '*',
  'cross-origin-resource-policy': 'cross-origin',
  'x-content-type-options': 'nosniff',
};

/**
 * Answers requests for hints, and leaves the others to `next`.
 * @param hints - by SHA-256, 64 lower-case hexadecimal digits; looked up at each request
 * @param next - answers all other requests; default: there is no such page
 * @param onSent - called when somebody has got a hint whole
 */
export function hintRequests(
  hints: ReadonlyMap<string, Uint8Array>,
  next: RequestHandler = refusePages,
  onSent: (digest: string, bytes: number) => void = () => {},
): RequestHandler {
  return (request, response) => {
    const { method, url = '' } = request;
    if (!url.startsWith(FOLDER)) {
      next(request, response);
      return;
    }
    const digest = url.slice(FOLDER.length).split('?', 1)[0]!;
    const refuse = (status: number, text: string, more: Record<string, string> = {}): void => {
      const plain = { 'content-type': 'text/plain', 'cache-control': 'no-store' };
      response.writeHead(status, { ...headers, ...plain, ...more });
      response.end(method === 'HEAD' ? undefined : `${text}\n`);
    };
    if (method !== 'GET' && method !== 'HEAD') {
      refuse(405, 'Hints are only read.', { allow: 'GET, HEAD' });
      return;
    }
    const hint = hints.get(digest);
    if (hint === undefined) {
      refuse(404, 'There is no such hint.');
      return;
    }
    const etag = `"${digest}"`;
    const lasting = { etag, 'cache-control': 'public, max-age=31536000, immutable' };
    if (request.headers['if-none-match']?.includes(etag)) {
      response.writeHead(304, { ...headers, ...lasting });
      response.end();
      return;
    }
    response.writeHead(200, {
      ...headers,
      ...lasting,
      'content-type': 'application/octet-stream',
      'content-length': hint.length,
    });
    if (method === 'HEAD') {
      response.end();
      return;
    }
    response.setTimeout(STALL_MS, () => response.destroy());
    // A reader that goes away is its own loss.
    pipeline(Readable.from(pieces(hint)), response).then(
      () => onSent(digest, hint.length),
      () => {},
    );
  };
}

/** Views of the bytes, each made when the one before has left: TLS would otherwise encrypt all of them at once. */
function* pieces(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    yield bytes.subarray(at, at + PIECE_BYTES);
  }
}
