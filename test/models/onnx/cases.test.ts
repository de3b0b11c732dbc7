import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { elements, runFloat } from '../../../models/graph/index.ts';
import { tryOnnx } from '../../../models/onnx/index.ts';
import { readoutsOf } from '../../../models/onnx/table.ts';

const folder = new URL('../../../../shared/data/onnx-cases/', import.meta.url);
const isThere = existsSync(folder);
if (!isThere) console.log('skipped: no networks in ../shared/data/onnx-cases');

interface Values {
  readonly dims: readonly number[];
  readonly data: readonly number[];
}

/** Cases that need products of private values, smooth functions or norms, and what the first refusal says. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  attention: /multiplies two values/,
  gelu_erf: /smooth function/,
  instance_norm: /BatchNormalization/,
  lstm: /multiplies gates/,
  qdq: /rounds values/,
  se_block: /smooth function/,
  silu: /smooth function/,
};

const read = (name: string, file: string): Values =>
  JSON.parse(readFileSync(new URL(`${name}/${file}`, folder), 'utf8'));

/** [N, H, W, C] as images [C, H, W]; [N, C, H, W] as it is. */
function planar({ dims, data }: Values, [c, h, w]: readonly number[]): Float32Array {
  const isLast = dims.length === 4 && dims[3] === c && dims[1] === h && dims[1] !== c;
  if (!isLast) return Float32Array.from(data);
  const plane = h! * w!;
  return Float32Array.from(data, (_, i) => {
    const at = i % (c! * plane);
    return data[i - at + (at % plane) * c! + Math.floor(at / plane)]!;
  });
}

describe.skipIf(!isThere)('small networks, one idea each', () => {
  const names = isThere ? readdirSync(folder).toSorted() : [];

  it.each(names)('%s: as ONNX Runtime computes it, or refused', (name) => {
    const input = read(name, 'input.json');
    const shapes = new Map([['x', input.dims]]);
    const reading = tryOnnx(readFileSync(new URL(`${name}/model.onnx`, folder)), { shapes });
    if ('refusals' in reading) {
      expect(Object.keys(REFUSED)).toContain(name);
      expect(reading.refusals[0]!.reason).toMatch(REFUSED[name]!);
      return;
    }
    expect(Object.keys(REFUSED)).not.toContain(name);
    const { graph } = reading;
    const size = elements(graph.input.shape);
    const x = planar(input, graph.input.shape);
    const y: number[] = [];
    for (let at = 0; at < x.length; at += size) {
      y.push(...readoutsOf(graph, runFloat(graph, x.slice(at, at + size))));
    }
    const expected = read(name, 'expected.json');
    expect(y.length).toBe(expected.data.length);
    y.forEach((value, i) => {
      const wanted = expected.data[i]!;
      expect(Math.abs(value - wanted)).toBeLessThan(1e-4 * Math.max(1, Math.abs(wanted)));
    });
  });
});
