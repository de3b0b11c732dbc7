/**
 * Networks that other people trained and exported, read from their ONNX files: points of the stand, and how the compiled
 * network differs from the one in float. The files are no part of the repository: they are looked for where data sets are.
 */

import { join } from 'node:path';
import { encoded } from '../models/compile/fidelity.ts';
import { compileMeasured, measureAll, prepare } from '../models/compile/index.ts';
import { type measureTasks, runFast } from '../models/compile/measure.ts';
import { elements, type Graph, preprocess } from '../models/graph/index.ts';
import { type OnnxOptions, readOnnxFile } from '../models/onnx/index.ts';
import { dataFolder, missing, readCifar10 } from '../models/train/index.ts';
import { createThreadPool } from '../protocol/pool/node.ts';
import { runClear } from '../protocol/program/clear.ts';
import { decodeLogits } from '../protocol/program/input.ts';
import type { Model } from '../protocol/program/model.ts';
import type { OutputStep } from '../protocol/program/program.ts';
import { resultSize } from '../protocol/program/results.ts';
import { Prg, randomBytes } from '../protocol/random/index.ts';
import { timed } from './measure.ts';
import type { BenchPoint } from './points.ts';
import type { FidelityResult } from './results.ts';

/** Where the files are. */
const FOLDER = 'onnx-nets';

/** A network as its author meant it. */
interface OnnxSubject {
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

const SUBJECTS: readonly OnnxSubject[] = [
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

/** Images to measure ranges on, and to compare on. */
const CALIBRATION = 16;
const COMPARED = 4;

/**
 * All of them.
 * @throws Error where the files are not there
 */
export function onnxPoints(): BenchPoint[] {
  const folder = dataFolder(FOLDER);
  if (folder === undefined) throw new Error(missing(FOLDER));
  return SUBJECTS.map(({ name, file, options, photographs }) => ({
    id: `onnx/${name}`,
    network: name,
    weights: 'trained',
    comparison: 'encoded',
    async make() {
      const graph = readOnnxFile(join(folder, `${file}.onnx`), options);
      const images = photographs ? photos(COMPARED + CALIBRATION) : undefined;
      const pixels = images ?? smoothImages(graph.input.shape, COMPARED + CALIBRATION);
      const { ms, result: model } = await timed(() =>
        compileOn(graph, pixels.slice(COMPARED), name),
      );
      const fidelity = fidelityOf(graph, model, pixels.slice(0, COMPARED));
      return {
        model,
        image: pixels[0]!,
        fidelity: { ...fidelity, compileSeconds: ms / 1000 },
      };
    },
  }));
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

/**
 * How the model differs from its network in float on images. Of several results each number is the worst one's, as a part of the
 * root mean square that this result has in float.
 */
function fidelityOf(
  graph: Graph,
  model: Model,
  pixels: readonly Uint8Array[],
): Omit<FidelityResult, 'compileSeconds'> {
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
  const { program } = model;
  const { tolerance } = program.steps.at(-1) as OutputStep;
  let end = 0;
  const parts = program.results.map(({ shape, bits }) => {
    const start = end;
    end += resultSize(shape);
    const pairs = float.flatMap((one, i) =>
      [...one.subarray(start, end)].map((value, at) => [value, fixed[i]![start + at]!] as const),
    );
    const rms = (values: readonly number[]): number =>
      Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / values.length);
    const size = rms(pairs.map(([value]) => value));
    const differences = pairs.map(([value, own]) => Math.abs(value - own));
    return {
      relative: rms(differences) / size,
      largest: Math.max(...differences) / size,
      tolerance: tolerance / 2 ** bits / size,
    };
  });
  const worst = (of: (part: (typeof parts)[number]) => number) => Math.max(...parts.map(of));
  return {
    relative: worst(({ relative }) => relative),
    largest: worst(({ largest }) => largest),
    tolerance: worst(({ tolerance }) => tolerance),
    images: images.length,
    outside,
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
