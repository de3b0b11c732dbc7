/** What memory a server is to be given. */

import { MAX_FRAME_BYTES } from '../protocol/channel/index.ts';
import type { ServerLimits } from './limits.ts';

/** The process itself, its threads, the frames of its tasks, and what V8 gives back late, for networks up to a ResNet-18. LOCAL. */
const PROCESS_BYTES = 1e9;

/**
 * Bytes that a process takes when every session is at its worst: it keeps all the prepared inferences that it may, its frames wait to be read,
 * and a message has not ended.
 * @param keptBytes - what the server keeps of one prepared inference
 */
export function memoryOf(
  limits: Pick<ServerLimits, 'sessions' | 'bundlesPerSession' | 'queuedBytes'>,
  keptBytes: number,
): number {
  const { sessions, bundlesPerSession, queuedBytes } = limits;
  return PROCESS_BYTES + sessions * (bundlesPerSession * keptBytes + queuedBytes + MAX_FRAME_BYTES);
}
