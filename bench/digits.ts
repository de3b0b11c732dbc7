/** The shipped digit network as both sides of the benchmark take it: float graph, compiled model, images. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Graph, loadGraph } from '../models/graph/index.ts';
import { drawDigit } from '../models/zoo/draw.ts';
import { decodeModel, type Model } from '../protocol/program/model.ts';
import { zooFolder } from './zoo.ts';

export interface Digits {
  readonly graph: Graph;
  readonly model: Model;
  /** Path of the `.sotto` file. */
  readonly path: string;
  /** Our own drawing of each digit, pixels 0..255. */
  readonly images: readonly Uint8Array[];
}

export function loadDigits(): Digits {
  const folder = zooFolder();
  const path = join(folder, 'digits.sotto');
  return {
    graph: loadGraph(readFileSync(join(folder, 'digits.sottonet'))),
    model: decodeModel(readFileSync(path)),
    path,
    images: Array.from({ length: 10 }, (_, digit) => drawDigit(digit)),
  };
}
