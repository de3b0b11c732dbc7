/**
 * The WASM SIMD kernels of one thread: one memory of fixed size, the kernel modules that share it, and the arena that
 * hands out its space.
 *
 * Contract
 * - One instance per thread, made on first use by {@link kernels}. Kernels hold no state between calls: what a kernel
 *   reads and writes is named by pointers (byte offsets into `memory`), all 16-byte aligned.
 * - Space is borrowed: `arena.scope(() => ...)` releases everything allocated inside it when the function returns, so a
 *   view never outlives its scope. Copy results out (`slice`) before leaving.
 * - The memory never grows: growing would detach every view. Work that does not fit is split by the caller.
 *
 * Kernels are tested against plain TypeScript: `reference.ts` here and in `ring`, or beside the test.
 */

import { wasm as aesWasm } from './wasm/aes.ts';
import { wasm as bitsWasm } from './wasm/bits.ts';
import { wasm as blake3Wasm } from './wasm/blake3.ts';
import { wasm as checkWasm } from './wasm/check.ts';
import { wasm as compareWasm } from './wasm/compare.ts';
import { wasm as condenseWasm } from './wasm/condense.ts';
import { wasm as garbleWasm } from './wasm/garble.ts';
import { wasm as nttWasm } from './wasm/ntt.ts';
import { wasm as ringWasm } from './wasm/ring.ts';
import { wasm as rlweWasm } from './wasm/rlwe.ts';

/** Size of the kernel memory: 64 MiB, committed by the system page by page as it is touched. LOCAL. */
export const KERNEL_BYTES: number = 1024 * 65536;

/** Bytes below the first pointer the arena hands out, so that pointer 0 stays invalid. */
const RESERVED = 64;

/** Stack allocator over the kernel memory. */
export class Arena {
  readonly memory: WebAssembly.Memory;
  #top = RESERVED;
  #end: number;

  constructor(memory: WebAssembly.Memory) {
    this.memory = memory;
    this.#end = memory.buffer.byteLength;
  }

  /** Runs `work` and releases what it allocated, also when it throws. */
  scope<T>(work: () => T): T {
    const mark = this.#top;
    try {
      return work();
    } finally {
      this.#top = mark;
    }
  }

  /**
   * Reserves `bytes` bytes, 16-byte aligned, not cleared.
   * @throws RangeError when the kernel memory is exhausted: the caller should have split its work.
   */
  alloc(bytes: number): number {
    const pointer = this.#top;
    const top = pointer + ((bytes + 15) & ~15);
    if (!(bytes >= 0) || top > this.#end) {
      throw new RangeError(`kernel arena: ${bytes} bytes asked for, ${this.#end - pointer} left`);
    }
    this.#top = top;
    return pointer;
  }

  /**
   * Reserves `bytes` bytes for the life of the thread, 16-byte aligned, whatever scope is open: for constant tables.
   * @throws RangeError when the kernel memory is exhausted
   */
  permanent(bytes: number): number {
    const pointer = this.#end - ((bytes + 15) & ~15);
    if (!(bytes >= 0) || pointer < this.#top) {
      throw new RangeError(
        `kernel arena: ${bytes} permanent bytes asked for, ${this.#end - this.#top} left`,
      );
    }
    this.#end = pointer;
    return pointer;
  }

  /** A view of `bytes` bytes at `pointer`. */
  u8(pointer: number, bytes: number): Uint8Array {
    return new Uint8Array(this.memory.buffer, pointer, bytes);
  }

  /** A view of `length` 32-bit integers at `pointer`. */
  i32(pointer: number, length: number): Int32Array {
    return new Int32Array(this.memory.buffer, pointer, length);
  }

  /** A view of `length` unsigned 32-bit integers at `pointer`. */
  u32(pointer: number, length: number): Uint32Array {
    return new Uint32Array(this.memory.buffer, pointer, length);
  }

  /** Copies `data` into fresh space and returns its pointer. */
  put(data: ArrayBufferView): number {
    const pointer = this.alloc(data.byteLength);
    this.u8(pointer, data.byteLength).set(
      new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    );
    return pointer;
  }
}

/** Signatures of assembly/bits.ts. */
export interface BitsKernels {
  xor(dst: number, a: number, b: number, bytes: number): void;
  sigma(dst: number, src: number, blocks: number): void;
  xorBlock(dst: number, src: number, block: number, blocks: number): void;
  transpose(dst: number, src: number, stride: number, blocks: number): void;
  foldLeaves(
    rows: number,
    sums: number,
    leaves: number,
    start: number,
    groups: number,
    k: number,
  ): void;
  hashInputs(dst: number, src: number, shifts: number, count: number, blocks: number): void;
  xorWords(dst: number, a: number, b: number, word: number, blocks: number): void;
  correctRows(rows: number, d: number, masks: number, groups: number, k: number): void;
}

