import { expect, it } from 'vitest';
import { calibrationTable } from '../../bench/calibration.ts';

it('the report of calibration has milliseconds for each image', () => {
  const text = calibrationTable([
    { network: 'one', images: 20, threads: 2, seconds: 5 },
    { network: 'two', images: 10, threads: 2, seconds: 5, interpreter: 8 },
  ]);
  expect(text).toMatch(/one .*\| +20 \| +2 \| +5.00 \| +250 \| +\|/);
  expect(text).toMatch(/two .*\| +10 \| +2 \| +5.00 \| +500 \| +8000 \|/);
});
