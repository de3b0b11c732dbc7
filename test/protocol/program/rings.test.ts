import { describe, expect, it } from 'vitest';
import { checkProgram } from '../../../protocol/program/check.ts';
import { nearest } from '../../../protocol/program/clear.ts';
import { type ActivationKind, kindOf } from '../../../protocol/program/kinds.ts';
import { runLocal } from '../../../protocol/program/local.ts';
import {
  type ChannelConstants,
  constantsOf,
  type LinearWeights,
  type Model,
} from '../../../protocol/program/model.ts';
import type { ActivationStep, Program, Step } from '../../../protocol/program/program.ts';
import { inputsOf } from '../../../protocol/program/program.ts';
import { ringsOf } from '../../../protocol/program/rings.ts';
import { walk } from '../../../protocol/program/walk.ts';
import { Prg, randomRing } from '../../../protocol/random/index.ts';
import { linear } from '../../../protocol/ring/linear.ts';
import { signed } from '../../../protocol/ring/packing.ts';
import type { Shape } from '../../../protocol/ring/shape.ts';
import { randomInput, residualModel, seedOf } from '../../support/model.ts';
import { everyStep } from './models.ts';

/** The same program with numbers of some steps changed. */
function changed(program: Program, changes: Readonly<Record<string, object>>): Program {
  const steps = program.steps.map((step) => ({ ...step, ...changes[step.name] }) as Step);
  return { ...program, steps };
}

/**
 * Runs a model on values of which only the low bits are right: above `rings` they are random. Activations use what their
 * gadgets use.
 */
function runNoisy({ program, weights }: Model, input: Int32Array, rings: readonly number[]) {
  const random = new Prg(seedOf(302));
  const shapes = checkProgram(program);
  const noisy = (value: Int32Array, at: number): Int32Array => {
    if (rings[at]! >= 32) return value;
    const noise = randomRing(random, value.length);
    return value.map((word, i) => word + (noise[i]! << rings[at]!));
  };
  const activation = (step: ActivationStep, x: Int32Array, index: number): Int32Array => {
    const constants = weights[index] as ChannelConstants | undefined;
    const [channels] = shapes[index + 1]!;
    return x.map((word, i) => {
      const code = step.kinds[i] as ActivationKind;
      const kind = kindOf(code);
      const channel = Math.floor((i * channels) / x.length);
      const own = constants && constantsOf(step, constants, code);
      const [before, after] = [own?.before[channel] ?? 0, own?.after[channel] ?? 0];
      const width = kind.ringBits(step.rangeBits, kind.shift(step));
      return kind.clear(signed(word + before, width), step, nearest) + after;
    });
  };
  return walk<Int32Array>(program, {
    input: () => noisy(input, 0),
    linear(step, x, index) {
      const { kernel, bias } = weights[index] as LinearWeights;
      return noisy(linear(step.shape, x, kernel, bias), index + 1);
    },
    local(step, inputs, index) {
      const own = inputsOf(step).map((value) => shapes[value] as Shape);
      return noisy(runLocal(step, inputs, own), index + 1);
    },
    activation: (step, x, index) => noisy(activation(step, x, index), index + 1),
    output: (step, x) => x.map((word) => signed(word, step.rangeBits)),
  });
}

const every = everyStep(4);
const narrow: Model = { ...every, program: changed(every.program, { output: { rangeBits: 24 } }) };
const models: [string, Model][] = [
  ['every step', narrow],
  ['a residual network', residualModel()],
];
const exactly = (model: Model) => model.program.steps.map(() => 32).concat(32);

describe('the rings of a program', () => {
  it('are what readers use: of an activation its kinds, of the output its range', () => {
    // conv1, act1 of all kinds, conv2, skip, act2 of ReLUs, pool, head, output.
    expect(ringsOf(narrow.program)).toEqual([21, 21, 31, 31, 31, 24, 24, 24, 24]);
    const relus = new Uint8Array(32).fill(1);
    const rings = (act1: object) => ringsOf(changed(narrow.program, { act1 })).slice(0, 2);
    expect(rings({ kinds: relus })).toEqual([20, 20]);
    expect(rings({ kinds: new Uint8Array(32) })).toEqual([21, 21]);
    expect(rings({ kinds: new Uint8Array(32).fill(2) })).toEqual([21, 21]);
    // A truncation beyond the range needs a wider ring.
    expect(rings({ kinds: relus, rangeBits: 3, shift: 4 })).toEqual([4, 4]);
    expect(rings({ kinds: new Uint8Array(32), rangeBits: 3, shift: 4 })).toEqual([6, 6]);
  });

  for (const [name, model] of models) {
    const rings = ringsOf(model.program);
    const input = randomInput(model, seedOf(301)).map((x) => x >> 3);
    const right = runNoisy(model, input, exactly(model));

    it(`${name}: what lies above them does not reach the output`, () => {
      expect(runNoisy(model, input, rings)).toEqual(right);
    });

    it(`${name}: with one bit less of any value it does`, () => {
      // Of the output's own value nothing is made.
      for (let value = 0; value + 1 < rings.length; value++) {
        const fewer = rings.map((bits, i) => (i === value ? bits - 1 : bits));
        expect(runNoisy(model, input, fewer), `value ${value}`).not.toEqual(right);
      }
    });
  }
});
