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
 *
 * Why not a silent extension (Ferret, CCS 2020; n = 10,805,248, k = 589,760, t = 1,319 trees of 2^13 leaves): it would send
 * 0.18 B a correlation (32 B for each of 13 levels of each tree over n outputs, one bit for the choice) instead of 4 B.
 * Local work a correlation and side, each part timed alone as a kernel on one core (best / typical, ns): ten gathers
 * of 16 B from k blocks 63 to 110 / 190 to 300, the 40 B of indices 10 / 34, two AES blocks of a tree 8 / 26: 81 to 128 / 250 to
 * 360, against 30 / 44 here. Both sides and the transfer: at 1 Gbit/s 160 to 260 / 500 to 720 against 92 / 120; at
 * 100 Mbit/s 180 to 270 / 510 to 730 against 380 / 408. It loses on fast links, and on slow ones wins only while the
 * gathers have the cache to themselves, which two workers do not. A ReLU would save 72 of its 956 B, a square (33
 * correlations) 126 B; and a batch is 10.2 million or nothing, 173 MB a side. Squares by the million over slow links would
 * be the case to build it for; the interface would stay.
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
