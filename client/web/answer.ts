/** The answer, and what the server got in the picture's place. */

import { unpack } from '../../protocol/ring/packing.ts';
import type { Inference } from '../browser.ts';
import { percentText, worthText } from './certainty.ts';
import { element } from './elements.ts';
import type { ShownModel } from './models.ts';
import { sharesOf, showChart, verdictOf } from './results.ts';
import { correlation, paint, paintBytes } from './seen.ts';

/** Shows the noise of the latest answer; undefined where there is none for the picture. */
let showNoise: (() => void) | undefined;

/** Clears what was shown of an answer. */
export function forget(): void {
  showNoise = undefined;
  element('verdict').textContent = element('certainty').textContent = '';
  element('note').textContent = '';
  element('chart').replaceChildren();
  element('steps').hidden = element('nothing').hidden = false;
  element('leaving-title').textContent = 'What the server gets';
  element('traffic').textContent = '';
  const leaving = element<HTMLCanvasElement>('leaving');
  leaving.getContext('2d')!.clearRect(0, 0, leaving.width, leaving.height);
}

/** Shows, when nothing leaves any more, what left in the picture's place. */
export function settlePicture(): void {
  if (showNoise === undefined) forget();
  else showNoise();
}

/** Shows what leaves while it does. */
export function showLeaving({ shape }: ShownModel, bytes: Uint8Array): void {
  element('leaving-title').textContent = 'Leaving now';
  element('nothing').hidden = true;
  paintBytes(element('leaving'), shape, bytes);
}

/** Shows what a model said, and how sure it may be said to be. */
export function showAnswer(answering: ShownModel, result: Inference): void {
  const shares = sharesOf(result, answering);
  element('steps').hidden = true;
  element('verdict').textContent = verdictOf(result);
  element('certainty').textContent =
    shares === undefined ? '' : percentText(shares[result.label!]!);
  showChart(element('chart'), answering.labels, shares);
  element('note').textContent = worthText(answering.accuracy, answering.temperature);
}

/**
 * Shows what left in the place of a picture.
 * @param masked - packed numbers
 * @param bits - of each
 */
export function showSeen(
  { shape }: ShownModel,
  pixels: Float32Array,
  masked: Uint8Array,
  bits: number,
): void {
  const sent = unpack(masked, pixels.length, bits);
  const upper = (i: number) => (sent[i]! << (32 - bits)) >>> 24;
  paint(element('input'), shape, (i) => 255 * pixels[i]!);
  paint(element('masked'), shape, upper);
  showNoise = () => {
    paint(element('leaving'), shape, upper);
    element('nothing').hidden = true;
    element('leaving-title').textContent = 'What the server got';
  };
  // Rounded first, so that nothing is called minus zero.
  const common = String(Math.round(100 * correlation(pixels, sent)) / 100).replace('-', '−');
  element('seen-text').textContent =
    `${sent.length.toLocaleString('en')} numbers of ${bits} bits, each one uniformly random to the server; the picture shows ` +
    `their upper 8 bits. Their correlation with your image is ${common}. Ask for the same image again: other numbers, same answer.`;
}
