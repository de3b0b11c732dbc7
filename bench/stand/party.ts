/** A party of a measured run: a child process that runs commands from Node's channel between processes. */

import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What a process has used so far. */
export interface Usage {
  /** Of all its threads, user and system, ms. */
  readonly cpuMs: number;
  /** Most resident memory at any time, bytes. */
  readonly peakBytes: number;
}

/** Orders by name. */
// biome-ignore lint/suspicious/noExplicitAny: a table holds orders of any input
export type Orders = Readonly<Record<string, (input: any) => unknown>>;

interface Request {
  readonly id: number;
  readonly order: string;
  readonly input: unknown;
}

interface Reply {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

/** A running party. */
export class PartyProcess<T extends Orders> {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<
    number,
    { resolve(value: never): void; reject(error: Error): void }
  >();
  readonly #exited: Promise<void>;
  #next = 0;

  /**
   * @param script module that calls {@link obey}
   * @param signal ends the process when it fires
   */
  constructor(script: URL, signal: AbortSignal) {
    this.#child = fork(fileURLToPath(script), { execArgv: [], serialization: 'advanced' });
    this.#child.on('message', (reply: Reply) => {
      const waiting = this.#waiting.get(reply.id)!;
      this.#waiting.delete(reply.id);
      if (reply.error !== undefined) waiting.reject(new Error(reply.error));
      else waiting.resolve(reply.result as never);
    });
    const kill = (): void => void this.#child.kill('SIGKILL');
    signal.addEventListener('abort', kill, { once: true });
    if (signal.aborted) kill();
    this.#exited = new Promise((resolve) => {
      const over = (error: Error): void => {
        signal.removeEventListener('abort', kill);
        for (const { reject } of this.#waiting.values()) reject(error);
        this.#waiting.clear();
        resolve();
      };
      this.#child.once('error', over);
      this.#child.once('exit', () => over(new Error('a party of the measured run ended early')));
    });
  }

  /** Sends an order; resolves with its result. */
  ask<K extends keyof T & string>(
    order: K,
    ...[input]: Parameters<T[K]>
  ): Promise<Awaited<ReturnType<T[K]>>> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, order, input } satisfies Request, (error) => {
        if (error) reject(error);
      });
    });
  }

  /** Ends the process. Never rejects. */
  async stop(): Promise<void> {
    this.#child.kill();
    await this.#exited;
  }
}

/** In the process: carries out orders until the other side is gone. */
export function obey(orders: Orders): void {
  process.on('message', async ({ id, order, input }: Request) => {
    let reply: Reply;
    try {
      reply = { id, result: await orders[order]!(input) };
    } catch (error) {
      reply = { id, error: (error as Error).message };
    }
    process.send!(reply);
  });
  process.on('disconnect', () => process.exit());
  // An interrupt at the keyboard goes to every process; the one that gives orders decides what it means.
  process.on('SIGINT', () => {});
}

/** What this process has used. */
export function usage(): Usage {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  const cpuMs = (userCPUTime + systemCPUTime) / 1000;
  return { cpuMs, peakBytes: 1024 * (highWater() ?? maxRSS) };
}

/**
 * Most resident memory of this process, KiB, where Linux says: its `maxRSS` begins with what the process that started this
 * one had.
 */
function highWater(): number | undefined {
  try {
    const [, kib] = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
    return kib === undefined ? undefined : Number(kib);
  } catch {
    return undefined;
  }
}
