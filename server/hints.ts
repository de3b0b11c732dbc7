/**
 * A model's hint, kept beside the model: for NAME.sotto
 *
 *   NAME.sotto.hint          the public bytes, nothing else
 *   NAME.sotto.hint-secret   JSON, for the server's user alone (mode 600): the secret that the hint is made with, and of what it
 *                            was made last
 *
 * Two hints of one model, parameters and secret must be the same to the last bit: where they differ, their difference tells of
 * the secret. So the secret is made once, and every process that serves the model uses it; what it makes for another model or
 * other parameters draws everything anew (see {@link HintSecret}).
 *
 * Any number of processes may start at once. The secret comes into being whole or not at all, and they all use the first. Each
 * may make the hint: they make the same bytes, which replace each other whole.
 *
 * Where the folder cannot be written the hint lives in memory, with a fresh secret when none is kept: the server works,
 * but the next start makes another hint, which every client has to get again.
 */

import { createHash } from 'node:crypto';
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import * as z from 'zod';
import { placeFile, readWhole, replaceFile } from '../protocol/files.ts';
import type { HintSecret } from '../protocol/inference/hint.ts';
import { hexOf } from '../protocol/program/encode.ts';
import { type Random, randomBytes, systemRandom } from '../protocol/random/index.ts';

/** A model file, as it was when it was read. */
export interface ModelFile {
  readonly path: string;
  /** SHA-256 of its bytes. */
  readonly digest: Uint8Array;
}

/** A hint to be had. */
export interface HintRequest {
  /** SHA-256 of the program. */
  readonly program: Uint8Array;
  /** Names the parameters: a hint that was made with others is made again. */
  readonly version: string;
  /** Length of the hint. */
  readonly bytes: number;
  /** Makes it, each time the same bytes for the same secret. */
  make(secret: HintSecret): Promise<Uint8Array>;
  /** Where a new secret comes from; default: the system's randomness. */
  readonly random?: Random | undefined;
}

/** A model's hint, its secret, and whether they outlive this process. */
export interface KeptHint extends HintSecret {
  readonly hint: Uint8Array;
  /** SHA-256 of the hint. */
  readonly digest: Uint8Array;
  /** It was made by this call, not read. */
  readonly made: boolean;
  /** Why the hint is in memory alone, in one sentence; undefined when it is kept beside the model. */
  readonly unkept: string | undefined;
}

/** Where a model's hint and its secret are kept. */
export function hintPaths(model: string): { readonly hint: string; readonly secret: string } {
  return { hint: `${model}.hint`, secret: `${model}.hint-secret` };
}

/** Permissions of the two files. Only the secret has something to hide. */
const MODES = { hint: 0o644, secret: 0o600 };

/** Temporary files older than this were left behind by a process that was killed, in ms. LOCAL. */
const LEFT_BEHIND_MS = 60 * 60_000;

const hexadecimal = (bytes: number) => z.string().regex(new RegExp(`^[0-9a-f]{${2 * bytes}}$`));

const secretFile = z.strictObject({
  format: z.literal(1),
  secret: hexadecimal(16),
  generation: z.int().min(0).max(0xffffffff),
  /** The last hint, and of what it was made; null before the first. */
  made: z
    .strictObject({
      program: hexadecimal(32),
      model: hexadecimal(32),
      version: z.string(),
      hint: hexadecimal(32),
    })
    .nullable(),
});

type SecretFile = z.infer<typeof secretFile>;

const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
const sha256 = (bytes: Uint8Array): Uint8Array =>
  Uint8Array.from(createHash('sha256').update(bytes).digest());

/**
 * The hint kept beside a model. It is made, and kept, when there is none, when it was made of another model or with other
 * parameters, and when its file is damaged.
 * @param model - undefined for one that comes from no file: its hint lives in memory
 * @throws Error with one sentence when others may read the secret, its file is not one, or the same secret and model now make
 *   another hint; whatever `make` throws
 */
