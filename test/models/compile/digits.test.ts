import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { compile } from '../../../models/compile/index.ts';
import { loadGraph, preprocess, runFloat } from '../../../models/graph/index.ts';
import { dataFolder, missing, readMnist } from '../../../models/train/data/published.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import { encodeInput } from '../../../protocol/program/input.ts';
import { indexOfLargest } from '../../../protocol/ring/tensor.ts';

const file = new URL('../../../models/zoo/digits.sottonet', import.meta.url);
const folder = dataFolder('mnist');
if (folder === undefined) console.log(`skipped: ${missing('mnist')}`);

describe.skipIf(folder === undefined || !existsSync(file))('the digits network', () => {
  it('is as accurate in fixed point as in float, within 0.2 points on 1,000 images', () => {
    const graph = loadGraph(readFileSync(file));
    const pixels = (set: { pixels: Uint8Array }, i: number) =>
      set.pixels.subarray(784 * i, 784 * (i + 1));
    const train = readMnist(folder!, 'train');
    const test = readMnist(folder!, 't10k');
    const images = Array.from({ length: 200 }, (_, i) => preprocess(graph.input, pixels(train, i)));
    const { model } = compile(graph, images);
    let float = 0;
    let fixed = 0;
    for (let i = 0; i < 1000; i++) {
      const image = pixels(test, i);
      const scaled = Float32Array.from(image, (p) => p / 255);
      const logits = runClear(model, encodeInput(model.program, scaled), () => {});
      if (indexOfLargest(runFloat(graph, preprocess(graph.input, image))) === test.labels[i])
        float++;
      if (indexOfLargest(logits) === test.labels[i]) fixed++;
    }
    expect(float).toBeGreaterThan(950);
    expect(Math.abs(float - fixed)).toBeLessThanOrEqual(2);
  });
});
