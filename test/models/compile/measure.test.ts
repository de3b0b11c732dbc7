import { afterAll, describe, expect, it } from 'vitest';
import {
  type Extents,
  type Measured,
  measure,
  measureAll,
  measureTasks,
  runFast,
  type Wanted,
} from '../../../models/compile/measure.ts';
import {
  elements,
  type Graph,
  inferShapes,
  RELU,
  runFloat,
  SQUARE,
} from '../../../models/graph/index.ts';
import { ForwardRunner, MOST_PACKED } from '../../../models/train/forward/runner.ts';
import { createInlinePool } from '../../../protocol/pool/inline.ts';
import { createThreadPool } from '../../../protocol/pool/node.ts';
import { GraphBuilder } from '../builder.ts';
import { everyOperator, randomImage } from '../networks.ts';
import { moving } from '../train/moves.ts';
import { randomGraph } from './random-graphs.ts';

const CODES = 3;

/** Everything there is to measure: each value, and what activation layers read by kind. */
function everything(graph: Graph): Map<string, Wanted> {
  const wanted = new Map<string, Wanted>([[graph.input.id, { id: graph.input.id }]]);
  for (const node of graph.nodes) {
    wanted.set(node.id, { id: node.id });
    if (node.op === 'activation') {
      wanted.set(`${node.id} reads`, { id: node.inputs[0], kinds: node.kinds });
    }
  }
  return wanted;
}

function imagesFor(graph: Graph, count: number): Float32Array[] {
  return Array.from({ length: count }, (_, i) => randomImage(graph, 7 + i));
}

/** What the interpreter's values say. */
function expected(
  graph: Graph,
  wanted: ReadonlyMap<string, Wanted>,
  images: readonly Float32Array[],
): Map<string, Extents> {
  const shapes = inferShapes(graph);
  const all = new Map<string, Extents>();
  for (const [key, { id, kinds }] of wanted) {
    const [channels] = shapes.get(id)!;
    const row = channels! * (kinds ? CODES : 1);
    const low = new Float32Array(images.length * row).fill(Number.POSITIVE_INFINITY);
    const high = new Float32Array(images.length * row).fill(Number.NEGATIVE_INFINITY);
    all.set(key, { low, high });
    for (const [i, image] of images.entries()) {
      runFloat(graph, image, (name, value) => {
        if (name !== id) return;
        const plane = value.length / channels!;
        for (const [e, v] of value.entries()) {
          const at = i * row + (kinds ? kinds[e]! * channels! : 0) + Math.floor(e / plane);
          low[at] = Math.min(low[at]!, v);
          high[at] = Math.max(high[at]!, v);
        }
      });
    }
  }
  return all;
}

function expectClose(got: Float32Array, wanted: Float32Array, what: string): void {
  expect(got.length, what).toBe(wanted.length);
  const finite = [...wanted].filter(Number.isFinite).map(Math.abs);
  const unit = 2e-5 * Math.max(1, ...finite);
  for (const [i, v] of wanted.entries()) {
    if (Number.isFinite(v)) expect(Math.abs(got[i]! - v), `${what} ${i}`).toBeLessThan(unit);
    else expect(got[i], `${what} ${i}`).toBe(v);
  }
}

function expectMeasured(graph: Graph, count: number): void {
  const images = imagesFor(graph, count);
  const wanted = everything(graph);
  const { images: number, values, outputs } = measure(graph, wanted, images);
  expect(number).toBe(count);
  for (const [key, { low, high }] of expected(graph, wanted, images)) {
    expectClose(values.get(key)!.low, low, `${key}, low`);
    expectClose(values.get(key)!.high, high, `${key}, high`);
  }
  const fast = runFast(graph, images);
  for (const [i, image] of images.entries()) {
    const result = runFloat(graph, image);
    expectClose(outputs[i]!, result, `result ${i}`);
    expectClose(fast[i]!, result, `fast result ${i}`);
  }
}

/** Bit for bit. */
function expectSame(one: Measured, other: Measured): void {
  const bytes = (array: Float32Array) =>
    Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  const parts = ({ values, outputs }: Measured) => [
    ...[...values].flatMap(([, { low, high }]) => [low, high]),
    ...outputs,
  ];
  expect([...one.values.keys()]).toEqual([...other.values.keys()]);
  const others = parts(other);
  for (const [i, part] of parts(one).entries()) {
    expect(bytes(part).equals(bytes(others[i]!)), `${i}`).toBe(true);
  }
}

