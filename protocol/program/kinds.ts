/**
 * The kinds of elements an activation layer mixes, one descriptor each. Whatever has to know of kinds reads the
 * descriptors, or is a record over ActivationKind: a kind that is forgotten somewhere does not compile.
 *
 * What a kind costs and how two parties compute it is its gadget's (gadgets/); what it is in float arithmetic, as networks
 * are trained, is in models/graph/kinds.ts.
 */

import type { ActivationStep } from './program.ts';

/** Codes of the kinds, as stored in the ReLU map: 0 and upwards, none left out. AGREEMENT. */
export const IDENTITY = 0;
export const RELU = 1;
export const SQUARE = 2;

/** All kinds, in the order in which the lanes of a layer travel and reports name them. AGREEMENT. */
export const KINDS: readonly [typeof RELU, typeof SQUARE, typeof IDENTITY] = [
  RELU,
  SQUARE,
  IDENTITY,
];
export type ActivationKind = (typeof KINDS)[number];

/** Bits of a code in an encoded ReLU map. A fifth kind makes them three, and needs a new FORMAT in encode.ts. */
export const KIND_BITS: number = Math.ceil(Math.log2(KINDS.length));

/** Where runs of one program may differ on an element: how they round. */
export interface ElementRounding {
  /** x / 2^bits as an integer. */
  truncate(x: number, bits: number): number;
  /** Whether a ReLU that leaves out the lowest `dropBits` bits takes x for positive. */
  positive(x: number, dropBits: number): boolean;
}

/** What everybody has to know of a kind. */
export interface ElementKind {
  /** As sentences name one, and several. */
  readonly name: string;
  readonly plural: string;
  /** Under which reports count them. */
  readonly count: string;
  /** Widest range k of a pre-activation, in bits. SECURITY: the wrap analysis of its gadget needs it. */
  readonly maxRangeBits: number;
  /** Whether it compares, and the layer may leave out low bits for it. */
  readonly compares: boolean;
  /** Whether a rounding of its result may be made a part of its truncation: not where the truncated number is squared. */
  readonly merges: boolean;
  /** Bits its truncation cuts off. */
  shift(step: ActivationStep): number;
  /**
   * w: of a pre-activation's shares only the low w bits count. They hold the range, and what the truncation cuts off.
   * @param rangeBits k
   * @param shift f, bits cut off
   */
  ringBits(rangeBits: number, shift: number): number;
  /**
   * What is wrong with the numbers of a layer that has such elements, undefined when nothing is.
   * @param fraction fractional bits of the layer's input
   */
  fault(step: ActivationStep, fraction: number): string | undefined;
  /** Its meaning: the result for x, the constants of the layer apart. Taken mod 2^32. */
  clear(x: number, step: ActivationStep, rounding: ElementRounding): number;
}

/** The names by which types know the kinds. */
interface Names {
  readonly [IDENTITY]: { readonly name: 'identity'; readonly count: 'identities' };
  readonly [RELU]: { readonly name: 'ReLU'; readonly count: 'relus' };
  readonly [SQUARE]: { readonly name: 'square'; readonly count: 'squares' };
}

type Descriptors = { readonly [K in ActivationKind]: ElementKind & Names[K] };

/** Bits of a number whose square is to fit the ring, the sign not counted. */
export const ROOT_BITS = 15;

/** A truncation alone brings the input's scale to the output's. */
function scaleFault({ shift, fractionBits }: ActivationStep, fraction: number): string | undefined {
  return fractionBits === fraction - shift
    ? undefined
    : `${fraction} fractional bits less ${shift} are not ${fractionBits}`;
}

/** Of kinds whose gadgets add 2^(w-2), which makes every x positive and must survive the truncation whole. */
const offsetRingBits = (rangeBits: number, shift: number): number =>
  Math.max(rangeBits, shift + 1) + 1;

const descriptors: Descriptors = {
  [IDENTITY]: {
    name: 'identity',
    plural: 'identities',
    count: 'identities',
    maxRangeBits: 30,
    compares: false,
    merges: true,
    shift: ({ shift }) => shift,
    ringBits: offsetRingBits,
    fault: scaleFault,
    clear: (x, { shift }, { truncate }) => truncate(x, shift),
  },
  [RELU]: {
    name: 'ReLU',
    plural: 'ReLUs',
    count: 'relus',
    maxRangeBits: 31,
    compares: true,
    merges: true,
    shift: ({ shift }) => shift,
    ringBits: (rangeBits, shift) => Math.max(rangeBits, shift),
    fault: scaleFault,
    clear: (x, { shift, dropBits }, { truncate, positive }) =>
      positive(x, dropBits) ? truncate(x, shift) : 0,
  },
  [SQUARE]: {
    name: 'square',
    plural: 'squares',
    count: 'squares',
    maxRangeBits: 30,
    compares: false,
    merges: false,
    shift: ({ squareShift }) => squareShift,
    ringBits: offsetRingBits,
    fault({ rangeBits, squareShift, constants }) {
      if (!constants) return 'squares need the constants of their channels';
      const bits = rangeBits - 1 - squareShift;
      return bits > ROOT_BITS ? `squares of ${bits}-bit numbers overflow 31 bits` : undefined;
    },
    clear(x, { squareShift }, { truncate }) {
      const root = truncate(x, squareShift);
      return Math.imul(root, root);
    },
  },
};

type Descriptor = Descriptors[ActivationKind];
export type KindName = Descriptor['name'];

/** Numbers of elements by kind, as reports give them. */
export type KindCounts = Readonly<Record<Descriptor['count'], number>>;

/** The descriptor of a kind. */
export function kindOf(kind: ActivationKind): Descriptor {
  return descriptors[kind];
}

export function isKind(code: number): code is ActivationKind {
  return Object.hasOwn(descriptors, code);
}

/** The kinds that a ReLU map holds. */
export function kindsIn(map: Uint8Array): ActivationKind[] {
  return KINDS.filter((kind) => map.includes(kind));
}

/** Numbers of elements by kind in some ReLU maps. */
export function countKinds(...maps: readonly Uint8Array[]): KindCounts {
  const counts = new Uint32Array(256);
  for (const map of maps) for (const code of map) counts[code]!++;
  return Object.fromEntries(
    KINDS.map((kind) => [kindOf(kind).count, counts[kind]]),
  ) as unknown as KindCounts;
}

/** All elements that some counts count. */
export function countAll(counts: KindCounts): number {
  return KINDS.reduce<number>((sum, kind) => sum + counts[kindOf(kind).count], 0);
}
