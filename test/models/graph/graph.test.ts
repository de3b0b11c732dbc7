import { describe, expect, it } from 'vitest';
import {
  countGraph,
  encodeGraph,
  type Graph,
  IDENTITY,
  inferShapes,
  loadGraph,
  type Node,
  preprocess,
  RELU,
  runFloat,
  SQUARE,
  saveGraph,
  type Tensor,
} from '../../../models/graph/index.ts';
import { indexOfLargest } from '../../../protocol/ring/tensor.ts';
import { everyOperator, randomImage } from '../networks.ts';

function single(node: Node, shape: [number, number, number], tensors: [string, Tensor][]): Graph {
  const channels = new Array<number>(shape[0]).fill(0);
  return {
    input: { id: 'in', shape, mean: channels, std: channels.map(() => 1) },
    nodes: [node],
    output: node.id,
    tensors: new Map(tensors),
  };
}

/** The graph with one node changed. */
function patch(graph: Graph, id: string, change: object): Graph {
  const nodes = graph.nodes.map((node) => (node.id === id ? { ...node, ...change } : node));
  return { ...graph, nodes };
}

describe('shapes and counts', () => {
  it('infers the shape of every value', () => {
    const shapes = inferShapes(everyOperator());
    expect(shapes.get('conv1')).toEqual([6, 5, 4]);
    expect(shapes.get('conv2')).toEqual([6, 5, 4]);
    expect(shapes.get('pool')).toEqual([6, 2, 2]);
    expect(shapes.get('conv3')).toEqual([9, 2, 2]);
    expect(shapes.get('mean')).toEqual([9, 1, 1]);
    expect(shapes.get('flat')).toEqual([9]);
    expect(shapes.get('head')).toEqual([5]);
  });

  it('counts kinds, multiplications and parameters', () => {
    expect(countGraph(everyOperator())).toEqual({
      relus: 48 * 2 + 36,
      squares: 48 * 2,
      identities: 24 * 2,
      macs: 120 * 18 + 120 * 36 + 36 * 18 + 45,
      parameters: 108 + 24 + 18 + 216 + 6 + 18 + 162 + 45 + 5,
    });
  });

  it.each<[string, string, object, RegExp]>([
    ['an unknown input', 'sum', { inputs: ['conv2', 'later'] }, /'sum' \(add\).*'later'/],
    ['unequal sums', 'sum', { inputs: ['conv2', 'image'] }, /'sum'.*cannot add/],
    ['a name used twice', 'sum', { id: 'conv1' }, /'conv1' \(add\).*another value/],
    ['a missing tensor', 'conv2', { bias: 'nothing' }, /'conv2'.*'nothing'/],
    [
      'a tensor of another shape',
      'conv2',
      { kernel: [3, 3] },
      /'conv2'.*conv2.weight.*\[6,6,3,3\]/,
    ],
    ['groups that do not divide', 'conv1', { groups: 4 }, /'conv1'.*4 groups/],
    ['no groups', 'conv1', { groups: 0 }, /'conv1'.*0 groups/],
    ['a negative pad', 'conv1', { pads: [-1, 0, 0, 0] }, /'conv1'.*pads/],
    ['a zero stride', 'conv1', { stride: [0, 1] }, /'conv1'.*stride/],
    ['a window that does not fit', 'pool', { kernel: [6, 2] }, /'pool'.*window of 6/],
    ['a map of the wrong length', 'act3', { kinds: new Uint8Array(35) }, /'act3'.*35 kinds for 36/],
    ['an unknown kind', 'act3', { kinds: new Uint8Array(36).fill(3) }, /'act3'.*3 is not/],
    ['squares alone', 'act3', { kinds: new Uint8Array(36).fill(SQUARE) }, /'act3'.*coefficients/],
    ['a dense layer on planes', 'head', { inputs: ['mean'] }, /'head'.*flat input/],
    ['half a group', 'conv3', { groups: 3.5 }, /'conv3'.*groups/],
  ])('refuses %s, naming the node', (_what, id, change, message) => {
    expect(() => inferShapes(patch(everyOperator(), id, change))).toThrow(message);
  });

  it('refuses a concave polynomial, naming the channel', () => {
    const graph = everyOperator();
    graph.tensors.get('act1.coefficients')!.data[3 * 4 + 2] = 0;
    expect(() => inferShapes(graph)).toThrow(/'act1'.*channel 4.*c2 = 0/);
  });

  it('refuses an output that does not exist and an unsound input', () => {
    const graph = everyOperator();
    expect(() => inferShapes({ ...graph, output: 'none' })).toThrow(/'none'/);
    const input = { ...graph.input, mean: [0] };
    expect(() => inferShapes({ ...graph, input })).toThrow(/mean and std/);
    expect(() => inferShapes({ ...graph, input: { ...graph.input, std: [1, 0] } })).toThrow(/std/);
  });
});

