/** Two parties in one process: a pair of connected channels, for tests, benchmarks and local runs. */

import { ProtocolError } from '../errors.ts';
import { Endpoint, type EndpointOptions, type Transport } from './endpoint.ts';
import { joinFrame } from './frames.ts';
import type { Channel } from './index.ts';

/**
 * Two connected channels. Each frame is a copy, so the parties never share a buffer, and goes through the same
 * encoding, checks and limits as on a network.
 */
export function memoryPair(options: EndpointOptions = {}): [Channel, Channel] {
  const wires = [new Wire(), new Wire()] as const;
  const ends = wires.map((wire) => new Endpoint(wire, options)) as [Endpoint, Endpoint];
  wires[0].connect(ends[0], wires[1], ends[1]);
  wires[1].connect(ends[1], wires[0], ends[0]);
  return ends;
}

/** What one endpoint writes to: hands frames straight to the other endpoint. */
class Wire implements Transport {
  #self!: Endpoint;
  #peer!: Endpoint;
  #peerWire!: Wire;
  /** The reader of this wire has too much queued: writers on the other side wait. */
  #paused = false;

  connect(self: Endpoint, peerWire: Wire, peer: Endpoint): void {
    this.#self = self;
    this.#peerWire = peerWire;
    this.#peer = peer;
  }

  write(header: Uint8Array, payload: Uint8Array): boolean {
    this.#peer.deliver(joinFrame(header, payload));
    return !this.#peerWire.#paused;
  }

  pause(): boolean {
    this.#paused = true;
    return true;
  }

  resume(): void {
    this.#paused = false;
    this.#peerWire.#self.drained();
  }

  close(): void {
    this.#peer.ended(new ProtocolError('lost', 'the peer closed the channel'));
  }
}
