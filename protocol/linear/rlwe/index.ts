/**
 * Linear layers on encrypted input (offline phase): additively homomorphic RLWE encryption.
 *
 * backend.ts puts it behind the contract of ../backend.ts, which says what holds of plans, parts and tasks. Beyond it:
 * - The client makes one key pair per degree in use and session, and sends the public key once, ahead of any upload.
 * - Per layer one round trip: encryptUpload -> decodeUpload, evaluateLayer -> decryptResponse, with a fresh seed on either
 *   side. The seeds are of one upload, one evaluation: reusing one reveals differences of inputs or of weights.
 * - Ranges of polynomials are parts, and results do not depend on the partition.
 *
 * The protocol and its diagram are in linear.ts, the packing in packing.ts, the error budget in noise.ts.
 */

export { WeightCache, WeightCaches } from './accumulate.ts';
export type { PublicKey, SecretKey } from './keys.ts';
export { decodePublicKey, generateKeys, publicKeyBytes } from './keys.ts';
export {
  decodeUpload,
  decryptResponse,
  encryptUpload,
  evaluateLayer,
  placeShares,
} from './linear.ts';
export type { Degree } from './parameters.ts';
export { PARAMETER_SETS } from './parameters.ts';
export type { LayerPlan } from './plan.ts';
export { planLayer, responseBytes, uploadBytes } from './plan.ts';
