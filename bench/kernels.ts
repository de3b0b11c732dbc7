/**
 * What the parts of the protocol do on one core, both parties' work in one thread and no network between them. Times are
 * the process's processor time, so that other work on the machine counts less.
 *
 * Sizes are those of the literature, so that a figure can stand beside a peer's (published.ts).
 */

import type { GadgetParams } from '../protocol/gadgets/gadget.ts';
import { gadgetOf } from '../protocol/gadgets/index.ts';
import { reluCircuit } from '../protocol/gadgets/relu-garbled.ts';
import { evaluateGarbled, garble, LABEL_BYTES } from '../protocol/garble/halfgates.ts';
import {
  bundleBytes,
  clientShares,
  correctedLinear,
  decodeHint,
  decodeKeys,
  type HintPlan,
  hintBytes,
  layerKeys,
  layerSecrets,
  makeHint,
  maskInput,
  planHint,
  publicPolynomials,
  rowSeeds,
  rowTransforms,
  serverShares,
  type TileRange,
  weightNorms,
} from '../protocol/linear/index.ts';
import {
  CorrelationTickets,
  cotBytes,
  redeemReceiver,
  redeemSender,
} from '../protocol/ot/correlations.ts';
import { DEFAULT_OT_K, OT_KS, type OtK } from '../protocol/ot/groups.ts';
import { freshOffset } from '../protocol/ot/setup.ts';
import {
  extendReceiver,
  extendSender,
  prepareReceiver,
  prepareSender,
  type ReceiverSeeds,
  type SenderSeeds,
} from '../protocol/ot/softspoken.ts';
import { RELU } from '../protocol/program/kinds.ts';
import { type AesEngine, opensslAes, wasmAes } from '../protocol/random/aes.ts';
import { INSTANCES_PER_KEY, type Tweaks } from '../protocol/random/hash.ts';
import { freshSeed, randomBytes, randomRing, systemRandom } from '../protocol/random/index.ts';
import { linear, packWeights } from '../protocol/ring/linear.ts';
import {
  type ConvShape,
  fanIn,
  type LinearShape,
  linearInputSize,
  macsOf,
  weightCount,
} from '../protocol/ring/shape.ts';
import { perSecond, processorTime, type SampleEffort, sample, summarise } from './measure.ts';
import { PEER_KERNELS } from './published.ts';
import type { KernelResult } from './results.ts';
import type { SectionContext } from './stand/run.ts';

/** A figure to be measured. */
interface Part extends Omit<KernelResult, 'value'> {
  /** Units of work of one call, for a figure per second; without it the figure is the ms of a call. */
  readonly work?: number;
  readonly run: () => unknown;
  /** Names a further figure: how many times this one's rate the part before it has, sample by sample. */
  readonly ratio?: string;
}

/** A sample lasts so many ms. */
const EFFORTS: Readonly<Record<'full' | 'quick', SampleEffort>> = {
  full: { repetitions: 10, sampleMs: 100 },
  quick: { repetitions: 3, sampleMs: 20 },
};

export const measureKernels = ({ mode }: SectionContext): Promise<KernelResult[]> =>
  benchKernels(EFFORTS[mode]);

export async function benchKernels(effort: SampleEffort): Promise<KernelResult[]> {
  const parts = [garbling, extension, hintedConvolution, integerLayers, reluLanes].flatMap(
    (group) => group(),
  );
  const samples = await sample(
    effort,
    parts.map(({ run }) => run),
    processorTime,
  );
  return parts.flatMap(({ run: _, work, ratio, ...part }, i) => {
    const ms = summarise(samples[i]!);
    const result = { ...part, value: work === undefined ? ms : perSecond(ms, work) };
    if (ratio === undefined) return [result];
    const scale = (parts[i - 1]!.work ?? 1) / (work ?? 1);
    const before = samples[i - 1]!;
    const value = summarise(samples[i]!.map((own, round) => (scale * own) / before[round]!));
    return [result, { name: ratio, unit: 'times', value }];
  });
}

/** 3x3, 64 -> 64 channels on 32x32: the usual convolution of a ResNet on CIFAR. */
const CONVOLUTION: ConvShape = {
  kind: 'conv',
  channels: 64,
  height: 32,
  width: 32,
  outChannels: 64,
  kernel: [3, 3],
  stride: [1, 1],
  pads: [1, 1, 1, 1],
  groups: 1,
};

