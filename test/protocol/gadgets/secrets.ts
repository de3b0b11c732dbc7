/**
 * The secrets of every gadget: for each what it hides and from whom, where its values come from, and how one who must not
 * learn it finds out when it is used twice. A gadget declares its secrets here; secrets.test.ts plants every reuse.
 *
 * An attack is one observation of each element, made of what the attacker holds and receives alone. With a secret used
 * twice, two observations differ by just as much as the two hidden values do.
 */

import { comparedBits, comparisonCots, decodeOnline } from '../../../protocol/compare/encoding.ts';
import { getBit } from '../../../protocol/gadgets/bits.ts';
import { bitBytes, type GadgetParams } from '../../../protocol/gadgets/gadget.ts';
import { widthsOf as reluWidths } from '../../../protocol/gadgets/relu.ts';
import { reluCircuit } from '../../../protocol/gadgets/relu-garbled.ts';
import { square } from '../../../protocol/gadgets/square.ts';
import { evaluateGarbled } from '../../../protocol/garble/halfgates.ts';
import { colours } from '../../../protocol/garble/labels.ts';
import {
  type ActivationKind,
  IDENTITY,
  kindOf,
  RELU,
  SQUARE,
} from '../../../protocol/program/kinds.ts';
import type { Comparison } from '../../../protocol/program/program.ts';
import { hashInstances, tweaksForInstances } from '../../../protocol/random/hash.ts';
import { packedBytes, signed, unpack } from '../../../protocol/ring/packing.ts';
import { bitsFrom, lawOf } from '../compare/reference.ts';
import { padBit, planesIn } from '../compare/support.ts';
import type { ClientView, Played, ServerView } from './lanes.ts';
import type { Secret } from './secret.ts';

/** The first n of packed bits. */
const bits = (packed: Uint8Array, n: number): number[] =>
  Array.from({ length: n }, (_, i) => getBit(packed, i));

const one = () => 1;
const upTo = (count: number): number[] => Array.from({ length: Math.max(count, 0) }, (_, i) => i);

/** n of the encoded comparison. */
const nodesOf = (params: GadgetParams): number => comparedBits(params) - 1;

/** The bits a_0 .. a_m, or c_0 .. c_m, of each share. */
function comparedOf(params: GadgetParams, shares: Int32Array): number[][] {
  const count = comparedBits(params) + 1;
  return Array.from(shares, (share) => bitsFrom(share, params.rangeBits - 1, count));
}

/** b of each element. */
function signsOf({ client, server }: Played): number[] {
  const c = comparedOf(client.params, client.c);
  return comparedOf(server.params, server.a).map((own, i) => lawOf(own, c[i]!));
}

/** The signs of shares of some bits. */
const signBits = (shares: Int32Array, width: number): number[] =>
  Array.from(shares, (share) => (share >>> (width - 1)) & 1);

/** A ReLU's shares, truncated. */
function cutShares(shares: Int32Array, params: GadgetParams): Int32Array {
  const { share } = reluWidths(params);
  return shares.map((value) => signed(value, share) >> params.shift);
}

/** Bits of a truncated share below the carry, which is unknown. */
const bitsBelowCarry = (params: GadgetParams): number =>
  Math.min(params.outBits, reluWidths(params).share - params.shift);

/** The parts of an encoded ReLU's material. */
function materialOf({ params, n, material }: ClientView) {
  const words = packedBytes(n, params.outBits);
  const cut = words + bitBytes(n);
  return {
    masked: unpack(material.subarray(0, words), n, params.outBits),
    signs: material.subarray(words, cut),
    comparison: material.subarray(cut),
  };
}

/** The parts of an encoded ReLU's corrections. */
function correctionsOf({ params, n, corrections }: ServerView) {
  const { bits } = reluWidths(params).carry;
  const words = packedBytes(n, params.outBits);
  const cut = words + packedBytes(n, bits);
  return {
    usual: unpack(corrections.subarray(0, words), n, params.outBits),
    added: unpack(corrections.subarray(words, cut), n, bits),
    signs: unpack(corrections.subarray(cut), n, bits),
  };
}

/** The pads of the OT number `ot` that the client bought. */
function boughtPads({ n, labels }: ClientView, ot: number): Uint8Array {
  const { start, first } = labels.tweaks;
  const tweaks = { start, first: first + ot * tweaksForInstances(n) };
  return hashInstances(labels.blocks.subarray(16 * n * ot, 16 * n * (ot + 1)), tweaks);
}

