/**
 * Tells systemd how the server is, as sd_notify(3) does: by messages to the socket that NOTIFY_SOCKET names.
 *
 * Node has no datagram sockets of AF_UNIX, so the program `systemd-notify` sends them, which comes with systemd. The unit needs
 * NotifyAccess=all, since they come from a child of the server.
 */

import { execFile } from 'node:child_process';
import { MAX_TIMER_MS } from '../protocol/channel/lifetime.ts';

/** What systemd is told; nothing where nothing of it started the process. No method rejects or throws. */
export interface Notifier {
  /** It serves, and which process it is. */
  ready(): Promise<void>;
  /** It reads its files again; `ready` follows. */
  reloading(): Promise<void>;
  /** It ends. */
  stopping(): Promise<void>;
  /**
   * Where the unit has a WatchdogSec: asks `healthy` at half of it, and says that the server is well when it answers true. One that
   * does not answer is not asked again, so that systemd restarts the server.
   * @returns ends it
   */
  watch(healthy: () => Promise<boolean>): () => void;
}

/** Options of {@link notifier}. */
export interface NotifierOptions {
  /** Called once, with one sentence, when systemd cannot be told. */
  readonly onTrouble?: ((reason: string) => void) | undefined;
}

/** How long a message may take, in ms. LOCAL. */
const SENDING_MS = 5000;

/** A notifier of the socket, the watchdog and the process that the environment names. */
export function notifier(
  environment: Readonly<Record<string, string | undefined>>,
  { onTrouble }: NotifierOptions = {},
): Notifier {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: watchdog, WATCHDOG_PID: watched } = environment;
  let troubled = false;
  const send = async (...assignments: string[]): Promise<void> => {
    if (!socket) return;
    const options = { env: { ...environment }, timeout: SENDING_MS };
    const error = await new Promise<(Error & { code?: unknown }) | null>((resolve) => {
      execFile('systemd-notify', assignments, options, resolve);
    });
    if (error === null || troubled) return;
    troubled = true;
    const reason = error.code === 'ENOENT' ? 'there is no program systemd-notify' : error.message;
    onTrouble?.(`systemd cannot be told how the server is: ${reason.trim().replaceAll('\n', ' ')}`);
  };
  return {
    ready: () => send('READY=1', `MAINPID=${process.pid}`),
    reloading: () => send('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`),
    stopping: () => send('STOPPING=1'),
    watch(healthy) {
      const halfMs = Number(watchdog) / 2000;
      const meant = watched === undefined || watched === `${process.pid}`;
      if (!socket || !meant || !(halfMs > 0)) return () => {};
      let asking = false;
      const timer = setInterval(
        async () => {
          if (asking) return;
          asking = true;
          try {
            if (await healthy()) await send('WATCHDOG=1');
          } catch {
            // Not well, then: systemd is not told that it is.
          } finally {
            asking = false;
          }
        },
        Math.min(halfMs, MAX_TIMER_MS),
      );
      return () => clearInterval(timer);
    },
  };
}
