import { readFileSync } from 'node:fs';
import { PNG } from 'pngjs';
import { describe, expect, it } from 'vitest';
import { networksOf, RECIPES } from '../../../models/zoo/recipes.ts';
import { drawScene, SCENES } from '../../../models/zoo/scenes.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import { encodeInput } from '../../../protocol/program/input.ts';
import { decodeModel } from '../../../protocol/program/model.ts';
import { pixelsOfRgba } from '../../../protocol/program/pixels.ts';
import { indexOfLargest } from '../../../protocol/ring/tensor.ts';

const zoo = new URL('../../../models/zoo/', import.meta.url);
const read = (file: string) => readFileSync(new URL(file, zoo));

describe('our own colour pictures', () => {
  const models = ['cifar10', 'air']
    .flatMap((recipe) => networksOf(RECIPES[recipe]!))
    .map((name) => decodeModel(read(`${name}.sotto`)));

  it('show all that the networks know', () => {
    for (const { program } of models) expect(new Set(SCENES)).toEqual(new Set(program.labels));
  });

  it.each(SCENES)('%s: every network of CIFAR-10 knows it', (name) => {
    const png = PNG.sync.read(read(`cifar10-images/${name}.png`));
    const colours = png.data.filter((_, i) => i % 4 < 3);
    expect(new Uint8Array(colours)).toEqual(drawScene(name));
    for (const { program, ...model } of models) {
      const pixels = pixelsOfRgba(png, program.input.shape);
      const label = indexOfLargest(runClear({ ...model, program }, encodeInput(program, pixels)));
      expect(program.labels[label], program.name).toBe(name);
    }
  });

  it('are of known things', () => {
    expect(() => drawScene('hat')).toThrow(/draw one of airplane, .*, not hat/);
  });
});
