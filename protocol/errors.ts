/** What happened, as a stable code. Each means one thing. */
export type ProtocolErrorCode =
  /** No connection to the server came about. */
  | 'unreachable'
  /** The connection is gone: it broke, or the peer left. */
  | 'lost'
  /** This side has closed the session or channel. */
  | 'closed'
  /** The peer made no progress within the deadline. */
  | 'timeout'
  /** Something failed inside the peer, which says no more. */
  | 'failed'
  /** The server has no room for now. */
  | 'busy'
  /** The server answers no more queries of this client for now. */
  | 'quota'
  /** The server is about to stop: what is prepared is still answered, nothing else begins. */
  | 'draining'
  /** The session has rested for longer than the server waits. */
  | 'idle'
  /** The peer does not do this: there is no such model, this client is not let in, more is asked for than it keeps. */
  | 'refused'
  /** What the server offers is beyond a limit of this client. */
  | 'limit'
  /** The peer speaks another protocol version or uses other agreement constants. */
  | 'version-mismatch'
  /** The two sides do not hold the same program. */
  | 'program-mismatch'
  /** A message is not well formed: wrong length, range, type or order. */
  | 'bad-message'
  /** A group element is the identity or not canonically encoded. */
  | 'bad-point'
  /** What arrived is not what the peer sent, or does not agree with itself, or cannot be a result: damage on the way, or a peer that cheats. */
  | 'corrupted';

/** Codes of errors without a fault of either side's in the protocol. */
const RETRYABLE: ReadonlySet<ProtocolErrorCode> = new Set([
  ...(['unreachable', 'lost', 'timeout', 'failed', 'busy', 'quota', 'draining', 'idle'] as const),
]);

/** The peer, or the connection to it, failed or broke the protocol, or one side refused something. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  readonly code: ProtocolErrorCode;
  /** When it is worth asking again, in ms from now, where the server has said so. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: ProtocolErrorCode,
    message: string,
    options: ErrorOptions & { readonly retryAfterMs?: number | undefined } = {},
  ) {
    super(message, options);
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** Whether the same call may succeed later, unchanged. */
  get retryable(): boolean {
    return RETRYABLE.has(this.code);
  }
}

/** Whether an error is a {@link ProtocolError}, of whichever copy of this package. */
export function isProtocolError(error: unknown): error is ProtocolError {
  return error instanceof Error && error.name === 'ProtocolError';
}

/** Whether an error says that the caller's signal has cancelled the call. */
export function isAbortError(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
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
