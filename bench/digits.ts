/** The shipped digit network as both sides of the benchmark take it: float graph, compiled model, images. */

import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Graph, loadGraph } from '../models/graph/index.ts';
import { drawDigit } from '../models/zoo/draw.ts';
import { decodeModel, type Model } from '../protocol/program/model.ts';

export interface Digits {
  readonly graph: Graph;
  readonly model: Model;
  /** Path of the `.sotto` file. */
  readonly path: string;
  /** Our own drawing of each digit, pixels 0..255. */
  readonly images: readonly Uint8Array[];
}

export function loadDigits(): Digits {
  const path = zooFile('digits.sotto');
  return {
    graph: loadGraph(readFileSync(zooFile('digits.sottonet'))),
    model: decodeModel(readFileSync(path)),
    path,
    images: Array.from({ length: 10 }, (_, digit) => drawDigit(digit)),
  };
}

/** Data files are not built: the repository's root is one level up from the sources, two from the built files. */
function zooFile(name: string): string {
  const [source, built] = ['..', '../..'].map((up) =>
    fileURLToPath(new URL(`${up}/models/zoo/${name}`, import.meta.url)),
  );
  return existsSync(source!) ? source! : built!;
}
