/**
 * The ReLU of one element with numbers and bits, in rings of any width: no kernels, no lanes.
 *
 * Written from the algebra in the head of protocol/gadgets/relu.ts. Small rings let a test go through every value of all
 * randomness; in rings of real layers it sends what the gadget sends.
 */

import { signed } from '../../../protocol/ring/packing.ts';
import {
  bitsFrom,
  choosePads,
  corrections,
  decode,
  encode,
  type Message,
  type Pads,
} from '../compare/reference.ts';

/** k, t, f and o. */
export interface Numbers {
  readonly rangeBits: number;
  readonly dropBits: number;
  readonly shift: number;
  readonly outBits: number;
}

/** w, and v: bits of the carry's shares, none where it weighs nothing. */
export function widthsOf({ rangeBits, shift, outBits }: Numbers): { width: number; carry: number } {
  const width = Math.max(rangeBits, shift);
  return { width, carry: Math.max(0, outBits - (width - shift)) };
}

/** What the server draws, and the pads of the OTs of which it is the sender. */
export interface ServerRandomness {
  readonly zero: Pads;
  readonly one: Pads;
  readonly pi: number;
  /** 0 where v = 0. */
  readonly mu: number;
  /** Both pads of the OT of rho: o bits. */
  readonly rhoPads: readonly [number, number];
}

/** What the client draws, and the pads of the OTs of which it is the sender. */
export interface ClientRandomness {
  readonly rho: number;
  /** r'. */
  readonly mask: number;
  /** Both pads of the product with pi: o bits, and v bits. */
  readonly piPads: readonly [number, number];
  readonly piCarryPads: readonly [number, number];
  /** Both pads of the product with mu: v bits. */
  readonly muPads: readonly [number, number];
}

/** What crosses the wire, what the client held already, and y. */
export interface ReluRun {
  /** The products' corrections: of both parts of B*, and of q. */
  readonly product: number;
  readonly productCarry: number;
  readonly signs: number;
  readonly corrections: readonly number[];
  readonly message: Message;
  readonly d: number;
  readonly masked: number;
  readonly known: number;
  readonly word: number;
  /** The client's pads. */
  readonly own: Pads;
  readonly rhoPad: number;
  readonly y: number;
}

export function runRelu(
  numbers: Numbers,
  a: number,
  c: number,
  server: ServerRandomness,
  client: ClientRandomness,
): ReluRun {
  const { rangeBits, dropBits, shift, outBits } = numbers;
  const { width, carry: carryBits } = widthsOf(numbers);
  const cut = (value: number, bits: number) =>
    bits === 32 ? value | 0 : value & ((1 << bits) - 1);
  const ring = (value: number) => cut(value, outBits);
  const truncate = (value: number) => signed(value, width) >> shift;
  const sign = (value: number) => (value >>> (width - 1)) & 1;
  const weight = carryBits === 0 ? 0 : 1 << (width - shift);
  const carry = (value: number) => Math.imul(weight, value);
  const { zero, one, pi, mu } = server;
  const { rho, mask } = client;
  const nodes = rangeBits - 2 - dropBits;
  const compared = dropBits === 0 ? a - 1 : a;
  const bitsOfA = bitsFrom(compared, rangeBits - 1, nodes + 2);
  const bitsOfC = bitsFrom(c, rangeBits - 1, nodes + 2);

  // Offline: the comparison, and shares of mu q, of pi (1 - 2 rho) B* and of rho mA.
  const corrected = corrections(zero, one);
  const own = choosePads(zero, one, bitsOfC);
  const q = sign(c);
  const signs = cut(q + client.muPads[0] - client.muPads[1], carryBits);
  const clientCarry = cut(-client.muPads[0], carryBits);
  const serverCarry = cut(client.muPads[mu]! + mu * signs, carryBits);
  const factor = 1 - 2 * rho;
  const usual = truncate(c) + carry(clientCarry);
  const added = q - 2 * clientCarry;
  const product = ring(factor * usual + client.piPads[0] - client.piPads[1]);
  const productCarry = cut(
    factor * added + client.piCarryPads[0] - client.piCarryPads[1],
    carryBits,
  );
  const share = client.piPads[pi]! + pi * product;
  const shareCarry = client.piCarryPads[pi]! + pi * productCarry;
  const masking = server.rhoPads[1] - server.rhoPads[0];
  const rhoPad = server.rhoPads[rho]!;

  // Online, server.
  const d = carryBits === 0 ? 0 : sign(a) ^ mu;
  const truncated = truncate(a) + (shift === 0 ? 0 : 1) + carry((1 - 2 * d) * serverCarry);
  const masked = ring((1 - 2 * pi) * truncated - masking);
  const message = encode(zero, one, bitsOfA, pi);

  // Online, client.
  const known = decode(own, bitsOfC, corrected, message) ^ rho;
  const theirs = usual + carry(d * added);
  const product0 = rho * (masked + theirs) + rhoPad - client.piPads[0];
  const clientProduct = product0 - carry(d * client.piCarryPads[0]);
  const word = ring(known * theirs + (1 - 2 * known) * clientProduct - mask);

  // Server.
  const serverProduct = pi * truncated + share + carry(d * shareCarry) - server.rhoPads[0];
  const y = ring(word + known * truncated + (1 - 2 * known) * serverProduct + mask);
  return {
    product,
    productCarry,
    signs,
    corrections: corrected,
    message,
    d,
    masked,
    known,
    word,
    own,
    rhoPad,
    y,
  };
}
