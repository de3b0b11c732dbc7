/** The secrets of the argmax, declared as those of the other gadgets are (secrets.ts); argmax.test.ts plants every reuse. */

import { wireBits } from '../../../protocol/gadgets/bits.ts';
import { colours } from '../../../protocol/garble/labels.ts';
import type { PlayedArgmax } from './lanes.ts';

/** A secret of the argmax, all of which are hidden from the client: one observation of each input bit of a party. */
export interface ArgmaxSecret {
  readonly name: string;
  readonly gives: string;
  readonly origin: { readonly of: 'labels' } | { readonly of: 'server'; readonly draw: string };
  /** Bits of an observation. */
  readonly bits: number;
  readonly observe: (view: PlayedArgmax) => ArrayLike<number>;
  readonly hidden: (view: PlayedArgmax) => ArrayLike<number>;
}

const positionsOf = ({ params }: PlayedArgmax): number[] =>
  Array.from({ length: params.rangeBits }, (_, i) => i);

export const ARGMAX_SECRETS: readonly ArgmaxSecret[] = [
  {
    name: "the labels of the server's inputs",
    gives: 'the xor of all bits of two shares of the server',
    origin: { of: 'server', draw: 'labels' },
    bits: 1,
    observe: ({ material }) => colours(material),
    hidden: (view) => wireBits(view.a, positionsOf(view)),
  },
  {
    name: "the labels of the client's inputs",
    gives: "the server's offset, and with it both labels of every wire",
    origin: { of: 'labels' },
    bits: 31,
    // The first word but its colour, in which all offsets are alike.
    observe: ({ bought }) =>
      new Uint32Array(bought.slice().buffer)
        .filter((_, i) => i % 4 === 0)
        .map((word) => word >>> 1),
    hidden(view) {
      const word = new Uint32Array(view.offset.slice().buffer)[0]! >>> 1;
      return Array.from(wireBits(view.c, positionsOf(view)), (bit) => bit * word);
    },
  },
];
