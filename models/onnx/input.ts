/** What the image of a model is: which axes of its input are channels, rows, columns and images of a batch. */

import { ModelError } from '../errors.ts';
import { elements, type GraphInput } from '../graph/index.ts';
import { reshapedDims } from './arithmetic.ts';
import type { Operation } from './operation.ts';
import { unsqueezed } from './operators/moves.ts';
import type { ValueInfo } from './proto.ts';
import { inOrder, type Part, transposed, type View } from './view.ts';

/** The model's input as the graph takes it. */
export interface ImageInput {
  readonly shape: GraphInput['shape'];
  /** The images of the model's batch, when it has several. */
  readonly batch: Part | undefined;
  /** Whether the first axis of the model's input is images. */
  readonly isBatched: boolean;
  readonly view: View;
  /** Whether the model takes numbers rather than the pixels of an image. */
  readonly isNumbers: boolean;
}

/** What the first operator that does more than prepare the input makes of it. */
interface Use {
  /** The operator. */
  readonly op: string;
  readonly isTransposed: boolean;
  /** Extents it reshapes to. */
  readonly dims?: readonly number[];
}

/** Operators that may stand between the input and what uses it: normalisation of pixels. */
const PREPARING = ['Add', 'Cast', 'Div', 'Identity', 'Mul', 'Neg', 'Sub'];
/** Operators whose input is [N, C, ...]. */
const PLANAR =
  'Conv ConvTranspose MaxPool AveragePool GlobalAveragePool GlobalMaxPool BatchNormalization';

/**
 * The extents of an image, 1 for a batch of any size.
 * @param given extents that the caller says
 * @throws ModelError `argument` when another extent is open or the given ones do not fit, `network` for other numbers of axes.
 */
export function imageDims({ name, dims }: ValueInfo, given?: readonly number[]): number[] {
  if (given !== undefined) {
    const isFit =
      given.length > 0 &&
      given.every((n) => Number.isSafeInteger(n) && n > 0) &&
      (dims === undefined ||
        (dims.length === given.length &&
          dims.every((n, axis) => n === undefined || n === given[axis])));
    if (!isFit) {
      throw new ModelError(
        'argument',
        `the input '${name}' has the shape [${textOf(dims)}], which [${given}] does not fit`,
      );
    }
  }
  const known =
    given ?? dims?.map((n, axis) => n ?? (axis === 0 && dims.length > 1 ? 1 : Number.NaN));
  if (known === undefined || known.some(Number.isNaN)) {
    throw new ModelError(
      'argument',
      `the input '${name}' has the shape [${textOf(dims)}] with open extents: say them with --shape ${name}=1,3,224,224 or the like, or export the model with fixed ones`,
    );
  }
  if (known.length === 0 || known.length > 4) {
    throw new ModelError(
      'network',
      `the input '${name}' has the shape [${textOf(dims)}]: export the model with an input of [N, C, H, W], [N, C, L] or [N, C]`,
    );
  }
  return [...known];
}

function textOf(dims: ValueInfo['dims']): string {
  return dims?.map((n) => n ?? '?').join(', ') ?? '?';
}

/** Looks for the first operator that uses the input, through those that prepare it. */
function useOf(name: string, dims: readonly number[], operations: readonly Operation[]): Use {
  const prepared = new Set([name]);
  for (const operation of operations) {
    const { op, inputs } = operation.node;
    if (!inputs.some((input) => prepared.has(input))) continue;
    switch (op) {
      case 'Transpose': {
        const isTransposed = ['0,3,1,2', '2,0,1'].includes(`${operation.integers('perm')}`);
        return { op, isTransposed };
      }
      case 'Reshape': {
        const target = reshapedDims(dims, operation.list(1, 'shape') ?? []);
        return { op, isTransposed: false, dims: target };
      }
      case 'Unsqueeze': {
        const target = unsqueezed(dims, operation.list(1, 'axes') ?? []);
        return { op, isTransposed: false, dims: target };
      }
      default:
        if (!PREPARING.includes(op)) return { op, isTransposed: false };
        prepared.add(operation.name);
    }
  }
  return { op: '', isTransposed: false };
}

const isColours = (n: number | undefined): boolean => n === 1 || n === 3;

/** Whether the channels of an image of three extents come last. */
function isChannelsLast(image: readonly number[], { op, isTransposed, dims }: Use): boolean {
  if (isTransposed) return true;
  if (!isColours(image[2]) || image[0]! < 5 || image[1]! < 5) return false;
  // A transpose of one channel may have been written as a reshape; what flattens an image says nothing.
  if (op === 'Reshape' && dims!.length >= 4) {
    return `${dims!.slice(-3)}` === `${[image[2], image[0], image[1]]}`;
  }
  return ['Flatten', 'MatMul', 'Reshape'].includes(op);
}

/**
 * Decides what [C, H, W] is. Inputs of rank 4 and 2, and of rank 3 with a first extent that is open or 1, are a batch;
 * others are one image. A transpose at the start says that channels come last, a reshape what a flat image is made of.
 * @param operations of the model, in their order; constants are known
 * @param order the channels' place, where the caller knows it
 */
export function imageOf(
  input: ValueInfo,
  dims: readonly number[],
  operations: readonly Operation[],
  order?: 'NCHW' | 'NHWC',
): ImageInput {
  const rank = dims.length;
  const isOpen = input.dims?.[0] === undefined || dims[0] === 1;
  const isBatched = rank === 4 || rank === 2 || (rank === 3 && isOpen);
  const batch = isBatched ? dims[0]! : 1;
  const image = isBatched ? dims.slice(1) : dims;
  let use: Use = { op: '', isTransposed: false };
  try {
    use = useOf(input.name, dims, operations);
  } catch (error) {
    // Whatever is wrong with that operator is said when it is its turn.
    if (!(error instanceof RangeError)) throw error;
  }
  const isLast =
    image.length === 3 && (order === undefined ? isChannelsLast(image, use) : order === 'NHWC');
  let shape: GraphInput['shape'];
  if (isLast) shape = [image[2]!, image[0]!, image[1]!];
  else if (image.length < 3 && use.dims?.length === 4 && use.dims[0] === batch) {
    shape = use.dims.slice(1) as [number, number, number];
  } else if (image.length === 2) {
    // Lines of several channels, or rows of a plane.
    shape = PLANAR.split(' ').includes(use.op)
      ? [image[0]!, 1, image[1]!]
      : [1, image[0]!, image[1]!];
  } else shape = [image[0]!, image[1] ?? 1, image[2] ?? 1];
  if (!(elements(shape) > 0)) throw new ModelError('network', `the input '${input.name}' is empty`);
  const part: Part | undefined =
    batch > 1 ? { count: batch, start: 0, step: 0, isBatch: true } : undefined;
  const own = isLast ? shape : image;
  const lead = part === undefined ? (isBatched ? [1] : []) : [];
  const plain = inOrder([...lead, ...own], part);
  const first = isBatched ? [0] : [];
  const view = isLast
    ? transposed(plain, [...first, ...[1, 2, 0].map((a) => a + first.length)])
    : plain;
  const isImage = isColours(shape[0]) && shape[1] > 1 && shape[2] > 1;
  const isTokens = image.length === 2 && ['MatMul', 'Gemm', 'Einsum'].includes(use.op);
  return { shape, batch: part, isBatched, view, isNumbers: !isImage || (rank === 3 && isTokens) };
}
