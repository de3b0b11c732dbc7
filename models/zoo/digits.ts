/**
 * Trains the shipped digit network and writes it with its card to models/zoo.
 *
 *   npm run build && node dist/models/zoo/digits.js [--epochs N] [--tune N] [--out FOLDER]
 *
 * First a network of ReLUs alone, then the map (reduce/harm.ts), then fine-tuning of weights and polynomials with the
 * first network as the teacher. Of the 60,000 training images the last 5,000 are only ever used to validate; the test
 * images are looked at once, at the end.
 */

import { mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { replaceFile } from '../../protocol/files.ts';
import { indexOfLargest } from '../../protocol/ring/tensor.ts';
import { say, showStatus } from '../../protocol/terminal.ts';
import {
  countGraph,
  elements,
  type Graph,
  type Node,
  preprocess,
  RELU,
  runFloat,
  saveGraph,
  type Tensor,
} from '../graph/index.ts';
import { Stream } from '../random.ts';
import { mapOf } from '../reduce/card.ts';
import { replaceRelus } from '../reduce/harm.ts';
import { clampCurvature } from '../reduce/parabola.ts';
import { type LabelledImages, makeBatch } from '../train/data/images.ts';
import { missing } from '../train/data/published.ts';
import { progressLine, score } from '../train/loop.ts';
import { Network } from '../train/network.ts';
import { Adam, cosine, Sgd } from '../train/optimiser.ts';
import { type StageOptions, trainStage } from '../train/stage.ts';
import { digitsSets } from './recipes.ts';

const SEED = 20261124;
const BATCH = 64;

/** Starting weights: normal with variance 2 / fan-in (He et al., ICCV 2015). */
function heNormal(stream: Stream, shape: readonly number[]): Tensor {
  const deviation = Math.sqrt(2 / elements(shape.slice(1)));
  return {
    shape,
    data: Float32Array.from({ length: elements(shape) }, () => deviation * stream.normal()),
  };
}

/**
 * The untrained network, all ReLU:
 * 1x28x28 -> conv 5x5/2 -> 8x14x14 -> (conv 3x3, + skip) -> pool 2x2 -> conv 3x3 -> 24x7x7 -> conv 3x3 -> dense -> 10.
 * Eight channels of 14x14 and 24 of 7x7 with their padding just fill one polynomial of 2,048 coefficients.
 */
export function digitsNetwork(seed: number): Graph {
  const stream = new Stream(seed);
  const tensors = new Map<string, Tensor>();
  const nodes: Node[] = [];
  const filled = (length: number, value: number): Tensor => ({
    shape: [length],
    data: new Float32Array(length).fill(value),
  });
  /** Convolution and batch norm; returns the latter's id. */
  const block = (n: number, from: string, inputs: number, outputs: number, kernel: number) => {
    const pad = (kernel - 1) / 2;
    tensors.set(`conv${n}.weight`, heNormal(stream, [outputs, inputs, kernel, kernel]));
    tensors.set(`norm${n}.scale`, filled(outputs, 1));
    tensors.set(`norm${n}.shift`, filled(outputs, 0));
    tensors.set(`norm${n}.mean`, filled(outputs, 0));
    tensors.set(`norm${n}.variance`, filled(outputs, 1));
    const stride = n === 1 ? 2 : 1;
    nodes.push(
      {
        op: 'conv',
        id: `conv${n}`,
        inputs: [from],
        weight: `conv${n}.weight`,
        kernel: [kernel, kernel],
        stride: [stride, stride],
        pads: [pad, pad, pad, pad],
        groups: 1,
      },
      {
        op: 'batchNorm',
        id: `norm${n}`,
        inputs: [`conv${n}`],
        scale: `norm${n}.scale`,
        shift: `norm${n}.shift`,
        mean: `norm${n}.mean`,
        variance: `norm${n}.variance`,
        epsilon: 1e-5,
      },
    );
    return `norm${n}`;
  };
  const relu = (n: number, from: string, size: number) => {
    const kinds = new Uint8Array(size).fill(RELU);
    nodes.push({ op: 'activation', id: `act${n}`, inputs: [from], kinds });
    return `act${n}`;
  };
  const act1 = relu(1, block(1, 'image', 1, 8, 5), 8 * 14 * 14);
  nodes.push({ op: 'add', id: 'skip', inputs: [block(2, act1, 8, 8, 3), act1] });
  const act2 = relu(2, 'skip', 8 * 14 * 14);
  nodes.push({ op: 'averagePool', id: 'pool', inputs: [act2], kernel: [2, 2], stride: [2, 2] });
  const act3 = relu(3, block(3, 'pool', 8, 24, 3), 24 * 7 * 7);
  const act4 = relu(4, block(4, act3, 24, 24, 3), 24 * 7 * 7);
  tensors.set('head.weight', heNormal(stream, [10, 24 * 7 * 7]));
  tensors.set('head.bias', filled(10, 0));
  nodes.push(
    { op: 'flatten', id: 'flat', inputs: [act4] },
    { op: 'dense', id: 'head', inputs: ['flat'], weight: 'head.weight', bias: 'head.bias' },
  );
  return {
    input: { id: 'image', shape: [1, 28, 28], mean: [0.1307], std: [0.3081] },
    nodes,
    output: 'head',
    tensors,
  };
}

/** Trains one stage, going on from its checkpoint when an earlier run was stopped. */
function stage(
  name: string,
  network: Network,
  sets: { training: LabelledImages; validation: LabelledImages },
  options: Omit<StageOptions, 'checkpoint' | 'onEpoch' | 'onProgress'>,
  cache: string,
): Promise<void> {
  return trainStage(network, sets.training, {
    ...options,
    checkpoint: join(cache, `${name}.checkpoint`),
    augmentation: { kind: 'motions', shift: 2, rotation: 0.2, scale: 0.12, shear: 0.15 },
    onProgress: (progress) => showStatus(`${name}: ${progressLine(progress)}`),
    async onEpoch(epochs) {
      const right = (100 * (await score(network, sets.validation))).toFixed(2);
      say(`${name}: epoch ${epochs}, ${right} % of the validation images right`);
    },
  });
}

/** Largest absolute value that meets an activation over some images: what the compiler will have to hold. */
function largestPreActivation(network: Network, graph: Graph, set: LabelledImages): number {
  const before = graph.nodes.flatMap((n) => (n.op === 'activation' ? n.inputs : []));
  let largest = 0;
  for (let from = 0; from + BATCH <= set.labels.length; from += BATCH) {
    const indices = Uint32Array.from({ length: BATCH }, (_, i) => from + i);
    network.forward(makeBatch(set, graph.input, indices).images, 'evaluate');
    for (const id of before) {
      for (const v of network.value(id).value.data) largest = Math.max(largest, Math.abs(v));
    }
  }
  return largest;
}

/** Accuracy of the float interpreter, the reference of what the graph means. */
function floatAccuracy(graph: Graph, set: LabelledImages): number {
  const size = elements(set.shape);
  let right = 0;
  for (let i = 0; i < set.labels.length; i++) {
    const pixels = set.pixels.subarray(i * size, (i + 1) * size);
    if (indexOfLargest(runFloat(graph, preprocess(graph.input, pixels))) === set.labels[i]) right++;
  }
  return right / set.labels.length;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      epochs: { type: 'string', default: '15' },
      tune: { type: 'string', default: '20' },
      out: { type: 'string', default: 'models/zoo' },
      cache: { type: 'string', default: '.cache/digits' },
    },
  });
  const sets = digitsSets();
  if (sets === undefined) {
    console.log(missing('mnist'));
    return;
  }
  mkdirSync(values.cache, { recursive: true });
  const epochs = Number(values.epochs);
  const tune = Number(values.tune);

  const dense = new Network(digitsNetwork(SEED), BATCH);
  const first = {
    epochs,
    seed: SEED + 1,
    optimiser: new Sgd({ momentum: 0.9, decay: 5e-4 }),
    schedule: cosine(0.05, 0, 0.03),
  };
  await stage('relu', dense, sets, first, values.cache);

  const mapped = replaceRelus(dense.toGraph(), sets.training, {
    relus: 1 / 3,
    identities: 1 / 4,
    images: 32 * BATCH,
    batch: BATCH,
    seed: SEED + 2,
  });
  const network = new Network(mapped, BATCH);
  const second = {
    epochs: tune,
    seed: SEED + 3,
    optimiser: new Adam({ decay: 0.02 }),
    schedule: cosine(1e-3, 0, 0.05),
    teacher: { graph: dense.toGraph(), share: 0.7, temperature: 3 },
    afterStep: clampCurvature,
  };
  await stage('mixed', network, sets, second, values.cache);

  const graph = network.toGraph();
  const { test } = sets;
  const counts = countGraph(graph);
  const card = {
    name: 'digits',
    about: 'Handwritten digits, 28x28 gray, white on black',
    labels: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'],
    data: 'MNIST: 55,000 images to train, 5,000 to validate, 10,000 to test',
    command: `node dist/models/zoo/digits.js --epochs ${epochs} --tune ${tune}`,
    seed: SEED,
    epochs: { relu: epochs, mixed: tune },
    ...counts,
    layers: mapOf(graph),
    reluNetworkTestAccuracy: await score(dense, test),
    validationAccuracy: await score(network, sets.validation),
    floatTestAccuracy: floatAccuracy(graph, test),
    largestPreActivation: largestPreActivation(network, graph, sets.training),
  };
  await replaceFile(join(values.out, 'digits.sottonet'), saveGraph(graph));
  await replaceFile(join(values.out, 'digits.json'), `${JSON.stringify(card, null, 2)}\n`);
  rmSync(values.cache, { recursive: true });
  console.log(JSON.stringify(card));
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  await main();
}
