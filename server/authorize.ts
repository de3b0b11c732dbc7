/** Who a client is: the operator's decision, in code or by a URL. */

import { printable } from '../protocol/channel/frames.ts';
import type { ConnectionRequest } from './request.ts';

/** A client that is not let in. */
export interface Refusal {
  /** Why, in one sentence that the client is shown; of some 150 characters at most, or it is cut. */
  readonly message: string;
  /** When it is worth asking again, in s from now: the client's error is `quota` then, otherwise `refused`. */
  readonly retryAfterSeconds?: number | undefined;
}

/**
 * Who a client is, or why it is not let in. A principal is a string of 1 to 200 printable characters, such as the name of an
 * account: it stands in events, and quotas count by it. It must not be a secret.
 */
export type Authorize = (
  request: ConnectionRequest,
) => string | Refusal | Promise<string | Refusal>;

/** Longest principal, in UTF-16 units. */
const PRINCIPAL_LENGTH = 200;

/**
 * Asks the operator.
 * @param ms - how long the decision may take
 * @throws Error when there is none, or what came is neither a principal nor a refusal
 */
export async function decisionOf(
  authorize: Authorize,
  request: ConnectionRequest,
  ms: number,
): Promise<string | Refusal> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`authorize: no decision for ${ms} ms`)), ms);
  });
  try {
    const decision: unknown = await Promise.race([authorize(request), late]);
    if (isRefusal(decision) || isPrincipal(decision)) return decision;
  } finally {
    clearTimeout(timer);
  }
  throw new Error(
    `authorize: expected a principal of 1 to ${PRINCIPAL_LENGTH} printable characters, or a refusal with a message`,
  );
}

function isPrincipal(decision: unknown): decision is string {
  return (
    typeof decision === 'string' &&
    decision.length >= 1 &&
    decision.length <= PRINCIPAL_LENGTH &&
    printable(decision) === decision
  );
}

function isRefusal(decision: unknown): decision is Refusal {
  return typeof (decision as Refusal | undefined)?.message === 'string';
}

/** How long a URL may take to decide, in ms. LOCAL. */
const URL_MS = 5000;

/**
 * Leaves the decision to whatever answers at `url`. It is sent, by POST as JSON, `{ url, headers: { authorization, cookie },
 * address, origin }` of the request, what is not there left out, and answers with
 * - 2xx and `{ "principal": "..." }`, which lets the client in,
 * - 401, 403 or 429 and `{ "message": "..." }`, which refuses it, with Retry-After in seconds if it may come again.
 *
 * Anything else, a redirect too, or silence for 5 s is no decision, and nobody is let in.
 * @throws RangeError when `url` is not of HTTP, or has a user or password
 */
export function authorizeByUrl(url: string): Authorize {
  const target = URL.canParse(url) ? new URL(url) : undefined;
  if (target === undefined || !/^https?:$/.test(target.protocol)) {
    throw new RangeError('the URL that authorizes must begin with http:// or https://');
  }
  if (target.username !== '' || target.password !== '') {
    throw new RangeError('the URL that authorizes must have no user and no password');
  }
  return async ({ url, headers, address, origin }) => {
    const { authorization, cookie } = headers;
    const response = await fetch(target, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ url, headers: { authorization, cookie }, address, origin }),
      redirect: 'manual',
      signal: AbortSignal.timeout(URL_MS),
    }).catch((cause) => {
      throw new Error(`authorize: ${target.origin} cannot be asked: ${reasonOf(cause)}`, { cause });
    });
    const answer = (await response.json().catch(() => ({}))) as Record<string, unknown> | null;
    if (response.ok) return answer?.['principal'] as string;
    if (![401, 403, 429].includes(response.status)) {
      throw new Error(`authorize: ${target.origin} answered ${response.status}`);
    }
    const message = answer?.['message'];
    const after = response.headers.get('retry-after') ?? '';
    return {
      message: typeof message === 'string' ? message : 'the server does not let this client in',
      retryAfterSeconds: /^\d{1,9}$/.test(after) ? Number(after) : undefined,
    };
  };
}

/** `fetch` says why in the cause of its error. */
function reasonOf(error: Error): string {
  return ((error.cause as Error | undefined) ?? error).message;
}
