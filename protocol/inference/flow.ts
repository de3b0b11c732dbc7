/** Running work ahead while its results leave in order. */

/**
 * Results in the order they were added, at most `limit` of them under way: what bounds the memory of a stream. `emit` is
 * called for one result at a time.
 */
export class Ordered<T> {
  readonly #limit: number;
  readonly #emit: (result: T) => void | Promise<void>;
  readonly #queue: Promise<T>[] = [];

  constructor(limit: number, emit: (result: T) => void | Promise<void>) {
    this.#limit = limit;
    this.#emit = emit;
  }

  /** Adds work that has been started; waits while too much is under way. */
  async add(work: Promise<T>): Promise<void> {
    // Until its turn comes nobody awaits it; its error is not lost, it surfaces then.
    work.catch(() => {});
    this.#queue.push(work);
    while (this.#queue.length > this.#limit) await this.#next();
  }

  /** Waits until everything has been emitted. */
  async drain(): Promise<void> {
    while (this.#queue.length > 0) await this.#next();
  }

  async #next(): Promise<void> {
    await this.#emit((await this.#queue.shift()) as T);
  }
}

/** A promise that someone else resolves. */
export class Deferred<T> {
  readonly promise: Promise<T>;
  resolve!: (value: T) => void;
  reject!: (error: Error) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.promise.catch(() => {});
  }
}

/** What one loop gets from another, item by item. Who has taken an item empties its slot, so that it can be let go. */
export type Slots<T> = (Deferred<T> | undefined)[];

/** A slot for each of `items`. */
export const slotsOf = <T>(items: readonly unknown[]): Slots<T> =>
  items.map(() => new Deferred<T>());

/** Fails what is still waited for. */
export function rejectAll(
  slots: readonly (Pick<Deferred<never>, 'reject'> | undefined)[],
  error: Error,
): void {
  for (const slot of slots) slot?.reject(error);
}

/**
 * Runs loops that wait for each other through a channel. The first error ends the channel, which ends the other loops;
 * that error is thrown, after all of them have stopped. Gives what the loops gave.
 */
export async function together<T extends readonly unknown[]>(
  channel: { close(reason?: Error): void },
  ...loops: { readonly [K in keyof T]: Promise<T[K]> }
): Promise<T> {
  let first: Error | undefined;
  const results = await Promise.all(
    loops.map((loop) =>
      loop.catch((error: Error) => {
        first ??= error;
        channel.close(error);
      }),
    ),
  );
  if (first !== undefined) throw first;
  return results as unknown as T;
}