describe('runFloat', () => {
  it('convolves: strides, pads and groups against sums by hand', () => {
    const x = Float32Array.from({ length: 9 }, (_, i) => i + 1);
    const weight: Tensor = { shape: [1, 1, 2, 2], data: Float32Array.of(1, 10, 100, 1000) };
    const node: Node = {
      op: 'conv',
      id: 'c',
      inputs: ['in'],
      weight: 'w',
      kernel: [2, 2],
      stride: [2, 2],
      pads: [1, 0, 0, 1],
      groups: 1,
    };
    // Rows of the padded image: 0 0 0 0 / 1 2 3 0 / 4 5 6 0 / 7 8 9 0
    const graph = single(node, [1, 3, 3], [['w', weight]]);
    expect([...runFloat(graph, x)]).toEqual([2100, 300, 8754, 906]);

    const depthwise = patch(
      single(node, [2, 3, 3], [['w', { shape: [2, 1, 1, 1], data: Float32Array.of(2, -1) }]]),
      'c',
      { kernel: [1, 1], stride: [2, 2], pads: [0, 0, 0, 0], groups: 2 },
    );
    expect([...runFloat(depthwise, Float32Array.of(...x, ...x))]).toEqual([
      2, 6, 14, 18, -1, -3, -7, -9,
    ]);
  });

  it('applies each kind of activation to its element', () => {
    const node: Node = {
      op: 'activation',
      id: 'a',
      inputs: ['in'],
      kinds: Uint8Array.of(IDENTITY, RELU, SQUARE, SQUARE, RELU, IDENTITY),
      coefficients: 'c',
    };
    const c: Tensor = { shape: [2, 3], data: Float32Array.of(1, 2, 3, 0, 0.5, 0.25) };
    const graph = single(node, [2, 1, 3], [['c', c]]);
    const y = runFloat(graph, Float32Array.of(-2, -2, -2, -2, 4, -3));
    expect([...y]).toEqual([-2, 0, 9, 0, 4, -3]);
  });

  it('normalises, pools and shows every value to the observer', () => {
    const graph = everyOperator();
    const seen = new Map<string, Float32Array>();
    const y = runFloat(graph, randomImage(graph, 3), (id, value) => seen.set(id, value));
    expect([...seen.keys()]).toEqual(['image', ...graph.nodes.map((node) => node.id)]);
    expect(y).toEqual(seen.get('head'));

    const t = (name: string) => graph.tensors.get(name)!.data;
    const channel = 4;
    const x = seen.get('conv1')![channel * 20 + 7]!;
    const normal =
      (t('norm1.scale')[channel]! * (x - t('norm1.mean')[channel]!)) /
        Math.sqrt(t('norm1.variance')[channel]! + 1e-5) +
      t('norm1.shift')[channel]!;
    expect(seen.get('norm1')![channel * 20 + 7]).toBeCloseTo(normal, 5);
    const a = seen.get('act2')!;
    expect(seen.get('pool')![0]).toBeCloseTo((a[0]! + a[1]! + a[4]! + a[5]!) / 4, 6);
    expect(seen.get('mean')![8]).toBeCloseTo(
      seen
        .get('act3')!
        .subarray(32)
        .reduce((s, v) => s + v) / 4,
      6,
    );
  });

  it('refuses an image of another size', () => {
    expect(() => runFloat(everyOperator(), new Float32Array(5))).toThrow(/126 numbers, not 5/);
  });
});

