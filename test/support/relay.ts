/** A link between client and server that tests cut, or let die without a word. */

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A relay of TCP connections to a port of this machine. */
export interface Relay {
  readonly port: number;
  /** Ends all connections at once; further ones are relayed. */
  cut(): void;
  /** Moves no byte of the present connections any more, and closes none of them. */
  freeze(): void;
  /** Where further connections go. */
  to(port: number): void;
  close(): void;
}

export async function relay(port: number): Promise<Relay> {
  const sockets = new Set<Socket>();
  let target = port;
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1');
    for (const [from, into] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.pipe(into);
      from.on('error', () => into.destroy());
      from.on('close', () => {
        sockets.delete(from);
        into.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    freeze() {
      for (const socket of sockets) socket.unpipe().pause();
    },
    to(other) {
      target = other;
    },
    close() {
      cut();
      server.close();
    },
  };
}
