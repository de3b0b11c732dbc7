import { describe, expect, it } from 'vitest';
import { cameraFault, faultText } from '../../client/web/faults.ts';
import { readView, viewHash } from '../../client/web/link.ts';
import { ProtocolError, type ProtocolErrorCode } from '../../protocol/errors.ts';

const fault = (code: ProtocolErrorCode, retryAfterMs?: number) =>
  faultText(
    new ProtocolError(
      code,
      'the server said so',
      retryAfterMs === undefined ? {} : { retryAfterMs },
    ),
    true,
  );

describe('what a visitor is told', () => {
  it('says what would help, and whether what was prepared is lost', () => {
    for (const code of ['lost', 'unreachable'] as const) {
      expect(fault(code)).toMatch(/^The server said so\. It may have stopped.*reconnect\.$/);
    }
    expect(fault('timeout')).toMatch(/The link may be slow.*reconnect\.$/);
    expect(fault('busy')).toMatch(/Try again in a minute, or choose another model\.$/);
    expect(fault('refused')).toMatch(/so\. Choose another model\.$/);
    expect(fault('draining')).toMatch(/It may come back: try again in a minute\.$/);
    expect(fault('version-mismatch')).toMatch(/reload the page\. What was/);
    expect(fault('corrupted')).toMatch(
      /Try again to reconnect\. What was prepared is thrown away\.$/,
    );
  });

  it('says when a quota is there again', () => {
    expect(fault('quota', 90_000)).toMatch(/try again in 2 min\.$/);
    expect(fault('quota', 5 * 3_600_000)).toMatch(/try again in 5 hours\.$/);
    expect(fault('quota')).toMatch(/try again later\.$/);
  });

  it('blames the network where there is none', () => {
    expect(faultText(new ProtocolError('lost', 'x'), false)).toMatch(/^This browser is offline\./);
  });

  it('says why there is no camera, and what to do instead', () => {
    const named = (name: string) => Object.assign(new Error('why'), { name });
    const texts = [
      undefined,
      ...['NotAllowedError', 'NotFoundError', 'NotReadableError', 'AbortError'].map(named),
    ].map(cameraFault);
    expect(new Set(texts).size).toBe(5);
    for (const text of texts) expect(text).toMatch(/\. Open a file or draw instead\.$/);
  });
});

it('a link says which model and example are shown, and nothing else', () => {
  const view = { model: 'fashion-729', sample: 'ankle boot & more' };
  expect(readView(viewHash(view))).toEqual(view);
  expect(readView('')).toEqual({});
  expect(viewHash({ model: 'digits', sample: undefined })).toBe('#model=digits');
});
