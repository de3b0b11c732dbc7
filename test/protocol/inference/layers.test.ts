/**
 * Which layers make masks, checked on random programs against the plain meaning of each rule, and on the joints of known
 * networks against what they should come to.
 */

import { describe, expect, it } from 'vitest';
import { groupLayers, type LayerGroup } from '../../../protocol/inference/layers.ts';
import { type Layout, layoutOf } from '../../../protocol/inference/layout.ts';
import { mergeWeights } from '../../../protocol/linear/index.ts';
import { checkProgram } from '../../../protocol/program/check.ts';
import { decodeProgram, encodeProgram } from '../../../protocol/program/encode.ts';
import { IDENTITY } from '../../../protocol/program/kinds.ts';
import { localOf } from '../../../protocol/program/local.ts';
import type { LinearWeights, Model } from '../../../protocol/program/model.ts';
import { inputsOf, type Program } from '../../../protocol/program/program.ts';
import { walk } from '../../../protocol/program/walk.ts';
import { Prg, randomRing } from '../../../protocol/random/index.ts';
import { linear } from '../../../protocol/ring/linear.ts';
import type { ConvShape } from '../../../protocol/ring/shape.ts';
import { linearInputSize, sizeOf } from '../../../protocol/ring/shape.ts';
import { isLong } from '../../support/long.ts';
import { ModelBuilder, seedOf } from '../../support/model.ts';
import { BLOCK_NAMES, randomProgram } from './programs.ts';

/** SOTTO_LONG=programs looks at many more. */
const PROGRAMS = isLong('programs') ? 3000 : 250;

/** All elements, one string each: "value:element", "0" for a zero of a padding, and undefined for sums. */
type Named = readonly (string | undefined)[];

/** What each step reads, element by element, followed by its own rules. */
function namesOf(program: Program): Named[] {
  const shapes = checkProgram(program);
  const own = (value: number): Named =>
    Array.from({ length: sizeOf(shapes[value]!) }, (_, i) => `${value}:${i}`);
  const values: Named[] = [own(0)];
  program.steps.forEach((step, index) => {
    const size = sizeOf(shapes[index + 1]!);
    const inputs = inputsOf(step).map((value) => values[value]!);
    if (step.op === 'activation') {
      values.push(own(index + 1));
    } else if (step.op === 'gather' || step.op === 'concat') {
      // A copy of numbers is a copy of whatever has them.
      const all = ['0', undefined, ...inputs.flat()];
      let at = 2;
      const numbers = inputs.map((names) => Int32Array.from(names, () => at++));
      const copied = localOf(shapes, step, numbers);
      values.push(Array.from(copied, (number) => all[number]));
    } else {
      values.push(new Array<undefined>(size).fill(undefined));
    }
  });
  return values;
}

/** What a free layer's elements are called. */
function elementsOf(
  { program, sources }: Layout,
  { value, elements, shape }: LayerGroup,
): string[] {
  const size = linearInputSize(shape);
  if (elements === undefined) return Array.from({ length: size }, (_, i) => `${value}:${i}`);
  return Array.from(elements, (number) => {
    const source = sources.find(({ start, size }) => start <= number && number < start + size)!;
    expect(program.steps[source.value - 1]?.op ?? 'activation').toBe('activation');
    return `${source.value}:${number - source.start}`;
  });
}

const programs = Array.from({ length: PROGRAMS }, (_, seed) => ({
  seed,
  ...randomProgram(seed),
}));
const layouts = programs.map(({ seed, model }) => ({
  seed,
  model,
  layout: layoutOf(model.program),
  names: namesOf(model.program),
}));

/** Calls `check` for the layout of every random program, and says which one it fails for. */
function forAll(check: (layout: Layout, names: readonly Named[], model: Model) => void): void {
  for (const { seed, layout, names, model } of layouts) {
    try {
      check(layout, names, model);
    } catch (error) {
      throw new Error(`program ${seed}`, { cause: error });
    }
  }
}

