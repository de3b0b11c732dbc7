import { describe, expect, it } from 'vitest';
import { formatScore } from '../../../models/compile/score.ts';
import { available, load, long, type Name, scoreOn, testImages } from './data.ts';

/** Right among the 1,000 test images in float, as published beside the weights; undefined where nothing is said. */
const PUBLISHED: Record<Name, number | undefined> = {
  resnet20: 915,
  resnet32: 928,
  minionn: undefined,
  'minionn-5-squares': undefined,
};

/** Fewer images by default, for the time of it. */
const IMAGES: Record<Name, number> = {
  resnet20: 100,
  resnet32: 20,
  minionn: 30,
  'minionn-5-squares': 50,
};

describe.skipIf(!available)('published networks in fixed point', () => {
  it.each(Object.keys(IMAGES) as Name[])(
    '%s names the classes that it names in float',
    async (name) => {
      const images = testImages(long ? 1000 : IMAGES[name]);
      const score = await scoreOn(load(name), images);
      console.log(`${name}: ${formatScore(score)}`);
      const { floatRight, fixedRight, agreeing } = score;
      const squares = name === 'minionn-5-squares';
      // Squares have long tails: ranges from few images leave some of them out.
      expect(agreeing).toBeGreaterThanOrEqual(
        (squares && !long ? 0.96 : 0.985) * images.labels.length,
      );
      expect(floatRight! / images.labels.length).toBeGreaterThan(0.78);
      if (!squares) expect(score.imagesOutOfRange).toBeLessThanOrEqual(images.labels.length / 100);
      if (!long) return;
      expect(Math.abs(fixedRight - floatRight!)).toBeLessThanOrEqual(squares ? 10 : 3);
      const published = PUBLISHED[name];
      if (published !== undefined) expect(Math.abs(floatRight! - published)).toBeLessThanOrEqual(3);
    },
    1_800_000,
  );
});
