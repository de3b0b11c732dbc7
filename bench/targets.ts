/** What Sotto aims at, beside the sizes of full networks (networks.ts): figures of one run, on two cores. */

import type { Report } from './report.ts';

/** A target and how a run stands to it. */
export interface Target {
  readonly what: string;
  readonly wanted: string;
  readonly got: string;
  readonly met: boolean;
  /** What keeps it back where it is missed. */
  readonly bound: string;
}

interface Aim {
  readonly what: string;
  readonly least?: number;
  readonly most?: number;
  readonly unit: string;
  readonly bound: string;
  /** The figure; undefined where the run did not measure it. */
  readonly value: (report: Report) => number | undefined;
}

/** The median of the part whose name contains all of some words. */
function part(...words: readonly string[]) {
  return ({ kernels }: Report) =>
    kernels.find(({ name }) => words.every((word) => name.includes(word)))?.value.median;
}

/** Online time as a multiple of the same network without privacy. */
function overPlain(network: string) {
  return ({ networks }: Report) => {
    const plain = networks.find(({ name }) => name === network)?.plain;
    return typeof plain === 'object' ? plain.ratio.median : undefined;
  };
}

const AES_CALLS =
  'AES goes through OpenSSL, which JavaScript reaches with calls that allocate their output and cannot take a new key: of a gate of 1,024 instances about 60 % is the calls themselves, a third of each the call and not the cipher. The instances a key may serve are fixed by the proof';

const WASM_AES =
  'bitsliced AES is bound by the vector units, and their rate by what the neighbours of this machine do: the upper quartile is what an undisturbed core gives';

const AIMS: readonly Aim[] = [
  {
    what: 'online / plain, ResNet-18 with 12,900 ReLUs',
    most: 3,
    unit: '',
    value: overPlain('ResNet-18, 12,900 ReLUs, rest identity'),
    bound:
      'the integer layers of the server alone take about as long as the plain network on the same two cores, and 18 round trips with some 25 wake-ups of each event loop come on top',
  },
  {
    what: 'online / plain, ResNet-20 with all ReLUs',
    most: 10,
    unit: '',
    value: overPlain('ResNet-20, all ReLUs'),
    bound:
      'the plain network takes 8 ms, less than the socket needs for the 41 MB; revealing and evaluating 188,416 garbled comparisons is about 250 ms of one core at the rate above, 15 times the plain network even on two idle cores. Fewer ReLUs are the way: see the reduced networks',
  },
  {
    what: 'garbling, OpenSSL',
    least: 27,
    unit: 'M AND/s',
    value: part('garble', 'openssl'),
    bound: AES_CALLS,
  },
  {
    what: 'evaluation, OpenSSL',
    least: 50,
    unit: 'M AND/s',
    value: part('evaluate', 'openssl'),
    bound: AES_CALLS,
  },
  {
    what: 'garbling, WebAssembly',
    least: 6,
    unit: 'M AND/s',
    value: part('garble', 'wasm'),
    bound: WASM_AES,
  },
  {
    what: 'evaluation, WebAssembly',
    least: 12,
    unit: 'M AND/s',
    value: part('evaluate', 'wasm'),
    bound: WASM_AES,
  },
  {
    what: 'ReLUs, both phases and parties',
    least: 500,
    unit: 'k ReLU/s',
    value: part('offline and online'),
    bound:
      'a ReLU of 18 AND gates is garbled and evaluated in about 1 us, and takes 18 label OTs and a product of both parties, about 1.5 us; hashing labels and handing them over is the rest. The whole is one core for both parties',
  },
  {
    what: 'OT extension, receiver',
    least: 10,
    unit: 'M COT/s',
    value: part('OT extension', 'receiver'),
    bound: 'keystream of the leaves',
  },
  {
    what: 'OT extension, sender',
    least: 10,
    unit: 'M COT/s',
    value: part('OT extension', 'sender'),
    bound: 'keystream of the leaves',
  },
  {
    what: 'convolution 3x3, 64 -> 64 on 32x32, upload to shares',
    most: 120,
    unit: 'ms',
    value: part('upload to shares'),
    bound: 'transforms of weights, a third of the time, are made anew for every call here',
  },
  {
    what: 'two workers against one, offline phase of ResNet-20',
    least: 1.7,
    unit: 'times',
    value: ({ scaling }) => scaling?.gain.median,
    bound:
      'one worker is already not alone: the event loop that both parties share here runs beside it, busy as said below, and beside two workers it is a third that wants a core. What the machine gives two threads that only compute, the ceiling, moves with what its host does: between 1.5 and 2 times',
  },
];

/** How a run stands to the targets it measured. */
export function targetsOf(report: Report): Target[] {
  return AIMS.flatMap(({ what, least, most, unit, value, bound }) => {
    const got = value(report);
    if (got === undefined) return [];
    const met =
      got >= (least ?? Number.NEGATIVE_INFINITY) && got <= (most ?? Number.POSITIVE_INFINITY);
    const wanted = `${least === undefined ? '<=' : '>='} ${least ?? most} ${unit}`.trim();
    const shown = got < 100 ? got.toPrecision(3) : got.toFixed(0);
    return [{ what, wanted, got: `${shown} ${unit}`.trim(), met, bound }];
  });
}
