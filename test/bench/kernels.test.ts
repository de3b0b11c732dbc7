import { expect, it } from 'vitest';
import { benchKernels } from '../../bench/kernels.ts';
import { disturbance, machineInfo } from '../../bench/machine.ts';

it('every part runs and gives a rate above zero, its quartiles in order', async () => {
  const results = await benchKernels({ repetitions: 2, sampleMs: 0 });
  expect(new Set(results.map(({ name }) => name)).size).toBe(results.length);
  for (const { name, value } of results) {
    expect(Number.isFinite(value.upper) && value.lower > 0, name).toBe(true);
    expect(value.lower <= value.median && value.median <= value.upper, name).toBe(true);
  }
  const names = results.map(({ name }) => name);
  for (const part of [
    'garble',
    'OT extension, k = 4',
    'static hint',
    'integer',
    'ReLU of 17 bits',
  ]) {
    expect(names.some((name) => name.startsWith(part))).toBe(true);
  }
  const compared = results.filter(({ reference }) => reference !== undefined);
  expect(compared.length).toBeGreaterThanOrEqual(8);
});

it('the machine and how busy it is are known', async () => {
  const { cores, node, cpu } = machineInfo();
  expect([cores > 0, node, cpu.length > 0]).toEqual([true, process.version, true]);
  const { load, busy } = await disturbance();
  expect(load >= 0 && busy >= 0 && busy <= 1).toBe(true);
});
