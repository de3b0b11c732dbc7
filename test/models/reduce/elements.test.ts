import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  countGraph,
  type Graph,
  IDENTITY,
  inferShapes,
  runFloat,
} from '../../../models/graph/index.ts';
import { compactResNet } from '../../../models/networks/resnet.ts';
import {
  activationsOf,
  checkBudget,
  keepLargest,
  randomScores,
  reluCount,
  removeRelus,
} from '../../../models/reduce/elements.ts';
import { frontier } from '../../../models/reduce/frontier.ts';
import { replaceRelus } from '../../../models/reduce/harm.ts';
import {
  CURVATURE,
  clampCurvature,
  lineOfRelu,
  parabolaOfRelu,
  startingPolynomials,
} from '../../../models/reduce/parabola.ts';
import { bars } from '../networks.ts';
import { allReluOperators, parameter } from './support.ts';

/** Least squares by quadrature over 9 deviations: E[f(x) x^k] for k below 5, and E[ReLU(x) x^k] for k below 3. */
function quadrature(mean: number, std: number) {
  const powers = [0, 0, 0, 0, 0];
  const relus = [0, 0, 0];
  const add = (x: number, weight: number) => {
    for (let k = 0; k < 5; k++) powers[k]! += weight * x ** k;
    for (let k = 0; k < 3; k++) relus[k]! += weight * Math.max(x, 0) * x ** k;
  };
  // Simpson's rule on either side of the kink.
  const kink = Math.min(9, Math.max(-9, -mean / std));
  for (const [from, to] of [
    [-9, kink],
    [kink, 9],
  ] as const) {
    const n = 4000;
    const h = (to - from) / n;
    for (let i = 0; i <= n; i++) {
      const z = from + i * h;
      const simpson = i === 0 || i === n ? 1 : i % 2 === 1 ? 4 : 2;
      add(mean + std * z, (simpson * h * Math.exp((-z * z) / 2)) / (3 * Math.sqrt(2 * Math.PI)));
    }
  }
  return { powers, relus };
}

/** Solves a small symmetric system by elimination. */
function solve(rows: number[][], right: number[]): number[] {
  const n = right.length;
  const a = rows.map((row, i) => [...row, right[i]!]);
  for (let p = 0; p < n; p++) {
    for (let r = p + 1; r < n; r++) {
      const f = a[r]![p]! / a[p]![p]!;
      for (let c = p; c <= n; c++) a[r]![c]! -= f * a[p]![c]!;
    }
  }
  const x = new Array<number>(n).fill(0);
  for (let p = n - 1; p >= 0; p--) {
    let sum = a[p]![n]!;
    for (let c = p + 1; c < n; c++) sum -= a[p]![c]! * x[c]!;
    x[p] = sum / a[p]![p]!;
  }
  return x;
}

describe('polynomials in place of ReLUs', () => {
  it('have the least-squares coefficients that quadrature finds, to 1e-6', () => {
    expect(parabolaOfRelu(0, 1).map((c) => c.toFixed(5))).toEqual([
      '0.19947',
      '0.50000',
      '0.19947',
    ]);
    for (const [mean, std] of [
      [0, 1],
      [0.7, 1],
      [-1.3, 0.9],
      [0.2, 0.3],
      [-0.5, 2.5],
    ] as const) {
      const { powers: m, relus } = quadrature(mean, std);
      const parabola = solve(
        [
          [m[0]!, m[1]!, m[2]!],
          [m[1]!, m[2]!, m[3]!],
          [m[2]!, m[3]!, m[4]!],
        ],
        relus,
      );
      const line = solve(
        [
          [m[0]!, m[1]!],
          [m[1]!, m[2]!],
        ],
        relus.slice(0, 2),
      );
      parabolaOfRelu(mean, std).forEach((c, k) => {
        expect(Math.abs(c - parabola[k]!), `c${k} of N(${mean}, ${std})`).toBeLessThan(1e-6);
      });
      lineOfRelu(mean, std).forEach((c, k) => {
        expect(Math.abs(c - line[k]!), `c${k} of N(${mean}, ${std})`).toBeLessThan(1e-6);
      });
    }
  });

  it('would be far off with the variance in place of the deviation', () => {
    // The published code's slip: at a deviation of 3 its error is many times that of the closed form.
    const error = ([c0, c1, c2]: readonly number[]) => {
      let sum = 0;
      for (let z = -8; z <= 8; z += 0.01) {
        const x = 3 * z;
        const miss = c0! + x * (c1! + x * c2!) - Math.max(x, 0);
        sum += (0.01 * miss * miss * Math.exp((-z * z) / 2)) / Math.sqrt(2 * Math.PI);
      }
      return sum;
    };
    expect(error(parabolaOfRelu(0, 9))).toBeGreaterThan(5 * error(parabolaOfRelu(0, 3)));
  });

  it('start and stay inside the bounds of curvature', () => {
    const rows = startingPolynomials({ mean: [0, 50, 0], std: [1, 0.1, 0] });
    expect([...rows.subarray(0, 3)].map((c) => c.toFixed(3))).toEqual(['0.199', '0.500', '0.199']);
    // Always positive: the identity, with the least curvature; never moving: the most.
    expect(rows[4]).toBeCloseTo(1);
    expect(rows[5]).toBe(Math.fround(CURVATURE.least));
    expect(rows[8]).toBe(CURVATURE.most);
    const p = parameter('polynomial', [5, -5, -1, 0, 0, 0.3, 0, 0, 9]);
    const vector = parameter('vector', [0, 0, -1]);
    clampCurvature([p, vector]);
    expect(Array.from(p.value)).toEqual(
      Array.from(Float32Array.of(5, -5, CURVATURE.least, 0, 0, 0.3, 0, 0, CURVATURE.most)),
    );
    expect(vector.value[2]).toBe(-1);
  });
});

