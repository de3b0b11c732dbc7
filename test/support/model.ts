/** Small random models whose ranges hold for every input, and both parties of a session in one process. */

import { type CountedChannel, counted } from '../../protocol/channel/counted.ts';
import type { Channel } from '../../protocol/channel/index.ts';
import { memoryPair } from '../../protocol/channel/memory.ts';
import {
  BundleStore,
  type ClientBundle,
  type ServerBundle,
} from '../../protocol/inference/bundle.ts';
import { drawClient, drawServer } from '../../protocol/inference/draw.ts';
import { linearErrorsOf } from '../../protocol/inference/errors.ts';
import { makeHintOf, servedLayers } from '../../protocol/inference/hint.ts';
import { layoutOf } from '../../protocol/inference/layout.ts';
import { COMMAND_BYTES, Command, decodeCommand, Kind } from '../../protocol/inference/messages.ts';
import { prepareClient, prepareServer } from '../../protocol/inference/offline.ts';
import { inferClient, inferServer } from '../../protocol/inference/online.ts';
import {
  type ClientSession,
  type HintSource,
  type Offer,
  openClient,
  openServer,
  type ProtocolRunner,
  type ServerSession,
} from '../../protocol/inference/session.ts';
import * as tasks from '../../protocol/inference/tasks.ts';
import { hintDigest, layerTolerance } from '../../protocol/linear/index.ts';
import type { OtK } from '../../protocol/ot/groups.ts';
import { createInlinePool } from '../../protocol/pool/inline.ts';
import { encodeProgram } from '../../protocol/program/encode.ts';
import { IDENTITY, kindsIn, RELU, SQUARE } from '../../protocol/program/kinds.ts';
import type { Model, StepWeights } from '../../protocol/program/model.ts';
import type { Comparison, Program, Step } from '../../protocol/program/program.ts';
import { measureTolerance, revealing } from '../../protocol/program/simulate.ts';
import { deriveSeed, Prg, randomBytes, randomRing } from '../../protocol/random/index.ts';
import { padding, slicing } from '../../protocol/ring/gather.ts';
import type { LinearShape, Shape } from '../../protocol/ring/shape.ts';
import { fanIn, linearOutput, sizeOf, weightCount } from '../../protocol/ring/shape.ts';
import { poolWeights, sumPoolOutput } from '../../protocol/ring/tensor.ts';

export const seedOf = (n: number): Uint8Array => deriveSeed(new Uint8Array(16), 'test seed', n);

/** Largest absolute input element of the models below. */
export const INPUT_BOUND = 1 << 10;

/**
 * Builds a model layer by layer with random secrets, choosing each range from the largest value that any input can cause.
 */
export class ModelBuilder {
  readonly steps: Step[] = [];
  readonly weights: StepWeights[] = [];
  readonly #shapes: Shape[];
  readonly #bounds: number[] = [INPUT_BOUND];
  readonly #fractions: number[] = [8];
  readonly #random: Prg;
  readonly #inputShape: Shape;

  readonly comparison: Comparison;
  /** About the sum of absolute weights of an output. */
  readonly #gain: number;

  constructor(shape: Shape, seed: Uint8Array, comparison: Comparison = 'encoded', gain = 512) {
    this.comparison = comparison;
    this.#gain = gain;
    this.#inputShape = shape;
    this.#shapes = [shape];
    this.#random = new Prg(seed);
  }

  /** The latest value. */
  get last(): number {
    return this.steps.length;
  }

  shapeOf(value: number): Shape {
    return this.#shapes[value]!;
  }

