/** Running small models, and numbers to compare with. */

import { elements, type Graph, runFloat } from '../../../models/graph/index.ts';
import { readOnnx } from '../../../models/onnx/index.ts';
import { readoutsOf } from '../../../models/onnx/table.ts';
import { numbers } from '../builder.ts';
import { type ModelSpec, modelOf } from './models.ts';

/** Operators of a graph. */
export const ops = (graph: Graph): string[] => graph.nodes.map(({ op }) => op);

/** Numbers in [-1, 1) for a shape. */
export function values(seed: number, shape: readonly number[]): Float32Array {
  const next = numbers(seed);
  return Float32Array.from({ length: elements(shape) }, () => next());
}

/** What a model that takes one image makes of it. */
export function run(spec: ModelSpec, x: Float32Array): { graph: Graph; y: number[] } {
  const graph = readOnnx(modelOf(spec));
  return { graph, y: readoutsOf(graph, runFloat(graph, x)) };
}

/** An index of a tensor, and the element there. */
export type At = (...index: readonly number[]) => number;

/** Elements of a row-major tensor by their index, 0 outside. */
export function tensorAt(data: ArrayLike<number>, shape: readonly number[]): At {
  return (...index) => {
    let at = 0;
    for (const [axis, n] of shape.entries()) {
      const i = index[axis]!;
      if (i < 0 || i >= n) return 0;
      at = at * n + i;
    }
    return data[at]!;
  };
}

/** A row-major tensor from its elements. */
export function build(shape: readonly number[], of: At): number[] {
  return Array.from({ length: elements(shape) }, (_, i) => {
    const index: number[] = [];
    let rest = i;
    for (const n of shape.toReversed()) {
      index.unshift(rest % n);
      rest = Math.floor(rest / n);
    }
    return of(...index);
  });
}
