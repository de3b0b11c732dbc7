/**
 * The networks of links.ts outside of the protocol, to hold the channel decorator to something independent of it.
 *
 * - netem: the server in a network namespace of its own, behind a pair of virtual interfaces whose two ends the kernel
 *   slows down. Needs root, iproute2 and a kernel with netem; everything it makes is taken down again.
 * - relay: a process between the parties that passes TCP's bytes on late, as they come, knowing no frames. Where the kernel
 *   does not help.
 */

import { execFileSync } from 'node:child_process';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { NamedLink } from '../../protocol/inference/links.ts';
import { preciseClock } from './links.ts';
import type { Route } from './measurement.ts';

// ----------------------------------------------------------------------------------------------------------- netem

const NAMESPACE = 'sotto-bench';
const OUTSIDE = 'sotto-b0';
const INSIDE = 'sotto-b1';
/** Addresses of both ends: TEST-NET-2, which no real network has (RFC 5737). */
const [NEAR, FAR] = ['198.51.100.1', '198.51.100.2'];

const command = (line: string): void => {
  const [program, ...args] = line.split(' ');
  execFileSync(program!, args, { stdio: ['ignore', 'ignore', 'pipe'] });
};

const inside = (line: string): void => command(`ip netns exec ${NAMESPACE} ${line}`);

/** Takes down what there is of it. */
function dismantle(): void {
  for (const line of [`ip link del ${OUTSIDE}`, `ip netns del ${NAMESPACE}`]) {
    try {
      command(line);
    } catch {
      // Not there.
    }
  }
}

/**
 * Runs `work` with a network of the kernel's.
 * @returns what `work` does, or in words why there is no such network here
 */
export async function withNetem<T>(
  { roundTripMs, bitsPerSecond }: NamedLink,
  work: (route: Route) => Promise<T>,
): Promise<{ result: T } | { reason: string }> {
  try {
    dismantle();
    command(`ip netns add ${NAMESPACE}`);
    command(`ip link add ${OUTSIDE} type veth peer name ${INSIDE} netns ${NAMESPACE}`);
    command(`ip addr add ${NEAR}/30 dev ${OUTSIDE}`);
    command(`ip link set ${OUTSIDE} up`);
    inside(`ip addr add ${FAR}/30 dev ${INSIDE}`);
    inside(`ip link set ${INSIDE} up`);
    inside('ip link set lo up');
    // The queue holds what may be on its way, and as much again.
    const delay = `delay ${roundTripMs / 2}ms rate ${bitsPerSecond / 1e6}mbit limit 20000`;
    command(`tc qdisc add dev ${OUTSIDE} root netem ${delay}`);
    inside(`tc qdisc add dev ${INSIDE} root netem ${delay}`);
  } catch (error) {
    dismantle();
    const { stderr, message } = error as Error & { stderr?: Buffer };
    const [reason] = (stderr?.toString().trim() || message).split('\n');
    return { reason: reason!.replace(/^Error: |\.$/g, '') };
  }
  try {
    const prefix = ['ip', 'netns', 'exec', NAMESPACE];
    return { result: await work({ link: undefined, host: FAR, prefix }) };
  } finally {
    dismantle();
  }
}

// ----------------------------------------------------------------------------------------------------------- relay

/** Bytes that may wait on a link before its sender's socket is no longer read. */
const BUFFER_BYTES = 4 << 20;

/** Passes on what `from` sends, late. */
function slow(from: Socket, to: Socket, { roundTripMs, bitsPerSecond }: NamedLink): void {
  let free = 0;
  let waiting = 0;
  let last: Promise<void> = Promise.resolve();
  from.on('data', (chunk: Buffer) => {
    free = Math.max(preciseClock.now(), free) + (8000 * chunk.length) / bitsPerSecond;
    const arrival = free + roundTripMs / 2;
    waiting += chunk.length;
    if (waiting > BUFFER_BYTES) from.pause();
    last = last.then(async () => {
      await preciseClock.sleepUntil(arrival);
      to.write(chunk);
      waiting -= chunk.length;
      if (waiting <= BUFFER_BYTES) from.resume();
    });
  });
  from.on('error', () => to.destroy());
  from.on('close', () => void last.then(() => to.end()));
}

/** A TCP relay on a free port of loopback, to a server there: resolves with its URL and how to end it. */
export async function openRelay(
  url: string,
  network: NamedLink,
): Promise<{ url: string; close(): void }> {
  const target = Number(new URL(url).port);
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1');
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      sockets.add(socket);
    }
    slow(near, far, network);
    slow(far, near, network);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
