/**
 * The contract of a linear backend: how both parties come to shares of W r for the server's weights W and the mask r that
 * the client has put on a layer's input, before any input exists. Nothing outside this folder knows how it is done.
 *
 *     client                                                   server (W)
 *   once a session, for each key that the layers use
 *     linearKey       ---- a message of `keyBytes` --------->  takeKey
 *   once a bundle, for each layer (r)
 *     linearUpload    ---- the parts of `uploads` ---------->  linearReceive
 *     linearShare     <--- the parts of `responses` ---------  linearResponse: s
 *     c
 *   online
 *     nothing                                                  a = W (x - r) + b + s, see online.ts
 *
 * After it c + s = W r mod 2^32, up to an error that the backend bounds and program/simulate.ts draws.
 *
 * - The plan of a layer follows from the public program alone and fixes the bytes of every message. A message of no bytes is
 *   not sent: a backend whose server answers nothing has responses of 0 bytes, which its client opens at once.
 * - A part is one message and one task of the pool at either end. The `linear...` steps are the tasks: pure, synchronous,
 *   plain data in and out, so that results do not depend on where they run.
 * - Seeds are fresh for each layer and bundle, and never used again. The client gives its seed of a layer to both of its
 *   steps, so that nothing needs to be kept between them.
 * - After a ProtocolError the peer's message is unusable and the session dead.
 */

import type { LinearShape } from '../ring/shape.ts';

/**
 * Public bounds on the weights of a layer, agreed in the program: over all outputs, the largest sum of absolute values
 * and the largest root of the sum of squares of the weights that make one output element.
 */
export interface WeightBound {
  readonly norm1: number;
  readonly norm2: number;
}

/** The norms of a layer's weights, to derive a public bound from: fan-in consecutive weights make an output. */
export function weightNorms(weights: Int32Array, fanIn: number): WeightBound {
  let norm1 = 0;
  let squares = 0;
  for (let start = 0; start < weights.length; start += fanIn) {
    let sum = 0;
    let sumOfSquares = 0;
    for (let i = start; i < start + fanIn; i++) {
      const weight = weights[i]!;
      sum += Math.abs(weight);
      sumOfSquares += weight * weight;
    }
    norm1 = Math.max(norm1, sum);
    squares = Math.max(squares, sumOfSquares);
  }
  return { norm1, norm2: Math.sqrt(squares) };
}

/** What the program says of a linear layer. */
export interface PublicLayer extends WeightBound {
  readonly shape: LinearShape;
}

/** A layer as a backend has planned it: public, plain data, of which only the backend reads more than this. */
export interface LinearPlan {
  readonly shape: LinearShape;
}

/** Units [from, to) of a message, such as polynomials. */
export type UnitRange = readonly [from: number, to: number];

/** A part of the upload or of the response of a layer, and the exact bytes of its message. */
export interface Part {
  readonly range: UnitRange;
  readonly bytes: number;
}

/** Bytes of all parts. */
export function bytesOfParts(parts: readonly Part[]): number {
  return parts.reduce((total, { bytes }) => total + bytes, 0);
}

/** What the owner of a model is told about a layer. */
export interface EncryptionReport {
  /** Ring degree. */
  readonly degree: number;
  /** Bits of noise that a response may carry, and that it must stay below. */
  readonly noiseBits: number;
  readonly budgetBits: number;
  /** Of one inference, offline: from the client and back. */
  readonly bytesUp: number;
  readonly bytesDown: number;
}

/** What the server has of a part of the response. */
export interface Answer {
  /** For the client: chunks of a partition, in order, make the whole response. */
  readonly response: Uint8Array;
  /** The server's shares s; {@link LinearBackend.place} puts them in a tensor. */
  readonly shares: Int32Array;
}

/** The offline steps, which are tasks of the pool. */
export interface LinearTasks<Plan, ClientKey, ServerKey, Received> {
  /** Client: a key of the session, and the message that gives the server its half. */
  linearKey(input: { key: number; seed: Uint8Array }): { own: ClientKey; message: Uint8Array };

  /** Client: a part of the upload, from the mask of the layer's input. */
  linearUpload(input: {
    plan: Plan;
    key: ClientKey;
    mask: Int32Array;
    range: UnitRange;
    seed: Uint8Array;
  }): Uint8Array;

  /** Server: the whole upload, read once for all parts of the response. */
  linearReceive(input: { plan: Plan; upload: Uint8Array }): Received;

  /** Server: a part of the response, and its own shares. */
  linearResponse(input: {
    plan: Plan;
    key: ServerKey;
    kernel: Int32Array;
    /** Stands for the kernel, one number for one content in all of this process: what is made of it may be kept then. */
    kernelId?: number;
    received: Received;
    range: UnitRange;
    seed: Uint8Array;
  }): Answer;

  /** Client: its shares c, from a part of the response. */
  linearShare(input: {
    plan: Plan;
    key: ClientKey;
    response: Uint8Array;
    range: UnitRange;
    /** The seed of the upload. */
    seed: Uint8Array;
  }): Int32Array;
}

/** A way to prepare linear layers; see the head of this file. Keys and what is received are plain data of the backend. */
export interface LinearBackend<
  Plan extends LinearPlan = LinearPlan,
  ClientKey = unknown,
  ServerKey = unknown,
  Received = unknown,
> {
  /** Its constants, hashed into the handshake. AGREEMENT. */
  readonly agreement: object;

  /** @throws RangeError when the layer fits no parameters; the sentence names the numbers */
  plan(layer: PublicLayer): Plan;

  report(plan: Plan): EncryptionReport;

  /** Which of the session's keys the layer uses. */
  keyOf(plan: Plan): number;

  keyBytes(key: number): number;

  /** Server: the key that the client sent. @throws ProtocolError when it is none */
  takeKey(key: number, message: Uint8Array): ServerKey;

  /** The parts of the client's message, in the order in which they are sent. AGREEMENT. */
  uploads(plan: Plan): Part[];

  /** The parts of the server's message, in the order in which they are sent. AGREEMENT. */
  responses(plan: Plan): Part[];

  /** Either party: puts the shares of a part of the response at their elements of the output tensor. */
  place(plan: Plan, shares: Int32Array, range: UnitRange, output: Int32Array): void;

  readonly tasks: LinearTasks<Plan, ClientKey, ServerKey, Received>;
}
