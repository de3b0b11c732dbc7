/**
 * Adds to the cards of the zoo what a private inference takes and gives: bytes and rounds from the formulas, and how often
 * client and server together name the class that the program names in the clear.
 *
 *   npm run build && node dist/bench/cards.js NAME...      (digits, air, fashion-729)
 *
 * Wants test images, and says so where there are none.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from '../client/index.ts';
import { ZOO } from '../models/shipped.ts';
import { missing, slice } from '../models/train/index.ts';
import { shippedNamed } from '../models/zoo/recipes.ts';
import { replaceFile } from '../protocol/files.ts';
import { costOf } from '../protocol/inference/cost.ts';
import { layoutOf } from '../protocol/inference/layout.ts';
import { runClear } from '../protocol/program/clear.ts';
import { encodeInput } from '../protocol/program/input.ts';
import { decodeModel } from '../protocol/program/model.ts';
import { indexOfLargest } from '../protocol/ring/tensor.ts';
import { startParty } from './stand/measurement.ts';

/** Test images that each network is asked for. */
const IMAGES = 40;

for (const named of process.argv.slice(2)) {
  const { names, data, sets } = shippedNamed(named);
  if (sets === undefined) {
    console.log(missing(data));
    continue;
  }
  for (const name of names) {
    const path = join(ZOO, `${name}.sotto`);
    const model = decodeModel(readFileSync(path));
    const { offline, online } = costOf(layoutOf(model.program));
    const server = startParty(new AbortController().signal);
    const session = await connect((await server.ask('serve', { path })).url);
    let [right, agreeing] = [0, 0];
    for (let i = 0; i < IMAGES; i++) {
      const { pixels, labels } = slice(sets.test, i, i + 1);
      const input = Float32Array.from(pixels, (p) => p / 255);
      await session.prepare();
      const { label } = await session.infer(input);
      if (label === labels[0]) right++;
      const clear = indexOfLargest(runClear(model, encodeInput(model.program, input)));
      if (label === clear) agreeing++;
    }
    await session.close();
    await server.stop();
    const card = join(ZOO, `${name}.json`);
    const added = { private: { images: IMAGES, right, agreeing }, cost: { offline, online } };
    const text = JSON.stringify({ ...JSON.parse(readFileSync(card, 'utf8')), ...added }, null, 2);
    await replaceFile(card, `${text}\n`);
    console.log(`${name}: ${right} of ${IMAGES} right, ${agreeing} as in the clear`);
  }
}
