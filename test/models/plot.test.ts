import { describe, expect, it } from 'vitest';
import { COLOURS, figure, Plot } from '../../models/plot.ts';

describe('a figure', () => {
  const points = [
    { x: 1, y: 2 },
    { x: 10, y: 3 },
  ];
  const text = figure(
    {
      x: { type: 'log', label: 'ReLUs' },
      y: { label: 'accuracy, %' },
      marks: [Plot.dot(points, { x: 'x', y: 'y', fill: COLOURS[1]! })],
    },
    new Map([['a < b & c', COLOURS[1]!]]),
  );

  it('is one whole SVG with axes, points and a legend, for light and dark', () => {
    expect(text).toMatch(/^<svg [^>]*xmlns="http:\/\/www.w3.org\/2000\/svg"/);
    expect(text.trimEnd()).toMatch(/<\/svg>$/);
    expect(text).not.toMatch(/NaN|undefined/);
    expect(text.match(/<circle/g)).toHaveLength(3);
    expect(text).toContain('accuracy, %');
    expect(text).toContain('a &lt; b &amp; c');
    expect(text).toContain('prefers-color-scheme: dark');
  });
});