  #push(step: Step, weights: StepWeights, shape: Shape, bound: number): number {
    this.steps.push(step);
    this.weights.push(weights);
    this.#shapes.push(shape);
    this.#bounds.push(bound);
    this.#fractions.push(step.fractionBits);
    return this.last;
  }

  #linear(name: string, input: number, shape: LinearShape): number {
    // Weights small enough that their sum of absolute values stays below 2^6 times a few.
    const spread = Math.max(1, Math.floor(this.#gain / fanIn(shape)));
    const kernel = randomRing(this.#random, weightCount(shape)).map((w) => w % (spread + 1));
    const [outputs] = linearOutput(shape);
    // Layers of either sort, by turns.
    const sort = this.last % 2 === 0 ? 'channel' : 'element';
    const biases = sort === 'channel' ? outputs : sizeOf(linearOutput(shape));
    const bias = randomRing(this.#random, biases).map((b) => b % 4096);
    const taps = fanIn(shape);
    let norm1 = 0;
    let norm2 = 0;
    for (let m = 0; m < outputs; m++) {
      const row = kernel.subarray(m * taps, (m + 1) * taps);
      norm1 = Math.max(
        norm1,
        row.reduce((sum, w) => sum + Math.abs(w), 0),
      );
      norm2 = Math.max(norm2, Math.ceil(Math.sqrt(row.reduce((sum, w) => sum + w * w, 0))));
    }
    const bound = this.#bounds[input]! * norm1 + 4096;
    const fractionBits = this.#fractions[input]! + 6;
    const tolerance = layerTolerance(norm2, sizeOf(linearOutput(shape)));
    const bounds = { norm1, norm2, tolerance };
    const step = { op: 'linear', name, input, shape, bias: sort, ...bounds, fractionBits } as const;
    return this.#push(step, { kernel, bias }, linearOutput(shape), bound + tolerance);
  }

  conv(
    outChannels: number,
    kernel: number,
    stride = 1,
    pad = Math.floor(kernel / 2),
    input = this.last,
    groups = 1,
  ): number {
    const [channels, height, width] = this.#shapes[input]!;
    return this.#linear(`conv${this.last}`, input, {
      kind: 'conv',
      channels,
      height,
      width,
      outChannels,
      kernel: [kernel, kernel],
      stride: [stride, stride],
      pads: [pad, pad, pad, pad],
      groups,
    });
  }

  /** Multiplies every channel by the same weight: the value stays known. */
  scale(weight: number, input = this.last): number {
    const [channels, height, width] = this.#shapes[input]!;
    const shape: LinearShape = {
      kind: 'conv',
      channels,
      height,
      width,
      outChannels: channels,
      kernel: [1, 1],
      stride: [1, 1],
      pads: [0, 0, 0, 0],
      groups: channels,
    };
    const fractionBits = this.#fractions[input]! + Math.log2(weight);
    const tolerance = layerTolerance(weight, sizeOf(this.#shapes[input]!));
    const norms = { norm1: weight, norm2: weight, tolerance };
    const own = { name: 'scale', input, shape, bias: 'channel' } as const;
    const step = { op: 'linear', ...own, ...norms, fractionBits } as const;
    const weights = {
      kernel: new Int32Array(channels).fill(weight),
      bias: new Int32Array(channels),
    };
    return this.#push(
      step,
      weights,
      this.#shapes[input]!,
      this.#bounds[input]! * weight + 1 + tolerance,
    );
  }

  dense(outputs: number, input = this.last): number {
    const inputs = sizeOf(this.#shapes[input]!);
    return this.#linear(`dense${this.last}`, input, { kind: 'dense', inputs, outputs });
  }

  /** Adds an activation output to a linear output. */
  add(linear: number, skip: number): number {
    const shift = this.#fractions[linear]! - this.#fractions[skip]!;
    const step = {
      op: 'add',
      name: `add${this.last}`,
      inputs: [linear, skip],
      shifts: [0, shift],
      subtract: false,
      fractionBits: this.#fractions[linear]!,
    } as const;
    const bound = this.#bounds[linear]! + this.#bounds[skip]! * 2 ** shift;
    return this.#push(step, undefined, this.#shapes[linear]!, bound);
  }

  pool(window: number, input = this.last, stride = window, pad = 0): number {
    const from = this.#shapes[input]!;
    const step = {
      op: 'sumPool',
      name: `pool${this.last}`,
      input,
      kernel: [window, window],
      stride: [stride, stride],
      pads: [pad, pad, pad, pad],
      fractionBits: this.#fractions[input]!,
    } as const;
    const bound = this.#bounds[input]! * poolWeights(from, step).level;
    return this.#push(step, undefined, sumPoolOutput(from, step), bound);
  }

  concat(...inputs: number[]): number {
    const shapes = inputs.map((input) => this.#shapes[input]!);
    const channels = shapes.reduce((sum, shape) => sum + shape[0], 0);
    const fractionBits = this.#fractions[inputs[0]!]!;
    const step = { op: 'concat', name: `concat${this.last}`, inputs, fractionBits } as const;
    const bound = Math.max(...inputs.map((input) => this.#bounds[input]!));
    return this.#push(step, undefined, [channels, shapes[0]![1], shapes[0]![2]], bound);
  }

  slice(start: Shape, step: Shape, size: Shape, input = this.last): number {
    const name = `slice${this.last}`;
    const fractionBits = this.#fractions[input]!;
    const tables = slicing(this.#shapes[input]!, start, step, size);
    const own = { op: 'gather', name, input, size, tables, fractionBits } as const;
    return this.#push(own, undefined, size, this.#bounds[input]!);
  }

  /** Zeros around every plane. */
  pad(width: number, input = this.last): number {
    const [channels, ...plane] = this.#shapes[input]!;
    const around = [0, width, width] as const;
    const name = `pad${this.last}`;
    const fractionBits = this.#fractions[input]!;
    const tables = padding(this.#shapes[input]!, around, around);
    const size: Shape = [channels, plane[0] + 2 * width, plane[1] + 2 * width];
    const step = { op: 'gather', name, input, size, tables, fractionBits } as const;
    return this.#push(step, undefined, size, this.#bounds[input]!);
  }

  /**
   * @param kinds - which kinds to mix at random
   * @param constants - whether the layer has constants; one with squares has them always
   */
  activation(
    kinds: readonly number[] = [IDENTITY, RELU, SQUARE],
    input = this.last,
    constants = false,
  ): number {
    const shape = this.#shapes[input]!;
    const size = sizeOf(shape);
    const map = randomBytes(this.#random, size).map((byte) => kinds[byte % kinds.length]!);
    const squares = map.includes(SQUARE);
    const added = squares || constants;
    const bound = this.#bounds[input]! + (added ? 4096 : 0);
    const shift = this.#fractions[input]! - 8;
    const rangeBits = Math.ceil(Math.log2(bound + 2 ** shift)) + 1;
    const squareShift = Math.max(0, rangeBits - 1 - 5);
    const step = {
      op: 'activation',
      name: `act${this.last}`,
      input,
      kinds: map,
      constants: added,
      rangeBits,
      dropBits: Math.min(shift, rangeBits - 2),
      shift,
      squareShift,
      fractionBits: 8,
    } as const;
    const numbers = kindsIn(map).length * shape[0];
    const secrets = {
      before: randomRing(this.#random, numbers).map((v) => v % 4096),
      after: randomRing(this.#random, numbers).map((v) => v % 256),
    };
    const out = Math.max(bound / 2 ** shift + 2, squares ? 34 ** 2 : 0) + (added ? 256 : 0);
    return this.#push(step, added ? secrets : undefined, shape, out);
  }

  finish(reveal: 'logits' | 'label' = 'logits'): Model {
    const rangeBits = Math.ceil(Math.log2(this.#bounds[this.last]! + 64)) + 1;
    const step = {
      op: 'output',
      name: 'output',
      input: this.last,
      reveal,
      rangeBits,
      tolerance: 0,
      fractionBits: this.#fractions[this.last]!,
    } as const;
    this.#push(step, undefined, this.#shapes[this.last]!, 0);
    const channels = this.#inputShape[0];
    const outputs = sizeOf(this.#shapes.at(-1)!);
    const program: Program = {
      name: 'random test model',
      input: {
        shape: this.#inputShape,
        fractionBits: 8,
        mean: new Array(channels).fill(0),
        std: new Array(channels).fill(1),
      },
      comparison: this.comparison,
      steps: this.steps,
      results: [{ name: 'logits', shape: [outputs], bits: this.#fractions.at(-1)! }],
      labels: [],
    };
    const model = { program, weights: this.weights };
    const inputs = [0, 1, 2].map((i) => randomInput(model, seedOf(900 + i)));
    const errors = linearErrorsOf(program);
    const tolerance = measureTolerance(model, inputs, new Prg(seedOf(899)), errors);
    return { ...model, program: revealing(program, { tolerance }) };
  }
}

/** A residual network with a stride, a pool and all kinds of elements. */
export function residualModel(reveal: 'logits' | 'label' = 'logits', seed = seedOf(1)): Model {
  const net = new ModelBuilder([2, 12, 12], seed);
  net.conv(6, 3, 2);
  const skip = net.activation();
  const conv = net.conv(6, 3);
  net.add(conv, skip);
  net.activation();
  net.pool(2);
  net.dense(10);
  return net.finish(reveal);
}

/** A random input inside the models' bound. */
export function randomInput({ program }: Model, seed: Uint8Array): Int32Array {
  const words = randomRing(new Prg(seed), sizeOf(program.input.shape));
  return words.map((word) => word % INPUT_BOUND);
}

/** Both ends of an open session. */
export interface Sessions {
  readonly model: Model;
  readonly client: ClientSession;
  readonly server: ServerSession;
  /** The client's channel. */
  readonly traffic: CountedChannel;
  readonly clientBundles: BundleStore<ClientBundle>;
  readonly serverBundles: BundleStore<ServerBundle>;
}

/** What a server offers of a model, its hint made from `secret`. */
export async function offerOf(
  model: Model,
  pool: ProtocolRunner = createInlinePool(tasks),
  secret = seedOf(3),
): Promise<Offer> {
  const layout = layoutOf(model.program);
  const own = { secret, generation: 0 };
  const bytes = await makeHintOf(pool, layout, model, own);
  return {
    name: 'test',
    program: encodeProgram(model.program),
    layout,
    layers: servedLayers(pool, layout, model, own),
    hint: { generation: 0, bytes, digest: hintDigest(bytes) },
    weights: hintDigest(secret),
  };
}

/** A client that has kept the hint of an offer. */
export const hintsOf = ({ hint }: Offer): HintSource => ({
  load: () => Promise.resolve(hint.bytes),
  save: () => Promise.resolve(),
});

/** Opens a session over a memory channel, all randomness from `seed`, OTs made with `otK`. */
export async function openSessions(
  model: Model,
  seed = seedOf(2),
  pool: ProtocolRunner = createInlinePool(tasks),
  pair: [Channel, Channel] = memoryPair(),
  otK?: OtK,
): Promise<Sessions> {
  const [near, far] = pair.map(counted) as [CountedChannel, CountedChannel];
  const offer = await offerOf(model, pool, deriveSeed(seed, 'hint'));
  const party = (channel: CountedChannel, name: string) => ({
    channel,
    pool,
    random: new Prg(deriveSeed(seed, name)),
  });
  const [client, server] = await Promise.all([
    openClient(party(near, 'client'), { otK, hints: hintsOf(offer) }),
    openServer(party(far, 'server'), () => ({ offer })),
  ]);
  return {
    model,
    client,
    server,
    traffic: near,
    clientBundles: new BundleStore(),
    serverBundles: new BundleStore(),
  };
}

/** Reads a command and checks that it is the expected one. */
async function expectCommand(
  channel: Channel,
  expected: number,
  kind: number = Kind.command,
): Promise<number> {
  const { command, bundle } = decodeCommand(await channel.receive(kind, COMMAND_BYTES));
  if (command !== expected) throw new Error(`command ${command} instead of ${expected}`);
  return bundle;
}

/** The server's choices of the next bundle are drawn. */
export async function drawBoth({ client, server }: Sessions): Promise<void> {
  await Promise.all([
    drawClient(client),
    expectCommand(server.channel, Command.draw).then((number) => drawServer(server, number)),
  ]);
}

/** Both parties prepare one bundle, whose choices are drawn first unless they are. */
export async function prepareBoth(sessions: Sessions): Promise<void> {
  const { client, server, clientBundles, serverBundles } = sessions;
  if (client.drawn === undefined) await drawBoth(sessions);
  const [own, peer] = await Promise.all([
    prepareClient(client),
    expectCommand(server.channel, Command.prepare).then((number) => prepareServer(server, number)),
  ]);
  clientBundles.add(own);
  serverBundles.add(peer);
}

/** Both parties run one inference. */
export async function inferBoth(sessions: Sessions, input: Int32Array): Promise<Int32Array> {
  const { model, client, server, clientBundles, serverBundles } = sessions;
  const [result] = await Promise.all([
    inferClient(client, clientBundles.take(), input),
    expectCommand(server.online, Command.infer, Kind.infer).then((number) =>
      inferServer(server, model, serverBundles.take(number)),
    ),
  ]);
  return result;
}
