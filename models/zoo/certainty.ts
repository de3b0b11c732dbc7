/**
 * Adds to the cards of the zoo how sure their networks may be said to be: the temperature that fits the validation images
 * best, and how well it holds on the test images.
 *
 *   npm run build && node dist/models/zoo/certainty.js NAME...      (digits, air, fashion-729)
 *
 * What is fitted is the program's exact fixed point, with the bits that its answers have. Wants the data that the networks
 * were trained on, and says so where there is none.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { replaceFile } from '../../protocol/files.ts';
import { runClear } from '../../protocol/program/clear.ts';
import { decodeLogits, encodeInput } from '../../protocol/program/input.ts';
import { decodeModel, type Model } from '../../protocol/program/model.ts';
import { probabilities } from '../../protocol/program/probabilities.ts';
import { showStatus } from '../../protocol/terminal.ts';
import { type Answered, calibrationError, fitTemperature } from '../compile/temperature.ts';
import { type LabelledImages, missing } from '../train/index.ts';
import { shippedNamed } from './recipes.ts';

const FOLDER = join('models', 'zoo');

function answersOf(model: Model, { pixels, labels }: LabelledImages): Answered {
  const size = pixels.length / labels.length;
  const logits = Array.from(labels, (_, i) => {
    showStatus(`${i} of ${labels.length} images`);
    const image = pixels.subarray(i * size, (i + 1) * size);
    const input = encodeInput(
      model.program,
      Float32Array.from(image, (p) => p / 255),
    );
    // Values out of range belong to what a network is worth.
    return decodeLogits(
      model.program,
      runClear(model, input, () => {}),
    );
  });
  return { logits, labels };
}

/** The share that is right of the images that a network is over 99 % sure of. */
function rightOfSure({ logits, labels }: Answered, temperature: number): number {
  let [sure, right] = [0, 0];
  logits.forEach((row, i) => {
    const shares = probabilities(row, temperature);
    const top = Math.max(...shares);
    if (top < 0.99) return;
    sure++;
    if (shares.indexOf(top) === labels[i]) right++;
  });
  return right / sure;
}

for (const named of process.argv.slice(2)) {
  const { names, data, sets } = shippedNamed(named);
  if (sets === undefined) {
    console.log(missing(data));
    continue;
  }
  for (const name of names) {
    const model = decodeModel(readFileSync(join(FOLDER, `${name}.sotto`)));
    const validation = answersOf(model, sets.validation);
    const test = answersOf(model, sets.test);
    const temperature = Number(fitTemperature(validation).toFixed(3));
    const certainty = {
      temperature,
      images: validation.logits.length,
      testError: Number(calibrationError(test, temperature).toFixed(4)),
      testErrorWithout: Number(calibrationError(test, 1).toFixed(4)),
      testRightOfSure: Number(rightOfSure(test, temperature).toFixed(4)),
    };
    const card = join(FOLDER, `${name}.json`);
    const text = JSON.stringify({ ...JSON.parse(readFileSync(card, 'utf8')), certainty }, null, 2);
    await replaceFile(card, `${text}\n`);
    console.log(`${name}: ${JSON.stringify(certainty)}`);
  }
}
