/**
 * The layers of training, one for each operator that can be trained. A new one is a file here and a line in the table.
 */

import type {
  AddNode,
  AveragePoolNode,
  FlattenNode,
  Node,
  PadNode,
  SliceNode,
  Triple,
} from '../../graph/index.ts';
import { activationLayer } from './activation.ts';
import { batchNormLayer, scaleLayer } from './batch-norm.ts';
import { convLayer, denseLayer } from './conv.ts';
import { type Builder, type Layer, planeOrder, sizeOf } from './layer.ts';
import { maxPoolLayer } from './max-pool.ts';
import { pooledConvLayer } from './pooled.ts';

function addLayer({ memory, batch, inputs, output }: Builder<AddNode>): Layer {
  const [a, b] = inputs;
  const length = batch * sizeOf(output);
  return {
    forward() {
      output.value.data.set(a!.value.data);
      memory.maps.addTo(output.value.at, b!.value.at, length);
    },
    backward() {
      for (const { gradient } of [a!, b!]) {
        if (gradient !== undefined) memory.maps.addTo(gradient.at, output.gradient!.at, length);
      }
    },
  };
}

function poolLayer(
  { memory, batch, inputs, output }: Builder<Node>,
  { kernel, stride }: Pick<AveragePoolNode, 'kernel' | 'stride'>,
): Layer {
  const input = inputs[0]!;
  const offset = (y: number, x: number) => (y * input.width + x) * input.channels;
  const offsets = (rows: number, columns: number, dy: number, dx: number) =>
    Array.from({ length: rows * columns }, (_, i) =>
      offset(Math.floor(i / columns) * dy, (i % columns) * dx),
    );
  const table = memory.table(offsets(output.height, output.width, stride[0], stride[1]));
  const window = memory.table(offsets(kernel[0], kernel[1], 1, 1));
  const size = kernel[0] * kernel[1];
  const pixels = output.height * output.width;
  const fixed = [output.channels, batch, 4 * sizeOf(input)] as const;
  return {
    forward() {
      const y = output.value.at;
      memory.maps.pool(input.value.at, table, window, size, 1 / size, y, pixels, ...fixed);
    },
    backward() {
      if (input.gradient === undefined) return;
      const dy = output.gradient!.at;
      const dx = input.gradient.at;
      memory.maps.poolGradient(dx, table, window, size, 1 / size, dy, pixels, ...fixed);
    },
  };
}

/** Channels-last images to the graph's order of a flat vector. */
function flattenLayer({ batch, inputs, output }: Builder<FlattenNode>): Layer {
  const input = inputs[0]!;
  const order = planeOrder(input);
  const n = order.length;
  return {
    forward() {
      const x = input.value.data;
      const y = output.value.data;
      for (let o = 0; o < batch * n; o += n) {
        for (let i = 0; i < n; i++) y[o + order[i]!] = x[o + i]!;
      }
    },
    backward() {
      if (input.gradient === undefined) return;
      const dx = input.gradient.data;
      const dy = output.gradient!.data;
      for (let o = 0; o < batch * n; o += n) {
        for (let i = 0; i < n; i++) dx[o + i]! += dy[o + order[i]!]!;
      }
    },
  };
}

/** Elements that reappear elsewhere, beside zeros: results are inputs at `from`, where it is not negative. */
function moveLayer({ batch, inputs, output }: Builder<Node>, from: Int32Array): Layer {
  const input = inputs[0]!;
  const size = sizeOf(input);
  const n = from.length;
  return {
    forward() {
      const x = input.value.data;
      const y = output.value.data;
      for (let b = 0; b < batch; b++) {
        for (let i = 0; i < n; i++) y[b * n + i] = from[i]! < 0 ? 0 : x[b * size + from[i]!]!;
      }
    },
    backward() {
      if (input.gradient === undefined) return;
      const dx = input.gradient.data;
      const dy = output.gradient!.data;
      for (let b = 0; b < batch; b++) {
        for (let i = 0; i < n; i++) if (from[i]! >= 0) dx[b * size + from[i]!]! += dy[b * n + i]!;
      }
    },
  };
}

/** Where each element of `output` comes from in `input`, by a map of [C, H, W] coordinates; -1 outside of it. */
function sources(
  { inputs, output }: Builder<Node>,
  source: (at: Triple) => readonly [number, number, number],
): Int32Array {
  const input = inputs[0]!;
  return Int32Array.from({ length: sizeOf(output) }, (_, i) => {
    const pixel = Math.floor(i / output.channels);
    const at = [
      i % output.channels,
      Math.floor(pixel / output.width),
      pixel % output.width,
    ] as const;
    const [c, y, x] = source(at);
    const inside =
      c >= 0 && c < input.channels && y >= 0 && y < input.height && x >= 0 && x < input.width;
    return inside ? (y * input.width + x) * input.channels + c : -1;
  });
}

function sliceLayer(builder: Builder<SliceNode>): Layer {
  const { start, step } = builder.node;
  const along = (k: 0 | 1 | 2, at: Triple) => start[k] + step[k] * at[k];
  return moveLayer(
    builder,
    sources(builder, (at) => [along(0, at), along(1, at), along(2, at)]),
  );
}

function padLayer(builder: Builder<PadNode>): Layer {
  const { before } = builder.node;
  return moveLayer(
    builder,
    sources(builder, (at) => [at[0] - before[0], at[1] - before[1], at[2] - before[2]]),
  );
}

type Layers = {
  readonly [K in Node['op']]?: (builder: Builder<Extract<Node, { op: K }>>) => Layer;
};

const layers: Layers = {
  conv: (builder) =>
    builder.pool === undefined ? convLayer(builder) : pooledConvLayer(builder, builder.pool),
  batchNorm: batchNormLayer,
  scale: scaleLayer,
  dense: denseLayer,
  add: addLayer,
  maxPool: maxPoolLayer,
  averagePool: (builder) => poolLayer(builder, builder.node),
  globalAveragePool(builder) {
    const { height, width } = builder.inputs[0]!;
    return poolLayer(builder, { kernel: [height, width], stride: [1, 1] });
  },
  flatten: flattenLayer,
  slice: sliceLayer,
  pad: padLayer,
  activation: activationLayer,
};

/**
 * The layer of a node.
 * @throws RangeError naming the node when its operator has no layer.
 */
export function layerOf(builder: Builder<Node>): Layer {
  const { op, id } = builder.node;
  const build = layers[op] as ((builder: Builder<Node>) => Layer) | undefined;
  if (build === undefined) {
    throw new RangeError(
      `node '${id}' (${op}) cannot be trained: train with ${Object.keys(layers).join(', ')}`,
    );
  }
  return build(builder);
}