export async function loadOrMakeHint(
  model: ModelFile | undefined,
  request: HintRequest,
): Promise<KeptHint> {
  const fresh = newSecret(request.random);
  if (model === undefined) return inMemory(fresh, request, 'the model comes from no file');
  const paths = hintPaths(model.path);
  let own: SecretFile;
  try {
    own = (await readSecret(paths.secret)) ?? (await keepSecret(paths.secret, fresh));
  } catch (error) {
    return inMemory(fresh, request, whyUnkept(paths.secret, error));
  }
  const recipe = {
    program: hexOf(request.program),
    model: hexOf(model.digest),
    version: request.version,
  };
  const known = madeOf(own, recipe);
  if (known !== undefined) {
    const hint = await readHint(paths.hint, request.bytes);
    const digest = hint && sha256(hint);
    if (hint && digest && hexOf(digest) === known) {
      return { ...secretOf(own), hint, digest, made: false, unkept: undefined };
    }
  }
  const result = await make(own, request);
  // Another process may have made it meanwhile.
  const now = await readSecret(paths.secret).catch(() => undefined);
  const agreed = known ?? (now?.secret === own.secret ? madeOf(now, recipe) : undefined);
  const actual = hexOf(result.digest);
  if (agreed !== undefined && agreed !== actual) {
    throw new Error(
      `${paths.secret}: the same model and secret made another hint before, and both together would tell of the weights; ` +
        'serve with the release that made it, or remove both files for a hint with a new secret',
    );
  }
  let unkept: string | undefined;
  try {
    await replaceFile(paths.hint, result.hint, MODES.hint);
    const made = { ...recipe, hint: actual };
    await replaceFile(paths.secret, encodeSecret({ ...own, made }), MODES.secret);
    await sweep(model.path);
  } catch (error) {
    unkept = whyUnkept(paths.hint, error);
  }
  return { ...result, unkept };
}

async function inMemory(
  secret: SecretFile,
  request: HintRequest,
  unkept: string,
): Promise<KeptHint> {
  return { ...(await make(secret, request)), unkept };
}

async function make(own: SecretFile, request: HintRequest): Promise<Omit<KeptHint, 'unkept'>> {
  const secret = secretOf(own);
  const hint = await request.make(secret);
  if (hint.length !== request.bytes) {
    throw new RangeError(`hint: expected ${request.bytes} bytes, made ${hint.length}`);
  }
  return { ...secret, hint, digest: sha256(hint), made: true };
}

/** Digest of the hint that was made of this, if it was the last one. */
function madeOf(
  { made }: SecretFile,
  recipe: Readonly<Record<'program' | 'model' | 'version', string>>,
): string | undefined {
  const same =
    made?.program === recipe.program &&
    made.model === recipe.model &&
    made.version === recipe.version;
  return same ? made.hint : undefined;
}

function newSecret(random: Random = systemRandom): SecretFile {
  return { format: 1, secret: hexOf(randomBytes(random, 16)), generation: 1, made: null };
}

function secretOf({ secret, generation }: SecretFile): HintSecret {
  return { secret: bytesOf(secret), generation };
}

function encodeSecret(file: SecretFile): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(file, null, 2)}\n`);
}

/** The kept secret; undefined when there is none. */
async function readSecret(path: string): Promise<SecretFile | undefined> {
  let text: string;
  let mode: number;
  try {
    ({ mode } = await stat(path));
    text = Buffer.from(await readWhole(path)).toString();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  // Windows keeps permissions elsewhere.
  if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
    throw new Error(
      `${path}: its permissions are ${(mode & 0o777).toString(8)}, so that others may use the secret in it: ` +
        'set them to 600, or remove the file for a new secret if it may have been read',
    );
  }
  try {
    return secretFile.parse(JSON.parse(text));
  } catch (cause) {
    const what = 'this is not the secret of a hint, or one of a later release';
    throw new Error(`${path}: ${what}; remove it for a new secret`, { cause });
  }
}

/** Keeps a secret where there is none yet; the one that is kept, which may be another process's. */
async function keepSecret(path: string, own: SecretFile): Promise<SecretFile> {
  if (await placeFile(path, encodeSecret(own), MODES.secret)) return own;
  // Another's may be gone again by now.
  return (await readSecret(path)) ?? keepSecret(path, own);
}

/** The bytes of a kept hint; undefined when they cannot be read or are not so many. */
async function readHint(path: string, bytes: number): Promise<Uint8Array | undefined> {
  try {
    // Whatever lies there under this name is not to fill the memory.
    if ((await stat(path)).size !== bytes) return undefined;
    return await readFile(path);
  } catch {
    return undefined;
  }
}

/** Removes the temporary files of processes that were killed. */
async function sweep(model: string): Promise<void> {
  const { hint, secret } = hintPaths(basename(model));
  for (const name of await readdir(dirname(model))) {
    const own = [hint, secret].some((start) => name.startsWith(`${start}.`));
    if (!own || !/\.[0-9a-f]{16}\.tmp$/.test(name)) continue;
    const path = join(dirname(model), name);
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Number.POSITIVE_INFINITY }));
    if (Date.now() - mtimeMs > LEFT_BEHIND_MS) await rm(path, { force: true });
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

/** Why a file could not be kept, as a sentence for the operator. Throws what is no failure of the file system. */
function whyUnkept(path: string, error: unknown): string {
  const code = codeOf(error);
  if (code === undefined) throw error;
  return (
    `the hint is not kept, because ${dirname(path)} cannot be used (${code}): let this user read and write the files ` +
    `${basename(path)} and the like there, or every start makes another hint that clients must get again`
  );
}
