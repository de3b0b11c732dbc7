import { describe, expect, it } from 'vitest';
import { compile } from '../../../models/compile/index.ts';
import { formatScore, score, scoreAll, scoreTasks } from '../../../models/compile/score.ts';
import { preprocess, runFloat } from '../../../models/graph/index.ts';
import { createInlinePool } from '../../../protocol/pool/inline.ts';
import { indexOfLargest } from '../../../protocol/ring/tensor.ts';
import { plain } from './graphs.ts';

const graph = plain(3, 'relu');
const COUNT = 50;
const size = 2 * 8 * 8;
const pixels = Uint8Array.from({ length: COUNT * size }, (_, i) => (i * 2654435761) >>> 24);
const images = Array.from({ length: COUNT }, (_, i) =>
  preprocess(graph.input, pixels.subarray(i * size, (i + 1) * size)),
);
const { model } = compile(graph, images);
const named = Uint8Array.from(images, (image) => indexOfLargest(runFloat(graph, image)));
/** Every fifth label is another than the network's. */
const labels = named.map((label, i) => (i % 5 === 0 ? (label + 1) % 5 : label));

describe('scores', () => {
  it('count what is right in float and in fixed point, and where the two agree', () => {
    const result = score({ model, graph, pixels, labels });
    expect(result).toMatchObject({
      images: COUNT,
      floatRight: 40,
      outOfRange: 0,
      imagesOutOfRange: 0,
    });
    expect(result.agreeing).toBeGreaterThanOrEqual(COUNT - 2);
    expect(result.simulatedAgreeing).toBeGreaterThanOrEqual(COUNT - 2);
    const apart = COUNT - result.simulatedAgreeing;
    expect(Math.abs(result.simulatedRight - result.fixedRight)).toBeLessThanOrEqual(apart);
    expect(Math.abs(result.fixedRight - 40)).toBeLessThanOrEqual(COUNT - result.agreeing!);
  });

  it('are the same whoever computes them', async () => {
    const pool = createInlinePool(scoreTasks);
    const direct = score({ model, graph, pixels, labels });
    expect(await scoreAll(pool, { model, graph, pixels, labels })).toEqual(direct);
    expect(
      await scoreAll(
        { ...pool, workers: 3, run: pool.run.bind(pool) },
        {
          ...{ model, graph, pixels, labels },
        },
      ),
    ).toEqual(direct);
    await pool.close();
  });

  it('do without the float network', () => {
    const result = score({ model, pixels, labels });
    expect(result).toMatchObject({ floatRight: undefined, agreeing: undefined });
    expect(formatScore(result)).toMatch(
      /^50 images: right in fixed point \d+.00 %; in a simulated private run \d+.00 %, .*; 0 values/,
    );
  });

  it('score programs that reveal the label alone', () => {
    const { model: label } = compile(graph, images, { reveal: 'label' });
    expect(score({ model: label, graph, pixels, labels })).toEqual(
      score({ model, graph, pixels, labels }),
    );
  });

  it('count values out of range', () => {
    const dark = compile(
      graph,
      images.slice(0, 1).map((image) => image.map((x) => x / 50)),
    );
    const found = score({ model: dark.model, pixels, labels });
    expect(found.outOfRange).toBeGreaterThan(found.imagesOutOfRange);
    expect(found.imagesOutOfRange).toBeGreaterThan(0);
  });

  it('refuse pixels and labels that do not belong together', async () => {
    const pool = createInlinePool(scoreTasks);
    for (const count of [0, 7]) {
      const few = labels.slice(0, count);
      await expect(scoreAll(pool, { model, pixels, labels: few })).rejects.toThrow(RangeError);
    }
    await pool.close();
  });
});
