/**
 * What an activation gadget is: the two halves of one kind of element, for a lane of n elements at a time.
 *
 * A value x is shared as x = a + c mod 2^32, c known to the client offline, a learnt by the server online. A gadget turns
 * the pre-activation's shares into shares of the activation y: the server gets y - r', the client keeps the mask r' it
 * chose. Four messages, two of them before the input exists:
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
 * Constants that a kind carries (program/kinds.ts) are no gadget's business: the server adds them to its share before
 * `reveal` and after `finish` (addConstants in index.ts).
 *
 * All functions are pure: state is plain data (it crosses to worker threads), randomness comes from seeds. Lengths of all
 * messages follow from the public parameters and n alone. protocol/README, "Activation layers".
 */

import type { Tweaks } from '../random/hash.ts';

/** The public numbers of a layer: |x| < 2^(k-1) - 2^t, and f bits are cut off. */
export interface GadgetParams {
  /** k, in bits. */
  readonly rangeBits: number;
  /** t: low bits a comparison leaves out. */
  readonly dropBits: number;
  /** f: bits the truncation cuts off. */
  readonly shift: number;
}

/** Plain data a party keeps between two steps of a lane. */
export type LaneState = Readonly<Record<string, Uint8Array | Int32Array>>;

/**
 * Correlated OTs as their sender holds them: blocks q, and offset. `tweaks`: hash tweaks that are this lane's alone under
 * that offset.
 */
export interface SenderCots {
  readonly blocks: Uint8Array;
  readonly offset: Uint8Array;
  readonly tweaks: Tweaks;
}

/** Correlated OTs as their receiver holds them: blocks q xor choice * offset, and random choices (packed bits). */
export interface ReceiverCots {
  readonly blocks: Uint8Array;
  readonly choices: Uint8Array;
  readonly tweaks: Tweaks;
}

/** Exact bytes of the four messages of a lane. */
export interface GadgetBytes {
  readonly corrections: number;
  readonly tables: number;
  readonly material: number;
  readonly result: number;
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
  /** Client: the choice bits of its label OTs (packed), in the order `prepare` uses them. */
  choose(params: GadgetParams, c: Int32Array): Uint8Array;
  /** Client: turns product OTs into shares of products with its own values. */
  correct(
    params: GadgetParams,
    c: Int32Array,
    products: SenderCots,
    seed: Uint8Array,
  ): { message: Uint8Array; state: Opened };
  /**
   * Server: takes the corrections, garbles. `labels`: the client's label OTs, of which the server is the sender;
   * `seed`: the one it drew from.
   */
  prepare(
    params: GadgetParams,
    n: number,
    labels: SenderCots,
    products: ReceiverCots,
    corrections: Uint8Array,
    seed: Uint8Array,
  ): { message: Uint8Array; state: Prepared };
  /** Client: keeps what it needs online. `labels`: the blocks its choices bought. */
  store(
    params: GadgetParams,
    state: Opened,
    labels: Uint8Array,
    labelTweaks: Tweaks,
    tables: Uint8Array,
  ): Stored;

  /** Server, online: what the client needs to work on a. */
  reveal(
    params: GadgetParams,
    state: Prepared,
    a: Int32Array,
  ): { message: Uint8Array; state: Pending };
  /** Client, online: its masked result; `mask` is r'. */
  evaluate(params: GadgetParams, state: Stored, material: Uint8Array, mask: Int32Array): Uint8Array;
  /** Server, online: y - r'. */
  finish(params: GadgetParams, state: Pending, result: Uint8Array): Int32Array;
}

/** 2^(32-f): what a lost carry out of the ring weighs after cutting f bits. */
export function wrapWeight(shift: number): number {
  return shift === 0 ? 0 : 1 << (32 - shift);
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
