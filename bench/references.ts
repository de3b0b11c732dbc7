/**
 * Figures of native peers, printed beside ours. Measured once by us with their own benchmark programs; a figure compares
 * with one of ours only when that was taken on the same kind of machine, and even then windows of one host differed by
 * up to 40 %.
 */

/** Where the figures below were measured. */
export const REFERENCE_MACHINE =
  '2 cores of AMD EPYC (Zen 3), AES-NI, AVX2; one core a party, over loopback; medians';

export const REFERENCES = {
  garble: 'emp-tool 0.3.0 half gates: 27.3 M AND/s',
  evaluate: 'emp-tool 0.3.0 half gates: 34.3 M AND/s',
  cot: 'emp-ot: IKNP 37.5 M COT/s at 16 B, Ferret 8.8 M COT/s at 0.19 B',
  convolution: 'OpenCheetah: 978 ms, 3.75 MB (1.37 up, 2.38 down)',
  relu: 'OpenCheetah: 98 k ReLU/s at 57 B (not garbled); emp-sh2pc: 94 k ReLU/s at 3,520 B',
} as const;
