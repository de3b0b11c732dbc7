/**
 * The training kernels: float SIMD over one WASM memory that a network owns.
 *
 * Unlike the protocol's arena this memory belongs to one network for its whole life: everything is allocated at
 * construction and nothing is freed. Its size is fixed, because growing would detach views; the system commits it page
 * by page as it is touched.
 */

import { setFlagsFromString } from 'node:v8';
import { ModelError } from '../../errors.ts';
import { wasm as forwardWasm } from './wasm/forward.ts';
import { relaxed as fusedGatherWasm, wasm as gatherWasm } from './wasm/gather.ts';
import { wasm as mapsWasm } from './wasm/maps.ts';
import { wasm as winogradWasm } from './wasm/winograd.ts';

/** Size of a training network's kernel memory, 64 KiB pages: 1.5 GiB, of which the system gives what is touched. LOCAL */
const PAGES = 24_576;

/** Fewest and most pages that the kernels' build allows: 64 MiB and 2 GiB. */
export const LEAST_PAGES = 1024;
export const MOST_PAGES = 32768;

/** Room after every buffer for a vector that reaches over its end, bytes. */
const OVERHANG = 32;

/** Floats in the kernel memory: the pointer kernels take, and the view TypeScript takes. */
export interface Floats {
  readonly at: number;
  readonly data: Float32Array;
}

/** Signatures of assembly/gather.ts. */
export interface GatherKernels {
  products(
    x: number,
    xTable: number,
    segments: number,
    segmentCount: number,
    segmentLength: number,
    w: number,
    y: number,
    yTable: number,
    pixels: number,
    channels: number,
    images: number,
    xImage: number,
    yImage: number,
  ): void;
  weightGradient(
    x: number,
    xTable: number,
    segments: number,
    segmentCount: number,
    segmentLength: number,
    dw: number,
    dy: number,
    yTable: number,
    pixels: number,
    channels: number,
    images: number,
    xImage: number,
    yImage: number,
  ): void;
}

/** Signatures of assembly/maps.ts. */
export interface MapKernels {
  channelSum(x: number, pixels: number, channels: number, out: number): void;
  channelDot(
    x: number,
    mean: number,
    dy: number,
    dyMean: number,
    pixels: number,
    channels: number,
    out: number,
  ): void;
  channelAffine(x: number, a: number, b: number, y: number, pixels: number, channels: number): void;
  channelCombine(
    dy: number,
    x: number,
    a: number,
    b: number,
    d: number,
    dx: number,
    pixels: number,
    channels: number,
  ): void;
  channelFill(v: number, y: number, pixels: number, channels: number): void;
  addTo(dst: number, src: number, length: number): void;
  takeFrom(dst: number, src: number, length: number): void;
  piecewise(
    x: number,
    offset: number,
    slope: number,
    knots: number,
    bends: number,
    count: number,
    apart: number,
    y: number,
    pixels: number,
    channels: number,
  ): void;
  piecewiseGradient(
    x: number,
    slope: number,
    knots: number,
    bends: number,
    count: number,
    apart: number,
    dy: number,
    dx: number,
    pixels: number,
    channels: number,
  ): void;
  activate(
    x: number,
    m: number,
    c0: number,
    c1: number,
    c2: number,
    y: number,
    n: number,
    images: number,
  ): void;
  activateInputGradient(
    x: number,
    m: number,
    c1: number,
    c2: number,
    dy: number,
    dx: number,
    n: number,
    images: number,
  ): void;
  activateMoments(
    x: number,
    dy: number,
    g0: number,
    g1: number,
    g2: number,
    gm: number,
    n: number,
    images: number,
  ): void;
  cut(x: number, limits: number, factor: number, n: number, images: number): void;
  rangePenalty(
    x: number,
    dx: number,
    limits: number,
    factor: number,
    n: number,
    images: number,
  ): number;
  pool(
    x: number,
    table: number,
    window: number,
    windowSize: number,
    scale: number,
    y: number,
    pixels: number,
    channels: number,
    images: number,
    xImage: number,
  ): void;
  poolGradient(
    dx: number,
    table: number,
    window: number,
    windowSize: number,
    scale: number,
    dy: number,
    pixels: number,
    channels: number,
    images: number,
    xImage: number,
  ): void;
  copyRows(
    dst: number,
    dstRow: number,
    dstImage: number,
    src: number,
    srcRow: number,
    srcImage: number,
    bytes: number,
    rows: number,
    images: number,
  ): void;
  maxPool(
    x: number,
    table: number,
    window: number,
    windowSize: number,
    y: number,
    pixels: number,
    channels: number,
    images: number,
    xImage: number,
  ): void;
  maxPoolGradient(
    dx: number,
    x: number,
    table: number,
    window: number,
    windowSize: number,
    y: number,
    dy: number,
    pixels: number,
    channels: number,
    images: number,
    xImage: number,
  ): void;
  addRows(
    dst: number,
    dstImage: number,
    src: number,
    srcRow: number,
    srcImage: number,
    bytes: number,
    rows: number,
    images: number,
  ): void;
}

