import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Compiled,
  type CompileOptions,
  compile,
  compileFile,
  formatReport,
} from '../../../models/compile/index.ts';
import { type Graph, preprocess, runFloat, saveGraph } from '../../../models/graph/index.ts';
import { checkProgram } from '../../../protocol/program/check.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import { decodeProgram, encodeProgram } from '../../../protocol/program/encode.ts';
import { decodeLogits, encodeInput } from '../../../protocol/program/input.ts';
import { decodeModel, encodeModel } from '../../../protocol/program/model.ts';
import type { ActivationStep, Program } from '../../../protocol/program/program.ts';
import { GraphBuilder, type Mix } from '../builder.ts';
import { plain, randomPixels, residual } from './graphs.ts';

const MIXES: Mix[] = ['relu', 'square', 'identity', 'mixed', 'channels'];

function calibration(graph: Graph, count = 12): Float32Array[] {
  return Array.from({ length: count }, (_, i) => prepared(graph, randomPixels(graph, 900 + i)));
}

/** Pixels in 0..1 as the float network takes them. */
function prepared(graph: Graph, pixels: Float32Array): Float32Array {
  return preprocess(
    graph.input,
    pixels.map((p) => 255 * p),
  );
}

/** Float and fixed-point results on fresh images, which are refused when they leave a range. */
function results(graph: Graph, { model }: Compiled, images = 4): [number, number][] {
  return Array.from({ length: images }, (_, i) => randomPixels(graph, 10 + i)).flatMap((pixels) => {
    const float = runFloat(graph, prepared(graph, pixels));
    const fixed = decodeLogits(model.program, runClear(model, encodeInput(model.program, pixels)));
    return [...float].map((x, j): [number, number] => [x, fixed[j]!]);
  });
}

function worst(pairs: readonly [number, number][]): number {
  return Math.max(...pairs.map(([x, y]) => Math.abs(x - y)));
}

function rms(pairs: readonly [number, number][]): number {
  return Math.sqrt(pairs.reduce((sum, [x, y]) => sum + (x - y) ** 2, 0) / pairs.length);
}

function compiled(graph: Graph, options: CompileOptions = {}): Compiled {
  return compile(graph, calibration(graph), options);
}

const names = ({ steps }: Program) => steps.map((step) => step.name);

