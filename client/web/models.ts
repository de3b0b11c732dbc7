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
}

/** @throws Error with one sentence when the server tells of no models */
export async function fetchModels(): Promise<readonly ShownModel[]> {
  const response = await fetch('models.json').catch(() => undefined);
  if (!response?.ok) throw new Error('The server does not say which models it has');
  return response.json();
}

/** File names of images to try, by family of networks; none where there is no list. */
export async function fetchExamples(): Promise<Readonly<Record<string, readonly string[]>>> {
  const response = await fetch('examples.json').catch(() => undefined);
  return response?.ok ? response.json() : {};
}

/** Is it a network for digits, which wants them centred? */
export function ofDigits({ labels, shape }: ShownModel): boolean {
  return shape.join() === '1,28,28' && labels.join('') === '0123456789';
}

/** Models that classify the same images alike stand together, those with the most ReLUs first. */
export function familiesOf(models: readonly ShownModel[]): readonly (readonly ShownModel[])[] {
  const families = new Map<string, ShownModel[]>();
  for (const model of models) {
    const key = `${model.shape} ${model.labels}`;
    families.set(key, [...(families.get(key) ?? []), model]);
  }
  return [...families.values()].map((family) => family.sort((a, b) => b.relus - a.relus));
}

/** The networks of a family with the most and the fewest ReLUs; undefined where the server offers only one. */
export function contendersOf(
  family: readonly ShownModel[],
): readonly [ShownModel, ShownModel] | undefined {
  const [most, fewest] = [family[0]!, family.at(-1)!];
  return most.relus > fewest.relus ? [most, fewest] : undefined;
}

const reluText = (relus: number) => `${relus.toLocaleString('en')} ReLUs`;

/** How far apart two networks are. */
export function rivalryText(most: ShownModel, fewest: ShownModel): string {
  const share = Math.round((100 * fewest.relus) / most.relus);
  return `${most.name} has ${reluText(most.relus)}, ${fewest.name} has ${share} % of them.`;
}

/**
 * Fills a select with models, a group for each family.
 * @param families - as {@link familiesOf} makes them: none is empty
 */
export function fillModels(
  select: HTMLSelectElement,
  families: readonly (readonly ShownModel[])[],
): void {
  select.replaceChildren(
    ...families.map((family) => {
      const group = document.createElement('optgroup');
      const [channels, height, width] = family[0]!.shape;
      const colours = channels === 1 ? 'gray' : 'colour';
      group.label = family[0]!.about ?? `Images of ${width}x${height}, ${colours}`;
      group.append(
        ...family.map(({ name, relus }) => new Option(`${name}, ${reluText(relus)}`, name)),
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
