/**
 * Half gates as the paper writes them (Zahur, Rosulek, Evans 2015, Figure 2), one instance, labels as integers, every
 * wire kept: slow, and independent of the engine it checks.
 */

import { createCipheriv } from 'node:crypto';
import type { Circuit } from '../../../protocol/garble/circuit.ts';

const MASK_64 = (1n << 64n) - 1n;

/** A block as an integer: byte 0 is the least significant, so the colour is the integer's parity. */
export function toInteger(block: Uint8Array): bigint {
  return block.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

export function toBlock(x: bigint): Uint8Array {
  return Uint8Array.from({ length: 16 }, (_, i) => Number((x >> BigInt(8 * i)) & 255n));
}

/** The integers of consecutive blocks. */
export function toIntegers(blocks: Uint8Array): bigint[] {
  return Array.from({ length: blocks.length / 16 }, (_, i) =>
    toInteger(blocks.subarray(16 * i, 16 * i + 16)),
  );
}

/** H(x, i) = AES_k(sigma(x)) xor sigma(x) with k = start xor i. */
export function referenceHash(x: bigint, start: Uint8Array, tweak: number): bigint {
  const left = x & MASK_64;
  const right = x >> 64n;
  const sigma = (left ^ right) | (left << 64n);
  const key = toBlock(toInteger(start) ^ BigInt(tweak));
  const cipher = createCipheriv('aes-128-ecb', key, null).setAutoPadding(false);
  return toInteger(cipher.update(toBlock(sigma))) ^ sigma;
}

type Hash = (x: bigint, tweak: number) => bigint;

/** GbAnd: the two ciphertexts and the output zero label. */
function garbleAnd(a0: bigint, b0: bigint, r: bigint, j: number, hash: Hash) {
  const pa = a0 & 1n;
  const pb = b0 & 1n;
  // First half gate.
  const tg = hash(a0, j) ^ hash(a0 ^ r, j) ^ (pb * r);
  const wg = hash(a0, j) ^ (pa * tg);
  // Second half gate.
  const te = hash(b0, j + 1) ^ hash(b0 ^ r, j + 1) ^ a0;
  const we = hash(b0, j + 1) ^ (pb * (te ^ a0));
  return { tg, te, w0: wg ^ we };
}

/** Gb: tables (two ciphertexts a gate) and the zero labels of the outputs. */
export function referenceGarble(
  circuit: Circuit,
  delta: bigint,
  inputs: readonly bigint[],
  start: Uint8Array,
  first: number,
): { tables: bigint[]; outputs: bigint[] } {
  const wires = new Map(inputs.map((label, i) => [i, label]));
  const tables: bigint[] = [];
  let tweak = first;
  for (const [op, a, b, out] of gatesOf(circuit)) {
    if (op === 'and') {
      const gate = garbleAnd(wires.get(a)!, wires.get(b)!, delta, tweak, (x, i) =>
        referenceHash(x, start, i),
      );
      tweak += 2;
      tables.push(gate.tg, gate.te);
      wires.set(out, gate.w0);
    } else {
      wires.set(out, wires.get(a)! ^ (op === 'xor' ? wires.get(b)! : delta));
    }
  }
  return { tables, outputs: Array.from(circuit.outputs, (wire) => wires.get(wire)!) };
}

/** Ev: the active labels of the outputs. */
export function referenceEvaluate(
  circuit: Circuit,
  inputs: readonly bigint[],
  tables: readonly bigint[],
  start: Uint8Array,
  first: number,
): bigint[] {
  const wires = new Map(inputs.map((label, i) => [i, label]));
  let row = 0;
  for (const [op, left, right, out] of gatesOf(circuit)) {
    const a = wires.get(left)!;
    const b = wires.get(right)!;
    if (op === 'and') {
      const wg = referenceHash(a, start, first + row) ^ ((a & 1n) * tables[row]!);
      const we = referenceHash(b, start, first + row + 1) ^ ((b & 1n) * (tables[row + 1]! ^ a));
      row += 2;
      wires.set(out, wg ^ we);
    } else {
      wires.set(out, op === 'xor' ? a ^ b : a);
    }
  }
  return Array.from(circuit.outputs, (wire) => wires.get(wire)!);
}

function* gatesOf(circuit: Circuit): Generator<['xor' | 'and' | 'not', number, number, number]> {
  for (let g = 0; g < circuit.gates.length; g += 4) {
    const [op, a, b, out] = circuit.gates.slice(g, g + 4);
    yield [(['xor', 'and', 'not'] as const)[op!]!, a!, b!, out!];
  }
}
