import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compile } from '../../../models/compile/index.ts';
import { type Graph, preprocess, runFloat, SQUARE } from '../../../models/graph/index.ts';
import { linearErrorsOf } from '../../../protocol/inference/errors.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import { encodeInput } from '../../../protocol/program/input.ts';
import { decodeModel, encodeModel, type Model } from '../../../protocol/program/model.ts';
import { runSimulated } from '../../../protocol/program/simulate.ts';
import { Prg } from '../../../protocol/random/index.ts';
import { isLong } from '../../support/long.ts';
import { inferBoth, openSessions, prepareBoth, seedOf } from '../../support/model.ts';
import { randomPixels } from './graphs.ts';
import { randomGraph } from './random-graphs.ts';

/** SOTTO_LONG=compiler runs many more. */
const long = isLong('compiler');

function prepared(graph: Graph, pixels: Float32Array): Float32Array {
  return preprocess(
    graph.input,
    pixels.map((p) => 255 * p),
  );
}

function compiled(graph: Graph): Model {
  const images = Array.from({ length: 32 }, (_, i) =>
    prepared(graph, randomPixels(graph, 900 + i)),
  );
  return compile(graph, images, { margin: 4 }).model;
}

function largest(values: ArrayLike<number>): number {
  return Array.from(values).reduce((most, v) => Math.max(most, Math.abs(v)), 0);
}

/** Largest difference of two logits, in units of the last place. */
function distance(x: Int32Array, y: Int32Array): number {
  return largest(x.map((value, i) => value - y[i]!));
}

const toleranceOf = (model: Model) => {
  const output = model.program.steps.at(-1)!;
  return output.op === 'output' ? output.tolerance : 0;
};

describe('random networks', () => {
  it('compute what the float network does, in fixed point and with the errors of shares', () => {
    const ops = new Set<string>();
    fc.assert(
      fc.property(fc.nat(1e6), (seed) => {
        const graph = randomGraph(seed);
        const model = compiled(graph);
        expect(decodeModel(encodeModel(model))).toEqual(model);
        const pixels = randomPixels(graph, 10);
        let reach = 0;
        const float = runFloat(graph, prepared(graph, pixels), (id, value) => {
          const node = graph.nodes.find((n) => n.id === id);
          ops.add(node?.op ?? 'image');
          reach = Math.max(reach, largest(value));
        });
        const input = encodeInput(model.program, pixels);
        const clear = runClear(model, input);
        const unit = 2 ** model.program.results[0]!.bits;
        // Of the largest value, each layer adds about what rounding weights errs, a square its root's last bit.
        const squares = graph.nodes.some((n) => n.op === 'activation' && n.kinds.includes(SQUARE));
        const error = largest(float.map((x, i) => x - clear[i]! / unit));
        console.log(seed, error, reach, squares, graph.nodes.map((n) => n.op).join(' '));
        expect(error).toBeLessThan(8 * reach * (2 ** -8 + (squares ? 2 ** -7 : 0)));
        const simulated = runSimulated(
          model,
          input,
          new Prg(seedOf(seed)),
          linearErrorsOf(model.program),
        );
        expect(distance(simulated, clear)).toBeLessThanOrEqual(toleranceOf(model));
      }),
      { numRuns: long ? 2000 : 16, seed: 5 },
    );
    // The networks are not all alike.
    for (const op of ['maxPool', 'averagePool', 'slice', 'pad', 'concat', 'add', 'scale']) {
      expect(ops).toContain(op);
    }
  });

  it('compute it between two parties', async () => {
    for (let seed = 0; seed < (long ? 100 : 4); seed++) {
      const graph = randomGraph(7000 + seed);
      const model = compiled(graph);
      const sessions = await openSessions(model, seedOf(300 + seed));
      await prepareBoth(sessions);
      const input = encodeInput(model.program, randomPixels(graph, 20));
      const result = await inferBoth(sessions, input);
      expect(distance(result, runClear(model, input))).toBeLessThanOrEqual(toleranceOf(model));
    }
  });
});