/** A ReLU on 27 bits that leaves out 10 of them and cuts off 10: 17 bits are compared, by 18 AND gates if garbled. */
const RELU_PARAMS: GadgetParams = {
  rangeBits: 27,
  dropBits: 10,
  shift: 10,
  outBits: 27,
  comparison: 'encoded',
};

const COMPARISON = reluCircuit(RELU_PARAMS.rangeBits - RELU_PARAMS.dropBits, true);

/** Those of this machine: a browser has the second alone. */
const ENGINES: readonly AesEngine[] = opensslAes === undefined ? [wasmAes] : [opensslAes, wasmAes];

const freshTweaks = (): Tweaks => ({ start: freshSeed(), first: 0 });

function garbling(): Part[] {
  const circuit = COMPARISON;
  const n = INSTANCES_PER_KEY;
  const offset = freshOffset(systemRandom);
  const inputs = circuit.garblerInputs + circuit.evaluatorInputs;
  const labels = randomBytes(systemRandom, inputs * n * LABEL_BYTES);
  // Timed calls repeat their tweaks: nothing here protects anything.
  const tweaks = freshTweaks();
  const { tables } = garble(circuit, n, { delta: offset, zeroLabels: labels, tweaks });
  // As a lane does: tables go straight to where they are sent from.
  const room = new Uint8Array(tables.length);
  return ENGINES.flatMap((engine) => {
    const part = (name: 'garble' | 'evaluate', run: () => unknown): Part => ({
      name: `${name}, ${circuit.andCount} AND x ${n}, AES by ${engine.name}`,
      unit: 'M AND/s',
      work: (circuit.andCount * n) / 1e6,
      bytes: '32 B per AND',
      reference: PEER_KERNELS[name],
      run,
    });
    return [
      part('garble', () =>
        garble(circuit, n, { delta: offset, zeroLabels: labels, tweaks }, { engine, room }),
      ),
      part('evaluate', () => evaluateGarbled(circuit, n, { labels, tables, tweaks }, engine)),
    ];
  });
}

/** Both ends of an extension, over base OTs that are dealt. */
function extensionEnds(k: OtK = DEFAULT_OT_K): {
  receiver: CorrelationTickets<ReceiverSeeds>;
  sender: CorrelationTickets<SenderSeeds>;
} {
  const context = freshSeed();
  const [zero, one] = [randomBytes(systemRandom, 2048), randomBytes(systemRandom, 2048)];
  const { message, seeds } = prepareReceiver(context, { zero, one }, systemRandom, k);
  const choices = freshOffset(systemRandom);
  const bit = (i: number) => (choices[i >> 3]! >> (i & 7)) & 1;
  const chosen = zero.map((byte, i) => (bit(i >> 4) === 1 ? one[i]! : byte));
  const sender = prepareSender(context, { choices, chosen }, message, k);
  return { receiver: new CorrelationTickets(seeds), sender: new CorrelationTickets(sender) };
}

/** A lane's correlations with every k, the client's with the engine of a browser as well. */
function extension(): Part[] {
  const count = 11 * 2048;
  return OT_KS.flatMap((k) => {
    const { receiver, sender } = extensionEnds(k);
    const choices = randomBytes(systemRandom, count / 8);
    const made = extendReceiver(receiver.seeds, 0, count, choices);
    const blocks = new Uint8Array(16 * count);
    const part = (name: string, run: () => unknown): Part => ({
      name: `OT extension, k = ${k}, ${name}`,
      unit: 'M COT/s',
      work: count / 1e6,
      bytes: `${(cotBytes(count, k) / count).toFixed(2)} B per COT`,
      ...(k === DEFAULT_OT_K && { reference: PEER_KERNELS.cot }),
      run,
    });
    const receive = (engine: AesEngine) => () =>
      extendReceiver(receiver.seeds, 0, count, choices, { room: made, engine });
    return [
      ...ENGINES.map((engine) => part(`receiver, AES by ${engine.name}`, receive(engine))),
      part('sender', () => extendSender(sender.seeds, 0, count, made.message, { blocks })),
    ];
  });
}

/** The ring of the layers from a static hint, and the largest error that their outputs may have. */
const HINT_RING = { ringBits: 28, tolerance: 2 ** 14 };

