/**
 * What the server offers, to whoever may open a session: GET /models, as JSON (protocol/inference/listing.ts). Who asks is
 * decided as for a connection, and counted as one until then.
 */

import type { BlockList } from 'node:net';
import { ProtocolError, type ProtocolErrorCode } from '../protocol/errors.ts';
import { encodeListing, type ListedModel, listedModel } from '../protocol/inference/listing.ts';
import { digestOf, hexOf } from '../protocol/program/encode.ts';
import type { RequestHandler } from './demo.ts';
import type { OfferedModel } from './models.ts';
import { type ConnectionRequest, requestOf } from './request.ts';

/** What the list is made of, and who may have it. */
export interface Listed {
  /** Looked at with each request. */
  readonly offers: ReadonlyMap<string, OfferedModel>;
  readonly maxBundles: number;
  /** Proxies that are believed whom they speak for. */
  readonly proxies: BlockList | undefined;
  /** @throws ProtocolError `refused`, with the sentence for the client */
  readonly admit: (request: ConnectionRequest) => Promise<void>;
}

const headers: Readonly<Record<string, string>> = {
  'access-control-allow-origin': '*',
  'access-control-expose-headers': 'retry-after',
  'cross-origin-resource-policy': 'cross-origin',
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
};

/** Answers requests for the list, and leaves the others to `next`. */
export function listingRequests(
  { offers, maxBundles, proxies, admit }: Listed,
  next: RequestHandler,
): RequestHandler {
  const known = new WeakMap<OfferedModel, ListedModel>();
  const listed = (offer: OfferedModel): ListedModel => {
    const digests = { digest: hexOf(digestOf(offer.program)), weights: hexOf(offer.weights) };
    const own = known.get(offer) ?? listedModel(offer, digests, maxBundles);
    known.set(offer, own);
    return own;
  };
  return async (request, response) => {
    const { method, url = '' } = request;
    if (url.split('?', 1)[0] !== '/models') {
      next(request, response);
      return;
    }
    const say = (status: number, type: string, text: string, more = {}): void => {
      response.writeHead(status, { ...headers, 'content-type': type, ...more });
      response.end(method === 'HEAD' ? undefined : text);
    };
    if (method !== 'GET' && method !== 'HEAD') {
      say(405, 'text/plain; charset=utf-8', 'The list of models is only read.', {
        allow: 'GET, HEAD',
      });
      return;
    }
    try {
      await admit(requestOf(request, proxies));
    } catch (error) {
      const { code, message, retryAfterMs } = refusalOf(error);
      const when = retryAfterMs && { 'retry-after': `${Math.ceil(retryAfterMs / 1000)}` };
      say(STATUS[code] ?? 403, 'text/plain; charset=utf-8', message, when || {});
      return;
    }
    say(200, 'application/json', encodeListing([...offers.values()].map(listed)));
  };
}

/** The HTTP status of a refusal, where it is not 403. */
const STATUS: Partial<Record<ProtocolErrorCode, number>> = { busy: 503, quota: 429 };

/** Only a ProtocolError is about the client. */
function refusalOf(error: unknown): ProtocolError {
  return error instanceof ProtocolError
    ? error
    : new ProtocolError('busy', 'the server cannot say what it offers, try again later');
}
