/**
 * How long it takes to measure the ranges of networks for ImageNet on sample images, on all threads of the machine.
 *
 *   node dist/bench/calibration.js [IMAGES] [--interpreter]     (20 images by default)
 */

import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { measureAll, type measureTasks, type Wanted } from '../models/compile/measure.ts';
import { elements, type Graph, runFloat } from '../models/graph/index.ts';
import { mobileNetV2, resNet50 } from '../models/networks/index.ts';
import { createThreadPool } from '../protocol/pool/node.ts';
import { Prg } from '../protocol/random/index.ts';
import { figure, table } from './report.ts';

/** What measuring one network took. */
export interface CalibrationRate {
  readonly network: string;
  readonly images: number;
  readonly threads: number;
  readonly seconds: number;
  /** Of the double-precision interpreter for one image, on one thread. */
  readonly interpreter?: number;
}

/** Noise as images: what measuring takes does not depend on them. */
function noise(graph: Graph, images: number): Float32Array[] {
  const random = new Prg(new Uint8Array(16));
  return Array.from({ length: images }, () => {
    const bytes = new Uint8Array(elements(graph.input.shape));
    random.fill(bytes);
    return Float32Array.from(bytes, (byte) => byte / 64 - 2);
  });
}

/** What the compiler asks for: every value, and what activation layers read by kind. */
function wishes(graph: Graph): Map<string, Wanted> {
  const wanted = new Map<string, Wanted>();
  for (const node of graph.nodes) {
    // Those before norms are no values of the compiled network.
    if (node.op !== 'conv') wanted.set(node.id, { id: node.id });
    if (node.op === 'activation') {
      wanted.set(`${node.id} reads`, { id: node.inputs[0], kinds: node.kinds });
    }
  }
  return wanted;
}

/**
 * Measures networks with random weights on random images.
 * @param interpreted whether the interpreter runs one image of each, too
 */
export async function benchCalibration(
  images: number,
  threads: number,
  interpreted = false,
): Promise<CalibrationRate[]> {
  const networks: readonly (readonly [string, Graph])[] = [
    ['MobileNetV2', mobileNetV2()],
    ['ResNet-50', resNet50()],
  ];
  const rates: CalibrationRate[] = [];
  for (const [network, graph] of networks) {
    const samples = noise(graph, images);
    const pool = createThreadPool<typeof measureTasks>(
      new URL('../models/compile/worker.js', import.meta.url),
      { workers: threads },
    );
    try {
      const started = performance.now();
      await measureAll(pool, graph, wishes(graph), samples);
      const seconds = (performance.now() - started) / 1000;
      rates.push({
        ...{ network, images, threads, seconds },
        ...(interpreted && { interpreter: interpret(graph, samples[0]!) }),
      });
    } finally {
      await pool.close();
    }
  }
  return rates;
}

function interpret(graph: Graph, image: Float32Array): number {
  const started = performance.now();
  runFloat(graph, image);
  return (performance.now() - started) / 1000;
}

/** The rates as a Markdown table. */
export function calibrationTable(rates: readonly CalibrationRate[]): string {
  const rows = rates.map(({ network, images, threads, seconds, interpreter }) => [
    network,
    `${images}`,
    `${threads}`,
    figure(seconds),
    figure((1000 * seconds) / images),
    interpreter === undefined ? '' : figure(1000 * interpreter),
  ]);
  const heads = ['network', 'images', 'threads', 'seconds', 'ms/image', 'ms/image, interpreter'];
  return `Measuring ranges on images of 224x224:\n\n${table(heads, rows)}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const images = Number(process.argv[2] ?? 20);
  const interpreted = process.argv.includes('--interpreter');
  const rates = await benchCalibration(images, availableParallelism(), interpreted);
  process.stdout.write(calibrationTable(rates));
}