/** Weights, and the plan from a static hint, of a layer. */
function hinted(shape: LinearShape): { kernel: Int32Array; plan: HintPlan } {
  const kernel = smallWeights(shape);
  const weightBound = weightNorms(kernel, fanIn(shape));
  return { kernel, plan: planHint({ shape, weightBound, masks: 'free', ...HINT_RING }) };
}

/** The same convolution from a static hint, in polynomials of its parts, and the corrections of several layers. */
function hintedConvolution(): Part[] {
  const { kernel, plan } = hinted(CONVOLUTION);
  const { inTiles, outTiles } = plan.packing;
  const seed = freshSeed();
  const publics = publicPolynomials(0, inTiles + 1);
  const context = { secret: freshSeed(), program: new Uint8Array(32), generation: 0, layer: 0 };
  const seeds = rowSeeds(plan, kernel, context);
  const outputs: TileRange = [0, outTiles];
  const secrets = layerSecrets(plan, seed);
  const keys = decodeKeys(plan, layerKeys(plan, publics, secrets, seed));
  const rows = rowTransforms(plan, seeds, outputs);
  const hint = makeHint(plan, kernel, publics, seeds, outputs);
  const transforms = decodeHint(plan, hint, outputs);
  const part = (name: string, tiles: number, run: (range: TileRange) => unknown): Part => ({
    name: `static hint, convolution 3x3, 64 -> 64 on 32x32: ${name}`,
    unit: 'k polynomials/s',
    work: tiles / 1e3,
    run: () => run([0, tiles]),
  });
  return [
    {
      ...part('mask', inTiles, (range) => maskInput(plan, publics, { secrets, seed }, range)),
      bytes: `${(bundleBytes(plan) / 1e3).toFixed(0)} kB up a bundle`,
    },
    part('share, client', outTiles, (range) => clientShares(plan, transforms, secrets, range)),
    part('share, server', outTiles, (range) => serverShares(plan, rows, keys, range)),
    {
      ...part('make the hint', 8, (range) => makeHint(plan, kernel, publics, seeds, range)),
      bytes: `${(hintBytes(plan) / 1e6).toFixed(2)} MB once`,
    },
    part('decode the hint', outTiles, (range) => decodeHint(plan, hint, range)),
    ...INTEGER_LAYERS.slice(0, 3).map(([name, shape]) => hintCorrections(name, shape)),
  ];
}

/** What the server adds for a layer's corrections, once a bundle. */
function hintCorrections(name: string, shape: LinearShape): Part {
  const { kernel, plan } = hinted(shape);
  const packed = packWeights(shape, kernel);
  const count = plan.inputs.reduce((sum, { corrected }) => sum + corrected.length, 0);
  const corrections = randomRing(systemRandom, count).map(
    (word) => word >>> (32 - HINT_RING.ringBits),
  );
  return {
    name: `static hint, ${name}: corrections`,
    unit: 'ms',
    run: () => correctedLinear(plan, packed, corrections),
  };
}

/** Weights of 8 bits with a sign. */
function smallWeights(shape: LinearShape = CONVOLUTION): Int32Array {
  return randomRing(systemRandom, weightCount(shape)).map((word) => word >> 24);
}

/** The layers of usual networks that differ most in how they use a processor, by name. */
const INTEGER_LAYERS: readonly (readonly [string, LinearShape])[] = [
  ['convolution 3x3, 64 -> 64 on 32x32', CONVOLUTION],
  ['convolution 3x3, 512 -> 512 on 4x4', convolution(512, 512, 4)],
  [
    'convolution 3x3, stride 2, 64 -> 128 on 32x32',
    { ...convolution(64, 128, 32), stride: [2, 2] },
  ],
  [
    'convolution 1x1, 64 -> 256 on 56x56',
    { ...convolution(64, 256, 56), kernel: [1, 1], pads: [0, 0, 0, 0] },
  ],
  ['depthwise convolution 3x3, 32 on 112x112', { ...convolution(32, 32, 112), groups: 32 }],
  ['matrix 4096 -> 1000', { kind: 'dense', inputs: 4096, outputs: 1000 }],
];

function convolution(channels: number, outChannels: number, size: number): ConvShape {
  return { ...CONVOLUTION, channels, outChannels, height: size, width: size };
}

