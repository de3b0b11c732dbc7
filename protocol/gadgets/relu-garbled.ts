/**
 * ReLU with truncation by half gates, the field's baseline: a garbled comparison and an arithmetic output, in one round.
 * Half gates (Zahur, Rosulek, Evans, Eurocrypt 2015), free XOR; low bits dropped as in Circa (NeurIPS 2021), here without
 * a fault beyond one unit in the last place. protocol/README, "Activation layers".
 *
 *   client holds c, B = c >> f, q = sign(c)            server holds a, A = (a >> f) + 1, p = sign(a)   (online)
 *
 *   offline
 *     bits t..k-1 of c         ---- label OTs ----->    zero labels of its input wires
 *     products with B          ---- corrections --->    garbles; pi = colour of b's zero label;
 *                                                       shares of rho*B for a random bit rho
 *     shares of pi*B           <--- tables, delta --    delta = pi xor rho
 *   online
 *     evaluates: labels of     <--- labels of a;
 *     b and g, colour e             T, T_g
 *     v + v_g - r'             ---- result -------->    y - r' = result - n - n_g
 *
 * Both shares are reduced to signed numbers of w = max(k, f) bits; y is modulo 2^o. Where f > k, bits t..w-1 are compared.
 *
 * Circuit: b = (x >= 0), the top bit of the sum of bits t..k-1 of a and c; g = b and p and q, the carry that leaves the
 * ring of w bits. y = b*(A + B) + g*2^(w-f). With L^e the label of colour e, b = e xor pi, b_e = e xor pi:
 *   n = -H(L^0) - b_0*A - S_pi,  T = H(L^1) + b_1*A - S_pi + n,  where S_pi + C_pi = pi*B
 *   v = e ? T - H(L^1) + B - C_pi : C_pi - H(L^0)  =  b*(A + B) + n.
 * The same with 1 in place of A, and no product, modulo 2^(o-w+f) and times 2^(w-f) gives the g term; it and g are left out
 * where w - f >= o.
 *
 * Before: shares a, c of x, |x| < 2^(k-1) - 2^t. After: y - r' and r'. Error: |y - ReLU(x) / 2^f| <= 1 ULP, never a wrap.
 * With t > f, 0 <= x < 2^t may count as negative. Leakage: none (each party's view is uniform given its input).
 * n instances, chunked by INSTANCES_PER_KEY.
 */

import { CircuitBuilder } from '../garble/builder.ts';
import type { Circuit } from '../garble/circuit.ts';
import { evaluateGarbled, garble, LABEL_BYTES, tweaksOf } from '../garble/halfgates.ts';
import { activateWords, colours } from '../garble/labels.ts';
import { padWords, senderPadWords } from '../ot/pads.ts';
import {
  bitProductBytes,
  bitProductReceive,
  bitProductSend,
  bitProductTweaks,
} from '../ot/product.ts';
import { INSTANCES_PER_KEY, type Tweaks } from '../random/hash.ts';
import { deriveSeed, Prg, randomBytes } from '../random/index.ts';
import { pack, packedBytes, signed, unpack } from '../ring/packing.ts';
import { subtract } from '../ring/tensor.ts';
import { getBit, packWires, setBit } from './bits.ts';
import type { Gadget, GadgetParams, LaneState } from './gadget.ts';
import { bitBytes, roundingUnit } from './gadget.ts';
import { widthsOf } from './relu.ts';

/** Client, between `correct` and `store`. */
interface Opened extends LaneState {
  /** B = c >> f. */
  readonly truncated: Int32Array;
  /** Its share of rho*B. */
  readonly product: Int32Array;
  /** r'. */
  readonly mask: Int32Array;
  /** Labels of the garbler's input wires. */
  readonly labels: Uint8Array;
  /** Tweaks: the start, and the first number in two words. */
  readonly start: Uint8Array;
  readonly numbers: Int32Array;
}

/** Client, until the input exists. */
interface Stored extends Opened {
  /** C_pi, its share of pi*B. */
  readonly product: Int32Array;
  readonly tables: Uint8Array;
}

