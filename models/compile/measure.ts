/**
 * Measures how far the values of a float network reach on sample images, by the training kernels.
 *
 * `measure` works in this thread, `measureAll` shares the images out to a pool. Both give the same numbers, whatever the
 * number of threads: each image is measured alone.
 */

import { abortError } from '../../protocol/errors.ts';
import type { Pool } from '../../protocol/pool/index.ts';
import { KINDS } from '../../protocol/program/kinds.ts';
import { ModelError } from '../errors.ts';
import { countGraph, type Graph, inferShapes, type Node } from '../graph/index.ts';
import { fuse } from '../train/forward/fuse.ts';
import { ForwardRunner } from '../train/forward/runner.ts';
import type { Floats } from '../train/kernels/index.ts';
import type { Value } from '../train/layers/layer.ts';
import { shareGraph } from '../train/network.ts';

/**
 * The smallest and largest number of each channel on each image: [image][channel], or [image][kind][channel] where the kinds
 * are told apart, kinds by their codes. A channel is a place on the first axis of the value's shape. Where a channel has no
 * element of a kind, low is Infinity and high -Infinity.
 */
export interface Extents {
  readonly low: Float32Array;
  readonly high: Float32Array;
}

/** A value to measure. */
export interface Wanted {
  /** Of the graph's input or of a node. */
  readonly id: string;
  /** Tells elements of different kinds apart: the map of an activation layer that reads the value. */
  readonly kinds?: Uint8Array | undefined;
}

export interface Measured {
  readonly images: number;
  /** By the keys of what was wanted. */
  readonly values: ReadonlyMap<string, Extents>;
  /** The graph's result for each image. */
  readonly outputs: readonly Float32Array[];
}

/** Codes of kinds are smaller. */
const CODES = Math.max(...KINDS) + 1;

/** Called with how many images are measured, and of how many. */
export type MeasureProgress = (done: number, total: number) => void;

/** What one thread measures. */
export interface MeasureJob {
  /** The same for the same graph and wishes. */
  readonly key: string;
  /** Prepared by `prepare`. */
  readonly graph: Graph;
  readonly wanted: ReadonlyMap<string, Wanted>;
  /** Preprocessed. */
  readonly images: readonly Float32Array[];
  /** Number of the first image among all, for messages. */
  readonly first: number;
}

/**
 * Checks what is wanted, and makes the graph smaller without changing any of it.
 * @throws ModelError `network` when the graph is not sound, `argument` when a wanted value is not one of its values or has other elements
 */
function prepare(graph: Graph, wanted: ReadonlyMap<string, Wanted>): Graph {
  const shapes = inferShapes(graph);
  for (const { id, kinds } of wanted.values()) {
    const shape = shapes.get(id);
    if (shape === undefined)
      throw new ModelError('argument', `the graph has no value named '${id}'`);
    const size = shape.reduce((product, n) => product * n, 1);
    if (kinds !== undefined && kinds.length !== size) {
      throw new ModelError(
        'argument',
        `'${id}' has ${size} elements, not ${kinds.length} as the map of kinds`,
      );
    }
  }
  return fuse(graph, new Set([...wanted.values()].map(({ id }) => id)));
}

/** Finds extents of values as a runner makes them. */
class Meter {
  readonly #runner: ForwardRunner;
  readonly #low: Floats;
  readonly #high: Floats;
  /** What is wanted of each value. */
  readonly #wanted = new Map<
    string,
    { readonly key: string; readonly kinds: KindMap | undefined }[]
  >();
  readonly #nodes: ReadonlyMap<string, Node>;
  /** How many numbers an image's smallest ones of each key are. */
  readonly rows: ReadonlyMap<string, number>;

