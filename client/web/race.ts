/** Two models answer the same picture: what each takes, side by side. */

import type { Inference, Session } from '../browser.ts';
import { bytesText, timeText } from '../progress.ts';
import { percentText } from './certainty.ts';
import type { ShownModel } from './models.ts';
import { barOf, part, sharesOf, verdictOf } from './results.ts';

/** What one of them came to. */
export interface Lap {
  /** What it is called beside the other. */
  readonly name: string;
  readonly model: ShownModel;
  readonly result: Inference;
}

/** Answers twice; the second counts. */
export async function secondAnswer(
  session: Session,
  pixels: Float32Array,
  signal: AbortSignal,
): Promise<Inference> {
  await session.infer(pixels, { signal });
  return session.infer(pixels, { signal });
}

const bytesOf = ({ bytesUp, bytesDown }: Inference['stats']['online']) => bytesUp + bytesDown;

const measures: readonly {
  readonly title: string;
  readonly value: (stats: Inference['stats']) => number;
  readonly text: (value: number) => string;
}[] = [
  { title: 'Time with the image', value: ({ online }) => online.ms, text: timeText },
  { title: 'Bytes with the image', value: ({ online }) => bytesOf(online), text: bytesText },
  { title: 'Time ahead of it', value: ({ offline }) => offline.ms, text: timeText },
  { title: 'Bytes ahead of it', value: ({ offline }) => bytesOf(offline), text: bytesText },
];

function answerText({ model, result }: Lap): string {
  const shares = sharesOf(result, model);
  const sure = shares === undefined ? '' : `, ${percentText(Math.max(...shares))}`;
  return `${verdictOf(result)}${sure}`;
}

/** Shows the laps that are over: for each measure two bars from zero, the longer one full. */
export function showLaps(place: HTMLElement, laps: readonly Lap[]): void {
  const answers = document.createElement('p');
  answers.textContent = laps.map((lap) => `${lap.name}: ${answerText(lap)}.`).join(' ');
  place.replaceChildren(
    answers,
    ...measures.map(({ title, value, text }) => {
      const group = document.createElement('div');
      const heading = document.createElement('h4');
      heading.textContent = title;
      const most = Math.max(...laps.map(({ result }) => value(result.stats)));
      const lanes = laps.map(({ name, result }) => {
        const lane = part('lane', '');
        const took = value(result.stats);
        lane.append(part('name', name), barOf(took / most), part('share', text(took)));
        return lane;
      });
      group.append(heading, ...lanes);
      return group;
    }),
  );
}
