import { describe, expect, it } from 'vitest';
import {
  abortError,
  isAbortError,
  isProtocolError,
  ProtocolError,
  type ProtocolErrorCode,
} from '../../protocol/errors.ts';

/** Every code, and whether the same call may succeed later: a code that is not here does not compile. */
const codes: Record<ProtocolErrorCode, boolean> = {
  unreachable: true,
  lost: true,
  closed: false,
  timeout: true,
  failed: true,
  busy: true,
  quota: true,
  draining: true,
  idle: true,
  refused: false,
  limit: false,
  'version-mismatch': false,
  'program-mismatch': false,
  'bad-message': false,
  'bad-point': false,
  corrupted: false,
};

describe('errors of the protocol', () => {
  it.each(Object.entries(codes))('%s: worth trying again is %s', (code, retryable) => {
    expect(new ProtocolError(code as ProtocolErrorCode, 'why').retryable).toBe(retryable);
  });

  it('are told from others, of another copy of the module too, and from a cancel', () => {
    const other = Object.assign(new Error('why'), { name: 'ProtocolError', code: 'lost' });
    expect([new ProtocolError('lost', 'why'), other].map(isProtocolError)).toEqual([true, true]);
    const rest = [abortError('it'), new TypeError('why'), 'lost', undefined, { code: 'lost' }];
    expect(rest.map(isProtocolError)).toEqual(rest.map(() => false));
    expect(rest.map(isAbortError)).toEqual([true, false, false, false, false]);
    expect(isAbortError(new DOMException('stop', 'AbortError'))).toBe(true);
  });
});
