/** Lines of a log on a stream that may stall or break: neither holds the server up, and what waits is bounded. */

import type { Writable } from 'node:stream';

/** A log of lines. */
export interface LineLog {
  /** Writes a line, which is dropped where too much waits already or the stream is broken. Never throws. */
  write(line: string): void;
  /**
   * Waits until all lines have left or the stream is broken.
   * @param ms - how long at most
   * @returns whether nothing waits any more
   */
  flush(ms: number): Promise<boolean>;
}

/** Bytes that may wait in this process for the reader of a log. LOCAL. */
const WAITING_BYTES = 2 ** 20;

/**
 * A log on a stream, for good: its errors end the log and nothing else.
 *
 * Node writes to pipes and sockets without waiting, and keeps what the reader does not take; to files and terminals it writes
 * at once.
 * @param dropped - the line that stands for so many dropped ones, written when the stream takes lines again
 */
export function lineLog(
  stream: Writable,
  dropped: (lines: number) => string,
  waitingBytes: number = WAITING_BYTES,
): LineLog {
  let broken = false;
  let lost = 0;
  const put = (line: string): void => {
    try {
      stream.write(`${line}\n`);
    } catch {
      broken = true;
    }
  };
  const report = (): void => {
    if (lost === 0 || broken) return;
    const line = dropped(lost);
    lost = 0;
    put(line);
  };
  // A reader that has gone (EPIPE), a terminal that has (EIO), a full disk.
  stream.on('error', () => {
    broken = true;
  });
  stream.on('drain', report);
  return {
    write(line) {
      if (broken) return;
      if (stream.writableLength + Buffer.byteLength(line) > waitingBytes) {
        lost++;
        return;
      }
      report();
      put(line);
    },
    async flush(ms) {
      if (broken) return true;
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<boolean>((resolve) => {
        timer = setTimeout(() => resolve(false), ms);
      });
      // Called when everything before has been written, or the stream breaks.
      const written = new Promise<boolean>((resolve) => stream.write('', () => resolve(true)));
      return Promise.race([written, late]).finally(() => clearTimeout(timer));
    },
  };
}
