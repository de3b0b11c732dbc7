/**
 * Networks that other people trained and exported, read from their ONNX files: what compiling them takes, how results in
 * fixed point and in private differ from those in float, and what a private run takes and moves.
 *
 * Client and server are processes of their own on loopback, as in imagenet.ts. The files are no part of the repository: they
 * are looked for where data sets are (`dataFolder`).
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encoded } from '../models/compile/fidelity.ts';
import { compileMeasured, measureAll, prepare } from '../models/compile/index.ts';
import { type measureTasks, runFast } from '../models/compile/measure.ts';
import { elements, type Graph, preprocess } from '../models/graph/index.ts';
import { type OnnxOptions, readOnnxFile } from '../models/onnx/index.ts';
import { dataFolder, missing, readCifar10 } from '../models/train/index.ts';
import { type Cost, costOf } from '../protocol/inference/cost.ts';
import { hintBytesOf } from '../protocol/inference/hint.ts';
import { layoutOf } from '../protocol/inference/layout.ts';
import { createThreadPool } from '../protocol/pool/node.ts';
import { runClear } from '../protocol/program/clear.ts';
import { decodeLogits } from '../protocol/program/input.ts';
import { countKinds } from '../protocol/program/kinds.ts';
import { encodeModel, type Model } from '../protocol/program/model.ts';
import { mapsOf, type OutputStep } from '../protocol/program/program.ts';
import { resultSize } from '../protocol/program/results.ts';
import { Prg, randomBytes } from '../protocol/random/index.ts';
import { Party } from './budget/party.ts';
import type { PartyOrders } from './imagenet-party.ts';
import { checkCost } from './inference.ts';
import { timed } from './measure.ts';
import { figure, table } from './report.ts';

/** Where the files are. */
export const ONNX_FOLDER = 'onnx-nets';

/** A network as its author meant it. */
export interface OnnxSubject {
  readonly name: string;
  readonly file: string;
  /** What is done to pixels in 0..1. */
  readonly options?: OnnxOptions;
  /** Photographs of the network's size instead of smooth noise. */
  readonly photographs?: true;
}

const each = (n: number) => [n, n, n];

/** The network takes 0..255. */
const RAW: OnnxOptions = { mean: each(0), std: each(1 / 255) };

const IMAGENET: OnnxOptions = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

export const ONNX_SUBJECTS: readonly OnnxSubject[] = [
  { name: 'MLPerf ResNet-8', file: 'mlperf_resnet8', options: RAW, photographs: true },
  { name: 'MLPerf MobileNetV1 (wake words)', file: 'mlperf_vww_mobilenetv1' },
  {
    name: 'BlazeFace 128',
    file: 'face_detection_front_128x128_barracuda',
    options: { mean: each(0.5), std: each(0.5) },
  },
  {
    name: 'UltraFace slim 320',
    file: 'ultraface_version-slim-320_without_postprocessing',
    options: { mean: each(127 / 255), std: each(128 / 255) },
  },
  { name: 'YuNet 320', file: 'yunet_n_320_320', options: RAW },
  { name: 'SqueezeNet 224', file: 'light_squeezenet', options: IMAGENET },
  { name: 'ShuffleNet 224', file: 'light_shufflenet', options: IMAGENET },
  { name: 'MobileNetV2 224 (NSFWJS)', file: 'nsfwjs_mobilenet_v2' },
];

/** How results differ from those in float; of several results the worst. */
export interface Distance {
  /** Root mean square of the differences, as a part of that of the float results. */
  readonly relative: number;
  /** Largest difference, as a part of the same. */
  readonly largest: number;
}

export interface OnnxResult {
  readonly name: string;
  readonly comparisons: number;
  /** Truncations without a comparison. */
  readonly identities: number;
  /** Measuring on the threads of the machine, then compiling on one. */
  readonly compileMs: number;
  /** On images that it was not calibrated on. */
  readonly fixed: Distance;
  /** The program's tolerance, as a part of the float results: of the worst one. */
  readonly tolerance: number;
  /** Images of those in which a value leaves its range. */
  readonly outside: number;
  readonly images: number;
  /** Of the first of them. */
  readonly private: Distance;
  readonly hintBytes: number;
  readonly hintMs: number;
  readonly cost: Cost;
  /** The fastest run of each phase. */
  readonly offlineMs: number;
  readonly onlineMs: number;
  readonly peak: { readonly client: number; readonly server: number };
}

/** A network that could not be run, and why. */
export interface OnnxFailure {
  readonly name: string;
  readonly reason: string;
}

/** Images to measure ranges on, and to compare on. */
const CALIBRATION = 16;
const COMPARED = 4;

/**
 * @param repetitions of each phase
 * @param report hears what is at work
 */
