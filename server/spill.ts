/**
 * Bundles on disk, for sessions that are to outlive the process: FOLDER/TICKET/NUMBER, encrypted.
 *
 * - **Once.** A bundle is used by whoever removes its file. Only then, and when the folder is flushed to the disk, does anything that
 *   depends on the bundle leave. A second process, or the same one after a crash, does not find it. Several processes on one
 *   machine may share a folder. A folder that is copied and put back, or a machine that is, makes spent bundles good again: do neither.
 * - **Secret.** AES-256-GCM under a key that takes both a file of the operator's and the client's ticket, which is on no disk. The
 *   program, hint, weights and number are authenticated: a bundle of another model is not found.
 * - **Bounded** in bytes and time. What cannot be kept lives in memory alone, as without a store.
 */

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import {
  mkdir,
  open,
  readdir,
  readFile,
  rm,
  rmdir,
  stat,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { bulkCopy } from '../protocol/bulk.ts';
import { ProtocolError } from '../protocol/errors.ts';
import { makeFolder, placeFile, readWhole, whyUnwritten } from '../protocol/files.ts';
import type { ServerBundle } from '../protocol/inference/bundle.ts';
import { digestOf } from '../protocol/program/encode.ts';
import type { OfferedModel } from './models.ts';

/** Options of {@link Spill.open}. */
export interface SpillOptions {
  /** Made when it is not there, for its owner alone. */
  readonly folder: string;
  /** 32 random bytes in a file for its owner alone; made when it is not there. */
  readonly keyFile: string;
  /** How long bundles are kept after anything was written beside them, in ms. */
  readonly keepMs: number;
  /** Bytes of all bundles in the folder. What other processes write there is seen once a minute. */
  readonly mostBytes: number;
  /** Called with why bundles are not kept, once for each reason in a row. */
  readonly onTrouble: (message: string) => void;
}

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** How often the folder is looked through, in ms. LOCAL. */
const SWEEP_MS = 60_000;

/** A store of bundles on disk. */
export class Spill {
  readonly #options: SpillOptions;
  readonly #key: Uint8Array;
  readonly #sweeper: ReturnType<typeof setInterval>;
  /** Bytes in the folder, as last measured, and what this process has written and removed since. */
  #bytes = 0;
  #trouble: string | undefined;

  private constructor(options: SpillOptions, key: Uint8Array) {
    this.#options = options;
    this.#key = key;
    this.#sweeper = setInterval(() => void this.#sweep(), SWEEP_MS).unref();
  }

  /**
   * Opens a store.
   * @throws Error with one sentence when the folder or the key cannot be used, or others may read them
   */
  static async open(options: SpillOptions): Promise<Spill> {
    const { folder, keyFile } = options;
    makeFolder(folder, 0o700);
    await checkPrivate(folder);
    const spill = new Spill(options, await readKey(keyFile));
    await spill.#sweep();
    return spill;
  }

  /** What is kept under a ticket, of an offer. */
  async of(ticket: Uint8Array, offer: OfferedModel): Promise<SpilledTicket> {
    const { folder, keepMs } = this.#options;
    const secrets = Buffer.from(
      hkdfSync('sha256', this.#key, ticket, 'sotto spill', 16 + KEY_BYTES),
    );
    const path = join(folder, secrets.subarray(0, 16).toString('hex'));
    const spilled = new SpilledTicket(path, {
      keepMs,
      key: secrets.subarray(16),
      binding: Buffer.concat([digestOf(offer.program), offer.hint.digest, offer.weights]),
      reserve: (bytes) => this.#reserve(bytes),
      trouble: (error) => this.#report(error),
    });
    await spilled.look();
    return spilled;
  }

  close(): void {
    clearInterval(this.#sweeper);
  }

  /** Whether there is room for so many bytes more; negative ones give room back. */
  #reserve(bytes: number): boolean {
    if (this.#bytes + bytes > this.#options.mostBytes) {
      this.#report(new Error(`they have more than ${this.#options.mostBytes} bytes`));
      return false;
    }
    this.#bytes = Math.max(0, this.#bytes + bytes);
    return true;
  }

  #report(error: Error | undefined): void {
    const { message } = error ?? {};
    if (message !== undefined && message !== this.#trouble) {
      this.#options.onTrouble(`prepared inferences are kept in memory alone: ${message}`);
    }
    this.#trouble = message;
  }

  /** Removes what no client has come back for, for a session that lives writes more often, and measures what is left. */
  async #sweep(): Promise<void> {
    const { folder, keepMs } = this.#options;
    let bytes = 0;
    for (const name of await readdir(folder).catch(() => [])) {
      if (!/^[0-9a-f]{32}$/.test(name)) continue;
      const path = join(folder, name);
      if (await isOlder(path, keepMs)) await rm(path, { recursive: true, force: true });
      for (const size of (await sizesIn(path)).values()) bytes += size;
    }
    this.#bytes = bytes;
  }
}

