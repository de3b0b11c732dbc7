/**
 * The server's product of a layer's weights with corrected masks, on integers modulo 2^32.
 *
 * Every coefficient that a used output meets holds x - r for an element and 0 - r for a zero, where r is the rounded phase
 * of this very coefficient: at a free one that is what the server receives as the layer's masked input, at a corrected one
 * the client sent D = m - r for the mask m that the element has elsewhere, or 0, and x - r = (x - m) + D. What the packed
 * product makes of them is, for each pair of outputs m, m' of a tile, a plain convolution of the weights of m' with the
 * rectangle of its input moved by (m - m') C S. With one output a polynomial that is the layer's own convolution, over its
 * input with a frame of corrections in place of zero padding; others take one more convolution for each distance.
 */

import { linear } from '../../ring/linear.ts';
import type { ConvShape } from '../../ring/shape.ts';
import { linearInputSize, linearOutput, sizeOf, weightCount } from '../../ring/shape.ts';
import { outputsOf, packInput, planeOf } from '../rlwe/packing.ts';
import { outputShifts } from './layout.ts';
import { DEGREE } from './parameters.ts';
import type { HintPlan } from './plan.ts';
import { checkLength } from './polynomial.ts';

/**
 * Server: W times corrections and, if given, masked input, as an output tensor modulo 2^32.
 *
 * With the masked input it takes the place of the layer's online product and costs hardly more with one output a
 * polynomial; without, it can be made before the input exists and added to the server's share.
 * @param corrections - one for each corrected coefficient, see decodeCorrections
 * @param masked - x - r
 * @throws RangeError when a length does not belong to the plan, or the layer is exact
 */
export function correctedLinear(
  plan: HintPlan,
  weights: Int32Array,
  corrections: Int32Array,
  masked?: Int32Array,
): Int32Array {
  const { packing } = plan;
  const { conv, rows, columns, outputsPerTile, inTiles, spatialTiles } = packing;
  if (plan.masks === 'exact') throw new RangeError('hint corrections: the layer is exact');
  checkLength('weights', weights.length, weightCount(plan.shape));
  if (masked !== undefined) {
    checkLength('masked input', masked.length, linearInputSize(plan.shape));
  }
  const starts = correctionStarts(plan);
  checkLength('corrections', corrections.length, starts[inTiles * spatialTiles]!);

  const out = new Int32Array(sizeOf(linearOutput(conv)));
  let [least, most] = [0, 0];
  for (let group = 0; group < conv.groups; group++) {
    const [from, to] = outputShifts(packing, group);
    least = Math.min(least, from);
    most = Math.max(most, to);
  }
  const coefficients = new Int32Array(inTiles * DEGREE);
  for (let spatialTile = 0; spatialTile < spatialTiles; spatialTile++) {
    for (let inTile = 0; inTile < inTiles; inTile++) {
      const index = inTile * spatialTiles + spatialTile;
      const polynomial = coefficients.subarray(inTile * DEGREE, (inTile + 1) * DEGREE);
      if (masked === undefined) polynomial.fill(0);
      else packInput(packing, masked, inTile, spatialTile, polynomial);
      plan.inputs[index]!.corrected.forEach((at, i) => {
        polynomial[at]! += corrections[starts[index]! + i]!;
      });
    }
    const [top, bottom] = outputsOf(rows, Math.floor(spatialTile / columns.tiles));
    const [left, right] = outputsOf(columns, spatialTile % columns.tiles);
    const [height, width] = [bottom - top, right - left];
    const shape: ConvShape = {
      ...conv,
      height: (height - 1) * conv.stride[0] + conv.kernel[0],
      width: (width - 1) * conv.stride[1] + conv.kernel[1],
      pads: [0, 0, 0, 0],
    };
    for (let shift = least; shift <= most; shift++) {
      const product = linear(shape, readInput(plan, shape, coefficients, shift), weights);
      for (let output = 0; output < conv.outChannels; output++) {
        const target = output + shift;
        const tile = (m: number) => Math.floor(m / outputsPerTile);
        if (target < 0 || target >= conv.outChannels || tile(target) !== tile(output)) continue;
        for (let i = 0; i < height; i++) {
          const from = (output * height + i) * width;
          const to = (target * rows.outputs + top + i) * columns.outputs + left;
          for (let j = 0; j < width; j++) out[to + j]! += product[from + j]!;
        }
      }
    }
  }
  return out;
}

/** Where the corrections of each input polynomial begin among the layer's; the last entry is their number. */
export function correctionStarts(plan: HintPlan): Uint32Array {
  const starts = new Uint32Array(plan.inputs.length + 1);
  plan.inputs.forEach(({ corrected }, i) => {
    starts[i + 1] = starts[i]! + corrected.length;
  });
  return starts;
}

/** The padded input of one spatial tile as the weights of an output meet it `shift` outputs away. */
function readInput(
  { packing }: HintPlan,
  shape: ConvShape,
  coefficients: Int32Array,
  shift: number,
): Int32Array {
  const { conv, rows, columns, rowStride, blockStride, planesPerTile } = packing;
  const out = new Int32Array(linearInputSize(shape));
  for (let plane = 0; plane < packing.planes; plane++) {
    const [channel, rowPhase, columnPhase] = planeOf(packing, plane);
    const inTile = Math.floor(plane / planesPerTile);
    const block = (shift * planesPerTile + (plane % planesPerTile)) * blockStride;
    // Element y of the padded tile is element y - pad of the axis, counted from the tile's first output.
    for (let y = 0; y < shape.height; y++) {
      const row = y - conv.pads[0] - rowPhase;
      if (row % conv.stride[0] !== 0) continue;
      const start = block + (row / conv.stride[0] - rows.base) * rowStride;
      const target = (channel * shape.height + y) * shape.width;
      for (let x = 0; x < shape.width; x++) {
        const column = x - conv.pads[1] - columnPhase;
        if (column % conv.stride[1] !== 0) continue;
        const at = start + column / conv.stride[1] - columns.base;
        const inside = at < 0 ? at + DEGREE : at >= DEGREE ? at - DEGREE : at;
        const value = coefficients[inTile * DEGREE + inside]!;
        out[target + x] = inside === at ? value : -value;
      }
    }
  }
  return out;
}
