import { describe, expect, it } from 'vitest';
import {
  budgetGradient,
  hysteresis,
  MaskOptimiser,
  softplus,
} from '../../../models/reduce/autorep.ts';
import { nextPressure, PressureState } from '../../../models/reduce/pressure.ts';
import { addSparsity } from '../../../models/reduce/snl.ts';
import { countAbove, fixedRelus, maskRateFor, softLayers } from '../../../models/reduce/soft.ts';
import { Adam, Network } from '../../../models/train/index.ts';
import { everyOperator } from '../networks.ts';
import { parameter, smallResNet, smallTraining } from './support.ts';

describe('SNL', () => {
  it('raises its pressure only after epochs that removed nothing, once it has been patient', () => {
    const rule = { growth: 1.1, patience: 5 };
    const start = { weight: 1, least: 100 };
    expect(nextPressure(start, 90, 9, rule)).toEqual({ weight: 1, least: 90 });
    expect(nextPressure(start, 100, 4, rule)).toEqual({ weight: 1, least: 100 });
    expect(nextPressure(start, 100, 5, rule)).toEqual({ weight: 1.1, least: 100 });
    expect(nextPressure(start, 120, 7, rule)).toEqual({ weight: 1.1, least: 100 });
    // Half way from 400 to 4 there are to be 40.
    const planned = { ...rule, plan: { from: 400, to: 4, epochs: 20 } };
    expect(nextPressure(start, 41, 10, planned)).toEqual({ weight: 1.1, least: 41 });
    expect(nextPressure(start, 40, 10, planned)).toEqual({ weight: 1, least: 40 });
    expect(nextPressure(start, 41, 4, planned)).toEqual({ weight: 1, least: 41 });
    // At its end it stands, and once it is met nothing grows.
    expect(nextPressure(start, 5, 30, planned)).toEqual({ weight: 1.1, least: 5 });
    expect(nextPressure({ weight: 1, least: 3 }, 4, 30, planned)).toEqual({ weight: 1, least: 3 });
    const state = new PressureState(1, planned);
    state.move(41, 10);
    expect([...state.numbers]).toEqual([Math.fround(1.1), 41]);
    expect(state.weight).toBe(Math.fround(1.1));
  });

  it('pushes masks towards zero, and nothing else', () => {
    const mask = parameter('mask', [0.5, -0.1, 0], [1, 1, 1]);
    const weight = parameter('weight', [1], [1]);
    addSparsity([mask, weight], 0.25);
    expect([...mask.gradient]).toEqual([1.25, 0.75, 1]);
    expect([...weight.gradient]).toEqual([1]);
  });
});

describe('AutoReP', () => {
  it('has the truth table of hysteresis', () => {
    const h = 0.1;
    // state, auxiliary number, next state
    const table = [
      [1, 0.2, 1],
      [1, 0, 1],
      [1, -0.05, 1],
      [1, -0.1, 0],
      [1, -0.2, 0],
      [0, 0.2, 1],
      [0, 0.1, 0],
      [0, 0.05, 0],
      [0, 0, 0],
      [0, -0.2, 0],
    ] as const;
    for (const [state, a, next] of table) {
      expect(hysteresis(state, a, h), `${state} at ${a}`).toBe(next);
      // m' = m * 1[a > -h] + (1 - m) * 1[a > h]
      expect(next).toBe(state * Number(a > -h) + (1 - state) * Number(a > h));
    }
  });

  it('has a slope of log(1 + e^a), finite everywhere', () => {
    for (const a of [-3, -0.5, 0, 0.5, 3]) {
      expect(softplus(a)).toBeCloseTo(Math.log(1 + Math.exp(a)), 12);
    }
    expect(softplus(1000)).toBe(1000);
    expect(softplus(-1000)).toBe(0);
  });

  it('is pushed only while it is above its budget', () => {
    expect(budgetGradient(51, 50, 100, 7)).toBeCloseTo(0.07);
    expect(budgetGradient(50, 50, 100, 7)).toBe(0);
    expect(budgetGradient(0, 50, 100, 7)).toBe(0);
  });

  it('moves auxiliary numbers by Adam on the straight-through gradient, and masks by hysteresis', () => {
    const options = { seed: 4, threshold: 0.01, budget: 1, pressure: { weight: 3 } };
    const masks = () => parameter('mask', [1, 1, 1], [0.5, -2, 0], 'a.mask');
    const own = new MaskOptimiser(new Adam(), options);
    const mask = masks();
    const auxiliary = own.auxiliary(mask);
    const before = auxiliary.slice();
    expect(before.every((a) => a >= 0 && a < 1)).toBe(true);
    // The reference: Adam on (dL/dm + 3/3) * softplus(a).
    const reference = parameter(
      'vector',
      [...before],
      [...before].map((a, i) => ([0.5, -2, 0][i]! + 1) * softplus(a)),
    );
    new Adam().step([reference], 0.3);
    const weight = parameter('weight', [1], [1]);
    own.step([mask, weight], 0.3);
    expect(auxiliary).toEqual(reference.value);
    expect(weight.value[0]).toBeCloseTo(0.7, 5);
    expect([...mask.value]).toEqual([...auxiliary].map((a) => (a > -0.01 ? 1 : 0)));
    expect(mask.gradient).toEqual(masks().gradient);
    // The same seed draws the same numbers, another layer's name others; they are kept with Adam's memory.
    expect(new MaskOptimiser(new Adam(), options).auxiliary(mask)).toEqual(before);
    const other = { ...mask, name: 'b.mask' };
    expect(new MaskOptimiser(new Adam(), options).auxiliary(other)).not.toEqual(before);
    expect(own.memory.get('auxiliary a.mask')).toBe(auxiliary);
  });

  it('lets a removed element come back when the loss asks for it', () => {
    const options = { seed: 1, threshold: 0.01, budget: 1, pressure: { weight: 0 } };
    const mask = parameter('mask', [1], [1], 'm');
    const own = new MaskOptimiser(new Adam(), options);
    own.auxiliary(mask)[0] = 0.05;
    own.step([mask], 0.1);
    expect(mask.value[0]).toBe(0);
    mask.gradient[0] = -1;
    const states = Array.from({ length: 60 }, () => {
      own.step([mask], 0.1);
      return mask.value[0];
    });
    expect(states[0]).toBe(0);
    expect(states.at(-1)).toBe(1);
  });
});

describe('soft networks', () => {
  it('learn masks fast enough for the steps there are', () => {
    const training = smallTraining();
    // 10 epochs of 32 steps: a fifth of them are 64.
    expect(maskRateFor(training, 10, 1e-3)).toBeCloseTo(1 / (64 * 1e-3));
    expect(maskRateFor({ ...training, shards: 2 }, 10, 1e-3)).toBeCloseTo(1 / (32 * 1e-3));
    expect(maskRateFor(training, 1000, 1e-3)).toBe(1);
  });

  it('have masks for layers of ReLUs alone', () => {
    const network = new Network(smallResNet(), 4, { soft: true });
    const layers = softLayers(network);
    expect([...layers.values()].reduce((sum, { mask }) => sum + mask.value.length, 0)).toBe(480);
    expect(countAbove(network.parameters, 0.5)).toBe(480);
    for (const { mask } of layers.values()) mask.value.fill(0.01, 0, 5);
    expect(countAbove(network.parameters, 1e-2)).toBe(480 - 5 * layers.size);
    const mixed = everyOperator();
    expect([...softLayers(new Network(mixed, 4, { soft: true })).keys()]).toEqual(['act3']);
    expect(fixedRelus(mixed)).toBe(2 * 48);
  });
});
