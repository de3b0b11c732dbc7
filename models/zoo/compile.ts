/**
 * Compiles the shipped networks to the `.sotto` files that servers load, and notes on their cards what fixed point costs.
 *
 *   npm run build && node dist/models/zoo/compile.js
 *
 * Needs MNIST (see models/train/data) to calibrate ranges and to score; it says so and stops without it.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runClear } from '../../protocol/program/clear.ts';
import { encodeModel } from '../../protocol/program/model.ts';
import { compile, formatReport } from '../compile/index.ts';
import { argmax, loadGraph, preprocess } from '../graph/index.ts';
import {
  dataFolder,
  type LabelledImages,
  missing,
  readMnist,
  slice,
} from '../train/data/images.ts';

/** Training images that ranges are measured on. */
const CALIBRATION = 2000;

/** The working folder is the repository's root, as for every script of the zoo. */
const folder = join('models', 'zoo');

function compileDigits(data: string): void {
  const graph = loadGraph(readFileSync(join(folder, 'digits.sottonet')));
  const cardPath = join(folder, 'digits.json');
  const card = JSON.parse(readFileSync(cardPath, 'utf8')) as { name: string; labels: string[] };
  const train = readMnist(data, 'train');
  const images = Array.from({ length: CALIBRATION }, (_, i) =>
    preprocess(graph.input, pixelsOf(train, i)),
  );
  const { model, report } = compile(graph, images, { name: card.name, labels: card.labels });
  console.log(formatReport(report));
  const file = encodeModel(model);
  writeFileSync(join(folder, 'digits.sotto'), file);

  const test = readMnist(data, 't10k');
  const unit = 2 ** model.program.input.fractionBits;
  let right = 0;
  let outOfRange = 0;
  for (let i = 0; i < test.labels.length; i++) {
    const image = preprocess(graph.input, pixelsOf(test, i));
    const input = Int32Array.from(image, (value) => Math.round(value * unit));
    const logits = runClear(model, input, (_step, _value, count) => {
      outOfRange += count;
    });
    if (argmax(Float32Array.from(logits)) === test.labels[i]) right++;
  }
  const fixedPointTestAccuracy = right / test.labels.length;
  console.log(
    `${file.length} bytes, test accuracy ${fixedPointTestAccuracy}, ${outOfRange} values out of range`,
  );
  writeFileSync(cardPath, `${JSON.stringify({ ...card, fixedPointTestAccuracy }, null, 2)}\n`);
}

function pixelsOf(set: LabelledImages, i: number): Uint8Array {
  return slice(set, i, i + 1).pixels;
}

const data = dataFolder('mnist');
if (data === undefined) console.log(missing('mnist'));
else compileDigits(data);
