/**
 * Bundles: everything for one inference, prepared before its input exists. protocol/README, "A session".
 *
 * Contract: a bundle is used at most once, ever. It belongs to one ticket, is taken out of its store before the first byte that
 * depends on it leaves, and where a server keeps it on disk too, from there as well (server/spill.ts). A bundle that was started
 * is spent, whether the inference ended well or not.
 */

import { ProtocolError } from '../errors.ts';
import type { ArgmaxPrepared } from '../gadgets/argmax.ts';
import type { LaneState } from '../gadgets/gadget.ts';
import type { AnsweredOffsets, ClientCots } from '../ot/offsets.ts';
import type { Tweaks } from '../random/hash.ts';

/** The client's half. */
export interface ClientBundle {
  readonly number: number;
  /** Mask of the input, one element each. */
  readonly inputMask: Int32Array;
  /** Per activation layer: the state of its lanes. */
  readonly layers: readonly (readonly LaneState[])[];
  /** Its share of the output, or what it needs to evaluate the garbled argmax. */
  readonly output: Int32Array | ArgmaxStored;
}

/** What the client keeps for a garbled argmax. */
export interface ArgmaxStored {
  readonly labels: Uint8Array;
  readonly tables: Uint8Array;
  readonly tweaks: Tweaks;
}

/** The server's half. */
export interface ServerBundle {
  readonly number: number;
  /** By step index: the share s of each linear layer's product. */
  readonly linears: ReadonlyMap<number, Int32Array>;
  /** Per activation layer: the state of its lanes. */
  readonly layers: readonly (readonly LaneState[])[];
  readonly output: ArgmaxPrepared | undefined;
}

/** What the client has of a bundle that is drawn. */
export interface ClientDraw {
  /** Of the bundle. */
  readonly number: number;
  readonly cots: ClientCots;
  /** The trees of the label OTs, for the server. */
  readonly trees: Uint8Array;
  /** The server's choices in the product OTs, batch by batch. */
  readonly choices: readonly Uint8Array[];
}

/** What the server has of a bundle that is drawn. */
export interface ServerDraw {
  /** Of the bundle. */
  readonly number: number;
  /** What all that is random in the server's half of the bundle comes from. */
  readonly seed: Uint8Array;
  readonly offsets: AnsweredOffsets;
  /** Its choices in the product OTs, batch by batch. */
  readonly batches: readonly { readonly blocks: Uint8Array; readonly choices: Uint8Array }[];
}

/** The bundles of one ticket that are ready, each to be taken once. */
export class BundleStore<B extends { readonly number: number }> {
  readonly #ready = new Map<number, B>();
  /** Numbers below this have been seen: none of them is ever accepted again. */
  #next = 0;

  /** Bundles ready to be taken. */
  get available(): number {
    return this.#ready.size;
  }

  /** Their numbers, in order. */
  get numbers(): number[] {
    return [...this.#ready.keys()];
  }

  /** Above the number of every bundle that was ever added. */
  get next(): number {
    return this.#next;
  }

  /** Forgets the bundles that are not among `numbers`. */
  retain(numbers: readonly number[]): void {
    for (const number of this.numbers) {
      if (!numbers.includes(number)) this.#ready.delete(number);
    }
  }

  /** @throws RangeError when a bundle of that number or a later one was added before */
  add(bundle: B): void {
    if (bundle.number < this.#next) {
      throw new RangeError(`bundle ${bundle.number} was there before: a bundle is used once`);
    }
    this.#next = bundle.number + 1;
    this.#ready.set(bundle.number, bundle);
  }

  /**
   * Takes the bundle out, which spends it.
   * @param number - which one; the oldest when left out
   * @throws ProtocolError `bad-message` when it is not there: never prepared, or spent
   */
  take(number?: number): B {
    const key = number ?? this.#ready.keys().next().value;
    const bundle = key === undefined ? undefined : this.#ready.get(key);
    if (key === undefined || bundle === undefined) {
      throw new ProtocolError(
        'bad-message',
        key === undefined
          ? 'no bundle is ready: prepare one before the inference'
          : `bundle ${key} is not ready: it was never prepared, or it is spent`,
      );
    }
    this.#ready.delete(key);
    return bundle;
  }
}
