/** What Sotto aims at, beside the sizes of full networks (networks.ts): figures of one run, on two cores. */

import type { ImageNetResult } from './imagenet.ts';
import type { NetworkResult } from './networks.ts';
import type { Report } from './report.ts';

/** A target and how a run stands to it. */
export interface Target {
  readonly what: string;
  /** What version 3 of the protocol took; empty where that is not compared. */
  readonly before: string;
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
  readonly before?: string;
  readonly unit: string;
  readonly bound: string;
  /** The figure; undefined where the run did not measure it. */
  readonly value: (report: Report) => number | undefined;
}

/** The median of the one part whose name contains all of some words. */
function part(...words: readonly string[]) {
  return ({ kernels }: Report) => {
    const found = kernels.filter(({ name }) => words.every((word) => name.includes(word)));
    if (found.length > 1)
      throw new Error(`${words.join(', ')}: ${found.length} parts are called so`);
    return found[0]?.value.median;
  };
}

/** A figure of a network. */
function ofNetwork(wanted: string, value: (network: NetworkResult) => number) {
  return ({ networks }: Report) => {
    const network = networks.find(({ name }) => name === wanted);
    return network && value(network);
  };
}

const ofResNet18 = (value: (network: NetworkResult) => number) =>
  ofNetwork('ResNet-18, all ReLUs', value);

/** A figure of a network of ImageNet's size. */
function ofImageNet(wanted: string, value: (network: ImageNetResult) => number) {
  return ({ imagenet }: Report) => {
    const network = imagenet?.find(({ name }) => name === wanted);
    return network && value(network);
  };
}

const bothPhases = ({ offline, online }: ImageNetResult) => (offline.median + online.median) / 1000;
const bothBytes = ({ cost: { offline, online } }: ImageNetResult) =>
  (offline.up + offline.down + online.up + online.down) / 1e6;

/** The mean of all squares at f = 16. */
function square(phase: 'offline' | 'online') {
  return ({ squares: all }: Report) => {
    if (all === undefined) return undefined;
    const count = all.reduce((sum, { squares }) => sum + squares, 0);
    return all.reduce((sum, { squares, at16 }) => sum + squares * at16[phase], 0) / count;
  };
}

/** Online time as a multiple of the same network without privacy. */
function overPlain(network: string) {
  return ({ networks }: Report) => {
    const plain = networks.find(({ name }) => name === network)?.plain;
    return typeof plain === 'object' ? plain.ratio.median : undefined;
  };
}

/** The reduced network of networks.ts. */
const FEW_RELUS = 'ResNet-18, 12,900 ReLUs, rest identity';

const AES_CALLS =
  'AES goes through OpenSSL, which JavaScript reaches with calls that allocate their output and cannot take a new key: of a gate of 1,024 instances about 60 % is the calls themselves, a third of each the call and not the cipher. The instances a key may serve are fixed by the proof';

const WASM_AES =
  'bitsliced AES is bound by the vector units, and their rate by what the neighbours of this machine do: the upper quartile is what an undisturbed core gives';

const RELU_BYTES =
  'bytes of a comparison grow with the square of its bits, and OTs with the bits: fewer compared bits are the way';

const RELU_OTS =
  'either comparison takes about one OT for each compared bit, and hashes both its outputs: that part of the offline phase is not less';