/** Signatures of assembly/forward.ts. */
export interface ForwardKernels {
  depthwise(
    x: number,
    table: number,
    window: number,
    windowSize: number,
    w: number,
    bias: number,
    y: number,
    pixels: number,
    channels: number,
    images: number,
    xImage: number,
  ): void;
  rectify(x: number, y: number, length: number): void;
  channelExtents(x: number, pixels: number, channels: number, low: number, high: number): void;
}

/** Signatures of assembly/winograd.ts. */
export interface WinogradKernels {
  inputTiles(
    x: number,
    xRow: number,
    xImage: number,
    tilesDown: number,
    tilesAcross: number,
    channels: number,
    images: number,
    v: number,
    matrix: number,
    row: number,
    room: number,
  ): void;
  outputTiles(
    m: number,
    matrix: number,
    row: number,
    height: number,
    width: number,
    channels: number,
    images: number,
    y: number,
    room: number,
  ): void;
  gradientTiles(
    dy: number,
    height: number,
    width: number,
    channels: number,
    images: number,
    m: number,
    matrix: number,
    row: number,
    room: number,
  ): void;
  kernels(g: number, cells: number, count: number, u: number, matrix: number, room: number): void;
  kernelGradients(
    u: number,
    matrix: number,
    count: number,
    g: number,
    cells: number,
    room: number,
  ): void;
}

function decode(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

/**
 * The kernels of gathered products: with SOTTO_TRAIN_FMA=1 in the environment, and an engine and processor that can, those
 * that fuse each product with its sum. They are faster by a third, but each engine and processor rounds as it likes: the
 * same seed then no longer gives the same network everywhere.
 */
function gatherModule(): WebAssembly.Module {
  if (process.env['SOTTO_TRAIN_FMA'] === '1') {
    const fused = decode(fusedGatherWasm);
    if (WebAssembly.validate(fused)) return moduleOf(fusedGatherWasm);
    // Node 20 has relaxed SIMD behind this flag.
    setFlagsFromString('--experimental-wasm-relaxed-simd');
    if (WebAssembly.validate(fused)) return moduleOf(fusedGatherWasm);
  }
  return moduleOf(gatherWasm);
}

/** Compiled kernels by their bytes: many memories come and go in one thread. */
const modules = new Map<string, WebAssembly.Module>();

function moduleOf(base64: string): WebAssembly.Module {
  const known = modules.get(base64) ?? new WebAssembly.Module(decode(base64));
  modules.set(base64, known);
  return known;
}

/** One memory with its kernels. */
export class TrainingMemory {
  readonly gather: GatherKernels;
  readonly maps: MapKernels;
  readonly forward: ForwardKernels;
  readonly winograd: WinogradKernels;
  readonly #memory: WebAssembly.Memory;
  readonly #advice: string;
  readonly #shared = new Map<string, Floats>();
  #top = OVERHANG;

  /**
   * @param pages of 64 KiB, from {@link LEAST_PAGES} to {@link MOST_PAGES}
   * @param advice what the message says when they are too few
   */
  constructor(pages: number = PAGES, advice = 'use a smaller batch') {
    this.#advice = advice;
    this.#memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.gather = this.#instantiate(gatherModule());
    this.maps = this.#instantiate(moduleOf(mapsWasm));
    this.forward = this.#instantiate(moduleOf(forwardWasm));
    this.winograd = this.#instantiate(moduleOf(winogradWasm));
  }

  #instantiate<T>(module: WebAssembly.Module): T {
    const imports = { env: { memory: this.#memory } };
    const instance = new WebAssembly.Instance(module, imports);
    return instance.exports as unknown as T;
  }

  /**
   * Zeroed room for `length` floats.
   * @throws ModelError `network` when the memory is exhausted.
   */
  floats(length: number): Floats {
    const at = this.#reserve(length);
    return { at, data: new Float32Array(this.#memory.buffer, at, length) };
  }

  /**
   * At least `length` floats that all who name them alike use in turn: what lies there lasts as long as one of them works.
   * @throws ModelError `network` when the memory is exhausted.
   */
  shared(name: string, length: number): Floats {
    const known = this.#shared.get(name);
    if (known !== undefined && known.data.length >= length) return known;
    const made = this.floats(length);
    this.#shared.set(name, made);
    return made;
  }

  /** A table of byte offsets, from offsets in floats; returns its pointer. */
  table(offsets: readonly number[]): number {
    const at = this.#reserve(offsets.length);
    new Uint32Array(this.#memory.buffer, at, offsets.length).set(offsets.map((o) => 4 * o));
    return at;
  }

  #reserve(length: number): number {
    const at = this.#top;
    const top = at + 16 * Math.ceil(length / 4) + OVERHANG;
    if (top > this.#memory.buffer.byteLength) {
      const size = this.#memory.buffer.byteLength / 2 ** 20;
      throw new ModelError(
        'network',
        `the network does not fit into ${size} MiB of kernel memory: ${this.#advice}`,
      );
    }
    this.#top = top;
    return at;
  }
}
