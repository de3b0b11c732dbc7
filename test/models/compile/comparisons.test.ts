import { describe, expect, it } from 'vitest';
import {
  layerComparedBits,
  lowerComparisons,
  measureComparisons,
  protocolComparisonBytes,
} from '../../../models/compile/comparisons.ts';
import { compile, formatReport } from '../../../models/compile/index.ts';
import { type Graph, preprocess, RELU } from '../../../models/graph/index.ts';
import { linearErrorsOf } from '../../../protocol/inference/errors.ts';
import { checkProgram } from '../../../protocol/program/check.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import { encodeInput } from '../../../protocol/program/input.ts';
import type { Model } from '../../../protocol/program/model.ts';
import type { ActivationStep } from '../../../protocol/program/program.ts';
import { runSimulated } from '../../../protocol/program/simulate.ts';
import { Prg } from '../../../protocol/random/index.ts';
import { indexOfLargest } from '../../../protocol/ring/tensor.ts';
import { GraphBuilder } from '../builder.ts';
import { plain, randomPixels, residual } from './graphs.ts';

const MARGIN = 1.5;

const pixelsOf = (graph: Graph) =>
  Array.from({ length: 40 }, (_, i) => randomPixels(graph, 100 + i));

const calibration = (graph: Graph) =>
  pixelsOf(graph).map((pixels) =>
    preprocess(
      graph.input,
      pixels.map((p) => 255 * p),
    ),
  );

/** A network compiled with 12 fractional bits, its calibration images as inputs, and what the search makes of it. */
function lowered(graph: Graph, options: Partial<Parameters<typeof lowerComparisons>[2]> = {}) {
  const { model } = compile(graph, calibration(graph), { margin: MARGIN });
  const inputs = pixelsOf(graph).map((pixels) => encodeInput(model.program, pixels));
  return { model, inputs, result: lowerComparisons(model, inputs, { margin: MARGIN, ...options }) };
}

const reluSteps = ({ program }: Model) =>
  program.steps.filter(
    (step): step is ActivationStep => step.op === 'activation' && step.kinds.includes(RELU),
  );

/** Images whose label in any of four simulated runs is not that of a clear run. */
function changing(model: Model, inputs: readonly Int32Array[], seed: number): number[] {
  const random = new Prg(new Uint8Array(16).fill(seed));
  return inputs.flatMap((input, i) => {
    const label = indexOfLargest(runClear(model, input));
    const runs = Array.from({ length: 4 }, () =>
      indexOfLargest(runSimulated(model, input, random, linearErrorsOf(model.program))),
    );
    return runs.every((other) => other === label) ? [] : [i];
  });
}

function maxPooled(): Graph {
  const b = new GraphBuilder(4, [2, 8, 8]);
  const relu = b.activation(b.conv('image', 4), 'relu');
  return b.build(b.dense(b.flatten(b.maxPool(relu, 2)), 5));
}

const NETWORKS: [string, Graph][] = [
  ['ReLUs alone', plain(3, 'relu')],
  ['ReLUs, squares and identities', plain(4, 'mixed')],
  ['residual layers', residual(1, 'relu')],
  ['a max pool', maxPooled()],
];

describe.each(NETWORKS)('fewer compared bits in a network of %s', (_name, graph) => {
  const { model, inputs, result } = lowered(graph);

  it('cost less, and change nothing but k and t of layers with ReLUs', () => {
    const { before, comparisons } = result;
    expect(comparisons.bytes).toBeLessThan(before.bytes - 5);
    expect(comparisons.comparedBits).toBeLessThan(before.comparedBits - 1);
    expect(result.model.weights).toBe(model.weights);
    for (const [i, step] of result.model.program.steps.entries()) {
      const was = model.program.steps[i]!;
      if (step.op !== 'activation' || was.op !== 'activation') {
        expect(step).toBe(was);
        continue;
      }
      const { rangeBits, dropBits } = was;
      expect({ ...step, rangeBits, dropBits }).toEqual(was);
      expect(layerComparedBits(step)).toBeLessThanOrEqual(layerComparedBits(was));
    }
  });

  it('change no label that 8 fractional bits keep, and stay within the bound of the error', () => {
    const { before, comparisons } = result;
    expect(comparisons).toMatchObject({ images: 40, runs: 4 });
    expect(comparisons.changed).toBeLessThanOrEqual(before.changed);
    expect(comparisons.error).toBeLessThanOrEqual(0.02);
    // With other shares than the search had.
    expect(changing(result.model, inputs, 50).length).toBeLessThanOrEqual(2);
  });

  it('leave the range that calibration asks for', () => {
    checkProgram(result.model.program);
    for (const step of reluSteps(result.model)) {
      expect(step.dropBits).toBeLessThanOrEqual(step.rangeBits - 2);
    }
    // Margin: inputs half as large again still keep all ranges.
    for (const input of inputs) {
      runClear(result.model, input, (_step, _value, outOfRange) => expect(outOfRange).toBe(0));
    }
  });

  it('are the same for the same images', () => {
    expect(lowered(graph).result).toEqual(result);
  });
});