describe('elements', () => {
  const graph = compactResNet([4, 8], { kernel: 3, stride: 1 }, { size: 8 });

  it('keep exactly the budget, the highest scores of the whole network', () => {
    const total = reluCount(graph);
    expect(total).toBe(3 * 4 * 64 + 2 * 8 * 16);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: total }), fc.nat(), (budget, seed) => {
        const scores = randomScores(graph, seed);
        const kept = keepLargest(graph, scores, budget);
        const reduced = removeRelus(graph, kept);
        expect(reluCount(reduced)).toBe(budget);
        let least = Number.POSITIVE_INFINITY;
        let most = Number.NEGATIVE_INFINITY;
        for (const [id, marks] of kept) {
          marks.forEach((mark, e) => {
            if (mark) least = Math.min(least, scores.get(id)![e]!);
            else most = Math.max(most, scores.get(id)![e]!);
          });
        }
        expect(least).toBeGreaterThanOrEqual(most);
      }),
      { seed: 3, numRuns: 20 },
    );
  });

  it('keep the later of equal scores, and leave layers without scores alone', () => {
    const [first, second] = activationsOf(graph);
    const flat = new Map([[second!.id, new Float32Array(256)]]);
    const rest = reluCount(graph) - 256;
    const kept = keepLargest(graph, flat, rest + 3);
    expect([...kept.keys()]).toEqual([second!.id]);
    expect([...kept.get(second!.id)!.subarray(-5)]).toEqual([0, 0, 1, 1, 1]);
    const reduced = removeRelus(graph, kept);
    expect(activationsOf(reduced)[0]).toBe(first);
    expect(() => keepLargest(graph, flat, rest - 1)).toThrow(
      `a budget of ${rest - 1} ReLUs cannot be met: ${rest} are in layers that stay as they are`,
    );
    // What is removed once is not removed again, and counts no more.
    const all = randomScores(reduced, 1);
    expect(reluCount(removeRelus(reduced, keepLargest(reduced, all, 7)))).toBe(7);
  });

  it('become squares with the polynomials they are given', () => {
    const kept = keepLargest(graph, randomScores(graph, 2), 100);
    const rows = new Map(
      activationsOf(graph).map(({ id }) => {
        const channels = inferShapes(graph).get(id)![0]!;
        return [id, Float32Array.from({ length: 3 * channels }, (_, i) => [0.1, 0.2, -7][i % 3]!)];
      }),
    );
    const squared = removeRelus(graph, kept, rows);
    expect(countGraph(squared)).toMatchObject({ relus: 100, identities: 0 });
    const node = activationsOf(squared)[0]!;
    expect([...squared.tensors.get(node.coefficients!)!.data.subarray(0, 3)]).toEqual([
      ...Float32Array.of(0.1, 0.2, CURVATURE.least),
    ]);
    expect(graph.tensors.size).toBeLessThan(squared.tensors.size);
  });

  it('have budgets that are refused in one sentence', () => {
    const count = reluCount(graph);
    for (const budget of [-1, 0.5, count + 1, Number.NaN]) {
      expect(() => checkBudget(graph, budget)).toThrow(
        `a budget of ${budget} ReLUs cannot be met: it should be a whole number from 0 to ${count}, the network's count`,
      );
    }
    expect(() => checkBudget(graph, 0)).not.toThrow();
    expect(() => checkBudget(graph, count)).not.toThrow();
  });
});

describe('first-order removal', () => {
  it('meets its shares and spares what it would harm most', () => {
    const set = bars(64);
    const graph = allReluOperators(2);
    // Two channels of the first layer that are never, and always, below zero: the first hardly matters.
    const shift = graph.tensors.get('norm1.shift')!.data.slice();
    shift[0] = 30;
    shift[1] = -30;
    const tensors = new Map(graph.tensors).set('norm1.shift', { shape: [6], data: shift });
    const dense: Graph = { ...graph, tensors };
    const options = { relus: 0.4, identities: 0.25, images: 64, batch: 16, seed: 1 };
    const mapped = replaceRelus(dense, set, options);
    const { relus, identities, squares } = countGraph(mapped);
    const total = relus + identities + squares;
    expect(total).toBe(276);
    expect(relus).toBe(Math.round(0.4 * total));
    expect(identities).toBe(Math.round(0.25 * total));
    const map = mapped.nodes.find(({ id }) => id === 'act1');
    if (map?.op !== 'activation') throw new Error('act1 is an activation');
    expect([...map.kinds.subarray(0, 20)]).toEqual(new Array(20).fill(IDENTITY));
    // Without any slope behind it an element may go; with one, minus thirty is no zero.
    const second = map.kinds.subarray(20, 40);
    expect(second.filter((kind) => kind === IDENTITY).length).toBeLessThan(8);
    expect(inferShapes(mapped).get('head')).toEqual([5]);
    expect(runFloat(mapped, new Float32Array(126)).every(Number.isFinite)).toBe(true);
    const squared = replaceRelus(dense, set, { ...options, relus: 0, identities: 0 });
    expect(countGraph(squared).squares).toBe(276);
  });
});

describe('the frontier', () => {
  it('holds what nothing beats', () => {
    const point = (relus: number, accuracy: number) => ({ name: `${relus}`, relus, accuracy });
    const points = [point(9, 0.5), point(3, 0.4), point(5, 0.4), point(7, 0.6), point(3, 0.2)];
    expect(frontier(points)).toEqual([point(3, 0.4), point(7, 0.6)]);
    expect(frontier([])).toEqual([]);
    expect(frontier([point(1, Number.NaN)])).toEqual([]);
  });
});