describe('random programs', () => {
  it('have every kind of joint, of layer, and of reading', () => {
    const blocks = new Set(programs.flatMap((program) => program.blocks));
    expect([...blocks].sort()).toEqual([...BLOCK_NAMES].sort());
    const groups = layouts.flatMap(({ layout }) => layout.linears);
    for (const masks of ['free', 'fixed', 'exact']) {
      expect(groups.filter((group) => group.masks === masks).length).toBeGreaterThan(40);
    }
    const free = groups.filter(({ masks }) => masks === 'free');
    for (const few of [
      free.filter(({ elements }) => elements !== undefined),
      free.filter(({ merged }) => merged),
      free.filter(({ merged }) => !merged),
      groups.filter(({ parts }) => parts.length > 1),
    ]) {
      expect(few.length).toBeGreaterThan(20);
    }
  });

  it('have every linear step in one layer, of the value it reads', () => {
    forAll(({ program, linears }) => {
      const steps = linears.flatMap(({ parts }) => parts.map(({ index }) => index));
      const expected = program.steps.flatMap(({ op }, i) => (op === 'linear' ? [i] : []));
      expect([...steps].sort((a, b) => a - b)).toEqual(expected);
      for (const { parts, value } of linears) {
        for (const { index, step } of parts) {
          expect(program.steps[index]).toBe(step);
          expect(step.input).toBe(value);
        }
      }
    });
  });

  it('have no mask that two layers decide', () => {
    forAll((layout, names) => {
      const decided = new Set<string>();
      let total = 0;
      for (const group of layout.linears.filter(({ masks }) => masks === 'free')) {
        const elements = elementsOf(layout, group);
        // They are what the layer reads, in its order.
        expect(elements).toEqual(names[group.value]);
        total += elements.length;
        for (const element of elements) decided.add(element);
      }
      expect(decided.size).toBe(total);
    });
  });

  it('have given masks where a layer cannot decide them, and nowhere else', () => {
    forAll((layout, names) => {
      // The meaning of the rule: in the order of the program, whoever comes first.
      const taken = new Set<string>();
      const order = [...layout.linears].sort((a, b) => a.parts[0]!.index - b.parts[0]!.index);
      for (const { masks, value } of order) {
        if (masks === 'exact') continue;
        const read = names[value]!;
        const possible =
          read.every((name) => name !== undefined && name !== '0' && !taken.has(name)) &&
          new Set(read).size === read.length;
        expect(masks).toBe(possible ? 'free' : 'fixed');
        if (possible) for (const name of read) taken.add(name!);
      }
    });
  });

  it('know the masks they are given from those that others decide', () => {
    forAll(({ program, linears, shapes }) => {
      // What the client computes from sources alone: undefined after a linear step.
      const known = new Set<number>();
      const note = (value: number) => {
        known.add(value);
        return new Int32Array(sizeOf(shapes[value]!));
      };
      walk<Int32Array | undefined>(program, {
        input: () => note(0),
        linear: () => undefined,
        local(step, inputs, index) {
          if (inputs.includes(undefined)) return undefined;
          known.add(index + 1);
          return localOf(shapes, step, inputs as Int32Array[]);
        },
        activation: (_, __, index) => note(index + 1),
        output: () => undefined,
      });
      for (const { value, masks } of linears) if (masks !== 'free') expect(known).toContain(value);
    });
  });

  it('prepare layers that make masks before those that are given them', () => {
    forAll(({ linears }) => {
      const kinds = linears.map(({ masks }) => (masks === 'free' ? 0 : 1));
      expect(kinds).toEqual([...kinds].sort());
    });
  });

  it('reach the output without an activation after exact layers, and after no other', () => {
    forAll(({ program, linears }) => {
      const reaches = program.steps.map(() => false);
      for (let i = program.steps.length - 1; i >= 0; i--) {
        reaches[i] = program.steps.some(
          (step, j) =>
            inputsOf(step).includes(i + 1) &&
            (step.op === 'output' || (reaches[j]! && !['activation', 'linear'].includes(step.op))),
        );
      }
      for (const { parts, masks } of linears) {
        for (const { index } of parts) expect(reaches[index]).toBe(masks === 'exact');
      }
    });
  });

  it('mask nothing that depends on a secret with phases of that secret', () => {
    forAll(({ program, linears, shapes }, names) => {
      // Layers whose shares a value depends on.
      const layerOf = new Map(
        linears.flatMap(({ parts }, i) => parts.map(({ index }) => [index, i])),
      );
      const behind: Set<number>[] = [new Set()];
      program.steps.forEach((step, index) => {
        const own = new Set(inputsOf(step).flatMap((value) => [...behind[value]!]));
        if (step.op === 'linear') own.add(layerOf.get(index)!);
        behind.push(own);
      });
      expect(behind.length).toBe(shapes.length);
      for (const [i, { value }] of linears.entries()) {
        const sources = names[value]!.map((name) => Number(name?.split(':')[0] ?? value));
        for (const source of new Set([value, ...sources])) expect(behind[source]).not.toContain(i);
      }
    });
  });

  it('merge roundings where nobody else computes with any element, in a copy neither', () => {
    forAll(({ program, linears }, names) => {
      const readers = new Map<string, Set<number>>();
      const copies = ['gather', 'concat'];
      program.steps.forEach((step, index) => {
        // A copy that has sums in it has no masks to decide: whoever reads it reads sums.
        const whole = (value: number) => names[value]!.every((name) => name !== undefined);
        if (copies.includes(step.op) && inputsOf(step).every(whole)) return;
        for (const value of inputsOf(step)) {
          for (const name of names[value]!) {
            if (name === undefined) continue;
            readers.set(name, (readers.get(name) ?? new Set()).add(index));
          }
        }
      });
      for (const { parts, value, masks, merged } of linears) {
        const own = new Set(parts.map(({ index }) => index));
        const alone = names[value]!.every((name) =>
          [...(readers.get(name!) ?? [])].every((index) => own.has(index)),
        );
        expect(merged).toBe(masks === 'free' && alone);
      }
    });
  });

  it('are laid out alike by the party that decodes them', () => {
    forAll((layout) => {
      const { program, shapes } = decodeProgram(encodeProgram(layout.program));
      const order = (groups: readonly LayerGroup[]) =>
        groups.map(({ parts, masks, elements, value, merged, shape }) => ({
          steps: parts.map(({ index, from, size }) => [index, from, size]),
          masks,
          elements,
          value,
          merged,
          shape,
        }));
      expect(order(groupLayers(program, shapes))).toEqual(order(layout.linears));
    });
  });

  it('compute in layers of several steps what the steps do', () => {
    let several = 0;
    forAll(({ linears }, _, { weights }) => {
      for (const { parts, shape } of linears) {
        if (parts.length === 1) continue;
        several++;
        const own = parts.map(({ index }) => weights[index] as LinearWeights);
        const x = randomRing(new Prg(seedOf(several)), linearInputSize(shape));
        const kernel = mergeWeights(
          parts.map(({ step }) => step.shape as ConvShape),
          own.map((part) => part.kernel),
        );
        // One for each element of the layer.
        const bias = Int32Array.from(
          parts.flatMap(({ size }, i) => {
            const { bias } = own[i]!;
            return Array.from(
              { length: size },
              (_, j) => bias[Math.floor((j * bias.length) / size)]!,
            );
          }),
        );
        const together = linear(shape, x, kernel, bias);
        for (const [i, { step, from, size }] of parts.entries()) {
          expect(together.subarray(from, from + size)).toEqual(
            linear(step.shape, x, own[i]!.kernel, own[i]!.bias),
          );
        }
      }
    });
    expect(several).toBeGreaterThan(20);
  });
});