describe('measuring', () => {
  it('finds what the float interpreter finds', () => {
    expectMeasured(everyOperator(), 3);
    expectMeasured(moving(4), 2);
  });

  it.each(Array.from({ length: 40 }, (_, i) => 31 * i))('on random network %i', (seed) => {
    expectMeasured(randomGraph(seed), 2);
  });

  it('finds it where only some values are wanted and the others are fused away', () => {
    const graph = randomGraph(5);
    const images = imagesFor(graph, 2);
    const all = everything(graph);
    for (const [key, own] of all) {
      const some = new Map([[key, own]]);
      const { low } = measure(graph, some, images).values.get(key)!;
      expectClose(low, expected(graph, some, images).get(key)!.low, key);
    }
  });

  it('gives results of planes in the order of the graph', () => {
    const graph = { ...moving(2), output: 'means' };
    const [image] = imagesFor(graph, 1);
    expectClose(runFast(graph, [image!])[0]!, runFloat(graph, image!), 'means');
  });

  it('is the same where weights do not fit and are packed for each image', () => {
    const graph = everyOperator();
    const [image] = imagesFor(graph, 1);
    const anew = new ForwardRunner(graph, 0).run(image!);
    expect(anew).toEqual(new ForwardRunner(graph, MOST_PACKED).run(image!));
    const b = new GraphBuilder(3, [2, 12, 12]);
    const wide = b.build(b.dense(b.flatten(b.conv('image', 20)), 50));
    const [other] = imagesFor(wide, 1);
    expect(new ForwardRunner(wide, 0).run(other!)).toEqual(new ForwardRunner(wide).run(other!));
  });
});

describe('measuring on threads', () => {
  const pools = [1, 2].map((workers) =>
    createThreadPool<typeof measureTasks>(
      new URL('../../../dist/models/compile/worker.js', import.meta.url),
      { workers },
    ),
  );
  afterAll(() => Promise.all(pools.map((pool) => pool.close())));

  it('gives the same numbers for any number of threads, and counts images', async () => {
    const b = new GraphBuilder(9, [3, 16, 16]);
    const deep = b.activation(b.norm(b.conv('image', 24)), 'mixed');
    const graph = b.build(b.dense(b.flatten(b.activation(b.conv(deep, 16), 'channels')), 5));
    const images = imagesFor(graph, 40);
    const wanted = everything(graph);
    const alone = measure(graph, wanted, images);
    for (const pool of [createInlinePool(measureTasks), ...pools]) {
      const seen: number[] = [];
      const shared = await measureAll(pool, graph, wanted, images, {
        onProgress: (done, total) => {
          expect(total).toBe(40);
          seen.push(done);
        },
      });
      expect(shared.images).toBe(40);
      expectSame(shared, alone);
      expect(seen.at(-1)).toBe(40);
      expect(seen.length).toBeGreaterThan(1);
    }
  });

  it('stops when told, before or meanwhile', async () => {
    const graph = everyOperator();
    const pool = createInlinePool(measureTasks);
    const stop = new AbortController();
    const seen: number[] = [];
    const start = () =>
      measureAll(...([pool, graph, everything(graph), imagesFor(graph, 100)] as const), {
        onProgress: (done) => {
          seen.push(done);
          stop.abort();
        },
        signal: stop.signal,
      });
    await expect(start()).rejects.toMatchObject({ name: 'AbortError' });
    await expect(start()).rejects.toMatchObject({ name: 'AbortError' });
    await measureAll(pool, graph, new Map(), imagesFor(graph, 1));
    expect(seen).toHaveLength(1);
  });
});

describe('measuring refuses', () => {
  const graph = everyOperator();
  const images = imagesFor(graph, 2);

  it.each<[string, ReadonlyMap<string, Wanted>, readonly Float32Array[], RegExp]>([
    ['no image', new Map(), [], /at least one image/],
    ['an unknown value', new Map([['a', { id: 'a' }]]), images, /no value named 'a'/],
    [
      'a map of other elements',
      new Map([['a', { id: 'conv1', kinds: Uint8Array.of(RELU, SQUARE) }]]),
      images,
      /'conv1' has 120 elements, not 2/,
    ],
    ['an image of another size', new Map(), [new Float32Array(3)], /has 126 numbers, not 3/],
    [
      'an image with a hole',
      new Map(),
      [images[0]!, images[0]!.with(3, Number.NaN)],
      /sample image 1 has a number that is not finite \(NaN\)/,
    ],
  ])('%s', (_what, wanted, of, message) => {
    expect(() => measure(graph, wanted, of)).toThrow(message);
  });

  it('values that are not finite, by the name of the node that makes them', async () => {
    const tensors = new Map(graph.tensors);
    const { shape, data } = tensors.get('conv2.bias')!;
    tensors.set('conv2.bias', { shape, data: data.with(1, Number.POSITIVE_INFINITY) });
    const broken = { ...graph, tensors };
    const message =
      /node 'conv2' \(conv\) makes a number that is not finite \(Infinity\) of sample/;
    expect(() => measure(broken, new Map(), images)).toThrow(message);
    const pool = createInlinePool(measureTasks);
    await expect(measureAll(pool, broken, new Map(), images)).rejects.toThrow(message);
  });

  it('graphs that are too large', () => {
    const b = new GraphBuilder(1, [1, 1, 1]);
    const large = b.build(b.flatten('image'));
    const shape = [1, 1 << 15, 1 << 14] as const;
    const input = { ...large.input, shape };
    expect(elements(shape)).toBe(2 ** 29);
    expect(() => new ForwardRunner({ ...large, input })).toThrow(
      /2048 MiB of kernel memory: its values/,
    );
  });
});
