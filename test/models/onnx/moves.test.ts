import { describe, expect, it } from 'vitest';
import { type ModelSpec, node } from './models.ts';
import { type At, build, ops, run, tensorAt, values } from './support.ts';

/** Models that move elements of [1, 4, 4, 6], the shape of what they make, and its elements. */
interface Move {
  readonly nodes: ModelSpec['nodes'];
  readonly constants?: ModelSpec['constants'];
  readonly opset?: number;
  readonly shape: readonly number[];
  readonly of: (x: At) => At;
  /** What the graph should be of, where that matters. */
  readonly ops?: readonly string[];
}

const ints = (...integers: number[]) => ({ integers });
const reflect = (i: number, n: number) => (i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i);

const moves: Readonly<Record<string, Move>> = {
  'a slice with negative steps': {
    nodes: [node('Slice', ['x', 'from', 'to', 'axes', 'steps'], 'y')],
    constants: { from: ints(-1, 5), to: ints(-99, 0), axes: ints(1, 3), steps: ints(-1, -2) },
    shape: [1, 4, 4, 3],
    of: (x) => (_n, c, h, w) => x(0, 3 - c, h, 5 - 2 * w),
  },
  'a slice, as a slice': {
    nodes: [node('Slice', ['x', 'from', 'to', 'axes'], 'y')],
    constants: { from: ints(1), to: ints(3), axes: ints(1) },
    shape: [1, 2, 4, 6],
    of: (x) => (_n, c, h, w) => x(0, c + 1, h, w),
    ops: ['slice', 'flatten'],
  },
  'chosen channels': {
    nodes: [node('Gather', ['x', 'which'], 'y', { axis: 1 })],
    constants: { which: ints(3, 0, 0) },
    shape: [1, 3, 4, 6],
    of: (x) => (_n, c, h, w) => x(0, [3, 0, 0][c]!, h, w),
  },
  'one row': {
    nodes: [node('Gather', ['x', 'which'], 'y', { axis: -2 })],
    constants: { which: { integers: 2 } },
    shape: [1, 4, 6],
    of: (x) => (_n, c, w) => x(0, c, 2, w),
  },
  'shuffled channels': {
    nodes: [
      node('Reshape', ['x', 'groups'], 'a'),
      node('Transpose', ['a'], 'b', { perm: [0, 2, 1, 3, 4] }),
      node('Reshape', ['b', 'back'], 'y'),
    ],
    constants: { groups: ints(1, 2, 2, 4, 6), back: ints(0, -1, 4, 6) },
    shape: [1, 4, 4, 6],
    of: (x) => (_n, c, h, w) => x(0, [0, 2, 1, 3][c]!, h, w),
    ops: ['gather'],
  },
  'depth to space': {
    nodes: [node('DepthToSpace', ['x'], 'y', { blocksize: 2 })],
    shape: [1, 1, 8, 12],
    of: (x) => (_n, _c, h, w) => x(0, 2 * (h % 2) + (w % 2), Math.floor(h / 2), Math.floor(w / 2)),
  },
  'space to depth and back': {
    nodes: [
      node('SpaceToDepth', ['x'], 'a', { blocksize: 2 }),
      node('DepthToSpace', ['a'], 'y', { blocksize: 2 }),
    ],
    shape: [1, 4, 4, 6],
    of: (x) => x,
    ops: [],
  },
  'reflected borders': {
    nodes: [node('Pad', ['x', 'pads'], 'y', { mode: 'reflect' })],
    constants: { pads: ints(0, 0, 2, 1, 0, 0, 1, 3) },
    shape: [1, 4, 7, 10],
    of: (x) => (_n, c, h, w) => x(0, c, reflect(h - 2, 4), reflect(w - 1, 6)),
  },
  'borders of a number, and one cut off': {
    nodes: [node('Pad', ['x', 'pads', 'v'], 'y')],
    constants: { pads: ints(0, 1, -1, 0, 0, 0, 0, 2), v: { shape: [], floats: [0.5] } },
    shape: [1, 5, 3, 8],
    of: (x) => (_n, c, h, w) => (c === 0 || w > 5 ? 0.5 : x(0, c - 1, h + 1, w)),
  },
  'rows joined, a constant between': {
    nodes: [node('Concat', ['x', 'k', 'x'], 'y', { axis: 2 })],
    constants: { k: { shape: [1, 4, 1, 6], floats: values(7, [24]) } },
    shape: [1, 4, 9, 6],
    of: (x) => (_n, c, h, w) =>
      h === 4 ? tensorAt(values(7, [24]), [4, 6])(c, w) : x(0, c, h % 5, w),
  },
  'repeated columns': {
    nodes: [node('Tile', ['x', 'times'], 'y')],
    constants: { times: ints(1, 1, 1, 2) },
    shape: [1, 4, 4, 12],
    of: (x) => (_n, c, h, w) => x(0, c, h, w % 6),
  },
  'parts added': {
    nodes: [node('Split', ['x'], ['a', 'b'], { axis: 3 }), node('Sub', ['a', 'b'], 'y')],
    shape: [1, 4, 4, 3],
    of: (x) => (_n, c, h, w) => x(0, c, h, w) - x(0, c, h, w + 3),
  },
  'a value and its transpose': {
    nodes: [
      node('Slice', ['x', 'zero', 'four', 'three'], 'a'),
      node('Transpose', ['a'], 'b', { perm: [0, 1, 3, 2] }),
      node('Add', ['b', 'a'], 'y'),
    ],
    constants: { zero: ints(0), four: ints(4), three: ints(3) },
    shape: [1, 4, 4, 4],
    of: (x) => (_n, c, h, w) => x(0, c, h, w) + x(0, c, w, h),
  },
  'nearest neighbours': {
    nodes: [
      node('Resize', ['x', '', 'scales'], 'y', {
        coordinate_transformation_mode: 'asymmetric',
        nearest_mode: 'floor',
      }),
    ],
    constants: { scales: { shape: [4], floats: [1, 1, 2.5, 0.5] } },
    shape: [1, 4, 10, 3],
    of: (x) => (_n, c, h, w) => x(0, c, Math.floor(h / 2.5), 2 * w),
  },
  'interpolated columns': {
    nodes: [
      node('Resize', ['x', '', '', 'sizes'], 'y', {
        mode: 'linear',
        coordinate_transformation_mode: 'align_corners',
      }),
    ],
    constants: { sizes: ints(1, 4, 4, 11) },
    shape: [1, 4, 4, 11],
    of: (x) => (_n, c, h, w) =>
      0.5 * (x(0, c, h, Math.floor(w / 2)) + x(0, c, h, Math.ceil(w / 2))),
  },
  'an upsampling of long ago': {
    nodes: [node('Upsample', ['x'], 'y', { scales: { floats: [1, 1, 2, 1] } })],
    opset: 7,
    shape: [1, 4, 8, 6],
    of: (x) => (_n, c, h, w) => x(0, c, Math.floor(h / 2), w),
  },
};

describe('what only moves', () => {
  it.each(Object.entries(moves))(
    '%s',
    (_name, { nodes, constants, opset, shape, of, ops: wanted }) => {
      const input = [1, 4, 4, 6];
      const x = values(3, input);
      const spec = { input, nodes, ...(constants && { constants }), ...(opset && { opset }) };
      const { graph, y } = run(spec, x);
      const expected = build(shape, of(tensorAt(x, input)));
      expect(y.length).toBe(expected.length);
      y.forEach((value, i) => {
        expect(value).toBeCloseTo(expected[i]!, 5);
      });
      if (wanted !== undefined) expect(ops(graph)).toEqual(wanted);
    },
  );

  it('before a matrix is put into the matrix where it can be', () => {
    const { graph } = run(
      {
        input: [1, 2, 3, 4],
        nodes: [
          node('Transpose', ['x'], 't', { perm: [0, 2, 3, 1] }),
          node('Flatten', ['t'], 'f'),
          node('MatMul', ['f', 'w'], 'y'),
        ],
        constants: { w: { shape: [24, 2], floats: values(1, [48]) } },
      },
      values(2, [24]),
    );
    expect(ops(graph)).toEqual(['flatten', 'dense']);
  });
});
