/**
 * From a settled network to the steps and numbers of a model. Activation layers of one round become one step where their
 * numbers allow it: their inputs are joined along the channels, and its result is cut into theirs.
 */

import { layerTolerance } from '../../protocol/linear/index.ts';
import { bitsBeyond, cutRoom } from '../../protocol/program/cut.ts';
import { countKinds, kindOf, kindsIn } from '../../protocol/program/kinds.ts';
import { marginsOf } from '../../protocol/program/margins.ts';
import type { ChannelConstants, Model } from '../../protocol/program/model.ts';
import { checkModel } from '../../protocol/program/model.ts';
import type { ActivationStep, LinearStep, Program } from '../../protocol/program/program.ts';
import { slicing } from '../../protocol/ring/gather.ts';
import type { Shape } from '../../protocol/ring/shape.ts';
import { linearOutput, sizeOf } from '../../protocol/ring/shape.ts';
import { ModelError } from '../errors.ts';
import { hasChannelBias } from './affine.ts';
import { emitMaxPool } from './maxpool.ts';
import type { ActivationNode, LinearNode, MaxPoolNode } from './network.ts';
import { hasSquares, shapesOf } from './network.ts';
import { RangeMisfit, type Settings } from './options.ts';
import type { Reach } from './precision.ts';
import {
  activationBits,
  activationReach,
  bitLimits,
  bitSources,
  bitsOf,
  maxPoolReach,
  outputReach,
} from './precision.ts';
import { addedConstants, linearWeights, norms, squareConstants, weightBitsOf } from './quantise.ts';
import { channelSizes, type Ranges } from './ranges.ts';
import type { EmitReport } from './report.ts';
import { MOST_APART } from './scales.ts';
import { scheduleStages } from './schedule.ts';
import type { SettledNetwork } from './settle.ts';
import type { SquarePlan } from './squares.ts';
import { addLocal, StepList } from './steps.ts';

/** Bits that a layer's weights may give to a range. LOCAL. */
const GIVEN_BITS = 3;

/** Longest name of a step. AGREEMENT with protocol/program/encode.ts. */
const MAX_NAME = 200;

/** What becomes a model, beside the network. */
export interface Plan {
  readonly squares: ReadonlyMap<string, SquarePlan>;
  readonly ranges: Ranges;
  readonly settings: Settings;
  /** Bits that activation layers give to ranges, by id. */
  readonly lowered: ReadonlyMap<string, number>;
  /** The program's input, results and names. */
  readonly input: Omit<Program['input'], 'shape' | 'fractionBits'>;
  /** Results, whose bits are those beyond the output's. */
  readonly results: Program['results'];
}

export interface Emitted {
  readonly model: Model;
  readonly report: EmitReport;
  /** What rounding took off the weights of linear steps, by their index, where errors are asked for. */
  readonly residues: ReadonlyMap<number, Int32Array>;
}

/** An activation layer with its numbers, before it is known what it is joined with. */
interface Activation {
  readonly node: ActivationNode;
  readonly reach: Reach;
  /** Fractional bits of its result. */
  readonly made: number;
}

/**
 * What the program as a whole contradicts is labels, or what it reveals, which the options name; its steps, ranges that do not fit.
 * @throws ModelError `argument` or `fixed-point`
 */
function checkEmitted(model: Model): void {
  try {
    checkModel(model);
  } catch (cause) {
    const { message } = cause as Error;
    const code = message.startsWith('program: ') ? 'argument' : 'fixed-point';
    throw new ModelError(code, message, { cause });
  }
}

class Emitter {
  readonly #network: SettledNetwork;
  readonly #ranges: Ranges;
  readonly #plan: Plan;
  readonly #shapes: ReadonlyMap<string, Shape>;
  readonly #made: ReadonlyMap<string, number>;
  readonly #reaches = new Map<string, Reach>();
  readonly #output: Reach;
  readonly #limits: ReadonlyMap<string, number>;
  readonly #list: StepList;
  /** Of each range, which sample images leave it. */
  readonly #outside: Set<number> = new Set();

  readonly #residues = new Map<number, Int32Array>();

