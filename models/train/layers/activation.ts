/**
 * The mixed activation layer: every element is a ReLU, a square or the identity, or, in a soft network, a learnt mixture.
 *
 * All are y = m*max(x, 0) + c0 + c1*x + c2*x^2 with per-element factors: ReLU m = 1 alone, identity c1 = 1 alone, square
 * the coefficients of its channel; soft: m the element's mask, c_k = (1 - m) times the channel's coefficients. One kernel
 * serves every mixture.
 */

import type { ActivationKind } from '../../../protocol/program/kinds.ts';
import type { ActivationNode } from '../../graph/index.ts';
import { FLOAT_KINDS, readsCoefficients } from '../../graph/kinds.ts';
import { type Builder, CUT, type Layer, paddedLength, planeOrder, valueSize } from './layer.ts';

export function activationLayer(builder: Builder<ActivationNode>): Layer {
  const { node, memory, batch, output, soft, range } = builder;
  const input = builder.inputs[0]!;
  const n = valueSize(output);
  const order = planeOrder(output);
  const kinds = Array.from(order, (at) => FLOAT_KINDS[node.kinds[at] as ActivationKind]);
  const mask = soft && builder.parameter(soft.mask, 'mask');
  // Polynomials that no element uses would have no gradient: they are left alone.
  const polynomial = soft
    ? builder.parameter(soft.polynomial, 'polynomial')
    : readsCoefficients(node.kinds)
      ? builder.parameter(node.coefficients!, 'polynomial')
      : undefined;
  const plane = () => memory.floats(paddedLength(n));
  const m = plane();
  const c = [plane(), plane(), plane()] as const;
  const moments = polynomial && ([plane(), plane(), plane(), plane()] as const);
  for (let e = 0; e < n; e++) {
    const { relu, polynomial: fixed } = kinds[e]!;
    m.data[e] = relu;
    for (let k = 0; k < 3; k++) c[k]!.data[e] = fixed?.[k] ?? 0;
  }
  const limits = range && plane();
  limits?.data.fill(Number.POSITIVE_INFINITY);
  for (let e = 0; limits && e < n; e++) limits.data[e] = range.limits[e % output.channels]!;
  const { maps } = memory;
  const reads = (e: number) => kinds[e]!.polynomial === undefined;
  /** The part of the polynomial in an element. */
  const part = (e: number) => (mask ? 1 - m.data[e]! : reads(e) ? 1 : 0);

  function refresh(): void {
    if (polynomial === undefined) return;
    for (let e = 0; e < n; e++) {
      if (mask) m.data[e] = mask.value[order[e]!]!;
      else if (!reads(e)) continue;
      const row = 3 * (e % output.channels);
      for (let k = 0; k < 3; k++) c[k]!.data[e] = part(e) * polynomial.value[row + k]!;
    }
  }

  function parameterGradients(): void {
    if (polynomial === undefined || moments === undefined) return;
    const [g0, g1, g2, gm] = moments;
    const dy = output.gradient!.at;
    maps.activateMoments(input.value.at, dy, g0.at, g1.at, g2.at, gm.at, n, batch);
    for (let e = 0; e < n; e++) {
      const share = part(e);
      const row = 3 * (e % output.channels);
      let whole = 0;
      for (let k = 0; k < 3; k++) {
        const g = moments[k]!.data[e]!;
        polynomial.gradient[row + k]! += share * g;
        whole += polynomial.value[row + k]! * g;
      }
      if (mask) mask.gradient[order[e]!]! += gm.data[e]! - whole;
    }
  }

  const layer: Layer & { penalty: number } = {
    /** Of the last backward pass, see {@link Layer.penalty}. */
    penalty: 0,
    forward(mode) {
      refresh();
      if (mode !== 'evaluate' && limits) maps.cut(input.value.at, limits.at, CUT, n, batch);
      const [c0, c1, c2] = c;
      maps.activate(input.value.at, m.at, c0.at, c1.at, c2.at, output.value.at, n, batch);
    },
    backward() {
      parameterGradients();
      if (input.gradient === undefined) return;
      const x = input.value.at;
      const dx = input.gradient.at;
      maps.activateInputGradient(x, m.at, c[1].at, c[2].at, output.gradient!.at, dx, n, batch);
      if (range && limits) {
        const factor = range.weight / batch;
        layer.penalty = factor * maps.rangePenalty(x, dx, limits.at, factor, n, batch);
      }
    },
  };
  return layer;
}
