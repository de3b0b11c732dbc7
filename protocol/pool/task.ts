/** A task on its way over a thread boundary: calling it, and bringing its output or error back. */

import { ProtocolError, type ProtocolErrorCode } from '../errors.ts';

/** Tasks by name. */
// biome-ignore lint/suspicious/noExplicitAny: a table holds functions of any input
export type TaskTable = Readonly<Record<string, (input: any) => unknown>>;

/** What task `K` takes. */
export type Input<T extends TaskTable, K extends keyof T> = Parameters<T[K]>[0];

/** What task `K` gives. */
export type Output<T extends TaskTable, K extends keyof T> = ReturnType<T[K]>;

/** What goes to a worker. */
export interface Request {
  readonly task: string;
  readonly input: unknown;
}

/** Class of the language that an error keeps on its way, whatever its own is; ProtocolErrors come back as what they are. */
type Base = 'RangeError' | 'TypeError' | 'Error';

const CLASSES: Readonly<Record<Base, ErrorConstructor>> = { RangeError, TypeError, Error };

/** An error on its way: cloning alone would strip it of its class, name and code. */
export interface PackedError {
  readonly base: Base;
  readonly name: string;
  readonly message: string;
  readonly code: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly stack: string | undefined;
  readonly cause: PackedError | undefined;
}

/** What comes back. */
export type Outcome =
  | { readonly ok: true; readonly output: unknown }
  | { readonly ok: false; readonly error: PackedError };

/** Causes of causes that go along. */
const CAUSES = 4;

/** An error, or whatever was thrown, for its way to another thread. */
export function packError(thrown: unknown, causes: number = CAUSES): PackedError {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const { name, message, stack, cause } = error;
  const { code, retryAfterMs } = error as { code?: unknown; retryAfterMs?: number };
  const base = (['RangeError', 'TypeError'] as const).find((own) => error instanceof CLASSES[own]);
  return {
    base: base ?? 'Error',
    name,
    message,
    code: typeof code === 'string' ? code : undefined,
    retryAfterMs,
    stack,
    cause: cause === undefined || causes === 0 ? undefined : packError(cause, causes - 1),
  };
}

/** The error with the class of the language, the name, the code and the cause that it had. */
export function unpackError(packed: PackedError): Error {
  const { base, name, message, code, retryAfterMs, stack } = packed;
  const options = packed.cause === undefined ? {} : { cause: unpackError(packed.cause) };
  let error: Error;
  if (name === 'ProtocolError') {
    error = new ProtocolError(code as ProtocolErrorCode, message, { ...options, retryAfterMs });
  } else {
    error = new CLASSES[base](message, options);
    if (name !== base) Object.assign(error, { name });
    if (code !== undefined) Object.assign(error, { code });
  }
  if (stack !== undefined) error.stack = stack;
  return error;
}

/** Calls a task by name. */
export function call(tasks: TaskTable, task: string, input: unknown): unknown {
  const run = Object.hasOwn(tasks, task) ? tasks[task] : undefined;
  if (run === undefined) throw new TypeError(`pool: there is no task named "${task}"`);
  return run(input);
}

/** In the worker: runs a task to an outcome, never throws. */
export function perform(tasks: TaskTable, { task, input }: Request): Outcome {
  try {
    return { ok: true, output: call(tasks, task, input) };
  } catch (thrown) {
    return { ok: false, error: packError(thrown) };
  }
}

/** In the caller: the output, or the task's error. */
export function unwrap(outcome: Outcome): unknown {
  if (outcome.ok) return outcome.output;
  throw unpackError(outcome.error);
}

/**
 * The buffers of `output` that may be moved instead of copied: those that a typed array in it fills completely.
 * A view of a part of a buffer says that someone else may own the rest, such as a kernel's memory.
 * @param least - bytes of the smallest to move
 */
export function transferables(output: unknown, least = 0): ArrayBuffer[] {
  const found = new Set<ArrayBuffer>();
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    if (ArrayBuffer.isView(value)) {
      const { buffer, byteLength } = value;
      const whole = buffer.byteLength === byteLength && byteLength >= least;
      if (whole && buffer instanceof ArrayBuffer) found.add(buffer);
      return;
    }
    for (const part of Object.values(value)) visit(part);
  };
  visit(output);
  return [...found];
}

/**
 * The same value whose typed arrays have their buffers to themselves, so that all of it can be moved. Not in shared memory:
 * that does not count in what makes the engine collect garbage, and most of what tasks give is read once.
 */
export function movable(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (ArrayBuffer.isView(value)) {
    const { buffer, byteLength } = value;
    if (!(buffer instanceof ArrayBuffer) || buffer.byteLength === byteLength) return value;
    return (value as Uint8Array).slice();
  }
  if (Array.isArray(value)) return value.map(movable);
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, movable(part)]));
}
