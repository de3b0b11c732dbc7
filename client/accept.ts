/** What a client accepts of the program a server offers, decided before any key is made. */

import { MAX_TIMER_MS } from '../protocol/channel/lifetime.ts';
import { ProtocolError } from '../protocol/errors.ts';
import type { Cost } from '../protocol/inference/cost.ts';
import type { CheckedProgram } from '../protocol/program/check.ts';
import { hexOf } from '../protocol/program/encode.ts';
import { sizeOf } from '../protocol/ring/shape.ts';

/** How much a client lets a server ask of it. LOCAL. */
export interface ClientLimits {
  /** Elements of all tensors of the program together: what memory and time grow with. */
  readonly maxElements: number;
  /** Bytes one inference may move, both ways, preparation included. */
  readonly maxBytes: number;
  /** Bytes of the model's hint, which is fetched once and held in memory by every session. */
  readonly maxHintBytes: number;
  /** How long the server may take for one frame, in ms; 2^31 - 1 at most. */
  readonly stallMs: number;
}

/** Default limits: far beyond what one waits for, within what a machine survives. LOCAL. */
export const DEFAULT_CLIENT_LIMITS: ClientLimits = {
  maxElements: 1 << 26,
  maxBytes: 2 ** 33,
  maxHintBytes: 2 ** 30,
  stallMs: 120_000,
};

/**
 * The limits of a session, those that are not given by default.
 * @throws RangeError with the range when one is no positive number, or a time no integer up to 2^31 - 1
 */
export function clientLimits(given: Partial<ClientLimits> = {}): ClientLimits {
  const limits = { ...DEFAULT_CLIENT_LIMITS, ...given };
  for (const name of ['maxElements', 'maxBytes', 'maxHintBytes'] as const) {
    if (!(limits[name] > 0)) {
      throw new RangeError(`limits.${name}: expected a number above 0, got ${limits[name]}`);
    }
  }
  const { stallMs } = limits;
  if (!(Number.isInteger(stallMs) && stallMs >= 1 && stallMs <= MAX_TIMER_MS)) {
    throw new RangeError(
      `limits.stallMs: expected an integer from 1 to ${MAX_TIMER_MS}, got ${stallMs}`,
    );
  }
  return limits;
}

/** What a client already knows of the server's model. */
export interface Expectation {
  /** The name under which the server must offer it. */
  readonly model?: string | undefined;
  /** SHA-256 of the program, 64 hexadecimal digits, as `session.digest` gives it. */
  readonly digest?: string | undefined;
}

/**
 * @throws ProtocolError `program-mismatch` when it is not the expected program, `limit` when it is beyond the limits
 */
export function checkOffer(
  { shapes }: CheckedProgram,
  digest: Uint8Array,
  expect: Expectation,
  limits: ClientLimits,
): void {
  const own = hexOf(digest);
  if (expect.digest !== undefined && expect.digest.toLowerCase() !== own) {
    throw new ProtocolError(
      'program-mismatch',
      `the program has digest ${own}, expected ${expect.digest}`,
    );
  }
  const elements = shapes.reduce((sum, shape) => sum + sizeOf(shape), 0);
  if (!(elements <= limits.maxElements)) {
    throw new ProtocolError(
      'limit',
      `the program has ${elements} elements, this client takes at most ${limits.maxElements}`,
    );
  }
}

/** @throws ProtocolError `limit` when an inference or the hint moves more bytes than the limits allow */
export function checkCost({ hint, offline, online }: Cost, limits: ClientLimits): void {
  const bytes = offline.up + offline.down + online.up + online.down;
  if (!(bytes <= limits.maxBytes)) {
    throw new ProtocolError(
      'limit',
      `an inference of the program moves ${bytes} bytes, this client takes at most ${limits.maxBytes}`,
    );
  }
  if (!(hint <= limits.maxHintBytes)) {
    throw new ProtocolError(
      'limit',
      `the hint of the program has ${hint} bytes, this client takes at most ${limits.maxHintBytes}`,
    );
  }
}
