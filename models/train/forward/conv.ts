/**
 * Convolutions and dense layers of a network that only computes: weights are packed once, when the layer is built.
 *
 * Three ways: depthwise convolutions cell by cell, 3x3 convolutions of stride 1 by Winograd's algorithm, and all others
 * as gathered products (layers/conv.ts says how patches are rows).
 */

import type { ConvNode } from '../../graph/index.ts';
import type { Floats, TrainingMemory } from '../kernels/index.ts';
import { paddedLength, type Value, valueSize } from '../layers/layer.ts';
import { keptFloats, suitsWinograd, tileOverhang, Winograd } from '../layers/winograd.ts';

/** Results that one panel of packed weights makes. */
const PANEL = 8;

/** As if a batch were large: kept weights are transformed once for many images. */
const MANY = 1000;

/** Room for weights that are packed anew for each image, because all packed weights would take too much memory, floats. LOCAL */
export const PACKING_ROOM: number = 1 << 22;

/** A convolution between its values. */
export interface ConvSite {
  readonly node: ConvNode;
  readonly input: Pick<Value, 'channels' | 'height' | 'width'>;
  readonly output: Pick<Value, 'channels' | 'height' | 'width'>;
}

/** How a convolution is computed. */
export type Way = 'depthwise' | 'winograd' | 'gathered' | 'gatheredAnew';

function isDepthwise({ node, input, output }: ConvSite): boolean {
  return node.groups === input.channels && input.channels === output.channels && node.groups > 1;
}

/** Floats that packed weights take. */
function packedFloats({ node, input, output }: ConvSite): number {
  const cells = node.kernel[0] * node.kernel[1];
  const panels = node.groups * Math.ceil(output.channels / node.groups / PANEL);
  return (panels * PANEL * cells * input.channels) / node.groups;
}

/**
 * Chooses how to compute a convolution, and how many floats its weights take.
 * @param left floats that weights may take
 */
export function chooseWay(site: ConvSite, left: number): { way: Way; floats: number } {
  const { node, input, output } = site;
  if (isDepthwise(site)) {
    return {
      way: 'depthwise',
      floats: node.kernel[0] * node.kernel[1] * paddedLength(input.channels),
    };
  }
  const transformed = keptFloats(input.channels, output.channels);
  if (suitsWinograd(node, input.channels, output, MANY) && transformed <= left) {
    return { way: 'winograd', floats: transformed };
  }
  const packed = packedFloats(site);
  return packed <= left ? { way: 'gathered', floats: packed } : { way: 'gatheredAnew', floats: 0 };
}

/** What stands around the input: the node's pads, and what tiles read beside them. */
export function padsOf({ node, output }: ConvSite, way: Way): ConvNode['pads'] {
  if (way !== 'winograd') return node.pads;
  const [top, left, bottom, right] = node.pads;
  return [top, left, bottom + tileOverhang(output.height), right + tileOverhang(output.width)];
}

/** Floats of the padded input, 0 where there is nothing around it. */
export function paddedSize(site: ConvSite, way: Way): number {
  const [top, left, bottom, right] = padsOf(site, way);
  if (top + left + bottom + right === 0) return 0;
  const { channels, height, width } = site.input;
  return (top + height + bottom) * (left + width + right) * channels;
}

/** What a layer of {@link forwardConv} is built from. */
export interface ConvParts {
  readonly memory: TrainingMemory;
  readonly node: ConvNode;
  readonly input: Value;
  readonly output: Value;
  readonly weight: Float32Array;
  readonly bias: Float32Array | undefined;
  readonly way: Way;
  /** For padded inputs of all convolutions, one after the other. */
  readonly scratch: Floats;
}

/** A function that computes the output from the input, of one image. */
export function forwardConv(parts: ConvParts): () => void {
  const { memory, output, bias, way, scratch } = parts;
  const image = surround(parts, padsOf(parts, way), scratch);
  const vector = memory.floats(paddedLength(output.channels));
  if (bias !== undefined) vector.data.set(bias);
  if (way === 'depthwise') return depthwise(parts, image, vector.at);
  const add = way === 'winograd' ? tiles(parts, image) : products(parts, image);
  const pixels = output.height * output.width;
  return () => {
    memory.maps.channelFill(vector.at, output.value.at, pixels, output.channels);
    image.refresh();
    add();
  };
}

interface Surrounded {
  readonly at: number;
  readonly width: number;
  readonly imageSize: number;
  refresh(): void;
}

/** The input with zeros around it, in the scratch; the input itself where there is nothing around. */
function surround(
  { memory, input }: ConvParts,
  [top, left, bottom, right]: ConvNode['pads'],
  { at, data }: Floats,
): Surrounded {
  const { channels, height } = input;
  const width = left + input.width + right;
  const imageSize = (top + height + bottom) * width * channels;
  if (imageSize === valueSize(input)) {
    return { at: input.value.at, width, imageSize, refresh() {} };
  }
  const row = 4 * width * channels;
  const first = at + top * row + 4 * left * channels;
  const bytes = 4 * input.width * channels;
  return {
    ...{ at, width, imageSize },
    refresh() {
      data.fill(0, 0, imageSize);
      memory.maps.copyRows(first, row, 0, input.value.at, bytes, 0, bytes, height, 1);
    },
  };
}