/** Signatures of assembly/check.ts. */
export interface CheckKernels {
  powers(dst: number, point: number): void;
  picks(dst: number, matrix: number, table: number): void;
  hornerColumns(sums: number, picks: number, table: number, blocks: number, slices: number): void;
  hornerBits(sum: number, columns: number, blocks: number, slices: number): void;
}

/** Signatures of assembly/blake3.ts. */
export interface Blake3Kernels {
  chunks(
    out: number,
    src: number,
    bytes: number,
    key: number,
    counter: number,
    flags: number,
    root: number,
    work: number,
  ): void;
  parents(
    nodes: number,
    count: number,
    key: number,
    flags: number,
    root: number,
    work: number,
  ): void;
}

/** Signatures of assembly/compare.ts. */
export interface CompareKernels {
  orMasked(dst: number, a: number, b: number, mask: number, n: number): void;
  wordPlanes(
    dst: number,
    words: number,
    top: number,
    count: number,
    stride: number,
    groups: number,
  ): void;
  serverOffline(
    state: number,
    corrections: number,
    zero: number,
    one: number,
    padStride: number,
    nodes: number,
    groups: number,
  ): void;
  clientOffline(
    state: number,
    pads: number,
    padStride: number,
    nodes: number,
    groups: number,
  ): void;
  clientCorrect(state: number, corrections: number, nodes: number, groups: number): void;
  serverOnline(
    message: number,
    state: number,
    a: number,
    aStride: number,
    pi: number,
    column: number,
    nodes: number,
    groups: number,
  ): void;
  clientOnline(
    e: number,
    state: number,
    message: number,
    x: number,
    nodes: number,
    groups: number,
  ): void;
}

/** Signatures of assembly/condense.ts. */
export interface CondenseKernels {
  condense(dst: number, src: number, bytes: number, key: number): void;
}

/** Signatures of assembly/aes.ts. */
export interface AesKernels {
  expandKey(roundKeys: number, key: number, scratch: number): void;
  encryptBlocks(dst: number, src: number, blocks: number, roundKeys: number, state: number): void;
  counterBlocks(dst: number, first: number, blocks: number): void;
}

/** Signatures of assembly/garble.ts. */
export interface GarbleKernels {
  sigmaPairs(dst: number, x: number, y: number, delta: number, n: number): void;
  sigmaSums(dst: number, a0: number, a1: number, b0: number, b1: number, n: number): void;
  combineGarble(
    out: number,
    rows: number,
    encrypted: number,
    a0: number,
    a1: number,
    b0: number,
    b1: number,
    c: number,
    delta: number,
    n: number,
  ): void;
  combineEvaluate(
    out: number,
    rows: number,
    encrypted: number,
    a0: number,
    a1: number,
    b0: number,
    b1: number,
    c: number,
    n: number,
  ): void;
  xorSelected(dst: number, src: number, bits: number, block: number, n: number): void;
  xorSelectedByWord(
    dst: number,
    src: number,
    words: number,
    position: number,
    block: number,
    n: number,
  ): void;
}

/** Signatures of assembly/ntt.ts. */
export interface NttKernels {
  forward(dst: number, src: number, n: number, table: number, prime: number): void;
  inverse(
    x: number,
    y: number,
    n: number,
    table: number,
    prime: number,
    negativeInverse: number,
    scale: number,
    quotient: number,
    turned: number,
    turnedQuotient: number,
  ): void;
  accumulateProduct(sums: number, x: number, w: number, n: number): void;
  foldSums(sums: number, n: number, radix: number): void;
  reduceSums(dst: number, sums: number, n: number, prime: number, negativeInverse: number): void;
  multiply(
    dst: number,
    x: number,
    y: number,
    n: number,
    prime: number,
    negativeInverse: number,
  ): void;
  subtractProduct(
    dst: number,
    x: number,
    y: number,
    n: number,
    prime: number,
    negativeInverse: number,
  ): void;
}

