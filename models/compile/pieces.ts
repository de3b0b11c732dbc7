/**
 * Functions of straight pieces as activation layers: y = offset + slope*x + sum of bend_j * ReLU(x - knot_j).
 *
 * A factor of a channel costs nothing where it is the same for all pieces, for ReLU(a*x) = a*ReLU(x): it is part of the
 * channel's scale. So with a = |bend| of the first piece,
 *
 *   x1 = a*x                        rescale
 *   r_j = ReLU(x1 - a*knot_j)       an activation layer each; all of them read x1 at the same time, in one round
 *   v = x1, truncated               an activation layer of identities, where there is a slope
 *   y = r_0 +- r_1 ... +- v         local; a piece that bends twice as much counts twice
 *
 * A piece that bends by another part of a reads a multiple of x: a second copy of the linear layer that made x.
 */

import { IDENTITY, RELU } from '../../protocol/program/kinds.ts';
import type { Shape } from '../../protocol/ring/shape.ts';
import { sizeOf } from '../../protocol/ring/shape.ts';
import { ModelError } from '../errors.ts';
import type { Graph, PiecewiseNode } from '../graph/index.ts';
import { tensorOf } from '../graph/index.ts';
import type { NetworkNode } from './network.ts';
import { affineReading, type Reading } from './network.ts';

/** One ReLU, or the slope: multiples of it make the function. */
interface Piece {
  readonly name: string;
  readonly kind: typeof RELU | typeof IDENTITY;
  /** The function has sign * factor * (the kind of x - knot); factors are not below zero but for the slope's. */
  readonly factor: Float64Array;
  readonly knot: Float64Array;
  readonly sign: 1 | -1;
}

/** Most times that a piece is added up instead of reading another multiple of x. LOCAL. */
const MOST_TIMES = 2;

/** The parts of a piecewise function, with as few ReLUs as its bends allow. */
function piecesOf(graph: Graph, node: PiecewiseNode): Piece[] {
  const { shape, data: knots } = tensorOf(graph, node.knots);
  const bends = tensorOf(graph, node.bends).data;
  const [channels, count] = shape as [number, number];
  const pieces: Piece[] = [];
  for (let j = 0; j < count; j++) {
    const column = (values: Float32Array) =>
      Float64Array.from({ length: channels }, (_, c) => values[c * count + j]!);
    const bend = column(bends);
    const knot = column(knots);
    for (const sign of [1, -1] as const) {
      const factor = bend.map((b) => Math.max(0, sign * b));
      if (factor.some((b) => b > 0)) {
        pieces.push({ name: `piece${pieces.length}`, kind: RELU, factor, knot, sign });
      }
    }
  }
  const slope = Float64Array.from(tensorOf(graph, node.slope).data);
  if (slope.some((s) => s !== 0)) {
    const down = slope.every((s) => s <= 0);
    pieces.push({
      name: 'slope',
      kind: IDENTITY,
      factor: down ? slope.map((s) => -s) : slope,
      knot: new Float64Array(channels),
      sign: down ? -1 : 1,
    });
  }
  return pieces;
}

/** How many times `unit` a factor is, the same in all channels; undefined when it is no small whole number. */
function timesOf(factor: Float64Array, unit: Float64Array): number | undefined {
  const times = Math.round(factor[0]! / unit[0]!);
  if (!(times >= 1 && times <= MOST_TIMES)) return undefined;
  const is = factor.every((f, c) => Math.abs(f - times * unit[c]!) <= 1e-6 * f);
  return is ? times : undefined;
}

/** What the lowering of a piecewise function needs of its surroundings. */
export interface PiecesOptions {
  /** Id, shape and reading of x. */
  readonly source: { readonly id: string; readonly shape: Shape; readonly of: Reading };
  /** A value factor * x, by a linear layer. */
  multiple(factor: Float64Array, name: string): { readonly id: string; readonly of: Reading };
  push(node: NetworkNode): void;
}

