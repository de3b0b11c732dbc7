/** Peers that give no sign of life on a WebSocket: when they are cut, whenever they fell silent. */

import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { WebSocket } from 'ws';
import { webSocketArrival } from '../../server/websocket.ts';

/** How soon a peer that is gone has to be noticed, and how long one may be silent that is there, in ms. */
const NOTICED_MS = 40_000;
const SILENT_MS = 25_000;

/** A socket whose peer answers a ping at once as long as it is there. */
class FakeSocket extends EventEmitter {
  readyState = 1;
  readonly bufferedAmount = 0;
  readonly connection = { bytesRead: 0, bytesWritten: 0, writableLength: 0, on: () => {} };
  isPaused = false;
  there = true;
  pings = 0;
  /** When it was cut, if it was. */
  cut: number | undefined;

  constructor() {
    super();
    const connection = this.connection as unknown as Socket;
    webSocketArrival(this as unknown as WebSocket, connection, undefined);
  }

  ping(): void {
    this.pings++;
    if (this.there) this.connection.bytesRead += 6;
  }

  terminate(): void {
    this.cut ??= Date.now();
    this.readyState = 3;
    this.emit('close');
  }

  addEventListener(type: string, listener: () => void): void {
    this.on(type, listener);
  }

  send(): void {}
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('a peer', () => {
  it('that is gone is cut within 40 s, whenever it went, and not before it had time to answer', () => {
    const silences: number[] = [];
    for (let phase = 0; phase <= 45_000; phase += 250) {
      const socket = new FakeSocket();
      vi.advanceTimersByTime(phase);
      const gone = Date.now();
      // Its last word.
      socket.connection.bytesRead += 1;
      socket.there = false;
      vi.advanceTimersByTime(60_000);
      silences.push(socket.cut! - gone);
    }
    expect(Math.max(...silences)).toBeLessThanOrEqual(NOTICED_MS);
    expect(Math.min(...silences)).toBeGreaterThanOrEqual(SILENT_MS);
  });

  it('that answers is asked about every 15 s, and stays', () => {
    const socket = new FakeSocket();
    vi.advanceTimersByTime(3_600_000);
    expect(socket.cut).toBeUndefined();
    expect(socket.pings).toBeGreaterThanOrEqual(3600 / 15);
    expect(socket.pings).toBeLessThanOrEqual(3600 / 10);
    socket.terminate();
  });

  it('is not blamed for what this side does not read', () => {
    const socket = new FakeSocket();
    socket.there = false;
    socket.isPaused = true;
    vi.advanceTimersByTime(300_000);
    expect(socket.cut).toBeUndefined();
    socket.terminate();
  });

  it('whose slow link moves what waits for it stays, and is cut when it moves no more', () => {
    const socket = new FakeSocket();
    const { connection } = socket;
    socket.there = false;
    connection.writableLength = 30_000_000;
    connection.bytesWritten = 30_000_000;
    for (let i = 0; i < 10; i++) {
      vi.advanceTimersByTime(20_000);
      connection.writableLength -= 2_000_000;
    }
    expect(socket.cut).toBeUndefined();
    const stuck = Date.now();
    vi.advanceTimersByTime(60_000);
    expect(socket.cut! - stuck).toBeLessThanOrEqual(NOTICED_MS);
  });

  it('that is gone is cut, though ever more is written for it that nobody takes', () => {
    const socket = new FakeSocket();
    const { connection } = socket;
    socket.there = false;
    const gone = Date.now();
    while (socket.cut === undefined && Date.now() - gone < 120_000) {
      vi.advanceTimersByTime(1000);
      // What the system takes at once does not wait.
      connection.bytesWritten += 16;
    }
    expect(socket.cut! - gone).toBeLessThanOrEqual(NOTICED_MS);
  });
});
