/**
 * Probabilities of logits: the softmax of what they are at a temperature. At 1 it is the network's own, above it is less sure.
 * It changes no order.
 */
export function probabilities(logits: ArrayLike<number>, temperature: number): Float64Array {
  const scaled = Float64Array.from(logits, (logit) => logit / temperature);
  const most = scaled.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const powers = scaled.map((value) => Math.exp(value - most));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