/** Adds the nodes of a piecewise function; the last one makes its value. */
export function addPieces(
  graph: Graph,
  node: PiecewiseNode,
  { source, multiple, push }: PiecesOptions,
): void {
  const { shape } = source;
  const offset = Float64Array.from(tensorOf(graph, node.offset).data);
  const pieces = piecesOf(graph, node);
  if (pieces.length === 0) {
    throw new ModelError(
      'network',
      `node '${node.id}' (piecewise): it has neither a bend nor a slope`,
    );
  }
  // The smallest unit that is positive everywhere and that most pieces are multiples of.
  const units = pieces.map(({ factor }) => factor).filter((f) => f.every((v) => v > 0));
  const shared = (unit: Float64Array) =>
    pieces.filter(({ factor }) => timesOf(factor, unit) !== undefined).length;
  const [unit] = units.toSorted((a, b) => shared(b) - shared(a));
  const base = (id: string, of: Reading, inputs: readonly [string]) => ({
    ...{ id, name: id, shape, of, inputs },
  });
  let scaled: { id: string; of: Reading } = source;
  if (unit?.some((factor) => factor !== 1)) {
    const id = `${node.id}.scaled`;
    const of = affineReading(source.of, unit, undefined);
    push({ ...base(id, of, [source.id]), op: 'rescale', factor: unit });
    scaled = { id, of };
  }
  const terms: { id: string; sign: 1 | -1 }[] = [];
  for (const { name, kind, factor, knot, sign } of pieces) {
    const times = unit === undefined ? undefined : timesOf(factor, unit);
    const x = times === undefined ? multiple(factor, `${node.id}.${name}.input`) : scaled;
    const by = times === undefined ? factor : unit!;
    const id = `${node.id}.${name}`;
    const before = knot.some((k) => k !== 0) ? knot.map((k, c) => -k * by[c]!) : undefined;
    // The offset goes with the first term that is added.
    const isFirst = terms.length === 0 && offset.some((o) => o !== 0);
    const after = isFirst ? offset.map((o) => o * sign) : undefined;
    push({
      ...base(id, { id: node.id }, [x.id]),
      op: 'activation',
      kinds: new Uint8Array(sizeOf(shape)).fill(kind),
      coefficients: undefined,
      before,
      // A term that counts twice adds half of the offset each time.
      after: times === 2 ? after?.map((o) => o / 2) : after,
    });
    for (let i = 0; i < (times ?? 1); i++) terms.push({ id, sign });
  }
  // A sum cannot begin with a term that is taken away.
  terms.sort((a, b) => b.sign - a.sign);
  sumUp(node, shape, terms, push);
}

function sumUp(
  node: PiecewiseNode,
  shape: Shape,
  terms: readonly { id: string; sign: 1 | -1 }[],
  push: (node: NetworkNode) => void,
): void {
  const of = { id: node.id };
  let [sum] = terms.map(({ id }) => id) as [string];
  const add = (id: string, inputs: readonly [string, string], subtract: boolean) => {
    push({ id, name: id, shape, of, op: 'add', inputs, subtract });
    sum = id;
  };
  const isNegative = terms[0]!.sign < 0;
  // 0 - x, where 0 = x - x.
  if (isNegative) {
    add(`${node.id}.zero`, [sum, sum], true);
    terms = [{ id: terms[0]!.id, sign: -1 }, ...terms.slice(1)];
  }
  const rest = isNegative ? terms : terms.slice(1);
  rest.forEach(({ id, sign }, i) => {
    const last = i === rest.length - 1;
    add(last ? node.id : `${node.id}.sum${i}`, [sum, id], sign < 0);
  });
  if (rest.length === 0) {
    // One term alone: the node's value is that term under the node's name.
    const factor = new Float64Array(shape[0]).fill(1);
    push({ id: node.id, name: node.id, shape, of, op: 'rescale', factor, inputs: [sum] });
  }
}