/** The last row of the end's column as the client opens it, with lambda_(n-1) as the only mask. */
function lastRow(view: ClientView): number[] {
  const { params, n, c } = view;
  const nodes = nodesOf(params);
  const planes = planesIn(materialOf(view).comparison, n);
  const [end, choice] = [planes.at(-nodes - 1)!, planes.at(-1)!];
  const pads = boughtPads(view, nodes - 1);
  return comparedOf(params, c).map((own, i) => {
    const pad = padBit(pads.subarray(16 * i, 16 * i + 16), nodes, nodes - 1);
    return getBit(end, i) ^ pad ^ (own[nodes]! & getBit(choice, i));
  });
}

const fresh: Secret = {
  name: "r'",
  hiddenFrom: 'server',
  gives: 'the difference of two results',
  origins: () => [{ of: 'mask' }],
  relation: 'difference',
  bits: ({ outBits }) => outBits,
  observe: ({ share }) => share,
  hidden: ({ y }) => y,
};

const encodedRelu: Secret[] = [
  {
    name: 'R',
    hiddenFrom: 'client',
    gives: 'the xor of the bits a_1 .. a_(m-3) of two shares of the server',
    origins: (params) => [{ of: 'labels', ots: upTo(nodesOf(params) - 1).slice(1) }],
    relation: 'xor',
    bits: (params) => nodesOf(params) - 2,
    // Entry (j-1, j) of the matrix: a_j under one bit of R.
    observe(view) {
      const planes = planesIn(materialOf(view).comparison, view.n);
      const entries = upTo(nodesOf(view.params) - 2).map((i) => planes[(i * (i + 1)) / 2 + i]!);
      return upTo(view.n).map((i) =>
        entries.reduce((word, entry) => 2 * word + getBit(entry, i), 0),
      );
    },
    hidden: ({ server: { params, a } }) =>
      comparedOf(params, a).map((own) =>
        own.slice(1, nodesOf(params) - 1).reduce((word, bit) => 2 * word + bit, 0),
      ),
  },
  {
    name: 'lambda',
    hiddenFrom: 'client',
    gives: 'the xor of a_(m-2), a_(m-1) and p_(m-1) (a_(m-1) xor a_m) of two shares of the server',
    origins: (params) => [
      {
        of: 'labels',
        ots: upTo(nodesOf(params) - 1),
        bit: (ot, hash) => padBit(hash, ot + 1, 2 * ot),
      },
    ],
    relation: 'xor',
    bits: one,
    observe: lastRow,
    hidden({ client, server }) {
      const nodes = nodesOf(server.params);
      const c = comparedOf(client.params, client.c);
      return comparedOf(server.params, server.a).map((a, i) => {
        const p = a[nodes]! ^ c[i]![nodes]!;
        return a[nodes - 1]! ^ a[nodes]! ^ (p & (a[nodes]! ^ a[nodes + 1]!));
      });
    },
  },
  {
    name: 'the pads of the end',
    hiddenFrom: 'client',
    gives: 'the xor of a_(m-1) and a_m of two shares of the server',
    origins: (params) => [{ of: 'labels', ots: [nodesOf(params) - 1] }],
    relation: 'xor',
    bits: one,
    observe: (view) => bits(planesIn(materialOf(view).comparison, view.n).at(-1)!, view.n),
    hidden: ({ server: { params, a } }) =>
      comparedOf(params, a).map((own) => own.at(-1)! ^ own.at(-2)!),
  },
  {
    name: 'pi',
    hiddenFrom: 'client',
    gives: 'whether b of two elements is the same',
    origins: () => [{ of: 'server', draw: 'pi', field: 'pi' }],
    relation: 'xor',
    bits: one,
    observe(view) {
      const { params, n, state } = view;
      const own = state['comparison'] as Uint8Array;
      return bits(decodeOnline(params, n, own, materialOf(view).comparison), n);
    },
    hidden: signsOf,
  },
  {
    name: 'rho',
    hiddenFrom: 'server',
    gives: 'whether b of two elements is the same',
    origins: () => [{ of: 'client', draw: 'rho', field: 'rho' }],
    relation: 'xor',
    bits: one,
    observe({ params, n, result, state }) {
      const pi = bits(state['pi'] as Uint8Array, n);
      return bits(result.subarray(packedBytes(n, params.outBits)), n).map((bit, i) => bit ^ pi[i]!);
    },
    hidden: signsOf,
  },
  {
    name: 'mu',
    hiddenFrom: 'client',
    gives: 'whether two shares of the server have the same sign',
    origins: () => [{ of: 'server', draw: 'mu', field: 'mu' }],
    relation: 'xor',
    bits: one,
    observe: (view) => bits(materialOf(view).signs, view.n),
    hidden: ({ server: { a, params } }) => signBits(a, reluWidths(params).share),
  },
  {
    name: 'mA',
    hiddenFrom: 'client',
    gives: 'the sum or the difference of two truncated shares of the server',
    origins: (params) => [{ of: 'labels', ots: [comparisonCots(params)] }],
    relation: 'difference up to signs',
    bits: bitsBelowCarry,
    observe: (view) => materialOf(view).masked,
    hidden: ({ server: { a, params } }) => cutShares(a, params).map((share) => share + 1),
  },
  {
    name: 'the pads of the product with pi, first word',
    hiddenFrom: 'server',
    gives: 'the sum or the difference of two truncated shares of the client',
    origins: () => [{ of: 'products', ots: [0] }],
    relation: 'difference up to signs',
    bits: bitsBelowCarry,
    observe: (view) => correctionsOf(view).usual,
    hidden: ({ client: { c, params } }) => cutShares(c, params),
  },
  {
    name: 'the pads of the product with pi, second word',
    hiddenFrom: 'server',
    gives: 'whether two shares of the client have the same sign',
    origins: () => [{ of: 'products', ots: [0] }],
    relation: 'difference',
    bits: one,
    observe: (view) => correctionsOf(view).added,
    hidden: ({ client: { c, params } }) => signBits(c, reluWidths(params).share),
  },
  {
    name: 'the pads of the product with mu',
    hiddenFrom: 'server',
    gives: 'the difference of the signs of two shares of the client',
    origins: () => [{ of: 'products', ots: [1] }],
    relation: 'difference',
    bits: (params) => reluWidths(params).carry.bits,
    observe: (view) => correctionsOf(view).signs,
    hidden: ({ client: { c, params } }) => signBits(c, reluWidths(params).share),
  },
  fresh,
];

