/**
 * Published accuracies on CIFAR-10's test images against ReLU budgets, to draw beside one's own. They are of ResNet-18 and
 * WideResNet-22-8: other, far larger networks. What compares is how slowly a curve falls.
 */

import type { Line } from './chart.ts';

const line = (name: string, points: Line['points']): Line => ({ name, points, published: true });

export const PUBLISHED_CIFAR10: readonly Line[] = [
  // Table of SNL, ICML 2022.
  line('SNL, published', [
    [12_900, 0.8823],
    [14_900, 0.8843],
    [25_000, 0.9088],
    [29_800, 0.9092],
    [40_000, 0.9168],
    [49_400, 0.9227],
    [60_000, 0.9263],
    [79_100, 0.9316],
    [99_900, 0.935],
    [150_000, 0.9426],
    [180_000, 0.9478],
  ]),
  // DeepReDuce, ICML 2021.
  line('DeepReDuce, published', [
    [36_000, 0.885],
    [70_000, 0.9],
    [80_000, 0.905],
    [114_000, 0.927],
    [147_000, 0.9316],
    [221_500, 0.9407],
  ]),
  // Abstract of AutoReP, ICCV 2023.
  line('AutoReP, published', [[12_900, 0.9431]]),
];
