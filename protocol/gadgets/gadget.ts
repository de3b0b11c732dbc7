/**
 * What an activation gadget is: the two halves of one kind of element, for a lane of n elements at a time.
 *
 * A value x is shared as x = a + c, c known to the client offline, a learnt by the server online. A gadget turns the
 * pre-activation's shares into shares of the activation y: the server gets y - r', the client keeps the mask r' it chose.
 *
 * Shares are 32-bit words of which only low bits count. A gadget reduces a and c to signed numbers of w bits
 * (program/kinds.ts); y, y - r' and r' are modulo 2^o, o being the ring in which y is shared (program/rings.ts).
 *
 * Four messages, two of them before the input exists:
 *
 *     client                                             server
 *   offline  holds c                                       holds nothing yet
 *                 <--- its choice bits into the OT -----   draw
 *     choose(c)   ---- its choice bits into the OT ---->
 *     correct     ---- corrections -------------------->   prepare
 *     store       <--- tables --------------------------
 *   online                                                 learns a
 *     evaluate    <--- material ------------------------   reveal(a)
 *     done        ---- result ------------------------->   finish: holds y - r'
 *
 * A layer's constants (program/model.ts) are no gadget's business: the server adds them to its share before `reveal` and
 * after `finish` (addConstants in index.ts). So whatever hides its share hides them.
 *
 * All functions are pure: state is plain data (it crosses to worker threads), randomness comes from seeds. Lengths of all
 * messages follow from the public parameters and n alone. protocol/README, "Activation layers".
 */

import type { ReceiverCots, SenderCots } from '../ot/pads.ts';
import type { Comparison } from '../program/program.ts';

/** The public numbers of a layer: |x| < 2^(k-1) - 2^t, and f bits are cut off. */
export interface GadgetParams {
  /** k, in bits. */
  readonly rangeBits: number;
  /** t: low bits a comparison leaves out. */
  readonly dropBits: number;
  /** f: bits the truncation cuts off. */
  readonly shift: number;
  /** o: bits of the ring in which the result is shared. */
  readonly outBits: number;
  /** How ReLUs compare. */
  readonly comparison: Comparison;
}

/** Plain data a party keeps between two steps of a lane. */
export type LaneState = Readonly<Record<string, Uint8Array | Int32Array>>;

/** Exact bytes of the four messages of a lane. */
export interface GadgetBytes {
  readonly corrections: number;
  readonly tables: number;
  readonly material: number;
  readonly result: number;
}

/** What the client brings to its offline step. */
export interface ClientLane {
  /** Its shares of the pre-activations. */
  readonly c: Int32Array;
  /** r', its shares of the activations. */
  readonly mask: Int32Array;
  /** The label OTs, by the bits it chose. */
  readonly labels: ReceiverCots;
  /** The product OTs, of which it is the sender. */
  readonly products: SenderCots;
  /** The seed it chose from. */
  readonly seed: Uint8Array;
}

/** What the server brings to its offline step. */
export interface ServerLane {
  readonly n: number;
  /** The label OTs, of which it is the sender. */
  readonly labels: SenderCots;
  /** The product OTs, by the bits it drew. */
  readonly products: ReceiverCots;
  /** The client's message. */
  readonly corrections: Uint8Array;
  /** The seed it drew from. */
  readonly seed: Uint8Array;
}

export interface Gadget<
  Opened extends LaneState = LaneState,
  Stored extends LaneState = LaneState,
  Prepared extends LaneState = LaneState,
  Pending extends LaneState = LaneState,
> {
  /** Whether a lane's online steps are worth a worker's while: some nanoseconds an element are not. LOCAL. */
  readonly heavy: boolean;
  /**
   * Most elements of one lane: what one worker task and one message of each sort carry. Enough for some ms of work
   * offline; few enough that both parties, and all cores of each, have lanes of one layer at the same time. AGREEMENT.
   */
  readonly laneElements: number;
  /** OTs per element in which the client chooses by bits of c: it receives garbled labels. */
  labelCots(params: GadgetParams): number;
  /** OTs per element in which the server chooses at random: products with a value of the client. */
  productCots(params: GadgetParams): number;
  /** Hash tweaks a lane of n consumes in each direction. */
  labelTweaks(params: GadgetParams, n: number): number;
  productTweaks(params: GadgetParams, n: number): number;
  bytes(params: GadgetParams, n: number): GadgetBytes;

  /** Server: the random choice bits of its product OTs (packed), the same for the same seed. */
  draw(params: GadgetParams, n: number, seed: Uint8Array): Uint8Array;
  /** Client: the choice bits of its label OTs (packed), in the order of the OTs; the same for the same seed. */
  choose(params: GadgetParams, c: Int32Array, seed: Uint8Array): Uint8Array;
  /** Client: turns product OTs into shares of products with its own values; label OTs into what it keeps of them. */
  correct(params: GadgetParams, own: ClientLane): { message: Uint8Array; state: Opened };
  /** Server: takes the corrections, makes the tables. */
  prepare(params: GadgetParams, own: ServerLane): { message: Uint8Array; state: Prepared };
  /** Client: takes the tables; what it keeps until the input exists. */
  store(params: GadgetParams, n: number, state: Opened, tables: Uint8Array): Stored;

  /** Server, online: what the client needs to work on a. */
  reveal(
    params: GadgetParams,
    state: Prepared,
    a: Int32Array,
  ): { message: Uint8Array; state: Pending };
  /** Client, online: its masked result. */
  evaluate(params: GadgetParams, n: number, state: Stored, material: Uint8Array): Uint8Array;
  /** Server, online: y - r'. */
  finish(params: GadgetParams, state: Pending, result: Uint8Array): Int32Array;
}

/** A carry that is shared: it weighs 2^b in a result modulo 2^o. */
export interface Carry {
  /** Bits of its shares: it matters modulo 2^(o-b). None when it weighs nothing. */
  readonly bits: number;
  /** 2^b, or 0. */
  readonly weight: number;
}

/**
 * @param weightBits - b
 * @param outBits - o
 */
export function carryOf(weightBits: number, outBits: number): Carry {
  const bits = Math.max(0, outBits - weightBits);
  return { bits, weight: bits === 0 ? 0 : 1 << weightBits };
}

/**
 * Two floors lose one unit in the last place together on average, so that the server adds one: the result then lies
 * within one unit of x / 2^f on either side, without bias.
 */
export function roundingUnit(shift: number): number {
  return shift === 0 ? 0 : 1;
}

/** Bytes of n packed bits. */
export function bitBytes(n: number): number {
  return (n + 7) >> 3;
}