/** Server, until it learns a. */
interface Prepared extends LaneState {
  /** Seed of the zero labels of the garbler's input wires. */
  readonly seed: Uint8Array;
  readonly offset: Uint8Array;
  /** Per output wire, n each: the colour of the zero label; H of the labels of colour 0 and of colour 1. */
  readonly colours: Uint8Array;
  readonly hash0: Int32Array;
  readonly hash1: Int32Array;
  /** S_pi, its share of pi*B. */
  readonly product: Int32Array;
}

/** Server, between its message and the client's: n + n_g. */
interface Pending extends LaneState {
  readonly offsetSum: Int32Array;
}

/** Bits of a comparison: positions t..w-1, the last of which is the sign. */
function wirePositions(params: GadgetParams): number[] {
  const { dropBits } = params;
  return Array.from({ length: widthsOf(params).share - dropBits }, (_, i) => dropBits + i);
}

/** The comparison circuit on m bits of each party, with the carry g when `wrap`. m + 1 AND gates with it, m - 1 without. */
export function reluCircuit(m: number, wrap: boolean): Circuit {
  const builder = new CircuitBuilder(m, m);
  const { garbler: a, evaluator: c } = builder;
  const positive = builder.not(builder.addMsb(a, c));
  if (!wrap) return builder.build([positive]);
  const carry = builder.and(a[m - 1]!, c[m - 1]!);
  return builder.build([positive, builder.and(positive, carry)]);
}

const circuits = new Map<number, Circuit>();

function circuitOf(params: GadgetParams): Circuit {
  const { share, carry } = widthsOf(params);
  const m = share - params.dropBits;
  const wrap = carry.bits > 0;
  const key = 2 * m + (wrap ? 1 : 0);
  let circuit = circuits.get(key);
  if (circuit === undefined) circuits.set(key, (circuit = reluCircuit(m, wrap)));
  return circuit;
}

/** Bits of what an output wire gives: y, and the carry that g is. */
function outputWidths(params: GadgetParams): number[] {
  const { bits } = widthsOf(params).carry;
  return bits === 0 ? [params.outBits] : [params.outBits, bits];
}

/** What a chunk of a lane is garbled with: its elements and its own tweaks. */
interface Chunk {
  readonly from: number;
  readonly size: number;
  readonly index: number;
  readonly tweaks: Tweaks;
}

/** Tweaks of a chunk: the circuit's, then one for each output wire's hash. */
function chunkTweaks(circuit: Circuit): number {
  return tweaksOf(circuit) + circuit.outputs.length;
}

function chunksOf(circuit: Circuit, n: number, tweaks: Tweaks): Chunk[] {
  return Array.from({ length: Math.ceil(n / INSTANCES_PER_KEY) }, (_, index) => ({
    from: index * INSTANCES_PER_KEY,
    size: Math.min(INSTANCES_PER_KEY, n - index * INSTANCES_PER_KEY),
    index,
    tweaks: { start: tweaks.start, first: tweaks.first + index * chunkTweaks(circuit) },
  }));
}

/** The tweak that hashes output wire `wire` of a chunk. */
function outputTweak(circuit: Circuit, { start, first }: Tweaks, wire: number): Tweaks {
  return { start, first: first + tweaksOf(circuit) + wire };
}

/** The labels of one wire of a buffer of wires of `size` labels each. */
function wireOf(labels: Uint8Array, size: number, wire: number): Uint8Array {
  const wireBytes = size * LABEL_BYTES;
  return labels.subarray(wire * wireBytes, (wire + 1) * wireBytes);
}

/** Fills `labels` with the zero labels of the garbler's own input wires of a chunk. */
function drawOwnLabels(seed: Uint8Array, chunk: Chunk, labels: Uint8Array): Uint8Array {
  new Prg(deriveSeed(seed, 'garbler labels', chunk.index)).fill(labels);
  return labels;
}

