/** The server's models, and the choice among them. */

import { KINDS, type KindCounts, kindOf } from '../../protocol/program/kinds.ts';
import { bytesText } from '../progress.ts';

/** A model as the server's /models.json describes it; its activation elements by kind. */
export interface ShownModel extends KindCounts {
  readonly name: string;
  readonly about?: string;
  /** Share of test images that it classifies rightly, 0..1. */
  readonly accuracy?: number;
  /** What its logits are divided by before a softmax. */
  readonly temperature?: number;
  readonly labels: readonly string[];
  /** [channels, height, width]. */
  readonly shape: readonly [number, number, number];
  /** Bytes of its hint, fetched once. */
  readonly hint: number;
  /** Bytes of each inference: to prepare it, and with the image; up leaves the browser. */
  readonly offline: { readonly up: number; readonly down: number };
  readonly online: { readonly up: number; readonly down: number };
  /** The model that this one is with half gates for comparison. */
  readonly halfGatesOf?: string;
}

/** Images to try with the models that take this shape and say these labels. */
export interface Examples extends Pick<ShownModel, 'shape' | 'labels'> {
  readonly folder: string;
  readonly files: readonly string[];
}

/** @throws Error with one sentence when the server tells of no models */
export async function fetchModels(): Promise<readonly ShownModel[]> {
  const response = await fetch('models.json').catch(() => undefined);
  if (!response?.ok) throw new Error('The server does not say which models it has');
  return response.json();
}

/** None where there is no list. */
export async function fetchExamples(): Promise<readonly Examples[]> {
  const response = await fetch('examples.json').catch(() => undefined);
  return response?.ok ? response.json() : [];
}

/** What a model knows: those that take the same shape and say the same labels are asked the same pictures. */
export const subjectOf = ({ shape, labels }: Pick<ShownModel, 'shape' | 'labels'>): string =>
  `${shape} ${labels}`;

/** Is it a network for digits, which wants them centred? */
export function ofDigits({ labels, shape }: ShownModel): boolean {
  return shape.join() === '1,28,28' && labels.join('') === '0123456789';
}

/** Models to choose among: those that know the same things stand together, those with the most ReLUs first. */
export function bySubject(models: readonly ShownModel[]): readonly (readonly ShownModel[])[] {
  const groups = new Map<string, ShownModel[]>();
  for (const model of models) {
    if (model.halfGatesOf !== undefined) continue;
    const subject = subjectOf(model);
    groups.set(subject, [...(groups.get(subject) ?? []), model]);
  }
  return [...groups.values()].map((group) => group.sort((a, b) => b.relus - a.relus));
}

/** The network that a model is of, by the names that reduced ones have: NETWORK-BUDGET. */
function networkOf({ name, relus }: ShownModel): string {
  const [, network, budget] = /^(.+)-(\d+)$/.exec(name) ?? [];
  // Other numbers, like that of a ResNet-18, are no budgets: there are more ReLUs.
  return network !== undefined && relus <= Number(budget) ? network : name;
}

/** The model's network at the most and at the fewest ReLUs that the server offers; undefined where that is one. */
export function budgetsOf(
  model: ShownModel,
  group: readonly ShownModel[],
): readonly [ShownModel, ShownModel] | undefined {
  const same = group.filter((other) => networkOf(other) === networkOf(model));
  const [most, fewest] = [same[0]!, same.at(-1)!];
  return most.relus > fewest.relus ? [most, fewest] : undefined;
}

/** The model with half gates, and as it is; undefined where the server does not offer both. */
export function comparisonsOf(
  model: ShownModel,
  models: readonly ShownModel[],
): readonly [ShownModel, ShownModel] | undefined {
  const halfGates = models.find(({ halfGatesOf }) => halfGatesOf === model.name);
  return halfGates && [halfGates, model];
}

const reluText = (relus: number) => `${relus.toLocaleString('en')} ReLUs`;

/** How far apart two budgets are. */
export function budgetsText(most: ShownModel, fewest: ShownModel): string {
  const share = Math.round((100 * fewest.relus) / most.relus);
  return `${most.name} has ${reluText(most.relus)}, ${fewest.name} has ${share} % of them.`;
}

/** How alike two comparisons are. */
export function comparisonsText({ relus }: ShownModel, { name }: ShownModel): string {
  return `The same network, ${name} with its ${reluText(relus)}: once with half gates, once with the encoding.`;
}

/**
 * Fills a select with models in their groups.
 * @param groups - as {@link bySubject} makes them: none is empty
 */
export function fillModels(
  select: HTMLSelectElement,
  groups: readonly (readonly ShownModel[])[],
): void {
  select.replaceChildren(
    ...groups.map((models) => {
      const group = document.createElement('optgroup');
      const [channels, height, width] = models[0]!.shape;
      const colours = channels === 1 ? 'gray' : 'colour';
      group.label = models[0]!.about ?? `Images of ${width}x${height}, ${colours}`;
      group.append(
        ...models.map(({ name, relus }) => new Option(`${name}, ${reluText(relus)}`, name)),
      );
      return group;
    }),
  );
}

/** What there is to know of a model, as sentences. */
export function aboutText({ about, hint, offline, online }: ShownModel): string {
  const ahead = bytesText(offline.up + offline.down);
  const then = bytesText(online.up + online.down);
  const what = about === undefined ? '' : `${about}. `;
  return `${what}It moves ${bytesText(hint)} once for this model, then ${ahead} ahead of time and ${then} with each image.`;
}

/** Shows what a model's activations are, as one bar. */
export function showMix(bar: HTMLElement, counts: KindCounts): void {
  const kinds = KINDS.map(kindOf);
  bar.ariaLabel = `Activations: ${kinds
    .map(({ plural, count }) => `${counts[count].toLocaleString('en')} ${plural}`)
    .join(', ')}`;
  bar.title = bar.ariaLabel;
  bar.replaceChildren(
    ...kinds.map(({ count }) => {
      const part = document.createElement('i');
      part.className = count;
      part.style.flexGrow = String(counts[count]);
      return part;
    }),
  );
}
