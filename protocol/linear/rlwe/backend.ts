/** RLWE behind the contract of a linear backend: one round trip of ciphertexts a layer, see linear.ts. */

import { Prg } from '../../random/index.ts';
import type { LinearBackend } from '../backend.ts';
import { WeightCaches } from './accumulate.ts';
import type { PublicKey, SecretKey } from './keys.ts';
import { decodePublicKey, generateKeys, publicKeyBytes } from './keys.ts';
import {
  decodeUpload,
  decryptResponse,
  encryptUpload,
  evaluateLayer,
  placeShares,
} from './linear.ts';
import { NOISE_BUDGET } from './noise.ts';
import { type Degree, PARAMETER_SETS } from './parameters.ts';
import { responses, uploads } from './parts.ts';
import { type LayerPlan, planLayer, responseBytes, uploadBytes } from './plan.ts';

/** Bytes of transformed weights that each thread keeps from one bundle to the next. LOCAL. */
const WEIGHT_CACHE_BYTES = 128 << 20;

const weightCaches = new WeightCaches(WEIGHT_CACHE_BYTES);

/** A session has a key for each degree that its layers use. What the server receives is decoded ciphertexts. */
export const rlwe: LinearBackend<LayerPlan, SecretKey, PublicKey, Uint32Array> = {
  agreement: { rlwe: Object.values(PARAMETER_SETS) },
  plan: ({ shape, norm1, norm2 }) => planLayer(shape, { norm1, norm2 }),
  report: (plan) => ({
    degree: plan.degree,
    noiseBits: plan.noiseBits,
    budgetBits: Math.log2(NOISE_BUDGET),
    bytesUp: uploadBytes(plan),
    bytesDown: responseBytes(plan),
  }),
  keyOf: ({ degree }) => degree,
  keyBytes: (key) => publicKeyBytes(key as Degree),
  takeKey: (key, message) => decodePublicKey(key as Degree, message),
  uploads,
  responses,
  place: placeShares,
  tasks: {
    linearKey({ key, seed }) {
      const { secretKey, publicKey } = generateKeys(key as Degree, new Prg(seed));
      return { own: secretKey, message: publicKey };
    },
    linearUpload: ({ plan, key, mask, range, seed }) => encryptUpload(plan, key, mask, range, seed),
    linearReceive: ({ plan, upload }) => decodeUpload(plan, upload),
    linearResponse({ plan, key, kernel, kernelId, received, range, seed }) {
      const cache = kernelId === undefined ? undefined : weightCaches.of(kernelId);
      return evaluateLayer(plan, key, kernel, received, range, seed, cache);
    },
    linearShare: ({ plan, key, response, range }) => decryptResponse(plan, key, response, range),
  },
};