describe('the choice of compared bits', () => {
  it('widens a range where fewer bits need the room', () => {
    const graph = plain(3, 'relu');
    const { model, inputs } = lowered(graph);
    const [first] = reluSteps(model);
    let largest = 0;
    for (const input of inputs) {
      runClear(model, input, (step, value) => {
        if (step === model.program.steps[first!.input - 1]) {
          largest = Math.max(largest, ...value.map(Math.abs));
        }
      });
    }
    // A margin so wide that a larger 2^t has no room below 2^(k-1).
    const { rangeBits, dropBits } = first!;
    const margin = (2 ** (rangeBits - 1) - 2 ** dropBits - 1) / largest;
    const wider = reluSteps(lowerComparisons(model, inputs, { margin }).model)[0]!;
    expect(layerComparedBits(wider)).toBeLessThan(layerComparedBits(first!));
    expect(wider.rangeBits).toBe(rangeBits + 1);
    expect(margin * largest).toBeLessThan(2 ** rangeBits - 2 ** wider.dropBits);
  });

  it('lowers nothing that saves no bytes', () => {
    const { model, result } = lowered(plain(3, 'relu'), { bytes: () => 1 });
    expect(result.model).toBe(model);
    expect(result.comparisons).toEqual(result.before);
  });

  it('weighs layers by the price it is given', () => {
    const graph = plain(3, 'relu');
    const [one, two] = reluSteps(lowered(graph).model);
    const only = (name: string) => (step: ActivationStep) =>
      step.name === name ? protocolComparisonBytes(step, 'encoded', 32) : 1;
    const bitsWith = (priced: ActivationStep) => {
      const { model } = lowered(graph, { bytes: only(priced.name) }).result;
      return reluSteps(model).map(layerComparedBits) as [number, number];
    };
    const first = bitsWith(one!);
    const second = bitsWith(two!);
    expect(first[0]).toBeLessThan(second[0]);
    expect(first[1]).toBeGreaterThan(second[1]);
  });

  it('measures a network of one output by the size of that output', () => {
    const b = new GraphBuilder(7, [2, 8, 8]);
    const graph = b.build(b.dense(b.flatten(b.activation(b.conv('image', 4), 'relu')), 1));
    const { result } = lowered(graph);
    expect(result.comparisons.changed).toBe(0);
    expect(result.comparisons.error).toBeGreaterThan(0);
    expect(result.comparisons.error).toBeLessThanOrEqual(0.02);
    expect(result.comparisons.bytes).toBeLessThan(result.before.bytes);
  });

  it('leaves a model without ReLUs as it is', () => {
    const { model, result } = lowered(plain(3, 'square'));
    expect(result.model).toBe(model);
    expect(result.comparisons).toMatchObject({ comparedBits: 0, bytes: 0 });
  });

  it('says what it measures, and stops when told', () => {
    const heard: string[] = [];
    lowered(plain(3, 'relu'), { onProgress: (what) => heard.push(what) });
    expect(heard.at(0)).toMatch(/the model as it is/);
    expect(heard.some((what) => /comparisons: act\d+, \d+ bits/.test(what))).toBe(true);
    expect(heard.at(-1)).toMatch(/all layers together/);
    const onProgress = () => {
      throw new Error('enough');
    };
    expect(() => lowered(plain(3, 'relu'), { onProgress })).toThrow('enough');
  });
});

describe("the price of a ReLU's comparison", () => {
  it('is that of the formulas: bytes offline and online', () => {
    const step = (rangeBits: number, dropBits: number, shift: number) =>
      ({ rangeBits, dropBits, shift }) as ActivationStep;
    // With checks of OTs: 560 bytes a chunk, of which a full lane's label and product OTs have four or five.
    const checks = (chunks: number) => (560 * chunks) / 8192;
    expect(protocolComparisonBytes(step(27, 15, 15), 'encoded', 27)).toBeCloseTo(
      63.625 + 14 + checks(4),
      10,
    );
    expect(protocolComparisonBytes(step(30, 15, 9), 'encoded', 30)).toBeCloseTo(
      78.25 + 19.25 + checks(5),
      10,
    );
  });
});

describe('compareBits: auto', () => {
  const graph = plain(3, 'relu');
  const images = calibration(graph);
  const { model, report } = compile(graph, images, { compareBits: 'auto' });

  it('is the search from the program of 12 fractional bits', () => {
    const eight = compile(graph, images);
    const inputs = pixelsOf(graph).map((pixels) => encodeInput(model.program, pixels));
    const { model: searched } = lowerComparisons(eight.model, inputs, { margin: MARGIN });
    // Tolerances follow when the search is over.
    const upToOutput = (of: Model) =>
      of.program.steps.slice(0, -1).map((step) => ({ ...step, tolerance: 0 }));
    expect(upToOutput(model)).toEqual(upToOutput(searched));
    expect(eight.report.comparedBefore).toBeUndefined();
    expect(eight.report.comparisons).toMatchObject({ images: 32, runs: 4 });
    expect(report.tolerance).toBeGreaterThan(eight.report.tolerance);
    expect(compile(graph, images, { compareBits: 'auto' })).toEqual({ model, report });
  });

  it('reports compared bits by layer, and what they cost', () => {
    for (const layer of report.layers) {
      const step = model.program.steps[layer.step]!;
      if (step.op !== 'activation') continue;
      expect(layer).toMatchObject({ rangeBits: step.rangeBits, dropBits: step.dropBits });
      expect(layer.used! * MARGIN).toBeLessThanOrEqual(1);
    }
    const inputs = images.map((_, i) => encodeInput(model.program, pixelsOf(graph)[i]!));
    const measured = measureComparisons(model, inputs);
    // Measured before the layers that reach the output had their noise.
    expect({ ...report.comparisons, error: 0, changed: 0 }).toEqual({
      ...measured,
      error: 0,
      changed: 0,
    });
    expect(measured.error / report.comparisons.error).toBeGreaterThan(0.6);
    expect(measured.error / report.comparisons.error).toBeLessThan(2);
    const text = formatReport(report);
    expect(text).toMatch(/ compared /);
    expect(text).toMatch(
      /a ReLU compares [\d.]+ \(with 12 fractional bits: [\d.]+\) bits on average, in \d+ \(with 12/,
    );
    expect(text).toMatch(
      /4 of each of 40 calibration images: \d \(with 12 fractional bits: \d\) images/,
    );
  });
});