  constructor(graph: Graph, wanted: ReadonlyMap<string, Wanted>) {
    const shapes = inferShapes(graph);
    const most = Math.max(...[...shapes.values()].map(([channels]) => channels!));
    this.#runner = new ForwardRunner(graph);
    this.#low = this.#runner.memory.floats(most);
    this.#high = this.#runner.memory.floats(most);
    const rows = new Map<string, number>();
    this.rows = rows;
    for (const [key, { id, kinds }] of wanted) {
      const list = this.#wanted.get(id) ?? [];
      this.#wanted.set(id, list);
      const [channels] = shapes.get(id)!;
      rows.set(key, channels! * (kinds === undefined ? 1 : CODES));
      list.push({ key, kinds: kinds && kindMapOf(kinds, channels!) });
    }
    this.#nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  }

  /** Measures one image. */
  measure(
    image: Float32Array,
    number: number,
  ): { result: Float32Array; rows: Map<string, Extents> } {
    const rows = new Map<string, Extents>();
    const result = this.#runner.run(image, (id, value) => {
      const extents = this.#extents(value);
      this.#check(id, extents, number);
      for (const { key, kinds } of this.#wanted.get(id) ?? []) {
        rows.set(key, kinds === undefined ? copy(extents) : byKind(value, kinds, extents));
      }
    });
    return { result, rows };
  }

  /** Of all elements, valid until the next call. */
  #extents(value: Value): Extents {
    const { channels, height, width } = value;
    const { forward } = this.#runner.memory;
    forward.channelExtents(value.value.at, height * width, channels, this.#low.at, this.#high.at);
    return {
      low: this.#low.data.subarray(0, channels),
      high: this.#high.data.subarray(0, channels),
    };
  }

  #check(id: string, { low, high }: Extents, number: number): void {
    for (let c = 0; c < low.length; c++) {
      // Not a number when one of the two is none.
      if (Number.isFinite(low[c]! - high[c]!)) continue;
      const bad = Number.isFinite(low[c]!) ? high[c]! : low[c]!;
      const node = this.#nodes.get(id);
      throw new ModelError(
        node === undefined ? 'data' : 'fixed-point',
        node === undefined
          ? `sample image ${number} has a number that is not finite (${bad})`
          : `node '${id}' (${node.op}) makes a number that is not finite (${bad}) of sample image ${number}`,
      );
    }
  }
}

/** A map of kinds, by channel. */
interface KindMap {
  readonly kinds: Uint8Array;
  /** The kind of all of a channel's elements, undefined where they differ. */
  readonly uniform: readonly (number | undefined)[];
}

function kindMapOf(kinds: Uint8Array, channels: number): KindMap {
  const plane = kinds.length / channels;
  const uniform = Array.from({ length: channels }, (_, c) => {
    const own = kinds.subarray(c * plane, (c + 1) * plane);
    return own.every((kind) => kind === own[0]) ? own[0] : undefined;
  });
  return { kinds, uniform };
}

function copy({ low, high }: Extents): Extents {
  return { low: low.slice(), high: high.slice() };
}

/** Extents of each kind's elements, [kind][channel]. */
function byKind(value: Value, { kinds, uniform }: KindMap, all: Extents): Extents {
  const { channels } = value;
  const plane = value.height * value.width;
  const { data } = value.value;
  const low = new Float32Array(CODES * channels).fill(Number.POSITIVE_INFINITY);
  const high = new Float32Array(CODES * channels).fill(Number.NEGATIVE_INFINITY);
  for (let c = 0; c < channels; c++) {
    const kind = uniform[c];
    if (kind !== undefined) {
      low[kind * channels + c] = all.low[c]!;
      high[kind * channels + c] = all.high[c]!;
      continue;
    }
    for (let p = 0; p < plane; p++) {
      const row = kinds[c * plane + p]! * channels + c;
      const v = data[p * channels + c]!;
      if (v < low[row]!) low[row] = v;
      if (v > high[row]!) high[row] = v;
    }
  }
  return { low, high };
}

/** Measures some images, of which the first has the number `first`. */
function measureWith(
  meter: Meter,
  images: readonly Float32Array[],
  first: number,
  onImage?: () => void,
): Measured {
  const values = new Map<string, Extents>();
  for (const [key, length] of meter.rows) {
    const floats = () => new Float32Array(images.length * length);
    values.set(key, { low: floats(), high: floats() });
  }
  const outputs = images.map((image, i) => {
    const { result, rows } = meter.measure(image, first + i);
    for (const [key, { low, high }] of rows) {
      values.get(key)!.low.set(low, i * low.length);
      values.get(key)!.high.set(high, i * high.length);
    }
    onImage?.();
    return result;
  });
  return { images: images.length, values, outputs };
}

/**
 * Measures values on all images, in this thread.
 * @param images preprocessed, [C, H, W] of the graph's input
 * @throws ModelError naming what is wrong: `network` with the graph, `argument` with what is wanted, `data` with an image; `fixed-point`
 *   with the node whose value is not finite
 */
export function measure(
  graph: Graph,
  wanted: ReadonlyMap<string, Wanted>,
  images: readonly Float32Array[],
  onProgress?: MeasureProgress,
): Measured {
  checkImages(images);
  const ready = prepare(graph, wanted);
  let done = 0;
  return measureWith(new Meter(ready, wanted), images, 0, () => {
    onProgress?.(++done, images.length);
  });
}

/** The graph's result for each image, in single precision. */
export function runFast(graph: Graph, images: readonly Float32Array[]): Float32Array[] {
  const runner = new ForwardRunner(fuse(graph, new Set()));
  return images.map((image) => runner.run(image));
}

function checkImages(images: readonly Float32Array[]): void {
  if (images.length === 0) throw new ModelError('data', 'measuring needs at least one image');
}

/** The meter of the thread's last job: the next job is mostly of the same network. */
let last: { readonly key: string; readonly meter: Meter } | undefined;

