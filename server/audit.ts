/** Records of what has been granted: a file that only grows, one JSON object a line. */

import { type FileHandle, open } from 'node:fs/promises';
import { outputStats, whyUnwritten } from '../protocol/files.ts';

/** A file of records. */
export interface AuditFile {
  readonly path: string;
  /**
   * Appends a record. It has been handed to the operating system when this resolves; nothing is flushed to the disk.
   * @throws Error with one sentence that names the file when it could not be written whole
   */
  write(record: object): Promise<void>;
  /**
   * Opens the file of that name again, after a rotation has renamed the one that was open.
   * @throws Error with one sentence that names the file; what was open stays open
   */
  reopen(): Promise<void>;
  /** Records that are being written are finished first. */
  close(): Promise<void>;
}

/** Permissions of a new file: it says who asked. */
const MODE = 0o600;

/**
 * Opens a file to append records, and makes it where there is none. Records stand in it in the order of the calls.
 * @throws Error with one sentence that names the file when it cannot be opened, or is a folder, a pipe or a device
 */
export async function openAudit(path: string): Promise<AuditFile> {
  const opened = async () => {
    outputStats(path);
    try {
      const file = await open(path, 'a+', MODE);
      return { file, broken: await endsBroken(file) };
    } catch (cause) {
      throw failure(path, 'opened', cause);
    }
  };
  // A record that was cut short, by a full disk say, ends where the next begins.
  let { file, broken } = await opened();
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const result = last.then(work);
    last = result.catch(() => {});
    return result;
  };
  return {
    path,
    write: (record) =>
      inTurn(async () => {
        try {
          await file.appendFile(`${broken ? '\n' : ''}${JSON.stringify(record)}\n`);
          broken = false;
        } catch (cause) {
          broken = true;
          throw failure(path, 'written', cause);
        }
      }),
    reopen: () =>
      inTurn(async () => {
        const old = file;
        ({ file, broken } = await opened());
        await old.close().catch(() => {});
      }),
    close: () => inTurn(() => file.close()),
  };
}

async function endsBroken(file: FileHandle): Promise<boolean> {
  const { size } = await file.stat();
  if (size === 0) return false;
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1);
  return buffer[0] !== 0x0a;
}

function failure(path: string, what: 'opened' | 'written', cause: unknown): Error {
  return new Error(`the audit file ${path} cannot be ${what}: ${whyUnwritten(cause)}`, { cause });
}