export const garbledRelu: Gadget<Opened, Stored, Prepared, Pending> = {
  heavy: true,
  laneElements: 2048,
  labelCots: (params) => wirePositions(params).length,
  productCots: () => 1,
  labelTweaks: (params, n) => Math.ceil(n / INSTANCES_PER_KEY) * chunkTweaks(circuitOf(params)),
  productTweaks: (_, n) => bitProductTweaks(n),
  bytes(params, n) {
    const { andCount, garblerInputs } = circuitOf(params);
    const words = outputWidths(params).reduce((sum, width) => sum + packedBytes(n, width), 0);
    return {
      corrections: bitProductBytes(n, params.outBits),
      tables: 32 * andCount * n + bitBytes(n),
      material: 16 * garblerInputs * n + words,
      result: packedBytes(n, params.outBits),
    };
  },

  draw: (_, n, seed) => randomBytes(new Prg(deriveSeed(seed, 'rho')), bitBytes(n)),

  choose: (params, c) => packWires(c, wirePositions(params), INSTANCES_PER_KEY),

  correct(params, { c, mask, labels, products }) {
    const { shift, outBits } = params;
    const { share } = widthsOf(params);
    const truncated = c.map((value) => signed(value, share) >> shift);
    const { message, shares } = bitProductSend([{ y: truncated, width: outBits }], products);
    const { blocks, tweaks } = labels;
    const { start, first } = tweaks;
    const numbers = Int32Array.of(first % 0x1_0000_0000, Math.floor(first / 0x1_0000_0000));
    const state = { truncated, product: shares[0]!, mask, labels: blocks, start, numbers };
    return { message, state };
  },

  prepare(params, { n, labels, products, corrections, seed }) {
    const circuit = circuitOf(params);
    const inputs = circuit.garblerInputs;
    const outputs = circuit.outputs.length;
    const message = new Uint8Array(garbledRelu.bytes(params, n).tables);
    const zeroColours = new Uint8Array(outputs * n);
    const hash0 = new Int32Array(outputs * n);
    const hash1 = new Int32Array(outputs * n);
    const room = new Uint8Array(inputs * Math.min(n, INSTANCES_PER_KEY) * LABEL_BYTES);
    for (const chunk of chunksOf(circuit, n, labels.tweaks)) {
      const { from, size, tweaks } = chunk;
      const span = (buffer: Uint8Array, width: number) =>
        buffer.subarray(from * width, (from + size) * width);
      const own = drawOwnLabels(seed, chunk, room.subarray(0, inputs * size * LABEL_BYTES));
      const chosen = span(labels.blocks, inputs * LABEL_BYTES);
      const { outputZeroLabels } = garble(
        circuit,
        size,
        { delta: labels.offset, zeroLabels: [own, chosen], tweaks },
        { room: span(message, 32 * circuit.andCount) },
      );
      for (let wire = 0; wire < outputs; wire++) {
        const zero = wireOf(outputZeroLabels, size, wire);
        const tweak = outputTweak(circuit, tweaks, wire);
        const pads = senderPadWords(zero, labels.offset, tweak);
        const [hashZero, hashOne] = [pads.zero[0]!, pads.one[0]!];
        const colour = colours(zero);
        for (let i = 0, at = wire * n + from; i < size; i++, at++) {
          // The label of colour 0 is the zero label when its colour is 0, the other one otherwise.
          const swap = (hashZero[i]! ^ hashOne[i]!) & -colour[i]!;
          zeroColours[at] = colour[i]!;
          hash0[at] = hashZero[i]! ^ swap;
          hash1[at] = hashOne[i]! ^ swap;
        }
      }
    }
    // The products were made with random bits rho; delta = pi xor rho turns shares of rho*B into shares of pi*B.
    const { choices } = products;
    const product = bitProductReceive([params.outBits], products, corrections)[0]!;
    const flips = message.subarray(32 * circuit.andCount * n);
    for (let i = 0; i < n; i++) {
      const delta = zeroColours[i]! ^ getBit(choices, i);
      setBit(flips, i, delta);
      product[i] = Math.imul(1 - 2 * delta, product[i]!);
    }
    const offset = labels.offset;
    return { message, state: { seed, offset, colours: zeroColours, hash0, hash1, product } };
  },

  store(params, n, state, tables) {
    const { truncated, product } = state;
    const flips = tables.subarray(32 * circuitOf(params).andCount * n);
    const own = new Int32Array(n);
    for (let i = 0; i < n; i++) {
      const delta = getBit(flips, i);
      own[i] = Math.imul(delta, truncated[i]!) + Math.imul(1 - 2 * delta, product[i]!);
    }
    return { ...state, product: own, tables };
  },

  reveal(params, state, a) {
    const circuit = circuitOf(params);
    const n = a.length;
    const inputs = circuit.garblerInputs;
    const message = new Uint8Array(garbledRelu.bytes(params, n).material);
    const positions = wirePositions(params);
    // Labels need no tweak, only the cut into chunks.
    for (const chunk of chunksOf(circuit, n, { start: state.seed, first: 0 })) {
      const { from, size } = chunk;
      const labels = message.subarray(
        from * inputs * LABEL_BYTES,
        (from + size) * inputs * LABEL_BYTES,
      );
      drawOwnLabels(state.seed, chunk, labels);
      activateWords(labels, state.offset, a.subarray(from, from + size), positions);
    }
    const [masked, maskedCarry] = [new Int32Array(n), new Int32Array(n)];
    const offsetSum = new Int32Array(n);
    const { share: width, carry } = widthsOf(params);
    const unit = roundingUnit(params.shift);
    for (let i = 0; i < n; i++) {
      const pi = state.colours[i]!;
      const share = state.product[i]!;
      const own = (signed(a[i]!, width) >> params.shift) + unit;
      const offset = (-state.hash0[i]! - Math.imul(pi, own) - share) | 0;
      masked[i] = state.hash1[i]! + Math.imul(1 - pi, own) - share + offset;
      offsetSum[i] = offset;
    }
    if (circuit.outputs.length > 1) {
      for (let i = 0, at = n; i < n; i++, at++) {
        const pi = state.colours[at]!;
        const offset = -state.hash0[at]! - pi;
        maskedCarry[i] = state.hash1[at]! + (1 - pi) + offset;
        offsetSum[i]! += Math.imul(carry.weight, offset);
      }
    }
    let at = inputs * n * LABEL_BYTES;
    for (const [wire, bits] of outputWidths(params).entries()) {
      message.set(pack(wire === 0 ? masked : maskedCarry, bits), at);
      at += packedBytes(n, bits);
    }
    return { message, state: { offsetSum } };
  },

  evaluate(params, n, state, material) {
    const circuit = circuitOf(params);
    const inputs = circuit.garblerInputs;
    let to = inputs * n * LABEL_BYTES;
    const masked = outputWidths(params).map((bits) => {
      const from = to;
      to += packedBytes(n, bits);
      return unpack(material.subarray(from, to), n, bits);
    });
    const { weight } = widthsOf(params).carry;
    const result = new Int32Array(n);
    const first = (state.numbers[0]! >>> 0) + state.numbers[1]! * 0x1_0000_0000;
    for (const { from, size, tweaks } of chunksOf(circuit, n, { start: state.start, first })) {
      const span = (buffer: Uint8Array, width: number) =>
        buffer.subarray(from * width, (from + size) * width);
      const own = span(state.labels, inputs * LABEL_BYTES);
      const active = [span(material, inputs * LABEL_BYTES), own] as const;
      const tables = span(state.tables, 32 * circuit.andCount);
      const outputs = evaluateGarbled(circuit, size, { labels: active, tables, tweaks });
      for (let wire = 0; wire < circuit.outputs.length; wire++) {
        const labels = wireOf(outputs, size, wire);
        const hash = padWords(labels, outputTweak(circuit, tweaks, wire))[0]!;
        const colour = colours(labels);
        for (let i = 0, at = from; i < size; i++, at++) {
          const e = colour[i]!;
          // e ? T - H : -H, and for the comparison's output the product: e ? B - C : C.
          const v = (masked[wire]![at]! & -e) - hash[i]!;
          result[at]! +=
            wire === 0
              ? v + Math.imul(e, state.truncated[at]!) + Math.imul(1 - 2 * e, state.product[at]!)
              : Math.imul(weight, v);
        }
      }
    }
    for (let i = 0; i < n; i++) result[i] = result[i]! - state.mask[i]!;
    return pack(result, params.outBits);
  },

  finish({ outBits }, { offsetSum }, result) {
    return subtract(unpack(result, offsetSum.length, outBits), offsetSum);
  },
};