export async function benchOnnx(
  subjects: readonly OnnxSubject[],
  repetitions: number,
  report: (line: string) => void,
): Promise<(OnnxResult | OnnxFailure)[]> {
  const data = dataFolder(ONNX_FOLDER);
  if (data === undefined) {
    report(`skipped: ${missing(ONNX_FOLDER)}`);
    return [];
  }
  const results: (OnnxResult | OnnxFailure)[] = [];
  for (const subject of subjects) {
    const folder = await mkdtemp(join(tmpdir(), 'sotto-bench-'));
    const say = (what: string) => report(`${subject.name}: ${what}`);
    try {
      const graph = readOnnxFile(join(data, `${subject.file}.onnx`), subject.options);
      results.push(await benchSubject(subject, graph, folder, repetitions, say));
    } catch (error) {
      const reason = (error as Error).message;
      say(reason);
      results.push({ name: subject.name, reason });
    } finally {
      await rm(folder, { recursive: true });
    }
  }
  return results;
}

async function benchSubject(
  { name, photographs }: OnnxSubject,
  graph: Graph,
  folder: string,
  repetitions: number,
  say: (what: string) => void,
): Promise<OnnxResult> {
  const images = photographs ? photos(COMPARED + CALIBRATION) : undefined;
  const pixels = images ?? smoothImages(graph.input.shape, COMPARED + CALIBRATION);
  say('compiling');
  const made = await timed(() => compileOn(graph, pixels.slice(COMPARED), name));
  const model = made.result;
  const compared = pixels.slice(0, COMPARED);
  const fixed = compareFixed(graph, model, compared);
  const path = join(folder, 'model.sotto');
  await writeFile(path, encodeModel(model));
  say(`compiled in ${(made.ms / 1000).toFixed(0)} s`);

  const layout = layoutOf(model.program);
  const cost = costOf(layout);
  const stop = new AbortController();
  const script = new URL('./imagenet-party.js', import.meta.url);
  const start = () => new Party<PartyOrders>(script, { signal: stop.signal });
  const [server, client] = [start(), start()];
  try {
    const { url, hintMs } = await server.ask('serve', path);
    await client.ask('connect', { url, folder: join(folder, 'hints') });
    const runs: { offline: number; online: number }[] = [];
    let logits: Float32Array = new Float32Array();
    for (let i = 0; i < repetitions; i++) {
      say(`inference ${i + 1} of ${repetitions}`);
      await client.ask('prepare');
      const answer = await client.ask('infer', compared[0]!);
      checkCost(cost, answer.stats);
      runs.push({ offline: answer.stats.offline.ms, online: answer.stats.online.ms });
      logits = answer.logits!;
    }
    const [near, far] = [await client.ask('usage'), await server.ask('usage')];
    const { relus, identities } = countKinds(...mapsOf(model.program));
    return {
      name,
      comparisons: relus,
      identities,
      compileMs: made.ms,
      ...fixed,
      private: distanceOf(model, [logits], fixed.float.slice(0, 1)),
      hintBytes: hintBytesOf(layout),
      hintMs,
      cost,
      offlineMs: Math.min(...runs.map(({ offline }) => offline)),
      onlineMs: Math.min(...runs.map(({ online }) => online)),
      peak: { client: near.peakBytes, server: far.peakBytes },
    };
  } finally {
    await Promise.all([client.stop(), server.stop()]);
  }
}

/** The model, its ranges measured on all threads. */
async function compileOn(
  graph: Graph,
  pixels: readonly Uint8Array[],
  name: string,
): Promise<Model> {
  const pool = createThreadPool<typeof measureTasks>(
    new URL('../models/compile/worker.js', import.meta.url),
  );
  try {
    const images = pixels.map((image) => preprocess(graph.input, image));
    const ready = prepare(graph);
    const measured = await measureAll(pool, ready.graph, ready.wanted, images);
    return compileMeasured(ready, images, measured, { name, compareBits: 12 }).model;
  } finally {
    await pool.close();
  }
}

function compareFixed(graph: Graph, model: Model, pixels: readonly Uint8Array[]) {
  const images = pixels.map((image) => preprocess(graph.input, image));
  const float = runFast(graph, images);
  let outside = 0;
  const fixed = images.map((image) => {
    let beyond = 0;
    const raw = runClear(model, encoded(graph, model, image), (_step, _value, count) => {
      beyond += count;
    });
    if (beyond > 0) outside++;
    return decodeLogits(model.program, raw);
  });
  const { tolerance } = model.program.steps.at(-1) as OutputStep;
  const parts = partsOf(model, float).map(({ size }, i) => {
    return tolerance / 2 ** model.program.results[i]!.bits / size;
  });
  return {
    images: images.length,
    outside,
    float,
    fixed: distanceOf(model, fixed, float),
    tolerance: Math.max(...parts),
  };
}

