/**
 * Linear layers from a static hint (offline phase): additive shares of W r from one message of the client.
 *
 * Contract
 * - Both parties derive the same {@link HintPlan} of every linear layer from public data; it fixes every length. Public
 *   polynomials are one family for all layers: one more than the most input tiles of any.
 * - The server makes the hint once for a model and generation: rowSeeds, makeHint for each layer, concatenated. Generation
 *   and {@link hintDigest} are agreed on when a session begins; the client opens the hint with that digest before it draws
 *   a bundle.
 * - A bundle takes one message of the client for each layer, keys and corrections. Client: layerSecrets, layerKeys, maskInput,
 *   placeMasks for masks and fractions, and clientShares at any time after. Server: decodeKeys, decodeCorrections, then
 *   serverShares plus correctedLinear; or decodeExactCorrections and exactServerShares. A seed serves one layer of one
 *   bundle, on either side.
 * - What the parties hold is modulo 2^k of the layer, in the low k bits. correctedLinear alone is modulo 2^32.
 * - Layers that read one tensor: merge them where they fit (mergeShapes), else one is 'free' and the others 'fixed'.
 * - Everything is pure and synchronous, and works on ranges of tiles: ranges are jobs for a pool of workers, plans and bytes
 *   survive structured cloning, and results do not depend on the partition.
 * - After a ProtocolError the peer's message is unusable and the session dead.
 *
 * The protocol and its diagram are in bundle.ts, the hint in hint.ts, errors in parameters.ts, coefficients in layout.ts.
 */

export { POLYNOMIAL_WORDS } from '../lattice/parameters.ts';
export type { MaskedTiles } from './bundle.ts';
export {
  clientShares,
  decodeCorrections,
  decodeKeys,
  layerKeys,
  layerSecrets,
  maskInput,
  serverShares,
} from './bundle.ts';
export { correctedLinear } from './corrections.ts';
export type { ExactInputs } from './exact.ts';
export { decodeExactCorrections, exactServerShares } from './exact.ts';
export type { HintContext } from './hint.ts';
export {
  decodeHint,
  hintDigest,
  hintDigestInPieces,
  makeHint,
  openHint,
  rowSeeds,
  rowTransforms,
} from './hint.ts';
export type { InputLayout, Masks } from './layout.ts';
export { mergeShapes, mergeWeights } from './merge.ts';
export type { PublicPolynomials } from './parameters.ts';
export {
  HINT_AGREEMENT,
  layerTolerance,
  publicCount,
  publicPolynomials,
} from './parameters.ts';
export type { HintPlan, PlanRequest } from './plan.ts';
export { bundleBytes, correctionBytes, hintBytes, keyBytes, planHint } from './plan.ts';
export type { TileRange } from './polynomial.ts';
export { placeMasks, placeShares } from './shares.ts';