describe('the joints of known networks', () => {
  const groupsOf = (build: (net: ModelBuilder) => void) => {
    const net = new ModelBuilder([4, 8, 8], seedOf(600), 'encoded', 96);
    build(net);
    const { program } = net.finish();
    return groupLayers(program, checkProgram(program)).map(({ parts, masks, merged }) => [
      parts.map(({ step }) => step.name).join(' '),
      masks,
      merged,
    ]);
  };

  it('a strided shortcut is one layer with its 3x3, though two steps lie between', () => {
    const groups = groupsOf((net) => {
      const x = net.activation([IDENTITY], net.conv(4, 3));
      net.conv(6, 3, 2, 1, x);
      const second = net.conv(6, 3, 1, 1, net.activation([IDENTITY]));
      net.activation([IDENTITY], net.add(second, net.conv(6, 1, 2, 0, x)));
      net.dense(3);
    });
    expect(groups).toEqual([
      ['conv0', 'free', true],
      ['conv2 conv5', 'free', true],
      ['conv4', 'free', true],
      ['dense8', 'exact', false],
    ]);
  });

  it('a residual addition is a second reader: roundings stay apart', () => {
    const groups = groupsOf((net) => {
      const x = net.activation([IDENTITY], net.conv(4, 3));
      net.activation([IDENTITY], net.add(net.conv(4, 3, 1, 1, x), x));
      net.dense(3);
    });
    expect(groups).toEqual([
      ['conv0', 'free', true],
      ['conv2', 'free', false],
      ['dense5', 'exact', false],
    ]);
  });

  it('a second reader is one through a copy too', () => {
    const groups = groupsOf((net) => {
      const x = net.activation([IDENTITY], net.conv(4, 3));
      const y = net.activation([IDENTITY], net.conv(4, 3));
      // As a DenseNet is exported: the layers read concatenations, each of all that was there before.
      const z = net.activation([IDENTITY], net.conv(2, 1, 1, 0, net.concat(x, y)));
      net.activation([IDENTITY], net.conv(2, 1, 1, 0, net.concat(x, y, z)));
      net.dense(3);
    });
    expect(groups).toEqual([
      ['conv0', 'free', true],
      ['conv2', 'free', false],
      ['conv5', 'fixed', false],
      ['conv8', 'fixed', false],
      ['dense10', 'exact', false],
    ]);
  });

  it('both halves of a fire module are one layer, and decide what is joined after them', () => {
    const groups = groupsOf((net) => {
      const squeezed = net.activation([IDENTITY], net.conv(2, 1));
      const one = net.activation([IDENTITY], net.conv(3, 1, 1, 0, squeezed));
      const three = net.activation([IDENTITY], net.conv(3, 3, 1, 1, squeezed));
      net.activation([IDENTITY], net.conv(2, 1, 1, 0, net.concat(one, three)));
      net.dense(3);
    });
    expect(groups).toEqual([
      ['conv0', 'free', true],
      ['conv2 conv4', 'free', true],
      ['conv7', 'free', true],
      ['dense9', 'exact', false],
    ]);
  });
});