/** Signatures of assembly/rlwe.ts; 64-bit lanes stay in kernel memory, their modulus crosses as an exact number. */
export interface RlweKernels {
  sampleResidues(dst: number, wanted: number, src: number, words: number, prime: number): number;
  sampleBelow(dst: number, wanted: number, src: number, words: number, bound: number): number;
  sampleTernary(dst: number, wanted: number, src: number, bytes: number): number;
  sampleBinomial(dst: number, src: number, n: number): void;
  encode(
    dst: number,
    message: number,
    error: number,
    n: number,
    scale: number,
    prime: number,
    negativeInverse: number,
  ): void;
  addSmall(x: number, small: number, n: number, prime: number): void;
  gather(dst: number, src: number, positions: number, count: number): void;
  compose(
    dst: number,
    x: number,
    y: number,
    n: number,
    p1: number,
    p2: number,
    inverse: number,
    quotient: number,
  ): void;
  split(dst: number, src: number, n: number, prime: number): void;
  roundAt(
    dst: number,
    x: number,
    y: number,
    positions: number,
    count: number,
    p1: number,
    p2: number,
    inverse: number,
    quotient: number,
    bits: number,
    ratio: number,
  ): void;
  roundUniform(
    masks: number,
    fractions: number,
    src: number,
    noise: number,
    n: number,
    bits: number,
    modulus: number,
  ): void;
  packResidues(dst: number, src: number, n: number, width: number): void;
  unpackResidues(dst: number, src: number, n: number, width: number, bound: number): number;
  packRounded(dst: number, src: number, n: number, drop: number, width: number): void;
  unpackRounded(
    dst: number,
    src: number,
    n: number,
    drop: number,
    width: number,
    modulus: number,
  ): number;
}

/** Signatures of assembly/ring.ts. */
export interface RingKernels {
  convolve4(
    out: number,
    outPlane: number,
    outPitch: number,
    input: number,
    inPitch: number,
    rows: number,
    width: number,
    offsets: number,
    taps: number,
    weights: number,
    bias: number,
  ): void;
  convolve1(
    out: number,
    outPitch: number,
    input: number,
    inPitch: number,
    rows: number,
    width: number,
    offsets: number,
    taps: number,
    weights: number,
    bias: number,
  ): void;
  dense(out: number, weights: number, rows: number, x: number, n: number): void;
  gather(dst: number, src: number, count: number, stride: number): void;
  halve(low: number, high: number, a: number, b: number, count: number, stride: number): void;
  convolveHalves4(
    out: number,
    outPlane: number,
    outPitch: number,
    input: number,
    high: number,
    inPitch: number,
    rows: number,
    width: number,
    offsets: number,
    pairs: number,
    weights: number,
    bias: number,
  ): void;
  denseHalves(
    out: number,
    weights: number,
    rows: number,
    low: number,
    high: number,
    n: number,
  ): void;
}

/** The kernels of this thread. */
export interface Kernels {
  readonly arena: Arena;
  readonly aes: AesKernels;
  readonly bits: BitsKernels;
  readonly check: CheckKernels;
  readonly blake3: Blake3Kernels;
  readonly compare: CompareKernels;
  readonly condense: CondenseKernels;
  readonly ring: RingKernels;
  readonly garble: GarbleKernels;
  readonly ntt: NttKernels;
  readonly rlwe: RlweKernels;
}

function instantiate<T>(base64: string, memory: WebAssembly.Memory): T {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const imports = { env: { memory } };
  try {
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), imports);
    return instance.exports as unknown as T;
  } catch (cause) {
    const why = "an engine without SIMD, or a content security policy without 'wasm-unsafe-eval'";
    throw new Error(`WebAssembly does not run here: ${why}`, { cause });
  }
}

let instance: Kernels | undefined;

/** The kernels of this thread, compiled on first use (about a millisecond). */
export function kernels(): Kernels {
  if (instance === undefined) {
    const pages = KERNEL_BYTES / 65536;
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    instance = {
      arena: new Arena(memory),
      aes: instantiate<AesKernels>(aesWasm, memory),
      bits: instantiate<BitsKernels>(bitsWasm, memory),
      check: instantiate<CheckKernels>(checkWasm, memory),
      blake3: instantiate<Blake3Kernels>(blake3Wasm, memory),
      compare: instantiate<CompareKernels>(compareWasm, memory),
      condense: instantiate<CondenseKernels>(condenseWasm, memory),
      ring: instantiate<RingKernels>(ringWasm, memory),
      garble: instantiate<GarbleKernels>(garbleWasm, memory),
      ntt: instantiate<NttKernels>(nttWasm, memory),
      rlwe: instantiate<RlweKernels>(rlweWasm, memory),
    };
  }
  return instance;
}