describe('agreement with the float network', () => {
  /**
   * Logits are near 1 and sums keep variances, so that each of at most 7 layers adds about the last bit of a weight, and
   * of an activation: 14 bits, or of X in a square, which has g + j, half of 14 and the bits of j.
   */
  const tolerance = (mix: Mix, activationBits: number, weightBits: number) => {
    const last = mix === 'relu' || mix === 'identity' ? activationBits : activationBits / 2;
    return 8 * (2 ** -weightBits + 2 ** -last);
  };

  it.each(MIXES)('holds on random networks: %s', (mix) => {
    const bits = fc.constantFrom<[number, number]>([14, 8], [12, 6], [13, 9]);
    fc.assert(
      fc.property(fc.nat(1e6), fc.constantFrom(plain, residual), bits, (seed, make, [fa, fw]) => {
        const graph = make(seed, mix);
        const result = compiled(graph, { activationBits: fa, weightBits: fw, margin: 2 });
        expect(worst(results(graph, result))).toBeLessThan(tolerance(mix, fa, fw));
        const { program } = result.model;
        checkProgram(program);
        expect(decodeProgram(encodeProgram(program)).program).toEqual(program);
        expect(decodeModel(encodeModel(result.model))).toEqual(result.model);
      }),
      { numRuns: 6, seed: 7 },
    );
  });

  it.each(MIXES)('tightens with more bits: %s', (mix) => {
    const error = (activationBits: number, weightBits: number) => {
      const pairs = [1, 2, 3].flatMap((seed) => {
        const graph = residual(seed, mix);
        return results(graph, compiled(graph, { activationBits, weightBits, margin: 3 }));
      });
      return rms(pairs);
    };
    expect(error(13, 9)).toBeLessThan(0.6 * error(10, 6));
  });

  it('holds for windows that are no power of two, before and after an activation', () => {
    for (const mix of MIXES) {
      const b = new GraphBuilder(4, [2, 12, 12]);
      const one = b.activation(b.pool(b.conv('image', 4), 3), mix);
      const two = b.activation(b.conv(b.add(b.pool(one, 2), b.conv(b.pool(one, 2), 4)), 5), mix);
      const three = b.activation(
        b.add(b.pool(b.conv(two, 5), 2), b.conv(two, 5, { stride: 2, pad: 1, kernel: 3 })),
        mix,
      );
      const graph = b.build(b.dense(b.flatten(b.mean(three)), 3));
      expect(worst(results(graph, compiled(graph)))).toBeLessThan(tolerance(mix, 14, 8));
    }
  });

  it('holds where a value is both activated and added later', () => {
    for (const mix of MIXES) {
      const b = new GraphBuilder(9, [2, 6, 6]);
      let x = b.conv('image', 4);
      for (let block = 0; block < 2; block++) {
        x = b.add(x, b.conv(b.activation(b.norm(b.conv(b.activation(x, mix), 4)), mix), 4));
      }
      const graph = b.build(b.dense(b.flatten(b.activation(x, mix)), 3));
      expect(worst(results(graph, compiled(graph)))).toBeLessThan(tolerance(mix, 14, 8));
    }
  });

  it('holds where nothing is linear between activations, and at an activated output', () => {
    const b = new GraphBuilder(3, [2, 4, 4]);
    const one = b.activation(b.activation('image', 'square'), 'square');
    const graph = b.build(b.activation(b.add(one, 'image'), 'mixed'));
    expect(worst(results(graph, compiled(graph)))).toBeLessThan(tolerance('square', 14, 8));
  });

  it('is exact in its rounding of squares', () => {
    const b = new GraphBuilder(2, [2, 4, 4]);
    const graph = b.build(b.activation(b.conv('image', 3, { kernel: 1, pad: 0 }), 'square'));
    const { model } = compiled(graph);
    const pixels = randomPixels(graph, 77);
    const values = new Map<string, Int32Array>();
    runClear(model, encodeInput(model.program, pixels), (step, value) =>
      values.set(step.name, value),
    );
    const act = model.program.steps.find((step) => step.op === 'activation') as ActivationStep;
    const arriving = model.program.steps[0]!.fractionBits;
    const j = act.fractionBits - 2 * (arriving - act.squareShift);
    const [, coefficients] = [...graph.tensors].find(([name]) => name.endsWith('coefficients'))!;
    values.get('conv1')!.forEach((x, i) => {
      const channel = Math.floor(i / 16);
      const [c0, c1, c2] = coefficients.data.subarray(3 * channel, 3 * channel + 3);
      const alpha = c2! * 2 ** j;
      const v = x / alpha / 2 ** arriving;
      const y = values.get(act.name)![i]! / alpha / 2 ** act.fractionBits;
      // One unit of X is 1 / (alpha 2^g); half of it is the rounding, and constants are rounded to one unit.
      const unit = 2 ** (act.squareShift - arriving) / alpha;
      const slope = 2 * c2! * (Math.abs(v + c1! / (2 * c2!)) + unit);
      const slack = 2 / alpha / 2 ** act.fractionBits;
      expect(Math.abs(y - (c0! + v * (c1! + v * c2!)))).toBeLessThan(0.51 * unit * slope + slack);
    });
  });
});

