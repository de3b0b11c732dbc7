/** Making the hint of a whole model, on a pool. */

import type { Model } from '../program/model.ts';
import type { Layout } from './layout.ts';
import type { ProtocolPool } from './session.ts';

/**
 * Server: the hint of a model, the same bytes for the same secret.
 * @param context - 16 secret bytes and the generation, unsigned 32 bits
 * @param onProgress - told of the layers that are made, of how many, and the name of the last
 */
export async function makeHintOf(
  _pool: ProtocolPool,
  _layout: Layout,
  _model: Model,
  _context: { readonly secret: Uint8Array; readonly generation: number },
  _onProgress?: (done: number, total: number, layer: string) => void,
): Promise<Uint8Array> {
  throw new Error('not wired yet');
}

/** Bytes of the hint. */
export function hintBytesOf(_layout: Layout): number {
  throw new Error('not wired yet');
}
