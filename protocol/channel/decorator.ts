/** The base of every decorator: a channel that passes each call on. */

import type { Channel } from './index.ts';

export class Decorator implements Channel {
  protected readonly inner: Channel;

  constructor(inner: Channel) {
    this.inner = inner;
  }

  get closed(): Promise<Error | undefined> {
    return this.inner.closed;
  }

  send(kind: number, payload: Uint8Array): Promise<void> {
    return this.inner.send(kind, payload);
  }

  receive(kind: number, bytes: number): Promise<Uint8Array> {
    return this.inner.receive(kind, bytes);
  }

  receiveUpTo(kind: number, limit: number): Promise<Uint8Array> {
    return this.inner.receiveUpTo(kind, limit);
  }

  close(reason?: Error): void {
    this.inner.close(reason);
  }
}
