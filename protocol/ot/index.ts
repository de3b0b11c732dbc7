/**
 * Oblivious transfer, from public keys to products.
 *
 *     base.ts          128 OTs over ristretto255, once per session
 *     softspoken.ts    any number of correlated OTs from them, in chunks that any thread can make
 *     setup.ts         both directions of a session, in four messages
 *     correlations.ts  what everything above asks for: alloc -> flush -> take (its contract stands there)
 *     ideal.ts         the same from a shared seed: insecure, for tests
 *     pads.ts          one-time pads from correlations
 *     product.ts       shares of products from correlations
 *
 * Contract
 * - A session runs one setup with a session id never used before, and keeps what it made until it ends. Two setups never
 *   share an id, two flushes never share a chunk number, two uses of a hash under one offset never share a tweak number.
 * - Everything is pure and synchronous: bytes in, bytes out, randomness injected. Who sends what to whom is the caller's.
 * - A ProtocolError is final for the session: no step is tried again with other bytes. Semi-honest security only.
 */

export {
  type CotReceiver,
  type CotSender,
  cotBytes,
  type ReceiverTicket,
  redeemReceiver,
  redeemSender,
  type SenderTicket,
} from './correlations.ts';
export { IdealReceiver, IdealSender } from './ideal.ts';
export {
  bitProductBytes,
  bitProductReceive,
  bitProductSend,
  bitProductTweaks,
  RING_BITS,
  ringProductBytes,
  ringProductChoices,
  ringProductReceive,
  ringProductSend,
  ringProductTweaks,
} from './product.ts';
export {
  type CotSeeds,
  type Cots,
  chooseSetup,
  cotsOf,
  extendSetup,
  finishSetup,
  joinSetup,
  offerSetup,
  SETUP_MESSAGE_BYTES,
} from './setup.ts';
export { COTS_PER_CHUNK, SOFTSPOKEN_K } from './softspoken.ts';
