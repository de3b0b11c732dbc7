/** The models that a running server offers. They may be exchanged while sessions of the old ones go on. */

import type { PublishedHint } from '../protocol/inference/session.ts';
import { digestOf, hexOf } from '../protocol/program/encode.ts';
import { type NamedModel, type OfferedModel, type OfferOptions, offerModels } from './models.ts';

/** What names an offered model, to clients and in records: digests of 64 hexadecimal digits. */
export interface ModelNames {
  readonly name: string;
  /** SHA-256 of the program. */
  readonly program: string;
  /** Salted SHA-256 of the weights. */
  readonly weights: string;
  /** SHA-256 of the hint. */
  readonly hint: string;
}

/** Offers by name, and the hints that clients may ask for. */
export class Offers {
  readonly models: Map<string, OfferedModel>;
  /** By SHA-256: of the offered models, and of earlier ones as long as sessions of those may ask for them. */
  readonly hints: Map<string, Uint8Array> = new Map();
  readonly #options: OfferOptions;
  #last: Promise<void> = Promise.resolve();

  private constructor(models: Map<string, OfferedModel>, options: OfferOptions) {
    this.models = models;
    this.#options = options;
    for (const { hint } of models.values()) this.#publish(hint);
  }

  /** @throws as `offerModels` does */
  static async of(models: readonly NamedModel[], options: OfferOptions): Promise<Offers> {
    return new Offers(await offerModels(models, options), options);
  }

  get names(): ModelNames[] {
    return [...this.models.values()].map(({ name, program, weights, hint }) => ({
      name,
      program: hexOf(digestOf(program)),
      weights: hexOf(weights),
      hint: hexOf(hint.digest),
    }));
  }

  /**
   * Offers models in place of those of the same name, or beside the others: all of them or, when it throws, none. Calls take effect in
   * the order in which they were made.
   * @param sessions - settles when those are over that run at the time of the exchange
   * @throws as `offerModels` does
   */
  exchange(models: readonly NamedModel[], sessions: () => Promise<unknown>): Promise<void> {
    const exchanged = this.#last.then(async () => {
      const offers = await offerModels(models, this.#options);
      const old = [...offers.keys()].flatMap((name) => this.models.get(name) ?? []);
      for (const offer of offers.values()) {
        this.models.set(offer.name, offer);
        this.#publish(offer.hint);
      }
      void sessions().then(() => this.#withdraw(old));
    });
    this.#last = exchanged.catch(() => {});
    return exchanged;
  }

  #publish({ digest, bytes }: PublishedHint): void {
    this.hints.set(hexOf(digest), bytes);
  }

  /** A model may have come back meanwhile. */
  #withdraw(old: readonly OfferedModel[]): void {
    const current = new Set(this.names.map(({ hint }) => hint));
    for (const { hint } of old) {
      const digest = hexOf(hint.digest);
      if (!current.has(digest)) this.hints.delete(digest);
    }
  }
}