  constructor(network: SettledNetwork, plan: Plan) {
    this.#network = network;
    this.#plan = plan;
    const { settings, squares, lowered } = plan;
    const ranges = plan.ranges.within(network);
    this.#ranges = ranges;
    this.#shapes = shapesOf(network);
    this.#made = activationBits(network, settings, lowered);
    for (const node of network.nodes) {
      if (node.op === 'maxPool') {
        const { scale } = network.scales.get(node.inputs[0])!;
        this.#reaches.set(node.id, maxPoolReach(node, scale, ranges, settings));
      } else if (node.op === 'activation') {
        const { scale } = network.scales.get(node.id)!;
        const arriving = { made: this.#made.get(node.id)!, scale, plan: squares.get(node.id) };
        this.#reaches.set(node.id, activationReach(node, arriving, ranges, settings));
      }
    }
    const { scale } = network.scales.get(network.output)!;
    this.#output = outputReach(network.output, scale, ranges, settings);
    this.#limits = bitLimits(network, this.#reaches, this.#output);
    this.#list = new StepList(network.input, settings.activationBits);
    for (const { nodes, activations } of scheduleStages(network)) {
      for (const node of nodes) {
        if (node.op === 'linear') this.#addLinear(node);
        else if (node.op === 'maxPool') this.#addMaxPool(node);
        else if (node.op !== 'activation') addLocal(this.#list, node, this.#shapes);
      }
      this.#addActivations(activations);
    }
  }

  /** What the shares of a value may err by. */
  #marginOf(id: string): number {
    return marginsOf(this.#list)[this.#list.index(id)]!;
  }

  #addLinear(node: LinearNode): void {
    const { settings } = this.#plan;
    const [source] = node.inputs;
    const { scale: read } = this.#network.scales.get(source)!;
    const { scale: made, largest } = this.#network.scales.get(node.id)!;
    const before = this.#list.bits(source);
    const room = this.#limits.get(node.id)! - before;
    const sizes = (id: string, scale: Float64Array) =>
      channelSizes(this.#ranges.value(id)).map((size, c) => size * scale[c]!);
    const bitsFor = (results: Float64Array) =>
      weightBitsOf(node, sizes(source, read), results, settings.weightBits);
    const results = sizes(node.id, made);
    const wanted = bitsFor(results);
    // A small part of a sum needs no more precision than a larger one.
    const counted = results.map((size, row) =>
      size === 0 ? 0 : Math.max(size, largest[row]! / MOST_APART),
    );
    const least = Math.max(0, Math.min(bitsFor(counted), wanted - GIVEN_BITS));
    // An activation can only take bits away.
    const enough = Math.max(0, ...this.#made.values()) - before;
    const weightBits = Math.max(least, enough, Math.min(wanted, room));
    const fractionBits = before + weightBits;
    const residue = settings.errorImages > 0 ? new Int32Array(node.weight.length) : undefined;
    const numbers = linearWeights(node, { read, made, weightBits, fractionBits }, residue);
    if (residue !== undefined) this.#residues.set(this.#list.steps.length, residue);
    const bounds = norms(node, numbers.kernel);
    const step: LinearStep = {
      op: 'linear',
      name: node.name,
      fractionBits,
      input: this.#list.index(source),
      shape: node.layer,
      bias: hasChannelBias(node) ? 'channel' : 'element',
      ...bounds,
      tolerance: layerTolerance(bounds.norm2, sizeOf(linearOutput(node.layer))),
    };
    const isInserted = this.#network.inserted.has(node.id);
    const givenBits = wanted - weightBits;
    this.#list.add(node.id, step, numbers, { weightBits, givenBits, isInserted });
  }

  /**
   * k of a layer that reads `value`.
   * @throws RangeMisfit when it does not fit, with what would help
   */
  #fittingBits(
    name: string,
    value: string,
    reach: Reach,
    fractionBits: number,
    shareError: number,
  ): number {
    const bits = bitsOf(reach, fractionBits, shareError);
    if (bits <= reach.limit) return bits;
    throw new RangeMisfit(
      `layer "${name}" needs k = ${bits} bits, at most ${reach.limit} fit: its values reach ${reach.calibrated.toPrecision(3)} and have ${fractionBits} fractional bits with the shortest weights; use fewer activationBits, or train with a range penalty`,
      bitSources(this.#network, value),
    );
  }

  /** Calibrated part of the range that k and t leave; remembers which images leave it. */
  #usedPart(reach: Reach, fractionBits: number, k: number, t: number, shareError: number): number {
    const unit = 2 ** fractionBits;
    const room = 2 ** (k - 1) - 2 ** t;
    reach.sizes.forEach((size, image) => {
      if (size * unit >= room - shareError) this.#outside.add(image);
    });
    return (reach.calibrated * unit) / room;
  }

  #addMaxPool(node: MaxPoolNode): void {
    const [source] = node.inputs;
    const list = this.#list;
    const fractionBits = list.bits(source);
    const reach = this.#reaches.get(node.id)!;
    const shareError = 2 * this.#marginOf(source);
    const rangeBits = this.#fittingBits(node.name, source, reach, fractionBits, shareError);
    const dropBits = reach.dropBits(fractionBits);
    const used = this.#usedPart(reach, fractionBits, rangeBits, dropBits, shareError);
    const comparison = { fractionBits, rangeBits, dropBits };
    const from = this.#shapes.get(source)!;
    const made = emitMaxPool(node, list.index(source), from, comparison, (step) => {
      if (step.op !== 'activation') return list.push(step);
      return list.push(step, undefined, { rangeBits, dropBits, used, relus: step.kinds.length });
    });
    list.setValue(node.id, made, fractionBits);
  }

  /** The activation layers of one round. */
  #addActivations(nodes: readonly ActivationNode[]): void {
    const groups = new Map<string, Activation[]>();
    for (const node of nodes) {
      const made = this.#made.get(node.id)!;
      const [, height, width] = node.shape;
      const key = hasSquares(node) ? node.id : `${made} ${height}x${width}`;
      const one = { node, made, reach: this.#reaches.get(node.id)! };
      groups.set(key, [...(groups.get(key) ?? []), one]);
    }
    for (const group of groups.values()) {
      if (group.length > 1 && this.#fitsTogether(group)) this.#addJoined(group);
      else for (const one of group) this.#addActivation(one);
    }
  }

  /** Fractional bits with which the inputs of a layer are read: those of the results at least. */
  #bitsRead(group: readonly Activation[]): number {
    return Math.max(
      ...group.map(({ node, made }) => Math.max(made, this.#list.bits(node.inputs[0]))),
    );
  }

  /** What the shares of an input may err by, when it is read with so many fractional bits. */
  #marginAt(id: string, bits: number): number {
    return this.#marginOf(id) * 2 ** (bits - this.#list.bits(id));
  }

  /** Whether some layers fit one range that is at most a bit wider than what those that compare need. */
  #fitsTogether(group: readonly Activation[]): boolean {
    const before = this.#bitsRead(group);
    const kinds = group.map(({ node }) => kindsIn(node.kinds).map(kindOf));
    const limit = Math.min(...kinds.flat().map(({ maxRangeBits }) => maxRangeBits));
    const needed = group.map(({ node, reach }) =>
      bitsOf(reach, before, this.#marginAt(node.inputs[0], before)),
    );
    const most = Math.max(...needed);
    const fits = (bits: number, i: number) =>
      bits >= most - 1 || !kinds[i]!.some(({ compares }) => compares);
    return most <= limit && needed.every(fits);
  }

  #addJoined(group: readonly Activation[]): void {
    const list = this.#list;
    const before = this.#bitsRead(group);
    const [{ made, node: first }] = group as [Activation, ...Activation[]];
    const name = group
      .map(({ node }) => node.name)
      .join(' + ')
      .slice(0, MAX_NAME);
    // Before the inputs are aligned, for margins are those of the values as they are.
    const margins = group.map(({ node }) => this.#marginAt(node.inputs[0], before));
    const inputs = group.map(({ node }) => list.aligned(node.inputs[0], name, before));
    const joined = list.push({ op: 'concat', name, fractionBits: before, inputs });
    const ranges = group.map(({ reach }, i) => bitsOf(reach, before, margins[i]));
    const rangeBits = Math.max(...ranges);
    const dropBits = Math.max(...group.map(({ reach }) => reach.dropBits(before)));
    const used = group.map(({ reach }, i) =>
      this.#usedPart(reach, before, rangeBits, dropBits, margins[i]!),
    );
    const kinds = concatenated(group.map(({ node }) => node.kinds));
    const constants = group.some(({ node }) => (node.before ?? node.after) !== undefined);
    const numbers = group.map(({ node }) => this.#constantsOf(node, before, made));
    const step: ActivationStep = {
      op: 'activation',
      name,
      fractionBits: made,
      input: joined,
      kinds,
      constants,
      rangeBits,
      dropBits,
      shift: before - made,
      squareShift: 0,
    };
    const all = perKind(kinds, {
      before: Int32Array.from(numbers.flatMap((one) => [...one.before])),
      after: Int32Array.from(numbers.flatMap((one) => [...one.after])),
    });
    const result = list.push(step, constants ? all : undefined, {
      ...{ rangeBits, dropBits, used: Math.max(...used) },
      ...countKinds(kinds),
    });
    const [, height, width] = first.shape;
    const channels = group.reduce((sum, { node }) => sum + node.shape[0], 0);
    let from = 0;
    for (const { node } of group) {
      const tables = slicing([channels, height, width], [from, 0, 0], [1, 1, 1], node.shape);
      const base = { name: node.name, fractionBits: made, input: result };
      list.add(node.id, { ...base, op: 'gather', size: node.shape, tables });
      from += node.shape[0];
    }
  }

  /** Constants of a layer without squares. */
  #constantsOf(node: ActivationNode, before: number, made: number): ChannelConstants {
    return addedConstants(node, this.#network.scales.get(node.id)!.scale, before, made);
  }

  #addActivation({ node, reach, made }: Activation): void {
    const list = this.#list;
    const [source] = node.inputs;
    const before = this.#bitsRead([{ node, reach, made }]);
    const plan = this.#plan.squares.get(node.id);
    const shareError = this.#marginAt(source, before);
    const input = list.aligned(source, node.name, before);
    const rangeBits = this.#fittingBits(node.name, source, reach, before, shareError);
    const dropBits = reach.dropBits(before);
    const constants = (plan ?? node.before ?? node.after) !== undefined;
    const step: ActivationStep = {
      op: 'activation',
      name: node.name,
      fractionBits: made,
      input,
      kinds: node.kinds,
      constants,
      rangeBits,
      dropBits,
      shift: before - made,
      // X keeps g bits, 2g + j = made.
      squareShift: plan === undefined ? 0 : before - (made - plan.exponent) / 2,
    };
    const numbers = plan
      ? squareConstants(node.kinds, plan, before, made)
      : constants
        ? perKind(node.kinds, this.#constantsOf(node, before, made))
        : undefined;
    const used = this.#usedPart(reach, before, rangeBits, dropBits, shareError);
    list.add(node.id, step, numbers, { rangeBits, dropBits, used, ...countKinds(node.kinds) });
  }

  model(): Emitted {
    const list = this.#list;
    const { settings, ranges, results, input } = this.#plan;
    const { output } = this.#network;
    const fractionBits = list.bits(output);
    const value = list.index(output);
    const numbers = { input: { fractionBits: settings.activationBits }, steps: list.steps };
    // Room for rounding is there for a label as well: its tolerance is measured on logits.
    const shareError = this.#marginOf(output) + cutRoom(bitsBeyond(numbers, value));
    const rangeBits = this.#fittingBits('output', output, this.#output, fractionBits, shareError);
    const { name, reveal, labels, comparison } = settings;
    list.add(
      'output',
      { op: 'output', name: 'output', fractionBits, input: value, reveal, rangeBits, tolerance: 0 },
      undefined,
      { rangeBits, used: this.#usedPart(this.#output, fractionBits, rangeBits, 0, shareError) },
    );
    const { shape } = this.#network.input;
    const model: Model = {
      program: {
        name,
        input: { shape, fractionBits: settings.activationBits, ...input },
        comparison,
        steps: list.steps,
        results: results.map((result) => ({ ...result, bits: fractionBits + result.bits })),
        labels,
      },
      weights: list.weights,
    };
    checkEmitted(model);
    const report = {
      images: ranges.images,
      outside: this.#outside.size,
      activationBits: settings.activationBits,
      layers: list.layers,
    };
    return { model, report, residues: this.#residues };
  }
}

/** Constants of each channel, once for each kind of a layer's elements. */
function perKind(map: Uint8Array, { before, after }: ChannelConstants): ChannelConstants {
  const repeated = (values: Int32Array) =>
    Int32Array.from(kindsIn(map).flatMap(() => Array.from(values)));
  return { before: repeated(before), after: repeated(after) };
}

function concatenated(maps: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(maps.reduce((sum, map) => sum + map.length, 0));
  let at = 0;
  for (const map of maps) {
    all.set(map, at);
    at += map.length;
  }
  return all;
}

/** Builds the model of a network. */
export function emit(network: SettledNetwork, plan: Plan): Emitted {
  return new Emitter(network, plan).model();
}