/** Bit positions of a garbled ReLU's inputs. */
const garbledPositions = ({ rangeBits, dropBits }: GadgetParams): number[] =>
  upTo(rangeBits - dropBits).map((i) => dropBits + i);

/** The colours of b's labels, of a lane of one chunk. */
function coloursOf({ params, n, labels, tables, material }: ClientView): number[] {
  const inputs = garbledPositions(params).length;
  const circuit = reluCircuit(inputs, true);
  const active = [material.subarray(0, 16 * n * inputs), labels.blocks] as const;
  const cut = 32 * circuit.andCount * n;
  const outputs = evaluateGarbled(circuit, n, {
    labels: active,
    tables: tables.subarray(0, cut),
    tweaks: labels.tweaks,
  });
  return [...colours(outputs.subarray(0, 16 * n))];
}

const garbledRelu: Secret[] = [
  {
    name: "the labels of the server's inputs",
    hiddenFrom: 'client',
    gives: 'the xor of the compared bits of two shares of the server',
    origins: () => [{ of: 'server', draw: 'labels', chunked: true }],
    relation: 'xor',
    bits: (params) => garbledPositions(params).length,
    // Of every label the colour.
    observe: ({ params, n, material }) =>
      upTo(n).map((i) =>
        garbledPositions(params).reduce(
          (word, _, wire) => 2 * word + (material[16 * (n * wire + i)]! & 1),
          0,
        ),
      ),
    hidden: ({ server: { params, a } }) =>
      Array.from(a, (share) =>
        garbledPositions(params).reduce((word, at) => 2 * word + ((share >>> at) & 1), 0),
      ),
  },
  {
    name: 'the labels of all inputs',
    hiddenFrom: 'client',
    gives: 'whether b of two elements is the same',
    origins: (params) => [
      { of: 'labels', ots: upTo(garbledPositions(params).length) },
      { of: 'server', draw: 'labels', chunked: true },
    ],
    relation: 'xor',
    bits: one,
    observe: coloursOf,
    hidden: garbledSigns,
  },
  {
    name: 'rho',
    hiddenFrom: 'client',
    gives: 'whether b of two elements is the same',
    origins: () => [{ of: 'server', draw: 'rho' }],
    relation: 'xor',
    bits: one,
    observe: (view) => {
      const { n, tables } = view;
      const flips = tables.subarray(tables.length - bitBytes(n));
      return coloursOf(view).map((colour, i) => colour ^ getBit(flips, i));
    },
    hidden: garbledSigns,
  },
  {
    name: 'the product pads',
    hiddenFrom: 'server',
    gives: 'the difference of two truncated shares of the client',
    origins: () => [{ of: 'products', ots: [0] }],
    relation: 'difference',
    bits: ({ outBits }) => outBits,
    observe: ({ params, n, corrections }) => unpack(corrections, n, params.outBits),
    hidden: ({ client: { c, params } }) => cutShares(c, params),
  },
  fresh,
];

/** b of a garbled ReLU: the sign of the sum of what is compared. */
function garbledSigns({ client: { c }, server: { a, params } }: Played): number[] {
  const { dropBits, rangeBits } = params;
  return Array.from(a, (share, i) => {
    const sum = (share >>> dropBits) + (c[i]! >>> dropBits);
    return 1 ^ (Math.floor(sum / 2 ** (rangeBits - 1 - dropBits)) & 1);
  });
}

