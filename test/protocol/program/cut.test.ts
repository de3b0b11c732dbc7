import { describe, expect, it } from 'vitest';
import { checkProgram } from '../../../protocol/program/check.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import { cutBits, outputLimit } from '../../../protocol/program/cut.ts';
import { IDENTITY, RELU } from '../../../protocol/program/kinds.ts';
import { marginsOf } from '../../../protocol/program/margins.ts';
import type { Model } from '../../../protocol/program/model.ts';
import type { OutputStep, Program } from '../../../protocol/program/program.ts';
import { revealing } from '../../../protocol/program/simulate.ts';
import { ModelBuilder, seedOf } from '../../support/model.ts';
import { everyStep } from './models.ts';

/** A network of inputs and activations with 8 fractional bits and linear layers that add 6. */
function built(make: (net: ModelBuilder) => void): Model {
  const net = new ModelBuilder([2, 8, 8], seedOf(510));
  make(net);
  return net.finish();
}

const outputOf = ({ steps }: Program) => steps.at(-1) as OutputStep;

describe('bits that are cut off the logits', () => {
  const cases: [string, (net: ModelBuilder) => void, number][] = [
    [
      'a linear layer adds: all of them',
      (net) => void [net.conv(2, 3), net.activation(), net.dense(3)],
      6,
    ],
    ['without any activation: those of the layer', (net) => void net.dense(3), 6],
    ['an activation has truncated: none', (net) => void [net.conv(2, 3), net.activation()], 0],
    [
      'an addition has shifted in beside them: all',
      (net) => {
        const skip = net.activation([RELU, IDENTITY]);
        net.add(net.conv(2, 3), skip);
      },
      6,
    ],
    [
      'of either branch of a join: what neither needs',
      (net) => void net.concat(net.conv(1, 3, 1, 1, 0), net.conv(2, 3, 1, 1, 0)),
      6,
    ],
    ['pooled after the layer: those of the layer', (net) => void [net.conv(2, 3), net.pool(2)], 6],
  ];
  it.each(cases)('%s', (_, make, bits) => {
    expect(cutBits(built(make).program)).toBe(bits);
  });

  it('are none where the label alone is revealed', () => {
    const { program } = built((net) => void net.dense(3));
    expect(cutBits(revealing(program, { reveal: 'label' }))).toBe(0);
  });

  it('leave a mean the bits that its sum adds', () => {
    // 8 bits of the activation and 2 of a 2x2 mean stay of 14.
    expect(cutBits(everyStep(7).program)).toBe(4);
  });
});

describe('logits in the clear', () => {
  it('are rounded to multiples of what is cut off', () => {
    const model = built((net) => void net.dense(5));
    const { program, weights } = model;
    const input = Int32Array.from({ length: 128 }, (_, i) => (i * 37) % 1000);
    const { kernel, bias } = weights[0] as { kernel: Int32Array; bias: Int32Array };
    const exact = Array.from(bias, (b, row) =>
      input.reduce((sum, x, i) => sum + x * kernel[128 * row + i]!, b),
    );
    expect([...runClear(model, input)]).toEqual(exact.map((x) => 64 * Math.floor(x / 64 + 0.5)));
    expect(exact.some((x) => x % 64 !== 0)).toBe(true);
    const { reveal } = outputOf(program);
    expect(reveal).toBe('logits');
  });
});

describe('the range of logits', () => {
  const { program } = built((net) => void net.dense(3));
  const { rangeBits, input } = outputOf(program);
  const margin = marginsOf(program)[input]!;

  it('has room for their margin and for rounding', () => {
    expect(outputLimit(program)).toBe(2 ** (rangeBits - 1) - margin - 64);
    const label = revealing(program, { reveal: 'label' });
    expect(outputLimit(label)).toBe(2 ** (rangeBits - 1) - margin);
  });

  it('is refused where that leaves nothing', () => {
    const least = Math.ceil(Math.log2(margin + 65)) + 1;
    expect(() => checkProgram(revealing(program, { rangeBits: least }))).not.toThrow();
    expect(() => checkProgram(revealing(program, { rangeBits: least - 1 }))).toThrow(
      `program step "output" (output): shares that err by ${margin}, rounded to 2^6 leave no range of ${least - 1} bits`,
    );
  });
});

describe('margins', () => {
  it('grow with what a pool multiplies by, at most', () => {
    const of = (pool: (net: ModelBuilder) => void) => {
      const { program } = built((net) => void [net.conv(2, 3), pool(net)]);
      const [, conv, pooled] = marginsOf(program) as [number, number, number];
      return pooled / conv;
    };
    expect(of((net) => void net.pool(2))).toBe(4);
    // Windows of 2 or 3 rows and columns: a lone corner counts 36 / 4 times each of its cells.
    expect(of((net) => void net.pool(3, net.last, 2, 1))).toBe(36);
  });
});
