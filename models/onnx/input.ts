/** What the image of a model is: which axes of its input are channels, rows, columns and images of a batch. */

import { elements, type GraphInput } from '../graph/index.ts';
import { reshapedDims } from './arithmetic.ts';
import { BATCH, type Layout, layoutOf, regroup } from './layout.ts';
import type { Operation } from './operation.ts';
import { unsqueezed } from './operators/layout.ts';
import type { ValueInfo } from './proto.ts';

/** The model's input as the graph takes it. */
export interface Image {
  readonly shape: GraphInput['shape'];
  /** Images in the model's batch, 1 for any number. */
  readonly batch: number;
  readonly layout: Layout;
}

/** How the first operator that rearranges the input looks at it. */
interface View {
  readonly isTransposed: boolean;
  /** Extents it reshapes to. */
  readonly dims?: readonly number[];
}

/** Operators that may stand between the input and what rearranges it: normalisation of pixels. */
const PREPARING = ['Add', 'Cast', 'Div', 'Identity', 'Mul', 'Neg', 'Sub'];

/**
 * The declared extents of an image, 1 for a batch of any size.
 * @throws RangeError when another extent is open.
 */
export function imageDims({ name, dims }: ValueInfo): number[] {
  const known = dims?.map((n, axis) => n ?? (axis === 0 && dims.length > 1 ? 1 : Number.NaN));
  if (known === undefined || known.length === 0 || known.length > 4 || known.some(Number.isNaN)) {
    const text = dims?.map((n) => n ?? '?').join(', ') ?? '?';
    throw new RangeError(
      `the input '${name}' has the shape [${text}]: export the model with fixed extents [N, C, H, W], of which N may be open`,
    );
  }
  return known;
}

/** Looks for the first operator that rearranges the input, through those that prepare it. */
function viewOf(name: string, dims: readonly number[], operations: readonly Operation[]): View {
  const prepared = new Set([name]);
  for (const op of operations) {
    if (!op.node.inputs.some((input) => prepared.has(input))) continue;
    switch (op.node.op) {
      case 'Transpose':
        return { isTransposed: ['0,3,1,2', '2,0,1'].includes(`${op.integers('perm')}`) };
      case 'Reshape':
        return { isTransposed: false, dims: reshapedDims(dims, op.list(1, 'shape') ?? []) };
      case 'Unsqueeze':
        return { isTransposed: false, dims: unsqueezed(dims, op.list(1, 'axes') ?? []) };
      default:
        if (PREPARING.includes(op.node.op)) prepared.add(op.name);
    }
  }
  return { isTransposed: false };
}

/**
 * Decides what [C, H, W] is. Inputs of rank 4 and 2, and of rank 3 with an open first extent, are a batch; others are one
 * image. A transpose at the start says that channels come last, a reshape what a flat image is made of.
 * @param operations of the model, in their order; constants are known
 * @param order the channels' place, where the caller knows it
 */
export function imageOf(
  input: ValueInfo,
  operations: readonly Operation[],
  order?: 'NCHW' | 'NHWC',
): Image {
  const dims = imageDims(input);
  const rank = dims.length;
  const isBatch = rank === 4 || rank === 2 || (rank === 3 && input.dims![0] === undefined);
  const batch = isBatch ? dims[0]! : 1;
  const image = isBatch ? dims.slice(1) : dims;
  let view: View = { isTransposed: false };
  try {
    view = viewOf(input.name, dims, operations);
  } catch (error) {
    // Whatever is wrong with that operator is said when it is its turn.
    if (!(error instanceof RangeError)) throw error;
  }
  const isLast = order === undefined ? view.isTransposed : order === 'NHWC';
  let shape: GraphInput['shape'];
  let atoms = [BATCH, 0, 1, 2];
  if (image.length === 3 && isLast) {
    shape = [image[2]!, image[0]!, image[1]!];
    atoms = [BATCH, 1, 2, 0];
  } else if (image.length < 3 && view.dims?.length === 4 && view.dims[0] === batch) {
    shape = view.dims.slice(1) as [number, number, number];
  } else if (image.length === 2) {
    shape = [1, image[0]!, image[1]!];
  } else {
    shape = [image[0]!, image[1] ?? 1, image[2] ?? 1];
  }
  if (!(elements(shape) > 0)) throw new RangeError(`the input '${input.name}' is empty`);
  const extents = { shape, batch };
  return { ...extents, layout: regroup(layoutOf(atoms, extents), dims, extents) };
}