/** {@link Measured} as it travels between threads. */
export interface MeasuredShare {
  readonly values: readonly (readonly [key: string, extents: Extents])[];
  readonly outputs: readonly Float32Array[];
}

function measureShare(job: MeasureJob): MeasuredShare {
  if (last?.key !== job.key) {
    // Its memory goes before there is another.
    last = undefined;
    last = { key: job.key, meter: new Meter(job.graph, job.wanted) };
  }
  const { values, outputs } = measureWith(last.meter, job.images, job.first);
  return { values: [...values], outputs };
}

/** Tasks of a pool that measures. */
export const measureTasks: {
  measureShare: typeof measureShare;
} = { measureShare };

/** Multiplications of a task, about: each takes the node list along, and says when it is done. LOCAL */
const TASK_MACS = 5e8;

/** Most images of a task. LOCAL */
const TASK_IMAGES = 32;

/** Numbers networks for {@link MeasureJob.key}. */
let networks = 0;

/** Options of {@link measureAll}. */
export interface MeasureAllOptions {
  readonly onProgress?: MeasureProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Measures values on all images, on the threads of a pool; otherwise as {@link measure}.
 * @throws AbortError when `signal` fires first
 */
export async function measureAll(
  pool: Pool<typeof measureTasks>,
  graph: Graph,
  wanted: ReadonlyMap<string, Wanted>,
  images: readonly Float32Array[],
  { onProgress, signal }: MeasureAllOptions = {},
): Promise<Measured> {
  checkImages(images);
  if (signal?.aborted) throw abortError('measuring', signal.reason);
  const shared = shareArrays(shareGraph(prepare(graph, wanted)), wanted);
  const key = `measured ${networks++}`;
  const macs = Math.max(1, countGraph(shared.graph).macs);
  const each = Math.ceil(
    Math.min(TASK_IMAGES, images.length / pool.workers, Math.max(1, TASK_MACS / macs)),
  );
  const starts = Array.from({ length: Math.ceil(images.length / each) }, (_, i) => i * each);
  const shares: MeasuredShare[] = [];
  let next = 0;
  let done = 0;
  let stopped = false;
  /** Measures shares one after the other, while there are some. */
  const work = async (): Promise<void> => {
    while (next < starts.length && !stopped) {
      const place = next++;
      const first = starts[place]!;
      const share = images.slice(first, first + each);
      const job: MeasureJob = { ...shared, key, images: share, first };
      shares[place] = await pool.run('measureShare', job);
      if (!stopped) onProgress?.((done += share.length), images.length);
    }
  };
  try {
    await unlessAborted(Promise.all(Array.from({ length: pool.workers }, work)), signal);
  } finally {
    // What has not begun need not begin.
    stopped = true;
  }
  return joined(shares);
}

/** @throws AbortError as soon as the signal fires */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  let abort: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(abortError('measuring', signal.reason));
    signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', abort!);
  }
}

/** What all shares measured, in the order of the images. */
function joined(shares: readonly MeasuredShare[]): Measured {
  const values = shares[0]!.values.map(([key], place): [string, Extents] => {
    const flat = (side: keyof Extents) =>
      concatenated(shares.map((s) => s.values[place]![1][side]));
    return [key, { low: flat('low'), high: flat('high') }];
  });
  const outputs = shares.flatMap((share) => share.outputs);
  return { images: outputs.length, values: new Map(values), outputs };
}

function concatenated(rows: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(rows.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const row of rows) {
    all.set(row, at);
    at += row.length;
  }
  return all;
}

/**
 * The same with maps of kinds and tables in memory that threads share, so that no task copies them; tensors are in such memory
 * already (shareGraph). An array that stands in several places, as a map of kinds in a node and in `wanted`, is shared once.
 */
function shareArrays(
  graph: Graph,
  wanted: ReadonlyMap<string, Wanted>,
): { graph: Graph; wanted: ReadonlyMap<string, Wanted> } {
  const known = new Map<ArrayBufferView, ArrayBufferView>();
  const share = <T extends Uint8Array | Int32Array>(array: T): T => {
    const made =
      known.get(array) ??
      (array instanceof Uint8Array
        ? new Uint8Array(new SharedArrayBuffer(array.byteLength))
        : new Int32Array(new SharedArrayBuffer(array.byteLength)));
    if (!known.has(array)) (made as Uint8Array).set(array);
    known.set(array, made);
    return made as T;
  };
  const nodes = graph.nodes.map((node): Node => {
    if (node.op === 'activation') return { ...node, kinds: share(node.kinds) };
    if (node.op === 'gather') return { ...node, tables: node.tables.map(share) };
    return node;
  });
  return {
    graph: { ...graph, nodes },
    wanted: new Map(
      [...wanted].map(([key, { id, kinds }]) => [
        key,
        kinds ? { id, kinds: share(kinds) } : { id },
      ]),
    ),
  };
}
