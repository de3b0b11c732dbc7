/**
 * Oblivious transfer, from public keys to products.
 *
 *     base.ts          128 OTs over ristretto255, once per session
 *     softspoken.ts    any number of correlated OTs from them, in checked chunks that any thread can make
 *     setup.ts         the root of a session, in three messages
 *     offsets.ts       from it, both directions of a bundle under fresh offsets
 *     correlations.ts  what everything above asks for: tickets (its contract stands there)
 *     pads.ts          one-time pads from correlations
 *     product.ts       shares of products from correlations
 *
 * Contract
 * - A session runs one setup with a session id never used before, and keeps what it made until it ends. Two setups never
 *   share an id, two bundles of a session no number, two tickets no chunk, two uses of a hash under one offset no tweak number.
 * - Everything is pure and synchronous: bytes in, bytes out, randomness injected. Who sends what to whom is the caller's.
 * - Both parties may deviate: base OTs fix what was chosen, and every chunk is checked before its sender uses it.
 * - A ProtocolError is final for the session: no step is tried again with other bytes.
 *
 * Why not a silent extension (Ferret, CCS 2020; n = 10,805,248, k = 589,760, t = 1,319 trees of 2^13 leaves): it would send
 * 0.18 B a correlation (32 B for each of 13 levels of each tree over n outputs, one bit for the choice) instead of 4, 2.75 or
 * 2 B, and correlations are most of what a ReLU's preparation sends: m + 2 of them where m bits are compared. Local work a
 * correlation and side is 81 to 128 ns where the cache is quiet and 250 to 360 where it is not, most of it ten gathers of 16 B
 * from k blocks, against 37, 78 and 238 ns here (protocol/DECISIONS.md). At 20 Mbit/s, both sides and the transfer, that is 230
 * to 790 ns against 1,670, 1,260 and 1,280. But a batch is 10.2 million correlations or nothing: 173 MB a side, and 2.4 to 8 s over
 * that link. All 303,104 ReLUs of ResNet-32 take 3.9 million (m = 11), 4.9 s with k = 6; a network reduced to 12,900 ReLUs takes
 * 0.2 s. For networks of this size it loses; sessions that prepare many large bundles over slow links would be the case to build
 * it for, and the interface would stay.
 */

export {
  CorrelationTickets,
  cotBytes,
  type ReceiverTicket,
  redeemReceiver,
  redeemSender,
  type SenderTicket,
} from './correlations.ts';
export { DEFAULT_OT_K, type OtK } from './groups.ts';
export {
  bitProductBytes,
  bitProductReceive,
  bitProductSend,
  bitProductTweaks,
} from './product.ts';
export { COTS_PER_CHUNK } from './softspoken.ts';
