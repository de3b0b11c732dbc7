/**
 * Convolutions that read one tensor, as one layer: the shortcut of a residual block with the convolution it stands beside,
 * the 1x1 and 3x3 halves of a fire module. As layers of their own all but one would be corrected on every coefficient and
 * send a key each; as one they share polynomials, masks, secret and key.
 *
 * Smaller kernels are embedded in the largest one, where they read the same elements; outputs follow one another.
 */

import type { ConvShape } from '../../ring/shape.ts';
import { linearOutput, weightCount } from '../../ring/shape.ts';
import { checkLength } from './polynomial.ts';

/** The layer that has the outputs of all of them; undefined when they do not fit in one. */
export function mergeShapes(shapes: readonly ConvShape[]): ConvShape | undefined {
  const base = largest(shapes);
  if (base === undefined) return undefined;
  const [, height, width] = linearOutput(base);
  const fits = shapes.every((shape) => {
    const [, outHeight, outWidth] = linearOutput(shape);
    const [top, left] = place(base, shape);
    return (
      shape.groups === 1 &&
      shape.channels === base.channels &&
      shape.height === base.height &&
      shape.width === base.width &&
      shape.stride[0] === base.stride[0] &&
      shape.stride[1] === base.stride[1] &&
      outHeight === height &&
      outWidth === width &&
      top >= 0 &&
      left >= 0 &&
      top + shape.kernel[0] <= base.kernel[0] &&
      left + shape.kernel[1] <= base.kernel[1]
    );
  });
  const outChannels = shapes.reduce((sum, shape) => sum + shape.outChannels, 0);
  return fits ? { ...base, outChannels } : undefined;
}

/**
 * The weights of the merged layer; norms of its outputs are those of the parts.
 * @throws RangeError when the shapes do not fit in one layer, or the weights not them
 */
export function mergeWeights(
  shapes: readonly ConvShape[],
  weights: readonly Int32Array[],
): Int32Array {
  const merged = mergeShapes(shapes);
  if (merged === undefined) throw new RangeError('hint layer: these convolutions are not one');
  const out = new Int32Array(weightCount(merged));
  const [height, width] = merged.kernel;
  let plane = 0;
  shapes.forEach((shape, i) => {
    checkLength('weights', weights[i]?.length ?? 0, weightCount(shape));
    const [top, left] = place(merged, shape);
    const [rows, columns] = shape.kernel;
    for (let from = 0; from < weights[i]!.length; from += rows * columns, plane++) {
      for (let y = 0; y < rows; y++) {
        const row = weights[i]!.subarray(from + y * columns, from + (y + 1) * columns);
        out.set(row, (plane * height + top + y) * width + left);
      }
    }
  });
  return out;
}

/** Where the kernel of `shape` lies in that of `base`. */
function place(base: ConvShape, shape: ConvShape): [top: number, left: number] {
  return [base.pads[0] - shape.pads[0], base.pads[1] - shape.pads[1]];
}

function largest(shapes: readonly ConvShape[]): ConvShape | undefined {
  const area = ({ kernel }: ConvShape) => kernel[0] * kernel[1];
  return [...shapes].sort((x, y) => area(y) - area(x))[0];
}
