/** Published weights of networks that are built here, from their safetensors files. */

import { ModelError } from '../errors.ts';
import type { Graph, Tensor } from '../graph/graph.ts';
import { elements } from '../graph/graph.ts';
import { readSafetensors } from '../onnx/index.ts';
import type { BuilderOptions, WeightSource } from './assemble.ts';
import { type ReluMap, squaresAt } from './maps.ts';
import { MINIONN_RELUS, miniOnn } from './plain.ts';
import { resNetCifar } from './resnet.ts';

/** Tensors of a file as a source of weights: same names, same shapes. */
export function weightsFrom(tensors: ReadonlyMap<string, Tensor>): WeightSource {
  return (name, shape) => {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw new ModelError('file', `the file has no tensor '${name}'`);
    if (`${tensor.shape}` !== `${shape}`) {
      throw new ModelError(
        'file',
        `tensor '${name}' should be [${shape}] but is [${tensor.shape}]`,
      );
    }
    return tensor.data;
  };
}

/** What the networks of akamaster/pytorch_resnet_cifar10 were trained on: ImageNet's statistics. */
const RESNET_INPUT = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;

/**
 * A CIFAR ResNet with the weights of akamaster/pytorch_resnet_cifar10.
 * @param file safetensors bytes, PyTorch's names
 * @throws ModelError `file` when the file is not readable or has other tensors than the depth needs
 */
export function loadResNetCifar(
  file: Uint8Array,
  depth: number,
  options: BuilderOptions = {},
): Graph {
  return resNetCifar(depth, {
    ...RESNET_INPUT,
    ...options,
    weights: weightsFrom(readSafetensors(file)),
  });
}

/** Delphi's polynomial in place of a ReLU. */
const DELPHI_QUADRATIC = [0.1992, 0.5002, 0.1997] as const;

/**
 * Layers that are ReLUs in Delphi's network with 5 of 7 replaced. The file does not say; of 40 test images this pair names
 * 85 % right, no other more than 60 %.
 */
const DELPHI_RELUS: readonly string[] = ['relu3', 'relu5'];

/** The map of Delphi's MiniONN network with 5 of its 7 activation layers replaced by a square. */
export const delphiMap: ReluMap = squaresAt(
  ...MINIONN_RELUS.filter((id) => !DELPHI_RELUS.includes(id)),
);

/**
 * MiniONN's network with Delphi's weights.
 * @param file safetensors bytes, Keras' names and layouts: kernels [height, width, in, out], planes with channels last
 * @param options `map: delphiMap` for the network with 5 of 7 layers replaced; default: all ReLUs
 * @throws ModelError `file` when the file is not readable or is of another network
 */
export function loadMiniOnn(file: Uint8Array, options: BuilderOptions = {}): Graph {
  const tensors = readSafetensors(file);
  const order = (name: string) => Number(/_(\d+)\//.exec(name)?.[1] ?? 0);
  const kernels = [...tensors.keys()]
    .filter((name) => /^conv2d(_\d+)?\/.*\/kernel:0$/.test(name))
    .sort((a, b) => order(a) - order(b));
  const dense = [...tensors.keys()].find((name) => /^dense(_\d+)?\/.*\/kernel:0$/.test(name));
  const named = new Map<string, Tensor>();
  const add = (id: string, kernel: string, converted: (tensor: Tensor) => Tensor) => {
    named.set(`${id}.weight`, converted(tensors.get(kernel)!));
    const bias = tensors.get(kernel.replace('kernel:0', 'bias:0'));
    if (bias !== undefined) named.set(`${id}.bias`, bias);
  };
  kernels.forEach((kernel, i) => {
    add(`conv${i + 1}`, kernel, fromKerasKernel);
  });
  const channels = named.get(`conv${kernels.length}.weight`)?.shape[0];
  if (dense === undefined || channels === undefined) {
    throw new ModelError(
      'file',
      "the file is not MiniONN's network: it has no convolution or no dense layer",
    );
  }
  add('dense', dense, (tensor) => fromKerasDense(tensor, channels));
  return miniOnn({ quadratic: DELPHI_QUADRATIC, ...options, weights: weightsFrom(named) });
}

/** [height, width, in, out] to [out, in, height, width]. */
function fromKerasKernel({ shape, data }: Tensor): Tensor {
  const [height, width, inputs, outputs] = shape as readonly [number, number, number, number];
  const to = new Float32Array(data.length);
  let from = 0;
  for (let tap = 0; tap < height * width; tap++) {
    for (let i = 0; i < inputs; i++) {
      for (let o = 0; o < outputs; o++) to[(o * inputs + i) * height * width + tap] = data[from++]!;
    }
  }
  return { shape: [outputs, inputs, height, width], data: to };
}

/** [in, out] with channels last in `in`, to [out, in] with planes one after the other. */
function fromKerasDense({ shape, data }: Tensor, channels: number): Tensor {
  const [inputs, outputs] = shape as readonly [number, number];
  const plane = inputs / channels;
  const to = new Float32Array(elements(shape));
  for (let i = 0; i < inputs; i++) {
    const at = (i % channels) * plane + Math.floor(i / channels);
    for (let o = 0; o < outputs; o++) to[o * inputs + at] = data[i * outputs + o]!;
  }
  return { shape: [outputs, inputs], data: to };
}
