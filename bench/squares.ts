/** What a square sends in compiled networks, by the formulas: its bytes depend on the range k and the truncation f. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomMap, resNetCifar } from '../models/networks/index.ts';
import { elementBytes } from '../protocol/inference/cost.ts';
import { layoutOf } from '../protocol/inference/layout.ts';
import { SQUARE } from '../protocol/program/kinds.ts';
import { decodeModel, type Model } from '../protocol/program/model.ts';
import { compileOnNoise } from './networks.ts';
import { zooFolder } from './zoo.ts';

/** Means over the squares of a network. */
export interface SquareResult {
  readonly network: string;
  readonly squares: number;
  /** Least and most of a layer. */
  readonly rangeBits: readonly [number, number];
  readonly shift: readonly [number, number];
  /** Bytes of one square, both ways, without frame headers. */
  readonly bytes: Bytes;
  /** The same with f = 16 and the network's k, as other systems are compared. */
  readonly at16: Bytes;
}

type Bytes = Readonly<Record<'offline' | 'online', number>>;

/** A parabola that keeps random networks in range, as in budget/points.ts. */
const FLAT = [0, 0.5, 0.01] as const;

/** ResNet-20 with all squares, compiled on noise, and the zoo's network of CIFAR-10 with most squares. */
export function squareBytes(): SquareResult[] {
  const graph = resNetCifar(20, { map: randomMap(0, 1, 'square'), quadratic: FLAT });
  const { model } = compileOnNoise('ResNet-20, all squares', graph);
  const trained = decodeModel(readFileSync(join(zooFolder(), 'cifar10-3891.sotto')));
  return [squaresOf(model), squaresOf(trained)];
}

function squaresOf({ program }: Model): SquareResult {
  const lanes = layoutOf(program)
    .activations.flatMap((layer) => layer.lanes)
    .filter(({ kind }) => kind === SQUARE);
  const squares = lanes.reduce((sum, { elements }) => sum + elements.length, 0);
  const mean = (phase: keyof Bytes, change: { shift?: number }) =>
    lanes.reduce((sum, { kind, params, elements }) => {
      const bytes = elementBytes({ kind, params: { ...params, ...change } });
      return sum + elements.length * bytes[phase];
    }, 0) / squares;
  const bytes = (change: { shift?: number }): Bytes => ({
    offline: mean('offline', change),
    online: mean('online', change),
  });
  const range = (values: readonly number[]) => [Math.min(...values), Math.max(...values)] as const;
  return {
    network: program.name,
    squares,
    rangeBits: range(lanes.map(({ params }) => params.rangeBits)),
    shift: range(lanes.map(({ params }) => params.shift)),
    bytes: bytes({}),
    at16: bytes({ shift: 16 }),
  };
}
