/** Networks between graph and program as graphs again. */

import type { FixedNetwork } from '../../../models/compile/network.ts';
import type { Graph, Node, Tensor } from '../../../models/graph/index.ts';

/** The network as a graph again, so that the float interpreter runs it. */
export function unfold(network: FixedNetwork): Graph {
  const tensors = new Map<string, Tensor>();
  const tensor = (name: string, data: Float64Array, shape: readonly number[] = [data.length]) => {
    tensors.set(name, { shape, data: Float32Array.from(data) });
    return name;
  };
  const nodes = network.nodes.flatMap((node): Node[] => {
    const { id } = node;
    const [channels, height, width] = node.shape;
    const plain = height === 1 && width === 1 ? [channels] : node.shape;
    /** Numbers for each channel, or each element, added after factors. */
    const scaled = (
      of: string,
      as: string,
      factor: Float64Array | undefined,
      shift: Float64Array | undefined,
    ): Node[] => {
      const length =
        Math.max(factor?.length ?? 0, shift?.length ?? 0) > channels
          ? channels * height * width
          : channels;
      const spread = (values: Float64Array | undefined, otherwise: number) =>
        values === undefined
          ? new Float64Array(length).fill(otherwise)
          : Float64Array.from(
              { length },
              (_, i) => values[Math.floor((i * values.length) / length)]!,
            );
      const scale = tensor(`${as}.scale`, spread(factor, 1));
      const moved = tensor(`${as}.shift`, spread(shift, 0));
      if (length === channels) return [{ op: 'scale', id: as, inputs: [of], scale, shift: moved }];
      return [
        { op: 'reshape', id: `${as}.flat`, inputs: [of], shape: [length] },
        { op: 'scale', id: `${as}.moved`, inputs: [`${as}.flat`], scale, shift: moved },
        { op: 'reshape', id: as, inputs: [`${as}.moved`], shape: plain },
      ];
    };
    if (node.op === 'add') {
      const subtract = node.subtract ? ({ subtract: true } as const) : {};
      return [{ op: 'add', id, inputs: node.inputs, ...subtract }];
    }
    if (node.op === 'concat') {
      return [{ op: 'concat', id, inputs: node.inputs as [string, string] }];
    }
    const [source] = node.inputs;
    const inputs = [source] as const;
    if (node.op === 'pool') {
      const { kernel, stride, pads } = node;
      return [{ op: 'averagePool', id, inputs, kernel, stride, pads }];
    }
    if (node.op === 'maxPool') {
      const { kernel, stride, pads } = node;
      return [{ op: 'maxPool', id, inputs, kernel, stride, pads }];
    }
    if (node.op === 'gather') {
      return [{ op: 'gather', id, inputs, shape: plain, tables: node.tables }];
    }
    if (node.op === 'rescale') return scaled(source, id, node.factor, undefined);
    if (node.op === 'activation') {
      const coefficients = node.coefficients && {
        coefficients: tensor(`${id}.coefficients`, Float64Array.from(node.coefficients), [
          channels,
          3,
        ]),
      };
      return [
        ...scaled(source, `${id}.before`, undefined, node.before),
        {
          op: 'activation',
          id: `${id}.plain`,
          inputs: [`${id}.before`],
          kinds: node.kinds,
          ...coefficients,
        },
        ...scaled(`${id}.plain`, id, undefined, node.after),
      ];
    }
    const { layer } = node;
    const made = `${id}.product`;
    const biased = scaled(made, id, undefined, node.bias);
    if (layer.kind === 'dense') {
      const weight = tensor(`${id}.weight`, node.weight, [layer.outputs, layer.inputs]);
      return [
        { op: 'flatten', id: `${id}.in`, inputs: [source] },
        { op: 'dense', id: made, inputs: [`${id}.in`], weight },
        ...biased,
      ];
    }
    const { kernel, stride, pads, groups, outChannels } = layer;
    const shape = [outChannels, layer.channels / groups, ...kernel];
    const weight = tensor(`${id}.weight`, node.weight, shape);
    const from = [layer.channels, layer.height, layer.width];
    return [
      { op: 'reshape', id: `${id}.in`, inputs: [source], shape: from },
      { op: 'conv', id: made, inputs: [`${id}.in`], weight, kernel, stride, pads, groups },
      ...biased,
    ];
  });
  return { input: network.input, nodes, output: network.output, tensors };
}
