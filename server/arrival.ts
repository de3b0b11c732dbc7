/** A client that has connected, over whatever carries its channel: what a transport hands to the server. */

import type { Channel } from '../protocol/channel/index.ts';

export interface Arrival {
  readonly channel: Channel;
  /** Reads nothing more from the client until `resume`: what it sends waits in the system's buffers. */
  pause(): void;
  resume(): void;
  /** Calls `see` with the number of bytes each time some arrive, whether or not they complete a frame. */
  onBytes(see: (count: number) => void): void;
  /** Ends the connection without a goodbye. */
  cut(): void;
}
