/**
 * Argmax: the client learns the index of the largest output and nothing else. protocol/README, "Output".
 *
 *   client holds c (m values)                            server holds a (m values, online)
 *
 *   offline   bits 0..k-1 of each c  ---- label OTs --->   zero labels of the client's inputs
 *                                    <--- tables, colours of the outputs' zero labels
 *   online                           <--- labels of a
 *             evaluates, decodes the index
 *
 * Circuit: m additions of k bits, then a tree of m - 1 signed comparisons that carries value and index along; of
 * equal values the lower index wins. Half gates as in ReLU, one instance.
 *
 * Before: shares a, c of m logits x, |x| < 2^(k-1). After: the client knows argmax x. Error: none. Leakage: the index.
 */

import type { Bit } from '../garble/builder.ts';
import { CircuitBuilder } from '../garble/builder.ts';
import type { Circuit } from '../garble/circuit.ts';
import { evaluateGarbled, garble, tableBytes, tweaksOf } from '../garble/halfgates.ts';
import { activeLabels, colours, decodeBits } from '../garble/labels.ts';
import type { SenderCots } from '../ot/pads.ts';
import type { Tweaks } from '../random/hash.ts';
import { Prg, randomBytes } from '../random/index.ts';
import { concat, getBit, packWires, setBit, wireBits } from './bits.ts';
import { bitBytes, type LaneState } from './gadget.ts';

/** The public numbers of an argmax: m values of k bits. */
export interface ArgmaxParams {
  readonly values: number;
  readonly rangeBits: number;
}

/** Server, until it learns a. */
export interface ArgmaxPrepared extends LaneState {
  readonly zeroLabels: Uint8Array;
  readonly offset: Uint8Array;
}

/** The circuit: inputs are wire-major, bit i of all values, then bit i + 1. Outputs: the index, lowest bit first. */
export function argmaxCircuit({ values, rangeBits }: ArgmaxParams): Circuit {
  const builder = new CircuitBuilder(values * rangeBits, values * rangeBits);
  const word = (wires: readonly number[], value: number): Bit[] =>
    Array.from({ length: rangeBits }, (_, bit) => wires[bit * values + value]!);
  const indexBits = Math.max(1, Math.ceil(Math.log2(values)));
  let round = Array.from({ length: values }, (_, value) => ({
    x: builder.add(word(builder.garbler, value), word(builder.evaluator, value)),
    index: Array.from({ length: indexBits }, (_, bit): Bit => ((value >> bit) & 1) === 1),
  }));
  while (round.length > 1) {
    const winners: typeof round = [];
    for (let i = 0; i < round.length; i += 2) {
      const left = round[i]!;
      const right = round[i + 1];
      if (right === undefined) {
        winners.push(left);
        continue;
      }
      const rightWins = builder.lessThanSigned(left.x, right.x);
      winners.push({
        x: builder.muxWord(rightWins, right.x, left.x),
        index: builder.muxWord(rightWins, right.index, left.index),
      });
    }
    round = winners;
  }
  return builder.build(round[0]!.index);
}

const circuits = new Map<string, Circuit>();

function circuitOf(params: ArgmaxParams): Circuit {
  const key = `${params.values} ${params.rangeBits}`;
  let circuit = circuits.get(key);
  if (circuit === undefined) circuits.set(key, (circuit = argmaxCircuit(params)));
  return circuit;
}

/** Bit positions of the inputs. */
const positionsOf = ({ rangeBits }: ArgmaxParams) => Array.from({ length: rangeBits }, (_, i) => i);

export const argmax = {
  labelCots: ({ values, rangeBits }: ArgmaxParams): number => values * rangeBits,

  labelTweaks: (params: ArgmaxParams): number => tweaksOf(circuitOf(params)),

  /** Exact bytes of the server's two messages. */
  bytes(params: ArgmaxParams): { tables: number; material: number } {
    const circuit = circuitOf(params);
    return {
      tables: tableBytes(circuit, 1) + bitBytes(circuit.outputs.length),
      material: 16 * circuit.garblerInputs,
    };
  },

  /** Client: its choice bits, packed. */
  choose: (params: ArgmaxParams, c: Int32Array): Uint8Array =>
    packWires(c, positionsOf(params), params.values),

  /** Server: garbles. */
  prepare(
    params: ArgmaxParams,
    labels: SenderCots,
    seed: Uint8Array,
  ): { message: Uint8Array; state: ArgmaxPrepared } {
    const circuit = circuitOf(params);
    const zeroLabels = randomBytes(new Prg(seed), 16 * circuit.garblerInputs);
    const inputs = concat(zeroLabels, labels.blocks);
    const garbled = garble(circuit, 1, {
      delta: labels.offset,
      zeroLabels: inputs,
      tweaks: labels.tweaks,
    });
    const decode = new Uint8Array(bitBytes(circuit.outputs.length));
    colours(garbled.outputZeroLabels).forEach((colour, i) => {
      setBit(decode, i, colour);
    });
    return {
      message: concat(garbled.tables, decode),
      state: { zeroLabels, offset: labels.offset },
    };
  },

  /** Server, online: the labels of its shares. */
  reveal(params: ArgmaxParams, state: ArgmaxPrepared, a: Int32Array): Uint8Array {
    return activeLabels(state.zeroLabels, state.offset, wireBits(a, positionsOf(params)));
  },

  /** Client, online: the index. `labels` are those of its choices, `tables` the server's offline message. */
  evaluate(
    params: ArgmaxParams,
    labels: Uint8Array,
    tables: Uint8Array,
    tweaks: Tweaks,
    material: Uint8Array,
  ): number {
    const circuit = circuitOf(params);
    const cut = tableBytes(circuit, 1);
    const active = concat(material, labels);
    const outputs = evaluateGarbled(circuit, 1, {
      labels: active,
      tables: tables.subarray(0, cut),
      tweaks,
    });
    const decode = Uint8Array.from(circuit.outputs, (_, i) => getBit(tables.subarray(cut), i));
    return decodeBits(outputs, decode).reduce((index, bit, i) => index | (bit << i), 0);
  },
};