/** Numbers of a square: see the head of protocol/gadgets/square.ts. */
function widthsOf(params: GadgetParams) {
  const planes = square.productCots(params);
  const share = planes + params.shift;
  const truncate = (value: number) => signed(value, share) >> params.shift;
  const carryBits = Math.max(params.outBits - planes - 1, 1);
  return { planes, offset: 1 << (share - 2), truncate, carryBits };
}

/** A of each element. */
function truncatedOf({ server: { params, a } }: Played): Int32Array {
  const { offset, truncate } = widthsOf(params);
  return a.map((share) => truncate(share + offset));
}

/** p A of each element. */
const carriedOf = (both: Played): Int32Array => truncatedOf(both).map((own) => own & (own >> 31));

/** E of each element. */
function maskedOf({ params, n, material }: ClientView): Int32Array {
  const { planes, carryBits } = widthsOf(params);
  return unpack(material.subarray(packedBytes(n, planes)), n, carryBits);
}

const squares: Secret[] = [
  {
    name: 'u',
    hiddenFrom: 'client',
    gives: 'the xor of two truncated shares of the server',
    origins: () => [{ of: 'server', draw: 'u', field: 'u' }],
    relation: 'xor',
    bits: (params) => widthsOf(params).planes,
    observe({ params, n, material }) {
      const { planes } = widthsOf(params);
      return unpack(material.subarray(0, packedBytes(n, planes)), n, planes);
    },
    hidden: truncatedOf,
  },
  {
    name: 'm',
    hiddenFrom: 'client',
    gives: 'the difference of two truncated shares of the server where they are negative',
    origins: () => [{ of: 'server', draw: 'm', field: 'm' }],
    relation: 'difference',
    bits: (params) => widthsOf(params).carryBits,
    observe: maskedOf,
    hidden: carriedOf,
  },
  {
    name: 'the pads of the product with m',
    hiddenFrom: 'client',
    gives: 'the difference of two truncated shares of the server where they are negative',
    origins: () => [{ of: 'labels', ots: [0] }],
    relation: 'difference',
    bits: (params) => widthsOf(params).carryBits,
    // The tables hide m under the pads, and m is what hides the share.
    observe(view) {
      const hiding = unpack(view.tables, view.n, widthsOf(view.params).carryBits);
      return maskedOf(view).map((masked, i) => masked + hiding[i]!);
    },
    hidden: carriedOf,
  },
  {
    name: 'the product pads',
    hiddenFrom: 'server',
    gives: 'the difference of two truncated shares of the client',
    origins: (params) => [{ of: 'products', ots: upTo(square.productCots(params)) }],
    relation: 'difference',
    bits: ({ outBits }) => outBits - 1,
    observe({ params, n, corrections }) {
      const width = params.outBits - 1;
      return unpack(corrections.subarray(0, packedBytes(n, width)), n, width);
    },
    hidden: ({ client: { params, c } }) => c.map((share) => widthsOf(params).truncate(share)),
  },
  fresh,
];

/** w of an identity, and the bits of its carry. */
function identityWidths({ rangeBits, shift, outBits }: GadgetParams) {
  const share = kindOf(IDENTITY).ringBits(rangeBits, shift);
  return { share, carryBits: outBits - (share - shift) };
}

const identities: Secret[] = [
  {
    name: 'u',
    hiddenFrom: 'client',
    gives: 'whether two shares of the server, moved by 2^(w-2), have the same sign',
    origins: () => [{ of: 'server', draw: 'u', field: 'u' }],
    relation: 'xor',
    bits: one,
    observe: ({ n, material }) => bits(material, n),
    hidden({ server: { a, params } }) {
      const { share } = identityWidths(params);
      return signBits(
        a.map((value) => value + (1 << (share - 2))),
        share,
      );
    },
  },
  {
    name: 'the product pads',
    hiddenFrom: 'server',
    gives: 'the difference of the signs of two shares of the client',
    origins: () => [{ of: 'products', ots: [0] }],
    relation: 'difference',
    bits: (params) => identityWidths(params).carryBits,
    observe: ({ params, n, corrections }) =>
      unpack(corrections, n, identityWidths(params).carryBits),
    hidden: ({ client: { c, params } }) => signBits(c, identityWidths(params).share),
  },
  fresh,
];

/** The secrets of every gadget. */
export const SECRETS: Readonly<Record<Comparison, Readonly<Record<ActivationKind, Secret[]>>>> = {
  encoded: { [IDENTITY]: identities, [RELU]: encodedRelu, [SQUARE]: squares },
  garbled: { [IDENTITY]: identities, [RELU]: garbledRelu, [SQUARE]: squares },
};
