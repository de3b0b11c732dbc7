/** What the bit kernels compute, in plain TypeScript: slow, obvious, and what the tests hold the kernels to. */

/** Bit `index` of a packed bit string, lowest bit of byte 0 first. */
function bit(bytes: Uint8Array, index: number): number {
  return (bytes[index >> 3]! >> (index & 7)) & 1;
}

/** 128 rows of `blocks` bits each -> `blocks` blocks of 128 bits: bit r of block j is bit j of row r. */
export function transpose(rows: Uint8Array, blocks: number): Uint8Array {
  const out = new Uint8Array(blocks * 16);
  for (let j = 0; j < blocks; j++) {
    for (let r = 0; r < 128; r++) out[16 * j + (r >> 3)]! |= bit(rows, r * blocks + j) << (r & 7);
  }
  return out;
}

/** sigma(low || high) = (low ^ high) || low on each 16-byte block, halves of 8 bytes. */
export function sigma(blocks: Uint8Array): Uint8Array {
  return blocks.map((byte, i) => ((i & 8) === 0 ? byte ^ blocks[i + 8]! : blocks[i - 8]!));
}

/** The sums of `foldLeaves` for one group of 2^k blocks: all of them, and for each bit those whose index has it. */
export function foldLeaves(blocks: Uint8Array, k: number): { sum: Uint8Array; rows: Uint8Array[] } {
  const xorWhere = (wanted: (x: number) => boolean) => {
    const out = new Uint8Array(16);
    for (let x = 0; x < 1 << k; x++) {
      if (wanted(x)) for (let i = 0; i < 16; i++) out[i]! ^= blocks[16 * x + i]!;
    }
    return out;
  };
  const rows = Array.from({ length: k }, (_, b) => xorWhere((x) => ((x >> b) & 1) === 1));
  return { sum: xorWhere(() => true), rows };
}