describe('what is inserted', () => {
  it('is nothing in a residual network of ReLUs', () => {
    const { program } = compiled(residual(1, 'relu')).model;
    expect(names(program).filter((name) => name.includes('.'))).toEqual([]);
  });

  it('is one layer with a weight per channel where scales of a sum differ', () => {
    const { model } = compiled(residual(1, 'square'));
    const { program, weights } = model;
    expect(names(program).filter((name) => name.includes('.'))).toEqual(['act3.scale']);
    const at = names(program).indexOf('act3.scale');
    expect(program.steps[at]).toMatchObject({ op: 'linear', shape: { groups: 6, kernel: [1, 1] } });
    expect(new Set((weights[at] as { kernel: Int32Array }).kernel).size).toBeGreaterThan(1);
  });

  it('is nothing where all squares have the same coefficients, or sums have no square', () => {
    const b = new GraphBuilder(5, [2, 8, 8]);
    const same = [0.1, 0.5, 0.25] as const;
    const one = b.activation(b.conv('image', 4), 'square', { quadratic: same });
    const two = b.activation(b.add(b.conv(one, 4), one), 'square', { quadratic: same });
    const three = b.activation(b.conv(two, 4), 'square');
    const four = b.activation(b.add(b.conv(three, 4), three), 'relu');
    const graph = b.build(b.dense(b.flatten(four), 3));
    const result = compiled(graph);
    expect(names(result.model.program).filter((name) => name.includes('.'))).toEqual([]);
    expect(worst(results(graph, result))).toBeLessThan(0.1);
  });

  it('is one truncation where linear layers follow one another', () => {
    const b = new GraphBuilder(6, [2, 8, 8]);
    const one = b.conv('image', 4);
    const sum = b.add(b.conv(one, 4), b.conv(one, 4, { kernel: 1, pad: 0 }));
    const graph = b.build(b.dense(b.flatten(b.pool(sum, 4)), 3));
    const result = compiled(graph);
    expect(names(result.model.program)).toEqual([
      'conv1',
      'conv1.truncate',
      'conv2',
      'conv3',
      'add4',
      'pool5',
      'pool5.truncate',
      'dense7',
      'output',
    ]);
    expect(worst(results(graph, result))).toBeLessThan(0.02);
  });
});

