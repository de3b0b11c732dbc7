/**
 * Figures of other systems, printed beside ours, each with where it comes from. What was measured on another machine, or
 * over another network, says how large such a system's costs are and no more: it never shares a series with ours.
 */

/**
 * Where the figures below were measured, with the peers' own benchmark programs. A figure compares with one of ours only
 * when that was taken on the same kind of machine, and even then windows of one host differed by up to 40 %.
 */
export const REFERENCE_MACHINE =
  '2 cores of AMD EPYC (Zen 3), AES-NI, AVX2; one core a party, over loopback; medians';

export const PEER_KERNELS = {
  garble: 'emp-tool 0.3.0 half gates: 27.3 M AND/s',
  evaluate: 'emp-tool 0.3.0 half gates: 34.3 M AND/s',
  cot: 'emp-ot: IKNP 37.5 M COT/s at 16 B, Ferret 8.8 M COT/s at 0.19 B',
  convolution: 'OpenCheetah: 978 ms, 3.75 MB (1.37 up, 2.38 down)',
  relu: 'OpenCheetah: 98 k ReLU/s at 57 B (not garbled); emp-sh2pc: 94 k ReLU/s at 3,520 B',
} as const;

/**
 * `measured`: by us, on {@link REFERENCE_MACHINE}, with the system's own program. `read`: the figure stands in the source;
 * `computed`: a sum or difference of figures that do.
 */
export type Tag = 'measured' | 'read' | 'computed';

/** What a source says about one inference; what it does not say is left out. */
export interface PublishedLatency {
  readonly system: string;
  readonly network: string;
  readonly relus?: number;
  readonly offlineSeconds?: number;
  readonly onlineSeconds?: number;
  /** Of systems that have no offline phase. */
  readonly totalSeconds?: number;
  /** Both directions. */
  readonly offlineMegabytes?: number;
  readonly onlineMegabytes?: number;
  readonly totalMegabytes?: number;
  readonly machine: string;
  readonly source: string;
  readonly tag: Tag;
}

const DELPHI = {
  system: 'Delphi',
  machine: 'AMD EPYC 7502, both parties, loopback; means of 5 or 10 runs',
  source:
    'run logs in github.com/kvgarimella/cryptonite (artifact of Garimella et al., ASPLOS 2023); offline times and all bytes are sums of logged parts',
  tag: 'computed',
} as const;

export const PUBLISHED_LATENCIES: readonly PublishedLatency[] = [
  {
    ...DELPHI,
    network: 'ResNet-32, CIFAR',
    relus: 303_104,
    offlineSeconds: 58.4,
    onlineSeconds: 8.2,
    offlineMegabytes: 6043,
    onlineMegabytes: 361.7,
  },
  {
    ...DELPHI,
    network: 'ResNet-18, CIFAR',
    relus: 557_056,
    offlineSeconds: 332,
    onlineSeconds: 14.1,
    offlineMegabytes: 11_035,
    onlineMegabytes: 665,
  },
  {
    ...DELPHI,
    network: 'VGG-16, CIFAR',
    relus: 284_672,
    offlineSeconds: 253,
    onlineSeconds: 7,
    offlineMegabytes: 5612,
    onlineMegabytes: 338.7,
  },
  {
    system: 'Cheetah',
    network: 'ResNet-50, ImageNet',
    totalSeconds: 150,
    totalMegabytes: 2300,
    machine: 'over a WAN; upper bounds, as the source states them',
    source: 'Huang et al., USENIX Security 2022, abstract',
    tag: 'read',
  },
  {
    system: 'SecONNds',
    network: 'SqueezeNet, ImageNet, 37 bits',
    totalSeconds: 3.6,
    totalMegabytes: 440,
    machine: 'CPU, not stated further',
    source: 'its abstract, 2025',
    tag: 'read',
  },
  {
    system: 'PrivaLean',
    network: 'ResNet-50, ImageNet',
    totalSeconds: 125,
    machine: 'over a WAN; trigonometric activations in place of ReLUs',
    source: 'its abstract, 2026',
    tag: 'read',
  },
  {
    system: 'SPU with Cheetah',
    network: 'ResNet-18, CIFAR-100',
    totalSeconds: 9.81,
    machine: 'not stated, a user’s report',
    source: 'github.com/secretflow/spu, issue 701',
    tag: 'read',
  },
];

const SQUEEZENET = {
  network: 'SqueezeNet, 227x227, random weights',
  source: 'its own program, run by us',
  tag: 'measured',
} as const;

const TRANSCRIPTION =
  'transcribed from the papers in github.com/ajevnisek/selective_network_linearization';

/** Whole inferences on {@link REFERENCE_MACHINE}, beside networks of ImageNet's size. */
export const MEASURED_LATENCIES: readonly PublishedLatency[] = [
  {
    ...SQUEEZENET,
    system: 'OpenCheetah',
    totalSeconds: 85.6,
    machine: 'two threads a party on both cores, loopback',
  },
  {
    ...SQUEEZENET,
    system: 'OpenCheetah',
    totalSeconds: 114,
    machine: 'one thread a party, loopback',
  },
  {
    ...SQUEEZENET,
    system: 'SCI (CrypTFlow2, HE)',
    totalSeconds: 287,
    totalMegabytes: 6359,
    machine: 'one thread a party, loopback',
  },
];

/** Where the accuracies on CIFAR-10 of models/reduce/published.ts stand, and of which networks they are, by method. */
export const ACCURACY_SOURCES: Readonly<Record<string, { network: string; source: string }>> = {
  SNL: {
    network: 'ResNet-18 or WideResNet-22-8',
    source: `Cho et al., ICML 2022, ${TRANSCRIPTION}`,
  },
  DeepReDuce: {
    network: 'ResNet-18 and its reductions',
    source: `Jha et al., ICML 2021, ${TRANSCRIPTION}`,
  },
  AutoReP: { network: 'ResNet-18', source: 'Peng et al., ICCV 2023, abstract' },
};
