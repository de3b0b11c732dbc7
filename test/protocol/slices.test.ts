import { describe, expect, it } from 'vitest';
import { inSlices } from '../../protocol/slices.ts';

describe('work in slices', () => {
  it('lets others have their turn after some ms, gives its result and what it throws', async () => {
    const order: string[] = [];
    function* work(parts: number): Generator<undefined, string> {
      for (let i = 0; i < parts; i++) {
        const began = performance.now();
        while (performance.now() - began < 15);
        order.push('part');
        yield;
      }
      if (parts === 3) throw new RangeError('three');
      return `${parts} parts`;
    }
    setImmediate(() => order.push('other'));
    expect(await inSlices(work(2))).toBe('2 parts');
    expect(order).toEqual(['part', 'other', 'part']);
    await expect(inSlices(work(3))).rejects.toThrow('three');
  });
});