function integerLayers(): Part[] {
  return INTEGER_LAYERS.map(([name, shape]) => {
    const x = randomRing(systemRandom, linearInputSize(shape));
    const weights = packWeights(shape, smallWeights(shape));
    return {
      name: `integer ${name}, mod 2^32`,
      unit: 'G MAC/s',
      work: macsOf(shape) / 1e9,
      run: () => linear(shape, x, weights),
    };
  });
}

/** ReLUs of 17 and of 11 bits, by either comparison, each figure beside the other's. */
function reluLanes(): Part[] {
  return [RELU_PARAMS, { ...RELU_PARAMS, rangeBits: 21, outBits: 21 }].flatMap((params) => {
    const encoded = reluLane({ ...params, comparison: 'encoded' });
    const garbled = reluLane({ ...params, comparison: 'garbled' });
    return encoded.flatMap((part, i) => {
      const ratio = part.name.replace(/encoded.*:/, 'time garbled / encoded, pair by pair:');
      return [part, { ...garbled[i]!, ratio }];
    });
  });
}

/** Both parties' steps of one lane of ReLUs: x = a + c, the server's share and the client's; `mask` is the client's, for the results. */
function reluLane(params: GadgetParams): Part[] {
  const relu = gadgetOf({ kind: RELU, params });
  const n = relu.laneElements;
  const [labels, products] = [extensionEnds(), extensionEnds()];
  const c = randomRing(systemRandom, n);
  // x of both signs and k - 1 bits, inside the range of k bits.
  const a = randomRing(systemRandom, n).map((word, i) => (word >> (33 - params.rangeBits)) - c[i]!);
  const mask = randomRing(systemRandom, n);
  const labelCots = relu.labelCots(params) * n;
  const productCots = relu.productCots(params) * n;
  const labelTweaks = freshTweaks();
  const productTweaks = freshTweaks();

  const offline = () => {
    const [seed, clientSeed] = [freshSeed(), freshSeed()];
    const choices = relu.draw(params, n, seed);
    const drawn = redeemReceiver(products.receiver.take(productCots), choices);
    const chosen = relu.choose(params, c, clientSeed);
    const bought = redeemReceiver(labels.receiver.take(labelCots), chosen);
    const opened = relu.correct(params, {
      c,
      mask,
      labels: { blocks: bought.blocks, choices: chosen, tweaks: labelTweaks },
      products: {
        blocks: redeemSender(products.sender.take(productCots), drawn.message),
        offset: products.sender.seeds.offset,
        tweaks: productTweaks,
      },
      seed: clientSeed,
    });
    const prepared = relu.prepare(params, {
      n,
      labels: {
        blocks: redeemSender(labels.sender.take(labelCots), bought.message),
        offset: labels.sender.seeds.offset,
        tweaks: labelTweaks,
      },
      products: { blocks: drawn.blocks, choices, tweaks: productTweaks },
      corrections: opened.message,
      seed,
    });
    const stored = relu.store(params, n, opened.state, prepared.message);
    return { prepared: prepared.state, stored };
  };
  const online = ({ prepared, stored }: ReturnType<typeof offline>): Int32Array => {
    const { message, state } = relu.reveal(params, prepared, a);
    return relu.finish(params, state, relu.evaluate(params, n, stored, message));
  };

  const ready = offline();
  const bytes = relu.bytes(params, n);
  const ots = cotBytes(labelCots) + cotBytes(productCots);
  const offlineBytes = (ots + bytes.corrections + bytes.tables) / n;
  const onlineBytes = (bytes.material + bytes.result) / n;
  const bits = params.rangeBits - params.dropBits;
  const part = (name: string, perRelu: number, run: () => unknown): Part => ({
    name: `ReLU of ${bits} bits, ${params.comparison}, both halves, ${n} a lane: ${name}`,
    unit: 'k ReLU/s',
    work: n / 1e3,
    bytes: `${perRelu.toFixed(1)} B per ReLU`,
    run,
  });
  return [
    part('offline', offlineBytes, offline),
    part('online', onlineBytes, () => online(ready)),
    {
      ...part('offline and online', offlineBytes + onlineBytes, () => online(offline())),
      reference: PEER_KERNELS.relu,
    },
  ];
}
