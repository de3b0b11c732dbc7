/** What names the weights of a model, to clients and in an operator's records. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { encodeModel, type Model } from '../../protocol/program/model.ts';
import { loadModelFile, offerModels } from '../../server/models.ts';
import { LocalServer, localPool, tinyModel } from '../system/support.ts';

const folder = mkdtempSync(join(tmpdir(), 'sotto-weights-'));
afterAll(() => rmSync(folder, { recursive: true }));

const model = tinyModel();
const pool = localPool();

/** The digest of a model that is kept in a file. */
async function digestOf(model: Model, name = 'tiny'): Promise<string> {
  const path = join(folder, `${name}.sotto`);
  writeFileSync(path, encodeModel(model));
  const offers = await offerModels([await loadModelFile(path)], { pool });
  return Buffer.from(offers.get(name)!.weights).toString('hex');
}

/** The model with one number of its last layer's biases changed, which are in no hint. */
function biased(): Model {
  const at = model.weights.findLastIndex((step) => step !== undefined && 'bias' in step);
  const weights = model.weights.map((step, i) => {
    if (i !== at || step === undefined || !('bias' in step)) return step;
    const bias = step.bias.slice();
    bias[0]! ^= 1;
    return { ...step, bias };
  });
  return { ...model, weights };
}

it('the digest of weights stays from start to start, and changes with any of them', async () => {
  const first = await digestOf(model);
  expect(first).toMatch(/^[0-9a-f]{64}$/);
  expect(await digestOf(biased())).not.toBe(first);
  expect(await digestOf(model)).toBe(first);
});

it('the digest of the same weights is another one with another secret, so that nobody tests guesses', async () => {
  expect(await digestOf(model, 'other')).not.toBe(await digestOf(model));
  const named = [{ name: 'memory', model }];
  const digests = await Promise.all([1, 2].map(() => offerModels(named, { pool })));
  const [one, two] = digests.map((offers) => offers.get('memory')!.weights);
  expect(one).not.toEqual(two);
});

it('a client is told the digest of the weights', async () => {
  const server = new LocalServer([{ name: 'tiny', model }]);
  const [one, two] = [await server.connect(), await server.connect()];
  expect(one.weights).toMatch(/^[0-9a-f]{64}$/);
  expect(two.weights).toBe(one.weights);
  expect(one.weights).not.toBe(one.digest);
  await Promise.all([one.close(), two.close()]);
  await server.settled();
});