/** Offsets of the grid of places `down` and `across` apart. */
function offsets(rows: number, columns: number, down: number, across: number): number[] {
  return Array.from(
    { length: rows * columns },
    (_, i) => Math.floor(i / columns) * down + (i % columns) * across,
  );
}

function depthwise(parts: ConvParts, image: Surrounded, bias: number): () => void {
  const { memory, node, output, weight } = parts;
  const { channels, height, width } = output;
  const [kh, kw] = node.kernel;
  const cells = kh * kw;
  const row = image.width * channels;
  const table = memory.table(
    offsets(height, width, node.stride[0] * row, node.stride[1] * channels),
  );
  const window = memory.table(offsets(kh, kw, row, channels));
  const w = memory.floats(cells * paddedLength(channels));
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < cells; i++) w.data[i * paddedLength(channels) + c] = weight[c * cells + i]!;
  }
  const pixels = height * width;
  return () => {
    image.refresh();
    const y = output.value.at;
    const call = [image.at, table, window, cells, w.at, bias, y, pixels, channels, 1, 0] as const;
    memory.forward.depthwise(...call);
  };
}

function tiles(parts: ConvParts, image: Surrounded): () => void {
  const { memory, input, output, weight } = parts;
  const { channels } = input;
  const shape = {
    ...{ channels, results: output.channels, height: output.height, width: output.width },
    weight: (cell: number, j: number, c: number) => (c * channels + j) * 9 + cell,
  };
  const winograd = new Winograd(memory, 1, shape, image, weight);
  return () => winograd.addProducts(image.at, undefined, output.value.at);
}

function products(parts: ConvParts, image: Surrounded): () => void {
  const { memory, node, input, output, way } = parts;
  const { groups, stride } = node;
  const [kh, kw] = node.kernel;
  const cg = input.channels / groups;
  const og = output.channels / groups;
  const row = image.width * input.channels;
  const xTable = memory.table(
    offsets(output.height, output.width, stride[0] * row, stride[1] * input.channels),
  );
  const yTable = memory.table(
    offsets(output.height, output.width, output.width * output.channels, output.channels),
  );
  // With one group, the numbers of a kernel row lie side by side.
  const runs = groups === 1 ? offsets(kh, 1, row, 0) : offsets(kh, kw, row, input.channels);
  const segments = memory.table(runs);
  const length = (kh * kw * cg) / runs.length;
  const pixels = output.height * output.width;
  const panels = Math.ceil(og / PANEL);
  const panelSize = PANEL * kh * kw * cg;
  const run = (g: number, from: number, to: number, w: number): void => {
    const x = image.at + 4 * g * cg;
    const y = output.value.at + 4 * (g * og + PANEL * from);
    const channels = Math.min(og, PANEL * to) - PANEL * from;
    const fixed = [pixels, channels, 1, 0, 0] as const;
    memory.gather.products(x, xTable, segments, runs.length, length, w, y, yTable, ...fixed);
  };
  if (way === 'gathered') {
    const all = memory.floats(groups * panels * panelSize);
    for (let g = 0; g < groups; g++) {
      pack(parts, g, 0, panels, all.data.subarray(g * panels * panelSize));
    }
    return () => {
      for (let g = 0; g < groups; g++) run(g, 0, panels, all.at + 4 * g * panels * panelSize);
    };
  }
  const room = memory.shared('packing room', Math.max(PACKING_ROOM, panelSize));
  const together = Math.max(1, Math.floor(room.data.length / panelSize));
  return () => {
    for (let g = 0; g < groups; g++) {
      for (let from = 0; from < panels; from += together) {
        const to = Math.min(panels, from + together);
        pack(parts, g, from, to, room.data);
        run(g, from, to, room.at);
      }
    }
  };
}

/** Packs the weights of some panels of a group as kernels/assembly/gather.ts takes them. */
function pack(
  { node, input, output, weight }: ConvParts,
  group: number,
  from: number,
  to: number,
  out: Float32Array,
): void {
  const cells = node.kernel[0] * node.kernel[1];
  const cg = input.channels / node.groups;
  const og = output.channels / node.groups;
  const row = cg * cells;
  let at = 0;
  for (let panel = from; panel < to; panel++) {
    const lanes = Math.min(PANEL, og - PANEL * panel);
    const first = (group * og + PANEL * panel) * row;
    for (let cell = 0; cell < cells; cell++) {
      for (let ch = 0; ch < cg; ch++, at += PANEL) {
        let w = first + ch * cells + cell;
        for (let lane = 0; lane < lanes; lane++, w += row) out[at + lane] = weight[w]!;
        for (let lane = lanes; lane < PANEL; lane++) out[at + lane] = 0;
      }
    }
  }
}
