import { existsSync } from 'node:fs';
import { expect, it } from 'vitest';
import { measure } from '../../models/compile/measure.ts';
import { randomGraph } from './compile/random-graphs.ts';
import { randomImage } from './networks.ts';

const built = new URL('../../dist/models/measuring.js', import.meta.url);
const isBuilt = existsSync(built);
if (!isBuilt)
  console.log('measuring on threads skipped: dist/ is missing, run `npm run build` first');

it.skipIf(!isBuilt)('measures for commands on threads as in one', async () => {
  const { measureOnThreads } = await import(built.href);
  const graph = randomGraph(12);
  const wanted = new Map([['out', { id: graph.output }]]);
  const images = [1, 2, 3].map((seed) => randomImage(graph, seed));
  expect(await measureOnThreads(graph, wanted, images)).toEqual(measure(graph, wanted, images));
});
