/** What the program says of a layer's weights. */

/**
 * Public bounds on the weights of a layer, agreed in the program: over all outputs, the largest sum of absolute values
 * and the largest root of the sum of squares of the weights that make one output element.
 */
export interface WeightBound {
  readonly norm1: number;
  readonly norm2: number;
}

/** The norms of a layer's weights, to derive a public bound from: fan-in consecutive weights make an output. */
export function weightNorms(weights: Int32Array, fanIn: number): WeightBound {
  let norm1 = 0;
  let squares = 0;
  for (let start = 0; start < weights.length; start += fanIn) {
    let sum = 0;
    let sumOfSquares = 0;
    for (let i = start; i < start + fanIn; i++) {
      const weight = weights[i]!;
      sum += Math.abs(weight);
      sumOfSquares += weight * weight;
    }
    norm1 = Math.max(norm1, sum);
    squares = Math.max(squares, sumOfSquares);
  }
  return { norm1, norm2: Math.sqrt(squares) };
}
