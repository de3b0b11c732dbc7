/**
 * Memory for large arrays that travel between threads: shared where the platform has shared memory (Node, and browser
 * pages that are cross-origin isolated), so that handing one to a worker copies nothing; ordinary elsewhere, with the
 * same results.
 */

/** Bytes from which sharing, or moving, is worth its overhead. LOCAL. */
export const BULK_BYTES: number = 1 << 15;

/** Zeroed memory for `length` bytes. */
export function bulkBytes(length: number): Uint8Array {
  const shared = length >= BULK_BYTES && typeof SharedArrayBuffer !== 'undefined';
  return new Uint8Array(shared ? new SharedArrayBuffer(length) : new ArrayBuffer(length));
}

/** Whether an array is large, and copying it would make it shared. */
export function isBulk({ byteLength, buffer }: ArrayBufferView): boolean {
  const sharing = typeof SharedArrayBuffer !== 'undefined';
  return sharing && byteLength >= BULK_BYTES && buffer instanceof ArrayBuffer;
}

/** Bytes that are copied at a time. LOCAL. */
const COPY_BYTES = 2 << 20;

/** `bytes` where threads can read them without a copy; it yields as it copies, for memory that is new takes its time. */
export function* shareBytes(bytes: Uint8Array): Generator<undefined, Uint8Array> {
  if (!isBulk(bytes)) return bytes;
  const shared = bulkBytes(bytes.length);
  for (let at = 0; at < bytes.length; at += COPY_BYTES) {
    yield;
    shared.set(bytes.subarray(at, at + COPY_BYTES), at);
  }
  return shared;
}

/** A copy of `array` in such memory. */
export function bulkCopy<T extends Uint8Array | Int32Array | Uint32Array>(
  array: T,
  type: new (buffer: ArrayBufferLike) => T,
): T {
  const copy = new type(bulkBytes(array.byteLength).buffer);
  copy.set(array);
  return copy;
}
