/** Progress of a session as one line on a terminal, and the few formats that commands share. */

import type { SessionProgress } from './reporter.ts';

/** The part of a stream that is used. */
export interface Terminal {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/** Shortest time between two drawings, in ms. LOCAL. */
const REDRAW_MS = 80;

const BAR_WIDTH = 20;

const verbs = {
  connect: 'connecting',
  setup: 'making keys',
  hint: "fetching the model's hint",
  prepare: 'preparing',
  infer: 'inferring',
  done: 'done',
} as const;

/** A line that redraws itself. Writes nothing where there is no terminal; plain text when NO_COLOR is set. */
export class ProgressLine {
  readonly #terminal: Terminal;
  readonly #now: () => number;
  readonly #plain: boolean;
  #drawn = Number.NEGATIVE_INFINITY;
  #visible = false;
  /** What stands in front of the line. */
  title = '';

  constructor(
    terminal: Terminal,
    environment: Readonly<Record<string, string | undefined>> = {},
    now: () => number = () => performance.now(),
  ) {
    this.#terminal = terminal;
    this.#plain = Boolean(environment['NO_COLOR']);
    this.#now = now;
  }

  /** Shows an event, unless the last one is too recent. */
  update({ phase, done, total, bytesUp, bytesDown }: SessionProgress): void {
    if (!this.#terminal.isTTY) return;
    if (phase === 'done') {
      this.clear();
      return;
    }
    if (this.#now() - this.#drawn < REDRAW_MS) return;
    this.#drawn = this.#now();
    const filled = Math.floor((BAR_WIDTH * done) / total);
    const bar = `${'#'.repeat(filled)}${'-'.repeat(BAR_WIDTH - filled)}`;
    const text = `${this.title}${verbs[phase].padEnd(11)} [${bar}]  ${bytesText(bytesUp)} up, ${bytesText(bytesDown)} down`;
    const line = text.slice(0, (this.#terminal.columns ?? 80) - 1);
    this.#terminal.write(`\r${this.#plain ? line : `\x1b[2m${line}\x1b[0m`}\x1b[K`);
    this.#visible = true;
  }

  /** Removes the line. */
  clear(): void {
    if (this.#visible) this.#terminal.write('\r\x1b[K');
    this.#visible = false;
    this.#drawn = Number.NEGATIVE_INFINITY;
  }
}

/** A number of bytes for people; a MB is 10^6 bytes. */
export function bytesText(bytes: number): string {
  if (bytes < 1e3) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

/** A time for people. */
export function timeText(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}