describe('numbers', () => {
  const acts = ({ steps }: Program) =>
    steps.filter((step): step is ActivationStep => step.op === 'activation');

  it('keep k minimal for the calibrated range and its margin', () => {
    const graph = plain(3, 'relu');
    for (const margin of [1, 1.5, 2.3, 8]) {
      const { model, report } = compiled(graph, { margin });
      for (const step of acts(model.program)) {
        const layer = report.layers.find(({ name }) => name === step.name)!;
        const room = (k: number) => 2 ** (k - 1) - 2 ** step.dropBits;
        const reached = layer.used! * room(step.rangeBits) * margin;
        expect(reached).toBeLessThan(room(step.rangeBits) * (1 + 1e-9));
        expect(reached).toBeGreaterThan(room(step.rangeBits - 1) * (1 - 1e-9));
      }
    }
  });

  it('compare twelve fractional bits by default, or as many as there are', () => {
    const graph = plain(3, 'relu');
    for (const [options, compared] of [
      [{}, 12],
      [{ compareBits: 9 }, 9],
      [{ compareBits: 14 }, 14],
      [{ activationBits: 6, force: true }, 6],
    ] as [CompileOptions, number][]) {
      for (const step of acts(compiled(graph, options).model.program)) {
        expect(step.fractionBits + step.shift - step.dropBits).toBe(compared);
      }
    }
  });

  it('give activations that are only pooled as many bits less as pooling adds', () => {
    const { program } = compiled(residual(1, 'relu')).model;
    const bits = Object.fromEntries(program.steps.map((step) => [step.name, step.fractionBits]));
    expect(bits).toMatchObject({ act3: 14, act13: 14, act18: 11, mean19: 15, pool14: 16 });
  });

  it('bound the weights of any output, in three digits', () => {
    const { program, weights } = compiled(plain(8, 'mixed')).model;
    program.steps.forEach((step, i) => {
      if (step.op !== 'linear') return;
      const { kernel, bias } = weights[i] as { kernel: Int32Array; bias: Int32Array };
      const fan = kernel.length / bias.length;
      const rows = [...bias.keys()].map((row) => kernel.subarray(row * fan, (row + 1) * fan));
      const norm1 = Math.max(...rows.map((row) => row.reduce((sum, w) => sum + Math.abs(w), 0)));
      const norm2 = Math.max(...rows.map((row) => Math.hypot(...row)));
      for (const [bound, norm] of [
        [step.norm1, norm1],
        [step.norm2, norm2],
      ] as const) {
        expect(bound).toBeGreaterThanOrEqual(norm);
        expect(bound).toBeLessThan(norm * 1.01);
        expect(bound).toBe(Number(bound.toPrecision(3)));
      }
    });
  });

  /** One layer of which the weights are `factor` times larger. */
  const loud = (factor: number) => {
    const graph = plain(3, 'relu');
    const tensors = new Map(graph.tensors);
    for (const name of ['conv4.weight', 'conv4.bias']) {
      const { shape, data } = graph.tensors.get(name)!;
      tensors.set(name, { shape, data: data.map((w) => w * factor) });
    }
    return { ...graph, tensors };
  };

  it('lose no precision to the size of weights', () => {
    const errorOf = (exponent: number) => compiled(loud(2 ** exponent)).report.fidelity.error;
    const plainError = errorOf(0);
    for (const exponent of [-20, -3, 10]) {
      expect(errorOf(exponent)).toBeLessThan(2 * plainError);
    }
  });

  it('keep channels apart that differ by a factor of a million', () => {
    const graph = plain(3, 'relu');
    const tensors = new Map(graph.tensors);
    const times = (name: string, factor: (i: number) => number) => {
      const { shape, data } = tensors.get(name)!;
      tensors.set(name, { shape, data: data.map((w, i) => w * factor(i)) });
    };
    const { node } = { node: graph.nodes.find(({ op }) => op === 'batchNorm')! };
    const name = node.op === 'batchNorm' ? node : undefined;
    times(name!.scale, (c) => (c % 2 === 0 ? 1e-3 : 1e3));
    times(name!.shift, (c) => (c % 2 === 0 ? 1e-3 : 1e3));
    const { shape } = tensors.get('conv4.weight')!;
    const taps = shape[2]! * shape[3]!;
    times('conv4.weight', (i) => ((Math.floor(i / taps) % shape[1]!) % 2 === 0 ? 1e3 : 1e-3));
    const uneven = { ...graph, tensors };
    const plainError = worst(results(graph, compiled(graph, { margin: 2 })));
    expect(worst(results(uneven, compiled(uneven, { margin: 2 })))).toBeLessThan(4 * plainError);
  });

  it('give weight bits to a range that needs them, and say so', () => {
    const result = compiled(plain(3, 'relu'), { activationBits: 20, weightBits: 9 });
    const given = result.report.layers.filter(({ givenBits = 0 }) => givenBits > 0);
    expect(given.map(({ name }) => name)).toContain('dense7');
    expect(formatReport(result.report)).toMatch(/coarser weights, for their ranges: .*dense7/);
    expect(formatReport(compiled(plain(3, 'relu')).report)).not.toMatch(/coarser/);
  });

  it('refuse a range that does not fit, naming the layer and its bits', () => {
    expect(() => compiled(plain(3, 'relu'), { activationBits: 20, weightBits: 14 })).toThrow(
      /layer "act3" needs k = 3[0-9] bits, at most 31/,
    );
  });

  it('give activation bits to ranges that need them, unless they were asked for', () => {
    const graph = residual(1, 'channels');
    const { report } = compiled(graph, { weightBits: 11, margin: 3 });
    const bits = report.layers.filter(({ squares }) => squares).map((l) => l.fractionBits);
    expect(Math.min(...bits)).toBeLessThan(14);
    expect(() => compiled(graph, { weightBits: 11, margin: 3, activationBits: 14 })).toThrow(
      /fewer activationBits/,
    );
  });

  it('say how many images reach far beyond all others', () => {
    const graph = plain(3, 'relu');
    const images = Array.from({ length: 120 }, (_, i) => prepared(graph, randomPixels(graph, i)));
    images[7] = images[7]!.map((v) => 50 * v);
    const { report } = compile(graph, images);
    expect(report.outside).toBe(1);
    expect(formatReport(report)).toMatch(/1 of 120 images reach far beyond all others/);
    expect(compile(graph, images.slice(8)).report.outside).toBe(0);
  });

  it('refuse squares that let values of few images grow without bound', () => {
    const b = new GraphBuilder(3, [2, 6, 6]);
    let x = b.conv('image', 4);
    for (let i = 0; i < 4; i++)
      x = b.conv(b.activation(x, 'square', { quadratic: [0, 1, 0.25] }), 4);
    const graph = b.build(b.dense(b.flatten(x), 3));
    const images = Array.from({ length: 40 }, (_, i) => prepared(graph, randomPixels(graph, i)));
    images[7] = images[7]!.map((v) => 20 * v);
    expect(() => compile(graph, images)).toThrow(
      /reaches .* on 1 of 40 sample images, where half of them stay below .*range penalty/,
    );
  });

  it('warn of ranges from one image', () => {
    const graph = plain(3, 'relu');
    const [image] = calibration(graph);
    expect(formatReport(compile(graph, [image!]).report)).toMatch(/one image says little/);
  });

  it('refuse results that are not the network’s, unless forced', () => {
    const graph = plain(3, 'relu');
    const coarse = { activationBits: 4, weightBits: 2 };
    expect(() => compiled(graph, coarse)).toThrow(/results in fixed point are off by/);
    expect(compiled(graph, { ...coarse, force: true }).report.fidelity.error).toBeGreaterThan(0.1);
  });

  it('are reported with what a layer costs and loses', () => {
    const graph = residual(4, 'relu');
    const { report, model } = compiled(graph, { errorImages: 2 });
    const linears = report.layers.filter(({ op }) => op === 'linear');
    for (const { preparation, error } of linears) {
      expect(preparation!.hintBits).toBeGreaterThanOrEqual(10);
      expect(preparation!.hintBytes).toBeGreaterThan(0);
      expect(preparation!.bytes).toBeGreaterThan(13_000);
      expect(error ?? 0).toBeLessThan(2e-2);
    }
    const errors = report.layers.filter(({ relus }) => relus).map(({ error }) => error!);
    const total = Math.hypot(...errors);
    const unit = 2 ** -model.program.results[0]!.bits;
    // The tolerance is eight deviations of the sum of all, on the worst image, and what weights lose.
    expect(8 * total).toBeLessThan(2 * report.tolerance * unit);
    // Errors of 0 would be below any tolerance.
    expect(total).toBeGreaterThan(0);
    expect(formatReport(report)).toMatch(/masks +hint bits/);
    expect(formatReport(compiled(graph).report)).not.toMatch(/error/);
  });

  it('are the same for the same network and images', () => {
    const graph = residual(2, 'mixed');
    expect(encodeModel(compiled(graph).model)).toEqual(encodeModel(compiled(graph).model));
  });
});

