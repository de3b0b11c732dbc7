import { describe, expect, it } from 'vitest';
import {
  type Answered,
  calibrationError,
  fitTemperature,
} from '../../../models/compile/temperature.ts';
import { probabilities } from '../../../protocol/program/probabilities.ts';
import { Prg } from '../../../protocol/random/index.ts';

/** Answers whose labels are drawn from the probabilities at a temperature: it is the right one by construction. */
function answersAt(temperature: number, images = 20_000): Answered {
  const bytes = new Uint8Array(16 * images);
  new Prg(new Uint8Array(16).fill(7)).fill(bytes);
  const words = new Uint32Array(bytes.buffer);
  const uniform = (i: number) => words[i]! / 2 ** 32;
  const labels = new Uint8Array(images);
  const logits = Array.from({ length: images }, (_, i) => {
    const row = Float32Array.from({ length: 3 }, (_, k) => 12 * uniform(4 * i + k));
    let rest = uniform(4 * i + 3);
    labels[i] = probabilities(row, temperature).findIndex((share) => (rest -= share) < 0);
    return row;
  });
  return { logits, labels };
}

describe('a temperature', () => {
  it.each([0.5, 1, 3])('of %f is found, and makes probabilities hold', (temperature) => {
    const answered = answersAt(temperature);
    const found = fitTemperature(answered);
    expect(Math.abs(found / temperature - 1)).toBeLessThan(0.05);
    expect(calibrationError(answered, found)).toBeLessThan(0.015);
    expect(calibrationError(answered, 4 * found)).toBeGreaterThan(0.1);
  });

  it('is not fitted to nothing', () => {
    expect(() => fitTemperature({ logits: [], labels: [] })).toThrow(
      /^a temperature is fitted to images: got none$/,
    );
  });

  it('changes no order, also of logits far apart', () => {
    const logits = Float32Array.of(-900, 0, 900);
    expect([...probabilities(logits, 2)]).toEqual([0, expect.closeTo(0, 100), 1]);
  });
});
