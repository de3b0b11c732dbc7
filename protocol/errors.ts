/** What the peer did wrong, as a stable code. */
export type ProtocolErrorCode =
  /** The peer speaks another protocol version or uses other agreement constants. */
  | 'version-mismatch'
  /** The two sides do not hold the same program. */
  | 'program-mismatch'
  /** A message is not well formed: wrong length, range, type or order. */
  | 'bad-message'
  /** A group element is the identity or not canonically encoded. */
  | 'bad-point'
  /** What arrived is not what the peer sent, or does not agree with itself, or cannot be a result: damage on the way, or a peer that cheats. */
  | 'corrupted'
  /** The peer refused us: no such model, too many sessions, limits. */
  | 'refused'
  /** The peer closed the connection or the connection broke. */
  | 'closed'
  /** The peer made no progress within the deadline. */
  | 'timeout'
  /** The server answers no more queries of this client for now. */
  | 'quota'
  /** The server is about to stop: what is prepared is still answered, nothing else begins. */
  | 'draining'
  /** The session has rested for longer than the server waits. */
  | 'idle';

/**
 * The peer, or the connection to it, broke the protocol, or the server refused something. The session that threw it is dead, but
 * for a preparation that was refused before it began (inference/reserve.ts).
 */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  readonly code: ProtocolErrorCode;
  /** When it is worth asking again, in ms from now, where the server has said so. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: ProtocolErrorCode,
    message: string,
    options: ErrorOptions & { readonly retryAfterMs?: number } = {},
  ) {
    super(message, options);
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/**
 * The error of every check that what arrived agrees with what was sent, and with itself. One code and one sentence for all:
 * which check failed, and where, is nobody's business but this party's.
 */
export function corrupted(): ProtocolError {
  return new ProtocolError(
    'corrupted',
    'what arrived is not what was sent, or does not agree with itself',
  );
}

/** An AbortError, as `AbortSignal` and `fetch` name it. */
export function abortError(what: string, cause?: unknown): Error {
  const error = new Error(`${what} was cancelled`, cause === undefined ? undefined : { cause });
  error.name = 'AbortError';
  return error;
}
