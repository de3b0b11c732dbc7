/**
 * Scoring: how often the float network and its program name the right class, and the same one, on labelled images.
 *
 * A pool shares the images out. What a program computes is clear.ts's exact fixed point; a private run differs from it by
 * rounding and by what comparisons leave out, so that one simulated private run of each image is scored beside it.
 */

import { linearErrorsOf } from '../../protocol/inference/errors.ts';
import type { Pool } from '../../protocol/pool/index.ts';
import { runClear } from '../../protocol/program/clear.ts';
import { encodeInput } from '../../protocol/program/input.ts';
import type { Model } from '../../protocol/program/model.ts';
import type { Program } from '../../protocol/program/program.ts';
import { revealing, runSimulated } from '../../protocol/program/simulate.ts';
import { deriveSeed, Prg } from '../../protocol/random/index.ts';
import { macsOf } from '../../protocol/ring/shape.ts';
import { indexOfLargest } from '../../protocol/ring/tensor.ts';
import { ModelError } from '../errors.ts';
import { type Graph, preprocess, runFloat } from '../graph/index.ts';

/** Labelled images: pixels 0..255, [image][C][H][W], and the class of each. */
export interface ScoredImages {
  readonly pixels: Uint8Array;
  readonly labels: Uint8Array;
}

/** Counts of images. */
export interface Score {
  readonly images: number;
  /** Images that the program names right. */
  readonly fixedRight: number;
  /** Images that a simulated private run names right, and that it names as the program does in the clear. */
  readonly simulatedRight: number;
  readonly simulatedAgreeing: number;
  /** Images that the float network names right, and that both name the same; undefined without a float network. */
  readonly floatRight: number | undefined;
  readonly agreeing: number | undefined;
  /** Values of all images that leave the range their layer was compiled for. */
  readonly outOfRange: number;
  /** Images with such values: their private results mean nothing. */
  readonly imagesOutOfRange: number;
}

/** One piece of work. */
export interface ScoreInput extends ScoredImages {
  readonly model: Model;
  /** The float network; left out, the program alone is scored. */
  readonly graph?: Graph | undefined;
  /** Number of the first image among those that are scored in pieces: simulated runs are seeded by it; default: 0. */
  readonly first?: number;
}

/** Public: it draws simulated shares, no secret. */
const SEED = new Uint8Array(16).fill(3);

/** Scores images one after the other. */
export function score({ model, graph, pixels, labels, first = 0 }: ScoreInput): Score {
  const logits = { ...model, program: revealing(model.program, { reveal: 'logits' }) };
  const size = pixels.length / labels.length;
  let fixedRight = 0;
  let simulatedRight = 0;
  let simulatedAgreeing = 0;
  let floatRight = 0;
  let agreeing = 0;
  let outOfRange = 0;
  let imagesOutOfRange = 0;
  const errors = linearErrorsOf(model.program);
  labels.forEach((label, i) => {
    const image = pixels.subarray(i * size, (i + 1) * size);
    const input = encodeInput(
      model.program,
      Float32Array.from(image, (p) => p / 255),
    );
    const before = outOfRange;
    const fixed = indexOfLargest(
      runClear(logits, input, (_step, _value, count) => {
        outOfRange += count;
      }),
    );
    if (outOfRange > before) imagesOutOfRange++;
    if (fixed === label) fixedRight++;
    const random = new Prg(deriveSeed(SEED, 'score', first + i));
    const simulated = indexOfLargest(runSimulated(logits, input, random, errors));
    if (simulated === label) simulatedRight++;
    if (simulated === fixed) simulatedAgreeing++;
    if (graph === undefined) return;
    const float = indexOfLargest(runFloat(graph, preprocess(graph.input, image)));
    if (float === label) floatRight++;
    if (float === fixed) agreeing++;
  });
  return {
    images: labels.length,
    fixedRight,
    simulatedRight,
    simulatedAgreeing,
    floatRight: graph && floatRight,
    agreeing: graph && agreeing,
    outOfRange,
    imagesOutOfRange,
  };
}

/** Tasks of a pool that scores. */
export const scoreTasks: {
  score: typeof score;
} = { score };

/** Multiplications of a task, a few seconds: pools end tasks that take minutes. Each takes the whole model along. LOCAL. */
const TASK_MACS = 2e9;

/** Images of a task. */
function imagesOfTask({ steps }: Program, images: number, workers: number): number {
  const macs = steps.reduce(
    (sum, step) => sum + (step.op === 'linear' ? macsOf(step.shape) : 0),
    0,
  );
  return Math.max(1, Math.min(Math.ceil(images / workers), Math.floor(TASK_MACS / macs)));
}

/**
 * Scores images on all workers of a pool.
 * @throws ModelError `data` when there is no image, or images and labels do not belong together
 */
export async function scoreAll(pool: Pool<typeof scoreTasks>, input: ScoreInput): Promise<Score> {
  const { pixels, labels } = input;
  const size = pixels.length / labels.length;
  if (!(Number.isInteger(size) && size > 0)) {
    throw new ModelError(
      'data',
      `${pixels.length} pixels are no whole number for ${labels.length} labels`,
    );
  }
  const each = imagesOfTask(input.model.program, labels.length, pool.workers);
  const parts: Promise<Score>[] = [];
  for (let from = 0; from < labels.length; from += each) {
    parts.push(
      pool.run('score', {
        ...input,
        pixels: pixels.slice(from * size, (from + each) * size),
        labels: labels.slice(from, from + each),
        first: from,
      }),
    );
  }
  const scores = await Promise.all(parts);
  const sum = (count: (score: Score) => number) => scores.reduce((n, score) => n + count(score), 0);
  const float = input.graph !== undefined;
  return {
    images: labels.length,
    fixedRight: sum((s) => s.fixedRight),
    simulatedRight: sum((s) => s.simulatedRight),
    simulatedAgreeing: sum((s) => s.simulatedAgreeing),
    floatRight: float ? sum((s) => s.floatRight!) : undefined,
    agreeing: float ? sum((s) => s.agreeing!) : undefined,
    outOfRange: sum((s) => s.outOfRange),
    imagesOutOfRange: sum((s) => s.imagesOutOfRange),
  };
}

/** A score as one sentence. */
export function formatScore(score: Score): string {
  const percent = (n: number) => `${((100 * n) / score.images).toFixed(2)} %`;
  const { floatRight, agreeing, fixedRight, outOfRange, imagesOutOfRange } = score;
  const simulated = `in a simulated private run ${percent(score.simulatedRight)}, with the label of fixed point for ${percent(score.simulatedAgreeing)}`;
  const float =
    floatRight === undefined || agreeing === undefined
      ? ''
      : `, in float ${percent(floatRight)}; the same label for ${percent(agreeing)}`;
  return `${score.images} images: right in fixed point ${percent(fixedRight)}${float}; ${simulated}; ${outOfRange} values out of range, of ${imagesOutOfRange} images`;
}
