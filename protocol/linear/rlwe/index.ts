/**
 * Linear layers on encrypted input (offline phase): additively homomorphic RLWE encryption.
 *
 * Contract
 * - Both parties derive the same {@link LayerPlan} from the public shape and weight bound; it fixes every length.
 * - The client makes one key pair per degree in use and session, and sends the public key once, ahead of any upload.
 * - Per layer one round trip: encryptUpload -> decodeUpload, evaluateLayer -> decryptResponse, with a fresh seed on either side. The
 *   seeds are of one upload, one evaluation: reusing one reveals differences of inputs or of weights.
 * - Everything here is pure and synchronous, and works on ranges of polynomials: ranges are jobs for a pool of workers,
 *   plans, keys and bytes survive structured cloning, and results do not depend on the partition.
 * - After a ProtocolError the peer's message is unusable and the session dead.
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
