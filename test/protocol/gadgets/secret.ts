/** What is declared of a secret of a gadget; secrets.ts lists them. */

import type { GadgetParams } from '../../../protocol/gadgets/gadget.ts';
import type { ClientView, Played, ServerView } from './lanes.ts';

/** Where the values of a secret come from. */
export type Origin =
  /** Pads of OTs, by their numbers. */
  | { readonly of: 'labels' | 'products'; readonly ots: readonly number[] }
  /** One bit of the difference of both pads of OTs. */
  | {
      readonly of: 'labels';
      readonly ots: readonly number[];
      readonly bit: (ot: number, hash: Uint8Array) => number;
    }
  /** A stream of a party's seed, or one for each 1,024 elements (`chunked`); `field`: where the party keeps the values. */
  | {
      readonly of: 'client' | 'server';
      readonly draw: string;
      readonly field?: string;
      readonly chunked?: true;
    }
  /** r'. */
  | { readonly of: 'mask' };

interface Common {
  readonly name: string;
  /** What two uses of one value give away. */
  readonly gives: string;
  readonly origins: (params: GadgetParams) => readonly Origin[];
  /** How the difference of two observations belongs to the two hidden values. */
  readonly relation: 'xor' | 'difference' | 'difference up to signs';
  /** Bits of an observation. */
  readonly bits: (params: GadgetParams) => number;
  /** What is hidden of each element. */
  readonly hidden: (both: Played) => ArrayLike<number>;
}

/** A secret, and the observations of the party that must not learn what it hides. */
export type Secret = Common &
  (
    | { readonly hiddenFrom: 'client'; readonly observe: (view: ClientView) => ArrayLike<number> }
    | { readonly hiddenFrom: 'server'; readonly observe: (view: ServerView) => ArrayLike<number> }
  );
