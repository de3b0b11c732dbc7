/**
 * Where the elements of a graph's value stand in the ONNX tensor it came from.
 *
 * ONNX reshapes and transposes freely; a graph knows [C, H, W] and [N] alone. A layout says, for every axis of the ONNX
 * tensor, which axes of the graph's value make it up, outermost first. Axes of extent 1 hold nothing and are left out,
 * so [1, C, 1, 1] and [C] differ by the number of empty axes only; operators that move nothing change the layout and
 * make no node.
 *
 *   ONNX [N, C, H, W]          [[BATCH], [0], [1], [2]]
 *   flattened: [N, C*H*W]      [[BATCH], [0, 1, 2]]
 *   channels last              [[BATCH], [1], [2], [0]]
 */

import type { Shape } from '../graph/index.ts';

/** An axis of the graph's value (0, 1, 2), or {@link BATCH}. */
export type Atom = number;
/** The images of a batch, all of which the network treats alike. Left out when the model is for one image. */
export const BATCH = -1;

/** For every ONNX axis, the atoms that make it up. */
export type Layout = readonly (readonly Atom[])[];

/** Extents of the atoms of one value. */
export interface Extents {
  readonly shape: Shape;
  /** Images in the model's batch; 1 when it takes one or any number. */
  readonly batch: number;
}

export function extentOf(atom: Atom, { shape, batch }: Extents): number {
  return atom === BATCH ? batch : shape[atom]!;
}

/** Extents of the ONNX tensor. */
export function dimsOf(layout: Layout, extents: Extents): number[] {
  return layout.map((atoms) => atoms.reduce((n, atom) => n * extentOf(atom, extents), 1));
}

/** The layout in which every ONNX axis is one atom, in the order given. */
export function layoutOf(atoms: readonly Atom[], extents: Extents): Layout {
  return atoms.map((atom) => (extentOf(atom, extents) === 1 ? [] : [atom]));
}

/**
 * The layout after a reshape to `dims` of the same number of elements.
 * @throws RangeError when an axis would hold part of an atom.
 */
export function regroup(layout: Layout, dims: readonly number[], extents: Extents): Layout {
  const atoms = layout.flat();
  const result = dims.map((dim) => {
    const axis: Atom[] = [];
    for (let extent = 1; extent < dim; ) {
      const atom = atoms.shift();
      if (atom === undefined) break;
      axis.push(atom);
      extent *= extentOf(atom, extents);
    }
    return axis;
  });
  if (atoms.length > 0 || `${dimsOf(result, extents)}` !== `${dims}`) {
    throw new RangeError(
      `a reshape from [${dimsOf(layout, extents)}] to [${dims}] cuts through an axis: only axes as a whole can be joined or separated`,
    );
  }
  return result;
}

/**
 * The graph axis, or BATCH, behind every ONNX axis, empty ones included.
 * @throws RangeError when an ONNX axis holds several, or there are more or fewer axes than the value has.
 */
export function axesOf(layout: Layout, extents: Extents): Atom[] {
  const all = [BATCH, ...extents.shape.keys()];
  const used = layout.flat();
  // The model for one image without a batch axis.
  const wanted = layout.length < all.length && !used.includes(BATCH) ? all.slice(1) : all;
  const free = wanted.filter((atom) => !used.includes(atom));
  if (layout.length !== wanted.length || layout.some((atoms) => atoms.length > 1)) {
    throw new RangeError(
      `its input of shape [${dimsOf(layout, extents)}] is not [N, C, H, W] of one image`,
    );
  }
  return layout.map((atoms) => atoms[0] ?? free.shift()!);
}

/**
 * Steps through a row-major array of the ONNX tensor's axes, per atom.
 * @param steps of the array, per ONNX axis; 0 where it is broadcast
 * @returns steps for [C, H, W] or [N], and for the batch
 */
export function stepsOf(
  layout: Layout,
  steps: readonly number[],
  extents: Extents,
): { steps: number[]; batch: number } {
  const byAtom = extents.shape.map(() => 0);
  let batch = 0;
  layout.forEach((atoms, axis) => {
    let step = steps[axis]!;
    for (const atom of atoms.toReversed()) {
      if (atom === BATCH) batch = step;
      else byAtom[atom] = step;
      step *= extentOf(atom, extents);
    }
  });
  return { steps: byAtom, batch };
}

/** Whether the elements of the ONNX tensor come in the graph's order, one image after the other. */
export function isInOrder(layout: Layout): boolean {
  const atoms = layout.flat();
  return atoms.every((atom, i) => i === 0 || atoms[i - 1]! < atom);
}
