/** Layers as PyTorch's code of AutoReP exports them: m*ReLU(a) + (1 - m)*(c2*a^2 + c1*a + c0), for a of [1, 4, 6, 6]. */

import { type NodeSpec, node, type Values } from './models.ts';

export const SHAPE = [4, 6, 6] as const;
export const SIZE = 4 * 6 * 6;
const PLANE = 6 * 6;

/** Every third element is a ReLU. */
export const MASK = Array.from({ length: SIZE }, (_, i) => (i % 3 === 0 ? 1 : 0));
export const SLOPES = [0.5, 0.4, 0.6, 0.5];
export const SHIFTS = [0.1, 0, 0.2, 0.1];

export const channelOf = (element: number): number => Math.floor(element / PLANE);

/** A tensor [1, 4, 6, 6]. */
export const perElement = (floats: readonly number[]): Values => ({
  shape: [1, ...SHAPE],
  floats,
});

/** A tensor [1, 4, 1, 1]. */
const perChannel = (floats: readonly number[]): Values => ({ shape: [1, 4, 1, 1], floats });

/** From 'a' to 'y'. */
export function maskedNodes(): NodeSpec[] {
  return [
    node('Relu', ['a'], 'r'),
    node('Mul', ['m', 'r'], 'kept'),
    node('Pow', ['a', 'two'], 'squared'),
    node('Mul', ['c2', 'squared'], 'curve'),
    node('Mul', ['c1', 'a'], 'line'),
    node('Add', ['curve', 'line'], 'rising'),
    node('Add', ['rising', 'c0'], 'parabola'),
    node('Sub', ['one', 'm'], 'rest'),
    node('Mul', ['rest', 'parabola'], 'removed'),
    node('Add', ['kept', 'removed'], 'y'),
  ];
}

/** @param curvatures one for each channel */
export function maskedConstants(
  curvatures: readonly number[],
  mask: readonly number[] = MASK,
): Record<string, Values> {
  return {
    m: perElement(mask),
    one: { shape: [], floats: [1] },
    two: { shape: [], floats: [2] },
    c2: perChannel(curvatures),
    c1: perChannel(SLOPES),
    c0: perChannel(SHIFTS),
  };
}