/** The results of a model: where each begins and ends, and the root mean square of its numbers on some images. */
function partsOf({ program }: Model, float: readonly Float32Array[]) {
  let end = 0;
  return program.results.map(({ shape }) => {
    const start = end;
    end += resultSize(shape);
    const squares = float.flatMap((one) => [...one.subarray(start, end)]).map((v) => v * v);
    const size = Math.sqrt(squares.reduce((sum, v) => sum + v, 0) / squares.length);
    return { start, end, size };
  });
}

function distanceOf(
  model: Model,
  given: readonly Float32Array[],
  float: readonly Float32Array[],
): Distance {
  const distances = partsOf(model, float).map(({ start, end, size }) => {
    let [squares, largest, count] = [0, 0, 0];
    float.forEach((one, i) => {
      for (let at = start; at < end; at++, count++) {
        const difference = Math.abs(given[i]![at]! - one[at]!);
        squares += difference ** 2;
        largest = Math.max(largest, difference);
      }
    });
    return { relative: Math.sqrt(squares / count) / size, largest: largest / size };
  });
  return {
    relative: Math.max(...distances.map(({ relative }) => relative)),
    largest: Math.max(...distances.map(({ largest }) => largest)),
  };
}

/** The first of CIFAR-10's test images; undefined without the data. */
function photos(count: number): Uint8Array[] | undefined {
  const folder = dataFolder('cifar10');
  if (folder === undefined) return undefined;
  const { shape, pixels } = readCifar10(folder, 'test');
  const size = elements(shape);
  return Array.from({ length: count }, (_, i) => pixels.slice(i * size, (i + 1) * size));
}

/** Cells of the coarse grid that smooth images are drawn on. */
const CELLS = 6;

/** Images like blurred photographs: random colours on a coarse grid, linear between, with a little noise; the same always. */
function smoothImages([channels, height, width]: Graph['input']['shape'], count: number) {
  const random = new Prg(new Uint8Array(16));
  return Array.from({ length: count }, () => {
    const corners = randomBytes(random, channels * (CELLS + 1) ** 2);
    const image = randomBytes(random, channels * height * width);
    const corner = (c: number, i: number, j: number) =>
      corners[(c * (CELLS + 1) + i) * (CELLS + 1) + j]!;
    for (let c = 0, at = 0; c < channels; c++) {
      for (let row = 0; row < height; row++) {
        for (let column = 0; column < width; column++, at++) {
          const [y, x] = [(row / height) * CELLS, (column / width) * CELLS];
          const [i, j] = [Math.floor(y), Math.floor(x)];
          const between = (a: number, b: number, part: number) => a + (b - a) * part;
          const above = between(corner(c, i, j), corner(c, i, j + 1), x - j);
          const below = between(corner(c, i + 1, j), corner(c, i + 1, j + 1), x - j);
          const noise = (image[at]! - 127.5) / 10;
          image[at] = Math.max(0, Math.min(255, Math.round(between(above, below, y - i) + noise)));
        }
      }
    }
    return image;
  });
}

/** The results as a Markdown table, and below it why some could not be run. */
export function onnxTable(results: readonly (OnnxResult | OnnxFailure)[]): string {
  const percent = (part: number) => `${(100 * part).toPrecision(2)} %`;
  const megabytes = (bytes: number) => figure(bytes / 1e6);
  const seconds = (ms: number) => figure(ms / 1000);
  const both = ({ relative, largest }: Distance) => `${percent(relative)}, ${percent(largest)}`;
  const rows = results.flatMap((result) => {
    if ('reason' in result) return [];
    const { cost } = result;
    return [
      [
        result.name,
        result.comparisons.toLocaleString('en'),
        seconds(result.compileMs),
        both(result.fixed),
        both(result.private),
        percent(result.tolerance),
        `${result.outside} of ${result.images}`,
        megabytes(result.hintBytes),
        seconds(result.offlineMs),
        `${megabytes(cost.offline.up)}, ${megabytes(cost.offline.down)}`,
        seconds(result.onlineMs),
        `${megabytes(cost.online.up)}, ${megabytes(cost.online.down)}`,
        String(cost.online.rounds),
      ],
    ];
  });
  const failures = results.flatMap((result) =>
    'reason' in result ? [`${result.name}: ${result.reason}`] : [],
  );
  const head = [
    'network',
    'comparisons',
    'compiling, s',
    'fixed point, error',
    'private, error',
    'tolerance',
    'out of range',
    'hint, MB',
    'offline, s',
    'up, down, MB',
    'online, s',
    'up, down, MB',
    'rounds',
  ];
  return [table(head, rows), ...failures, ''].join('\n');
}