describe('a file', () => {
  it('compiles to the same model', () => {
    const graph = plain(1, 'mixed');
    const options: CompileOptions = { name: 'small', labels: [...'abcde'], reveal: 'label' };
    const { file, report } = compileFile(saveGraph(graph), calibration(graph), options);
    const direct = compiled(graph, options);
    expect(decodeModel(file)).toEqual(direct.model);
    expect(report).toEqual(direct.report);
    expect(direct.model.program).toMatchObject({ name: 'small', labels: [...'abcde'] });
    expect(direct.model.program.steps.at(-1)).toMatchObject({ op: 'output', reveal: 'label' });
  });
});

describe('refusals', () => {
  const graph = plain(1, 'relu');

  it.each<[string, CompileOptions, RegExp]>([
    ['too many activation bits', { activationBits: 21 }, /activationBits.*4\.\.20.*21/],
    ['half a bit', { weightBits: 9.5 }, /weightBits/],
    ['a margin below one', { margin: 0.9 }, /margin/],
    ['no number', { margin: Number.NaN }, /margin/],
    ['more compared bits than there are', { compareBits: 15 }, /compareBits/],
    ['labels that are not one per output', { labels: ['a'] }, /1 labels for 5 outputs/],
  ])('name the option: %s', (_what, options, message) => {
    expect(() => compiled(graph, options)).toThrow(message);
  });

  it('name the node and channel of a quadratic that is not convex', () => {
    const b = new GraphBuilder(1, [2, 4, 4]);
    const concave = b.build(
      b.activation(b.conv('image', 3), 'channels', { quadratic: [0, 1, -0.1] }),
    );
    expect(() => compile(concave, [])).toThrow(/'act2' \(activation\): channel 1 .*c2 = -0.1/);
  });

  it('want images', () => {
    expect(() => compile(graph, [])).toThrow(/at least one image/);
  });
});