describe('preprocess and argmax', () => {
  it('scales pixels per channel', () => {
    const { input } = everyOperator();
    const pixels = new Uint8Array(126).fill(51);
    const x = preprocess(input, pixels);
    expect(x[0]).toBeCloseTo((0.2 - 0.5) / 0.25, 6);
    expect(x[63]).toBeCloseTo((0.2 - 0.4) / 0.5, 6);
    expect(() => preprocess(input, pixels.subarray(1))).toThrow(/126 pixels, not 125/);
  });

  it('takes the first of equal scores', () => {
    expect(indexOfLargest([1, 3, 3, 2])).toBe(1);
  });
});

describe('files', () => {
  const graph = everyOperator();
  const file = saveGraph(graph);

  it('come back as the same graph, from any offset of a buffer', () => {
    const shifted = new Uint8Array(file.length + 3);
    shifted.set(file, 3);
    const back = loadGraph(shifted.subarray(3));
    expect(back).toEqual(graph);
    expect(saveGraph(back)).toEqual(file);
  });

  it('are refused at every length but their own', () => {
    for (let n = 0; n < file.length; n += n < 16 || n > file.length - 48 ? 1 : 97) {
      // A file of a former release.
      if (n === file.length - 32) continue;
      expect(() => loadGraph(file.subarray(0, n)), `${n} bytes`).toThrow(RangeError);
    }
    expect(() => loadGraph(Uint8Array.of(...file, 0))).toThrow(/1 bytes too many/);
    expect(() => loadGraph(file.subarray(0, -1))).toThrow(/cut short: its checksum needs 32/);
    expect(() => loadGraph(file.subarray(0, -33))).toThrow(/cut short: tensor 'head.bias'/);
    expect(() => loadGraph(file.subarray(0, 100))).toThrow(/cut short: its header/);
  });

  it('of former releases have no checksum, and are read', () => {
    expect(loadGraph(encodeGraph(graph))).toEqual(graph);
    expect(encodeGraph(graph)).toEqual(file.subarray(0, -32));
  });

  it('are refused with any byte changed', () => {
    for (let at = 0; at < file.length; at += at < file.length - 96 ? 31 : 1) {
      const damaged = file.slice();
      damaged[at]! ^= 1;
      expect(() => loadGraph(damaged), `byte ${at}`).toThrow(RangeError);
    }
    const damaged = file.slice();
    damaged[file.length - 40]! ^= 1;
    expect(() => loadGraph(damaged)).toThrow(
      /^the network file is damaged: its contents do not match its checksum; take another copy/,
    );
  });

  it('are refused when the header is not ours', () => {
    // Without the checksum, which would be the first that is wrong.
    const text = new TextDecoder('latin1').decode(encodeGraph(graph));
    const rewrite = (from: string, to: string) => {
      expect(from.length).toBe(to.length);
      expect(text).toContain(from);
      return Uint8Array.from(text.replace(from, to), (c) => c.charCodeAt(0));
    };
    expect(() => loadGraph(rewrite('sottonet', 'sottonot'))).toThrow(/begin with 'sottonet'/);
    expect(() => loadGraph(rewrite('"version":1', '"version":2'))).toThrow(/wrong at version/);
    expect(() => loadGraph(rewrite('"op":"conv"', '"op":"convv'))).toThrow(/not JSON/);
    expect(() => loadGraph(rewrite('"op":"conv"', '"op":"cone"'))).toThrow(/nodes.0/);
    expect(() => loadGraph(rewrite('"kinds":"12', '"kinds":"92'))).toThrow(/nodes.2.kinds/);
    expect(() => loadGraph(rewrite('"groups":3', '"groups":2'))).toThrow(/'conv3'/);
    expect(() => loadGraph(rewrite('"kernel"', '"Kernel"'))).toThrow(/wrong at nodes.0/);
  });

  it('are refused when a number is not finite', () => {
    const broken = file.slice();
    broken.set([0, 0, 0xc0, 0x7f], broken.length - 36);
    expect(() => loadGraph(broken)).toThrow(/'head.bias'.*not finite/);
  });
});
