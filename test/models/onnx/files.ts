/** Files for tests: safetensors, and damage to files of any kind. */

/** The bytes of a safetensors file with any header. */
export function safetensors(header: object, body: Uint8Array): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(header));
  const file = new Uint8Array(8 + json.length + body.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  file.set(body, 8 + json.length);
  return file;
}

/** A small deterministic stream of integers 0 <= n < limit. */
export function integers(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    const mixed = Math.imul(state ^ (state >>> 13), 0x297a2d39) >>> 0;
    return ((mixed ^ (mixed >>> 16)) >>> 0) % limit;
  };
}

/** Numbers that break length fields: huge, negative, or just off. */
const EXTREMES: readonly (readonly number[])[] = [
  [0xff, 0xff, 0xff, 0xff, 0x0f],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
  [0xff, 0xff, 0xff, 0x7f],
  [0x00],
  [0x7f],
];

/** The file, damaged once to four times: bytes changed, cut, doubled, moved, or blown up. */
export function damage(file: Uint8Array, next: (limit: number) => number): Uint8Array {
  // A copy: slices of Node's buffers are views.
  let bytes = new Uint8Array(file);
  const splice = (at: number, remove: number, added: ArrayLike<number>) => {
    const changed = new Uint8Array(bytes.length - remove + added.length);
    changed.set(bytes.subarray(0, at));
    changed.set(Array.from(added), at);
    changed.set(bytes.subarray(at + remove), at + added.length);
    bytes = changed;
  };
  for (let times = 1 + next(4); times > 0 && bytes.length > 0; times--) {
    const at = next(bytes.length);
    const span = Math.min(1 + next(16), bytes.length - at);
    switch (next(8)) {
      case 0:
        bytes[at]! ^= 1 << next(8);
        break;
      case 1:
        bytes[at] = next(256);
        break;
      case 2:
        bytes[at]! += next(2) === 0 ? 1 : -1;
        break;
      case 3:
        bytes = bytes.slice(0, at);
        break;
      case 4:
        splice(at, span, []);
        break;
      case 5:
        splice(at, 0, bytes.slice(at, at + span));
        break;
      case 6:
        splice(at, 1, EXTREMES[next(EXTREMES.length)]!);
        break;
      default:
        splice(at, span, bytes.slice(next(bytes.length)).subarray(0, span));
    }
  }
  return bytes;
}
