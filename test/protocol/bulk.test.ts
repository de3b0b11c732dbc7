import { expect, it } from 'vitest';
import { BULK_BYTES, shareBytes } from '../../protocol/bulk.ts';

/** What a generator returns, and how often it yields. */
function drain<T>(work: Generator<undefined, T>): { value: T; yields: number } {
  for (let yields = 0; ; yields++) {
    const { done, value } = work.next();
    if (done) return { value, yields };
  }
}

it('bytes are shared in parts: large ones copied whole, small and shared ones as they are', () => {
  const large = Uint8Array.from({ length: 5_000_001 }, (_, i) => i * 7);
  const { value, yields } = drain(shareBytes(large));
  expect(value.buffer).toBeInstanceOf(SharedArrayBuffer);
  expect(Buffer.compare(value, large)).toBe(0);
  expect(yields).toBe(3);
  const small = large.slice(0, BULK_BYTES - 1);
  expect(drain(shareBytes(small))).toEqual({ value: small, yields: 0 });
  expect(drain(shareBytes(value)).value).toBe(value);
});