interface TicketParts {
  readonly keepMs: number;
  readonly key: Uint8Array;
  /** Of what the bundles are. */
  readonly binding: Uint8Array;
  reserve(bytes: number): boolean;
  /** Tells why something could not be kept, or that something was. */
  trouble(error: Error | undefined): void;
}

/** The bundles that are kept under one ticket. */
export class SpilledTicket {
  readonly #path: string;
  readonly #parts: TicketParts;
  /** Bytes of each file. */
  #files = new Map<number, number>();

  constructor(path: string, parts: TicketParts) {
    this.#path = path;
    this.#parts = parts;
  }

  /**
   * Looks into the folder, where other processes keep and use bundles as well.
   * @returns the numbers of those that were there when it was last looked, and are not: they are spent
   */
  async look(): Promise<number[]> {
    const known = this.#files;
    if (await isOlder(this.#path, this.#parts.keepMs)) {
      await rm(this.#path, { recursive: true, force: true });
    }
    this.#files = await sizesIn(this.#path);
    return [...known.keys()].filter((number) => !this.#files.has(number));
  }

  /** Above all numbers that are kept. */
  get next(): number {
    return Math.max(-1, ...this.#files.keys()) + 1;
  }

  /** The bundles of these numbers, as far as they are there, in order. */
  async load(numbers: readonly number[]): Promise<ServerBundle[]> {
    const bundles: ServerBundle[] = [];
    for (const number of numbers) {
      const file = this.#files.has(number)
        ? await readFile(this.#fileOf(number)).catch(() => undefined)
        : undefined;
      const bundle = file && this.#decrypt(number, file);
      if (bundle !== undefined) bundles.push(bundle);
    }
    return bundles;
  }

  /**
   * Writes a bundle, if there is room.
   * @throws ProtocolError `lost` when another process has prepared one of that number: the client has come back there
   */
  async keep(bundle: ServerBundle): Promise<void> {
    const file = this.#encrypt(bundle);
    if (!this.#parts.reserve(file.length)) return;
    try {
      await mkdir(this.#path, { mode: 0o700 }).catch(except('EEXIST'));
      // A file that is cut short does not decrypt.
      await writeFile(this.#fileOf(bundle.number), file, { flag: 'wx', mode: 0o600 });
      this.#files.set(bundle.number, file.length);
      this.#parts.trouble(undefined);
    } catch (error) {
      this.#parts.reserve(-file.length);
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') {
        throw new ProtocolError('lost', 'the client has come back to another process');
      }
      await unlink(this.#fileOf(bundle.number)).catch(() => {});
      this.#parts.trouble(new Error(whyUnwritten(error), { cause: error }));
    }
  }

  /**
   * Removes a bundle, which may be used when this resolves; nothing to do for one that was not kept.
   * @throws ProtocolError `bad-message` when another process has used it
   */
  async burn(number: number): Promise<void> {
    if (!this.#files.has(number)) return;
    this.#drop(number);
    try {
      await unlink(this.#fileOf(number));
    } catch (error) {
      except('ENOENT')(error as NodeJS.ErrnoException);
      throw new ProtocolError('bad-message', `bundle ${number} is not ready: it is spent`);
    }
    await flushFolder(this.#path);
  }

  /** Removes all bundles but these. */
  async retain(numbers: readonly number[]): Promise<void> {
    for (const number of [...this.#files.keys()]) {
      if (numbers.includes(number)) continue;
      this.#drop(number);
      await unlink(this.#fileOf(number)).catch(() => {});
    }
    if (this.#files.size === 0) await rmdir(this.#path).catch(() => {});
  }

  #drop(number: number): void {
    this.#parts.reserve(-this.#files.get(number)!);
    this.#files.delete(number);
  }

  #fileOf(number: number): string {
    return join(this.#path, String(number));
  }

  #context(number: number): Uint8Array {
    return Buffer.concat([
      this.#parts.binding,
      Uint8Array.from(new Uint8Array(Uint32Array.of(number).buffer)),
    ]);
  }

  #encrypt(bundle: ServerBundle): Uint8Array {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#parts.key, nonce);
    cipher.setAAD(this.#context(bundle.number));
    const body = cipher.update(serialize(copied(bundle, (array) => array.slice())));
    return Buffer.concat([nonce, body, cipher.final(), cipher.getAuthTag()]);
  }

  /** Undefined when it is damaged, or of something else. */
  #decrypt(number: number, file: Uint8Array): ServerBundle | undefined {
    try {
      const body = file.subarray(NONCE_BYTES, -TAG_BYTES);
      const decipher = createDecipheriv(
        'aes-256-gcm',
        this.#parts.key,
        file.subarray(0, NONCE_BYTES),
      );
      decipher.setAAD(this.#context(number));
      decipher.setAuthTag(file.subarray(-TAG_BYTES));
      const plain = Buffer.concat([decipher.update(body), decipher.final()]);
      // Each array in memory by itself, which may move to a thread.
      return copied(deserialize(plain) as ServerBundle, (array) =>
        array instanceof Int32Array ? bulkCopy(array, Int32Array) : bulkCopy(array, Uint8Array),
      );
    } catch {
      return undefined;
    }
  }
}

/** A copy of plain data, its arrays of numbers copied by `copy`. */
function copied<T>(value: T, copy: (array: Uint8Array | Int32Array) => Uint8Array | Int32Array): T {
  const of = (part: unknown): unknown => {
    if (part instanceof Uint8Array || part instanceof Int32Array) return copy(part);
    if (part instanceof Map) return new Map([...part].map(([key, own]) => [key, of(own)]));
    if (Array.isArray(part)) return part.map(of);
    if (typeof part !== 'object' || part === null) return part;
    return Object.fromEntries(Object.entries(part).map(([key, own]) => [key, of(own)]));
  };
  return of(value) as T;
}

/** The operator's key; a fresh one where there is none. */
async function readKey(path: string): Promise<Uint8Array> {
  const there = await stat(path).catch(() => undefined);
  // Or another process has made it meanwhile.
  if (there === undefined) await placeFile(path, randomBytes(KEY_BYTES), 0o600);
  const key = await readWhole(path, { most: 1024 });
  await checkPrivate(path);
  if (key.length === KEY_BYTES) return key;
  throw new Error(`${path}: expected a key of ${KEY_BYTES} bytes, got ${key.length}`);
}

/** @throws Error with one sentence when others than the owner may get at it */
async function checkPrivate(path: string): Promise<void> {
  const { mode } = await stat(path);
  if ((mode & 0o077) === 0) return;
  throw new Error(`${path} may be read or changed by other users: chmod go= ${path}`);
}

/** Whether anything was last written in a folder longer ago than that. */
async function isOlder(folder: string, ms: number): Promise<boolean> {
  const stats = await stat(folder).catch(() => undefined);
  return stats !== undefined && Date.now() - stats.mtimeMs > ms;
}

/** Bytes of the bundles in a ticket's folder, by their numbers. */
async function sizesIn(folder: string): Promise<Map<number, number>> {
  const names = await readdir(folder).catch(() => []);
  const numbers = names.map(Number).filter(Number.isSafeInteger);
  const sizes = new Map<number, number>();
  for (const number of numbers.sort((a, b) => a - b)) {
    const stats = await stat(join(folder, String(number))).catch(() => undefined);
    if (stats !== undefined) sizes.set(number, stats.size);
  }
  return sizes;
}

/** What was removed from a folder stays removed, even if the machine stops now. */
async function flushFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Rethrows all errors but those of one code. */
function except(code: string): (error: NodeJS.ErrnoException) => undefined {
  return (error) => {
    if (error.code !== code) throw error;
  };
}
