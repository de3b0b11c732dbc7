/** What inference asks of the backend of linear layers, whichever it is; see protocol/linear/backend.ts. */

import { describe, expect, it } from 'vitest';
import { bytesOfParts, linear, type Part, weightNorms } from '../../../protocol/linear/index.ts';
import { linearOnline, onlineRanges } from '../../../protocol/linear/online.ts';
import { measureLayer } from '../../../protocol/linear/price.ts';
import { deriveSeed, Prg, randomRing } from '../../../protocol/random/index.ts';
import type { LinearShape } from '../../../protocol/ring/shape.ts';
import {
  fanIn,
  linearInputSize,
  linearOutput,
  sizeOf,
  weightCount,
} from '../../../protocol/ring/shape.ts';

const seedOf = (name: string) => deriveSeed(new Uint8Array(16), `linear backend ${name}`);
const words = (name: string, n: number) => randomRing(new Prg(seedOf(name)), n);

const convolution: LinearShape = {
  kind: 'conv',
  channels: 40,
  height: 16,
  width: 16,
  outChannels: 24,
  kernel: [3, 3],
  stride: [1, 1],
  pads: [1, 1, 1, 1],
  groups: 1,
};
const dense: LinearShape = { kind: 'dense', inputs: 70, outputs: 11 };

const layerOf = (shape: LinearShape) => {
  const kernel = words('kernel', weightCount(shape)).map((word) => word >> 25);
  const plan = linear.plan({ shape, ...weightNorms(kernel, fanIn(shape)) });
  return { kernel, plan, uploads: linear.uploads(plan), responses: linear.responses(plan) };
};

describe.each([
  ['a convolution', convolution],
  ['a dense layer', dense],
])('%s', (_, shape) => {
  const { kernel, plan, uploads, responses } = layerOf(shape);

  it('ends in shares of W r, by messages of the planned bytes', () => {
    const { linearKey, linearUpload, linearReceive, linearResponse, linearShare } = linear.tasks;
    const name = linear.keyOf(plan);
    const { own, message } = linearKey({ key: name, seed: seedOf('key') });
    expect(message.length).toBe(linear.keyBytes(name));
    const theirs = linear.takeKey(name, message);
    const mask = words('mask', linearInputSize(shape));
    const seed = seedOf('client');
    const sent = uploads.map(({ range, bytes }) => {
      const part = linearUpload({ plan, key: own, mask, range, seed });
      expect(part.length).toBe(bytes);
      return part;
    });
    const upload = Uint8Array.from(sent.flatMap((part) => [...part]));
    const received = linearReceive({ plan, upload });
    const [c, s] = [0, 0].map(() => new Int32Array(sizeOf(linearOutput(shape)))) as [
      Int32Array,
      Int32Array,
    ];
    for (const { range, bytes } of responses) {
      const layer = { plan, key: theirs, kernel, received, range, seed: seedOf('server') };
      const { response, shares } = linearResponse(layer);
      expect(response.length).toBe(bytes);
      linear.place(plan, shares, range, s);
      linear.place(plan, linearShare({ plan, key: own, response, range, seed }), range, c);
    }
    const bias = new Int32Array(linearOutput(shape)[0]);
    const exact = linearOnline({ shape, x: mask, kernel, bias });
    const errors = exact.map((value, i) => c[i]! + s[i]! - value);
    expect(errors.every((error) => Math.abs(error) <= 1)).toBe(true);
  });

  it('has parts that follow each other, and reports their bytes', () => {
    for (const parts of [uploads, responses]) {
      parts.reduce((end: number, { range: [from, to] }: Part) => {
        expect(from).toBe(end);
        expect(to).toBeGreaterThan(from);
        return to;
      }, 0);
    }
    const report = linear.report(plan);
    expect(report.bytesUp).toBe(bytesOfParts(uploads));
    expect(report.bytesDown).toBe(bytesOfParts(responses));
    expect(report.noiseBits).toBeLessThan(report.budgetBits);
  });

  it('has a price by the clock it is given', () => {
    const price = measureLayer(plan, (work) => {
      work();
      return 1;
    });
    expect(price.clientOffline).toBeGreaterThanOrEqual(2);
    expect(price.serverOffline).toBeGreaterThanOrEqual(2);
    expect(price.serverStored).toBe(4 * sizeOf(linearOutput(shape)));
  });
});

describe('the online pass', () => {
  it('is the same in ranges of output channels as whole', () => {
    const shape: LinearShape = { ...convolution, height: 64, width: 64 };
    const ranges = onlineRanges(shape);
    expect(ranges.length).toBeGreaterThan(1);
    const x = words('x', linearInputSize(shape));
    const kernel = words('weights', weightCount(shape));
    const bias = words('bias', shape.outChannels);
    const parts = ranges.map((range) => linearOnline({ shape, x, kernel, bias, range }));
    const joined = Int32Array.from(parts.flatMap((part) => [...part]));
    expect(joined).toEqual(linearOnline({ shape, x, kernel, bias }));
  });

  it('is no task where a layer is small', () => {
    expect(onlineRanges(dense)).toEqual([]);
  });
});
