/**
 * The mixed activation layer: every element is a ReLU, a square or the identity.
 *
 * All three are y = m*max(x, 0) + c0 + c1*x + c2*x^2 with per-element factors: ReLU m = 1 alone, identity c1 = 1 alone,
 * square the coefficients of its channel. One kernel serves every mixture.
 */

import { type ActivationNode, IDENTITY, RELU, SQUARE } from '../../graph/index.ts';
import { type Builder, type Layer, padded, planeOrder, sizeOf } from './layer.ts';

export function activationLayer(builder: Builder<ActivationNode>): Layer {
  const { node, memory, batch, output } = builder;
  const input = builder.inputs[0]!;
  const n = sizeOf(output);
  const order = planeOrder(output);
  const kinds = Uint8Array.from(order, (at) => node.kinds[at]!);
  const squares = kinds.includes(SQUARE);
  // Polynomials without a square element would have no gradient: they are left alone.
  const polynomial = squares ? builder.parameter(node.coefficients!, 'polynomial') : undefined;
  const plane = () => memory.floats(padded(n));
  const m = plane();
  const c = [plane(), plane(), plane()] as const;
  const g = squares ? ([plane(), plane(), plane()] as const) : undefined;
  for (let e = 0; e < n; e++) {
    m.data[e] = kinds[e] === RELU ? 1 : 0;
    c[1].data[e] = kinds[e] === IDENTITY ? 1 : 0;
  }
  const { maps } = memory;
  return {
    forward() {
      if (polynomial !== undefined) {
        for (let e = 0; e < n; e++) {
          if (kinds[e] !== SQUARE) continue;
          const row = 3 * (e % output.channels);
          for (let k = 0; k < 3; k++) c[k]!.data[e] = polynomial.value[row + k]!;
        }
      }
      const [c0, c1, c2] = c;
      maps.activate(input.value.at, m.at, c0.at, c1.at, c2.at, output.value.at, n, batch);
    },
    backward() {
      const x = input.value.at;
      const dy = output.gradient!.at;
      if (polynomial !== undefined && g !== undefined) {
        maps.activateMoments(x, dy, g[0].at, g[1].at, g[2].at, n, batch);
        for (let e = 0; e < n; e++) {
          if (kinds[e] !== SQUARE) continue;
          const row = 3 * (e % output.channels);
          for (let k = 0; k < 3; k++) polynomial.gradient[row + k]! += g[k]!.data[e]!;
        }
      }
      if (input.gradient !== undefined) {
        const dx = input.gradient.at;
        maps.activateInputGradient(x, m.at, c[1].at, c[2].at, dy, dx, n, batch);
      }
    },
  };
}
