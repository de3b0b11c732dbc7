/** The files that `sotto serve` serves: read at its start, and again when it is told to. */

import { readWhole } from '../protocol/files.ts';
import { RELU } from '../protocol/program/kinds.ts';
import type { Program } from '../protocol/program/program.ts';
import type { Notice } from './events-text.ts';
import type { ModelCard, NamedModel, RunningServer } from './index.ts';
import { loadModelFile } from './models.ts';
import { type CheckedTls, readTls } from './tls.ts';

/** Which files. */
export interface FilePaths {
  readonly models: readonly string[];
  /** Whether the first model is offered with half gates as well, for the demo page to show what they take. */
  readonly halfGates: boolean;
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
}

/** What was read. */
export class ServedFiles {
  readonly paths: FilePaths;
  readonly models: NamedModel[];
  /** What the demo page says of the models, by name. */
  readonly cards: Map<string, ModelCard>;
  tls: CheckedTls | undefined;

  /** What is offered: the models of the files, and behind them what is made of the first. */
  get offered(): readonly NamedModel[] {
    return [...this.models, ...this.#halfGatesOf(0)];
  }

  private constructor(paths: FilePaths, models: NamedModel[], tls: CheckedTls | undefined) {
    this.paths = paths;
    this.models = models;
    this.cards = new Map();
    this.tls = tls;
  }

  /** @throws Error with one sentence that names the file which cannot be used */
  static async read(paths: FilePaths): Promise<ServedFiles> {
    const tls = paths.tls && (await readTls(paths.tls.cert, paths.tls.key));
    const models = await Promise.all(paths.models.map(loadModelFile));
    const files = new ServedFiles(paths, models, tls);
    for (const i of models.keys()) files.#setCard(i, await readCard(paths.models[i]!));
    return files;
  }

  /** A file's model with half gates, where that is offered too. Its hint comes from no file: it has a new secret, and lives in memory. */
  #halfGatesOf(i: number, { name, model } = this.models[i]!): readonly NamedModel[] {
    const { program } = model;
    const own = `${name}-half-gates`;
    const taken = this.models.some((other) => other.name === own);
    if (!this.paths.halfGates || i > 0 || taken || !comparesEncoded(program)) return [];
    return [{ name: own, model: { ...model, program: { ...program, comparison: 'garbled' } } }];
  }

  #setCard(i: number, card: ModelCard): void {
    const { name } = this.models[i]!;
    this.cards.set(name, card);
    for (const other of this.#halfGatesOf(i)) {
      this.cards.set(other.name, { ...card, halfGatesOf: name });
    }
  }

  /** Reads all again and has a server use what has changed. What cannot be used is kept as it was. Never rejects. */
  async readAgain(server: RunningServer, tell: (notice: Notice) => void): Promise<void> {
    for (const i of this.models.keys()) {
      const file = this.paths.models[i]!;
      await reportingFailure(file, tell, () => this.#model(i, server, tell));
    }
    if (this.paths.tls === undefined) return;
    const { cert, key } = this.paths.tls;
    await reportingFailure(cert, tell, async () => {
      const tls = await readTls(cert, key);
      const { tls: old } = this;
      if (old !== undefined && same(tls.cert, old.cert) && same(tls.key, old.key)) return;
      await server.reload({ tls });
      this.tls = tls;
      tell({ type: 'reloaded', file: cert });
      if (tls.warning !== undefined) tell({ type: 'certificate', message: tls.warning });
    });
  }

  async #model(i: number, server: RunningServer, tell: (notice: Notice) => void): Promise<void> {
    const file = this.paths.models[i]!;
    const [model, card] = [await loadModelFile(file), await readCard(file)];
    const changed = !same(model.file!.digest, this.models[i]!.file!.digest);
    if (changed) {
      await server.reload({ models: [model, ...this.#halfGatesOf(i, model)] });
      this.models[i] = model;
    }
    this.#setCard(i, card);
    if (!changed) return;
    const names = server.models.find(({ name }) => name === model.name)!;
    tell({ type: 'reloaded', file, model: names });
  }
}

/** Would half gates make another program of it? */
const comparesEncoded = ({ comparison, steps }: Program): boolean =>
  comparison === 'encoded' &&
  steps.some((step) => step.op === 'activation' && step.kinds.includes(RELU));

/** Does something with a file, and tells when that fails. */
export async function reportingFailure(
  file: string,
  tell: (notice: Notice) => void,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    tell({ type: 'kept', file, message: (error as Error).message });
  }
}

const same = (a: string | Uint8Array, b: string | Uint8Array): boolean =>
  Buffer.from(a).equals(Buffer.from(b));

/** What the card beside a model file, NAME.json for NAME.sotto, says; nothing when there is none. */
async function readCard(path: string): Promise<ModelCard> {
  let card: Record<string, unknown>;
  try {
    card = JSON.parse(Buffer.from(await readWhole(path.replace(/\.sotto$/, '.json'))).toString());
  } catch {
    return {};
  }
  const { about, fixedPointTestAccuracy: accuracy } = card;
  const { temperature } = Object(card['certainty']) as { temperature?: unknown };
  return {
    about: typeof about === 'string' ? about : undefined,
    accuracy: typeof accuracy === 'number' ? accuracy : undefined,
    temperature: typeof temperature === 'number' && temperature > 0 ? temperature : undefined,
  };
}
