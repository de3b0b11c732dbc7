import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { percentText, worthText } from '../../client/web/certainty.ts';
import { probabilities } from '../../protocol/program/probabilities.ts';

describe('how sure an answer is said to be', () => {
  it('is whole percent, and never all or nothing', () => {
    const texts = [1, 0.9951, 0.99, 0.504, 0.0149, 0.01, 0.0099, 0].map(percentText);
    expect(texts).toEqual([
      ...['over 99 %', 'over 99 %', '99 %', '50 %', '1 %', '1 %', 'under 1 %', 'under 1 %'],
    ]);
  });

  it('is the softmax at the temperature of the card, also of logits far apart', () => {
    const shares = probabilities(Float32Array.of(2, 0), 2);
    expect(shares[0]).toBeCloseTo(1 / (1 + Math.exp(-1)), 12);
    expect([...probabilities(Float32Array.of(9000, 0), 1)]).toEqual([1, 0]);
  });

  it('says what a model is worth, and no percentages without a temperature', () => {
    expect(worthText(0.928, 1.01)).toMatch(
      /^92\.8 of 100 test images are right\. Percentages hold/,
    );
    expect(worthText(0.92, undefined)).toBe('92 of 100 test images are right.');
    expect(worthText(undefined, undefined)).toBe('How often this model is right is not known.');
  });

  const zoo = new URL('../../models/zoo/', import.meta.url);
  const cards = readdirSync(zoo).filter((name) => name.endsWith('.json'));

  it.each(cards)('%s has a temperature that test images bear out', (name) => {
    const { certainty } = JSON.parse(readFileSync(new URL(name, zoo), 'utf8'));
    expect(certainty.temperature).toBeGreaterThan(0);
    expect(certainty.testError).toBeLessThan(0.05);
    // What "over 99 %" says.
    expect(certainty.testRightOfSure).toBeGreaterThan(0.99);
  });
});
