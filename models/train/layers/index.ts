/** The layers of training, one for each operator. A new one is a file here and a line in the table. */

import type { AddNode, Node } from '../../graph/index.ts';
import { activationLayer } from './activation.ts';
import { averagePoolLayer } from './average-pool.ts';
import { batchNormLayer, scaleLayer } from './batch-norm.ts';
import { convLayer, denseLayer } from './conv.ts';
import { type Builder, type Layer, valueSize } from './layer.ts';
import { maxPoolLayer } from './max-pool.ts';
import { concatLayer, gatherLayer, padLayer, reshapeLayer, sliceLayer } from './move.ts';
import { piecewiseLayer } from './piecewise.ts';
import { pooledConvLayer } from './pooled.ts';

function addLayer({ node, memory, batch, inputs, output }: Builder<AddNode>): Layer {
  const [a, b] = inputs;
  const length = batch * valueSize(output);
  const { addTo, takeFrom } = memory.maps;
  const second = node.subtract ? takeFrom : addTo;
  return {
    forward() {
      output.value.data.set(a!.value.data);
      second(output.value.at, b!.value.at, length);
    },
    backward() {
      const dy = output.gradient!.at;
      if (a!.gradient !== undefined) addTo(a!.gradient.at, dy, length);
      if (b!.gradient !== undefined) second(b!.gradient.at, dy, length);
    },
  };
}

type Layers = {
  readonly [K in Node['op']]: (builder: Builder<Extract<Node, { op: K }>>) => Layer;
};

const layers: Layers = {
  conv: (builder) =>
    builder.pool === undefined ? convLayer(builder) : pooledConvLayer(builder, builder.pool),
  batchNorm: batchNormLayer,
  scale: scaleLayer,
  dense: denseLayer,
  add: addLayer,
  maxPool: maxPoolLayer,
  averagePool: (builder) => averagePoolLayer(builder, builder.node),
  globalAveragePool(builder) {
    const { height, width } = builder.inputs[0]!;
    return averagePoolLayer(builder, { kernel: [height, width], stride: [1, 1] });
  },
  flatten: reshapeLayer,
  reshape: reshapeLayer,
  gather: gatherLayer,
  slice: sliceLayer,
  pad: padLayer,
  concat: concatLayer,
  piecewise: piecewiseLayer,
  activation: activationLayer,
};

/** The layer of a node. */
export function layerOf(builder: Builder<Node>): Layer {
  const build = layers[builder.node.op] as (builder: Builder<Node>) => Layer;
  return build(builder);
}