const AIMS: readonly Aim[] = [
  {
    what: 'ResNet-18: bytes of linear layers a bundle',
    before: '28.0 MB',
    most: 0.8,
    unit: 'MB',
    value: ofResNet18(({ linearBytes }) => linearBytes / 1e6),
    bound:
      'a hint of fewer bytes has several outputs a polynomial, whose corrections and products cost more over 16 bundles than it saves',
  },
  {
    what: 'ResNet-20: bytes of linear layers a bundle',
    before: '7.2 MB',
    most: 0.35,
    unit: 'MB',
    value: ofNetwork('ResNet-20, all ReLUs', ({ linearBytes }) => linearBytes / 1e6),
    bound:
      'a hint of fewer bytes has several outputs a polynomial, whose corrections and products cost more over 16 bundles than it saves',
  },
  {
    what: 'ResNet-18: hint, once',
    most: 22,
    unit: 'MB',
    value: ofResNet18(({ hintBytes }) => hintBytes / 1e6),
    bound:
      'a hint of fewer bytes has several outputs a polynomial, whose corrections and products cost more over 16 bundles than it saves',
  },
  {
    what: 'ResNet-20: hint, once',
    most: 4.5,
    unit: 'MB',
    value: ofNetwork('ResNet-20, all ReLUs', ({ hintBytes }) => hintBytes / 1e6),
    bound:
      'a hint of fewer bytes has several outputs a polynomial, whose corrections and products cost more over 16 bundles than it saves',
  },
  {
    what: 'ResNet-18, all ReLUs: offline bytes',
    before: '297 MB',
    most: 38,
    unit: 'MB',
    value: ofResNet18(({ offlineBytes }) => offlineBytes / 1e6),
    bound: RELU_BYTES,
  },
  {
    what: 'ResNet-18, all ReLUs: online bytes',
    before: '124 MB',
    most: 9.5,
    unit: 'MB',
    value: ofResNet18(({ onlineBytes }) => onlineBytes / 1e6),
    bound: RELU_BYTES,
  },
  {
    what: 'ResNet-18, all ReLUs, loopback: offline time',
    before: '2.7 s',
    most: 1.2,
    unit: 's',
    value: ofResNet18(({ offline }) => offline.median / 1000),
    bound: 'work of both parties on two cores: masks, shares of every output polynomial, then OTs',
  },
  {
    what: 'ResNet-18, all ReLUs, loopback: online time',
    before: '0.60 s',
    most: 0.3,
    unit: 's',
    value: ofResNet18(({ online }) => online.median / 1000),
    bound: 'layers on integers and 18 round trips',
  },
  {
    what: 'ResNet-18, 12,900 ReLUs, loopback: offline time',
    before: '1.23 s',
    most: 0.35,
    unit: 's',
    value: ofNetwork(FEW_RELUS, ({ offline }) => offline.median / 1000),
    bound: 'work of both parties on two cores: masks, shares of every output polynomial, then OTs',
  },
  {
    what: 'ResNet-18, 12,900 ReLUs, loopback: online time',
    before: '0.154 s',
    most: 0.12,
    unit: 's',
    value: ofNetwork(FEW_RELUS, ({ online }) => online.median / 1000),
    bound: 'layers on integers and 18 round trips',
  },
  {
    what: 'SqueezeNet 227, all ReLUs, loopback: both phases',
    before: '17.6 s',
    most: 8,
    unit: 's',
    value: ofImageNet('SqueezeNet 227, all ReLUs', bothPhases),
    bound: 'work of both parties on two cores: masks, shares of every output polynomial, then OTs',
  },
  {
    what: 'SqueezeNet 227, all ReLUs: bytes',
    before: '2,700 MB',
    most: 330,
    unit: 'MB',
    value: ofImageNet('SqueezeNet 227, all ReLUs', bothBytes),
    bound: RELU_BYTES,
  },
  {
    what: 'SqueezeNet 227, all ReLUs: memory of the client',
    before: '2.75 GB',
    most: 1,
    unit: 'GB',
    value: ofImageNet('SqueezeNet 227, all ReLUs', ({ peak }) => peak.client / 1e9),
    bound: 'a bundle',
  },
  {
    what: 'ResNet-50 224, all ReLUs, loopback: both phases',
    before: '62 s',
    most: 30,
    unit: 's',
    value: ofImageNet('ResNet-50 224, all ReLUs', bothPhases),
    bound: 'work of both parties on two cores: masks, shares of every output polynomial, then OTs',
  },
  {
    what: 'ResNet-50 224, all ReLUs: bytes',
    before: '7,200 MB',
    most: 950,
    unit: 'MB',
    value: ofImageNet('ResNet-50 224, all ReLUs', bothBytes),
    bound: RELU_BYTES,
  },
  {
    what: 'ResNet-50 224, all ReLUs: memory of the client',
    before: '6.6 GB',
    most: 1.5,
    unit: 'GB',
    value: ofImageNet('ResNet-50 224, all ReLUs', ({ peak }) => peak.client / 1e9),
    bound: 'a bundle',
  },
  {
    what: 'ResNet-18, all ReLUs: what the client keeps of a bundle',
    before: '360 MB',
    most: 20,
    unit: 'MB',
    value: ofResNet18(({ clientStored }) => clientStored / 1e6),
    bound: RELU_BYTES,
  },
  {
    what: 'square, f = 16: offline bytes',
    before: '117 B',
    most: 90,
    unit: 'B',
    value: square('offline'),
    bound:
      'bytes follow from the bits of a truncated share, k + 1 - f: with f = 16, 90 B allow k = 26, but squares of compiled networks have 29 or 30. With the f that they choose it is less, see the table above',
  },
  {
    what: 'square, f = 16: online bytes',
    before: '12 B',
    most: 11,
    unit: 'B',
    value: square('online'),
    bound: 'bits of a truncated share and the output',
  },
  {
    what: 'online / plain, ResNet-18 with 12,900 ReLUs',
    before: '3.3',
    most: 2,
    unit: '',
    value: overPlain(FEW_RELUS),
    bound:
      'the integer layers of the server alone take about as long as the plain network on the same two cores, and 18 round trips with some 25 wake-ups of each event loop come on top',
  },
  {
    what: 'online / plain, ResNet-20 with all ReLUs',
    before: '49',
    most: 20,
    unit: '',
    value: overPlain('ResNet-20, all ReLUs'),
    bound:
      'the plain network takes about 8 ms; 20 round trips of two processes, layers on integers and 188,416 comparisons, at the online rate above, take the rest',
  },
  {
    what: 'browser / Node, ResNet-20 with all ReLUs, online',
    before: '5.0',
    most: 2,
    unit: '',
    value: ({ browser }) =>
      browser
        ?.find(({ model }) => model === 'ResNet-20, all ReLUs')
        ?.phases.find(({ name }) => name === 'online')?.ratio.median,
    bound:
      'Chromium passes every message between processes before page and workers see it, and shares the cores with the server',
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
    what: 'ReLUs of 17 bits (18 AND gates), both phases and parties, against garbled ones',
    before: '258 k/s',
    least: 1.8,
    unit: 'times',
    value: part('ReLU of 17 bits', 'garbled / encoded', 'offline and online'),
    bound: RELU_OTS,
  },
  {
    what: 'ReLUs of 11 bits (12 AND gates), both phases and parties, against garbled ones',
    least: 2,
    unit: 'times',
    value: part('ReLU of 11 bits', 'garbled / encoded', 'offline and online'),
    bound: RELU_OTS,
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
  return AIMS.flatMap(({ what, before = '', least, most, unit, value, bound }) => {
    const got = value(report);
    if (got === undefined) return [];
    const met =
      got >= (least ?? Number.NEGATIVE_INFINITY) && got <= (most ?? Number.POSITIVE_INFINITY);
    const wanted = `${least === undefined ? '<=' : '>='} ${least ?? most} ${unit}`.trim();
    const shown = got < 100 ? got.toPrecision(3) : got.toFixed(0);
    return [{ what, before, wanted, got: `${shown} ${unit}`.trim(), met, bound }];
  });
}
