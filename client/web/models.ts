/** The server's models, and the choice among them. */

import { KINDS, type KindCounts, kindOf } from '../../protocol/program/kinds.ts';
import { bytesText } from '../progress.ts';

/** A model as the server's /models.json describes it; its activation elements by kind. */
export interface ModelSummary extends KindCounts {
  readonly name: string;
  readonly about?: string;
  readonly accuracy?: number;
  readonly labels: readonly string[];
  readonly shape: readonly [number, number, number];
  /** Bytes of its hint, fetched once. */
  readonly hint: number;
  readonly offline: { readonly up: number; readonly down: number };
  readonly online: { readonly up: number; readonly down: number };
}

/** @throws Error with one sentence when the server tells of no models */
export async function fetchModels(): Promise<readonly ModelSummary[]> {
  const response = await fetch('models.json').catch(() => undefined);
  if (!response?.ok) throw new Error('The server does not say which models it has.');
  return response.json();
}

/** File names of images to try, by family of networks; none where there is no list. */
export async function fetchExamples(): Promise<Readonly<Record<string, readonly string[]>>> {
  const response = await fetch('examples.json').catch(() => undefined);
  return response?.ok ? response.json() : {};
}

/** Is it a network for digits, which wants them centred? */
export function ofDigits({ labels, shape }: ModelSummary): boolean {
  return shape.join() === '1,28,28' && labels.join('') === '0123456789';
}

/** Fills the fieldset: models that classify the same stand together, those with the most ReLUs first. */
export function showModels(
  fieldset: HTMLFieldSetElement,
  models: readonly ModelSummary[],
  choose: (model: ModelSummary) => void,
): void {
  const families = new Map<string, ModelSummary[]>();
  for (const model of models) {
    const key = `${model.shape} ${model.labels}`;
    families.set(key, [...(families.get(key) ?? []), model]);
  }
  fieldset.querySelector('p')?.remove();
  for (const family of families.values()) {
    const title = document.createElement('p');
    title.className = 'family';
    const [channels, height, width] = family[0]!.shape;
    const colours = channels === 1 ? 'gray' : 'colour';
    title.textContent = family[0]!.about ?? `Images of ${width}x${height}, ${colours}`;
    fieldset.append(title);
    for (const model of family.sort((a, b) => b.relus - a.relus)) {
      fieldset.append(choiceOf(model, model === models[0], choose));
    }
  }
}

/** What its activations are, as one bar. */
function mixBar(counts: KindCounts): HTMLElement {
  const bar = document.createElement('span');
  bar.className = 'mix';
  bar.role = 'img';
  const kinds = KINDS.map(kindOf);
  bar.ariaLabel = `Activations: ${kinds
    .map(({ plural, count }) => `${counts[count].toLocaleString('en')} ${plural}`)
    .join(', ')}`;
  bar.title = bar.ariaLabel;
  for (const { count } of kinds) {
    const part = document.createElement('i');
    part.className = count;
    part.style.flexGrow = String(counts[count]);
    bar.append(part);
  }
  return bar;
}

function choiceOf(
  model: ModelSummary,
  checked: boolean,
  choose: (model: ModelSummary) => void,
): HTMLLabelElement {
  const { name, relus, accuracy, hint, offline, online } = model;
  const label = document.createElement('label');
  label.className = 'choice';
  const radio = document.createElement('input');
  radio.type = 'radio';
  radio.name = 'model';
  radio.value = name;
  radio.checked = checked;
  radio.addEventListener('change', () => choose(model));
  const part = (className: string, text: string) => {
    const span = document.createElement('span');
    span.className = className;
    span.textContent = text;
    return span;
  };
  const ahead = bytesText(offline.up + offline.down);
  const then = bytesText(online.up + online.down);
  const right = accuracy === undefined ? '' : `${(100 * accuracy).toFixed(1)} % right · `;
  label.append(
    radio,
    part('name', name),
    part('relus', `${relus.toLocaleString('en')} ReLUs`),
    part(
      'detail',
      `${right}once: ${bytesText(hint)} for this model; ${ahead} ahead, ${then} with the image`,
    ),
    mixBar(model),
  );
  return label;
}
