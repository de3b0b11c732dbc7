/**
 * Layers that compute nothing: their results are elements of their inputs in other places, and zeros.
 *
 * Values lie channels last, while the graph counts elements in the order [C, H, W]; planeOrder translates.
 */

import { gather, OUTSIDE } from '../../../protocol/ring/gather.ts';
import type {
  ConcatNode,
  FlattenNode,
  GatherNode,
  Node,
  PadNode,
  ReshapeNode,
  SliceNode,
  Triple,
} from '../../graph/index.ts';
import { type Builder, type Layer, planeOrder, type Value, valueSize } from './layer.ts';

/** Results are inputs at `from`, where it is not negative. */
function moveLayer({ batch, inputs, output }: Builder<Node>, from: Int32Array): Layer {
  const input = inputs[0]!;
  const size = valueSize(input);
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

/** Where each element of the graph's order lies in a channels-last image: the inverse of {@link planeOrder}. */
function storedAt(value: Value): Int32Array {
  const order = planeOrder(value);
  const places = new Int32Array(order.length);
  for (let i = 0; i < order.length; i++) places[order[i]!] = i;
  return places;
}

/** The same elements in the graph's order, under another shape. */
export function reshapeLayer(builder: Builder<ReshapeNode | FlattenNode>): Layer {
  const places = storedAt(builder.inputs[0]!);
  return moveLayer(
    builder,
    planeOrder(builder.output).map((at) => places[at]!),
  );
}

export function gatherLayer(builder: Builder<GatherNode>): Layer {
  const places = storedAt(builder.inputs[0]!);
  // One more than where they lie, so that what is gathered from nowhere is 0.
  const moved = gather(
    builder.node.tables,
    places.map((at) => at + 1),
    new Int32Array(valueSize(builder.output)),
  );
  return moveLayer(
    builder,
    planeOrder(builder.output).map((at) => (moved[at] === 0 ? OUTSIDE : moved[at]! - 1)),
  );
}

/** Where each element of `output` comes from in `input`, by a map of [C, H, W] coordinates; OUTSIDE beside it. */
function sources(
  { inputs, output }: Builder<Node>,
  source: (at: Triple) => readonly [number, number, number],
): Int32Array {
  const input = inputs[0]!;
  return Int32Array.from({ length: valueSize(output) }, (_, i) => {
    const pixel = Math.floor(i / output.channels);
    const at = [
      i % output.channels,
      Math.floor(pixel / output.width),
      pixel % output.width,
    ] as const;
    const [c, y, x] = source(at);
    const inside =
      c >= 0 && c < input.channels && y >= 0 && y < input.height && x >= 0 && x < input.width;
    return inside ? (y * input.width + x) * input.channels + c : OUTSIDE;
  });
}

export function sliceLayer(builder: Builder<SliceNode>): Layer {
  const { start, step } = builder.node;
  const along = (k: 0 | 1 | 2, at: Triple) => start[k] + step[k] * at[k];
  return moveLayer(
    builder,
    sources(builder, (at) => [along(0, at), along(1, at), along(2, at)]),
  );
}

export function padLayer(builder: Builder<PadNode>): Layer {
  const { before } = builder.node;
  return moveLayer(
    builder,
    sources(builder, (at) => [at[0] - before[0], at[1] - before[1], at[2] - before[2]]),
  );
}

/** Channels of some values side by side in each pixel. */
export function concatLayer({ memory, batch, inputs, output }: Builder<ConcatNode>): Layer {
  const pixels = batch * output.height * output.width;
  const row = 4 * output.channels;
  let channel = 0;
  const parts = inputs.map((input) => {
    const first = 4 * channel;
    channel += input.channels;
    return { input, first, bytes: 4 * input.channels };
  });
  const { maps } = memory;
  return {
    forward() {
      for (const { input, first, bytes } of parts) {
        maps.copyRows(output.value.at + first, row, 0, input.value.at, bytes, 0, bytes, pixels, 1);
      }
    },
    backward() {
      for (const { input, first, bytes } of parts) {
        if (input.gradient === undefined) continue;
        const dy = output.gradient!.at + first;
        maps.addRows(input.gradient.at, 0, dy, row, 0, bytes, pixels, 1);
      }
    },
  };
}
