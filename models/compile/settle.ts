/**
 * A network that a program can run as it stands: scales of all edges agree, and linear layers read fresh values.
 *
 * A value is fresh when the client knows its share before the server's first answer: the input and activations, through
 * local operations. Where a linear layer would read another one, a truncation ("NAME.truncate", an activation layer of
 * identities) goes in between. In a sum of one fresh value and one that is not, the latter is truncated: the sum is fresh
 * then, and the truncation can share its round with the activation that made the other.
 */

import { IDENTITY } from '../../protocol/program/kinds.ts';
import { sizeOf } from '../../protocol/ring/shape.ts';
import { channelLayer } from './affine.ts';
import type { FixedNetwork, NetworkNode, Reading } from './network.ts';
import { readersOf } from './network.ts';
import type { ChannelScales, Scales } from './scales.ts';

/** A network with the scales of all its values, by id. */
export interface SettledNetwork extends FixedNetwork {
  readonly scales: ReadonlyMap<string, ChannelScales>;
  /** Ids of the layers between scales that it has beside the network's layers. */
  readonly inserted: ReadonlySet<string>;
}

/** Values that a linear layer reads, through local operations. */
function readByLinear(network: FixedNetwork): Set<string> {
  const readers = readersOf(network);
  const read = new Set<string>();
  for (const { id } of network.nodes.toReversed()) {
    const isRead = readers.get(id)?.some((node) => {
      if (node.op === 'linear') return true;
      return node.op !== 'activation' && node.op !== 'maxPool' && read.has(node.id);
    });
    if (isRead) read.add(id);
  }
  return read;
}

class Settler {
  readonly #network: FixedNetwork;
  readonly #scales: Scales;
  readonly #nodes: NetworkNode[] = [];
  readonly #made = new Map<string, NetworkNode>();
  readonly #settled = new Map<string, ChannelScales>();
  readonly #inserted = new Set<string>();
  readonly #fresh: Set<string>;
  readonly #wanted: ReadonlySet<string>;

  constructor(network: FixedNetwork, scales: Scales) {
    this.#network = network;
    this.#scales = scales;
    this.#fresh = new Set([network.input.id]);
    this.#settled.set(network.input.id, scales.of(network.input.id));
    this.#wanted = readByLinear(network);
    for (const node of network.nodes) this.#add(node);
  }

  network(output: Float64Array): SettledNetwork {
    const { input } = this.#network;
    let id = this.#network.output;
    const own = this.#settled.get(id)!;
    // The output may be given scales that what makes it cannot have.
    if (own.scale.some((scale, c) => Math.abs(scale - output[c]!) > 1e-9 * scale)) {
      const largest = new Float64Array(output.length);
      id = this.#adapted(id, { scale: output, largest }, 'output');
    }
    const inserted = this.#inserted;
    return { input, nodes: this.#nodes, output: id, scales: this.#settled, inserted };
  }

  #emit(node: NetworkNode, scale: ChannelScales, isFresh: boolean): string {
    this.#nodes.push(node);
    this.#made.set(node.id, node);
    this.#settled.set(node.id, scale);
    if (isFresh) this.#fresh.add(node.id);
    return node.id;
  }

  /** The fresh value with the numbers of `source`. */
  #truncated(source: string): string {
    if (this.#fresh.has(source)) return source;
    const id = `${source}.truncate`;
    if (this.#made.has(id)) return id;
    const { name, shape, of } = this.#made.get(source)!;
    const kinds = new Uint8Array(sizeOf(shape)).fill(IDENTITY);
    const base = { id, name: `${name}.truncate`, shape, of, inputs: [source] as const };
    const node = { ...base, op: 'activation', kinds, coefficients: undefined } as const;
    return this.#emit(node, this.#settled.get(source)!, true);
  }

  /** The numbers of `source` at other scales. */
  #adapted(source: string, scale: ChannelScales, reader: string): string {
    const from = this.#truncated(source);
    const id = `${source}.scale ${reader}`;
    if (this.#made.has(id)) return id;
    const made = this.#made.get(from);
    const shape = made?.shape ?? this.#network.input.shape;
    const of: Reading = made?.of ?? { id: this.#network.input.id };
    const name = `${this.#made.get(source)?.name ?? source}.scale`;
    this.#inserted.add(id);
    return this.#emit(channelLayer({ id, name, shape, of }, from), scale, false);
  }

  #add(node: NetworkNode): void {
    const scale = this.#scales.of(node.id);
    const read = node.inputs.map((source, at) => {
      const cut = this.#scales.cut(node, at);
      return cut === undefined ? source : this.#adapted(source, cut, node.id);
    });
    if (node.op === 'linear') {
      this.#emit({ ...node, inputs: [this.#truncated(read[0]!)] }, scale, false);
      return;
    }
    if (node.op === 'activation') {
      this.#emit({ ...node, inputs: [read[0]!] }, scale, true);
      return;
    }
    if (node.op === 'add') {
      const [x, y] = read as [string, string];
      const isMixed = this.#fresh.has(x) !== this.#fresh.has(y);
      const inputs: [string, string] =
        isMixed && this.#wanted.has(node.id) ? [this.#truncated(x), this.#truncated(y)] : [x, y];
      const isFresh = inputs.every((id) => this.#fresh.has(id));
      this.#emit({ ...node, inputs }, scale, isFresh);
      return;
    }
    const isFresh = node.op !== 'maxPool' && read.every((id) => this.#fresh.has(id));
    this.#emit({ ...node, inputs: read } as unknown as NetworkNode, scale, isFresh);
  }
}

/**
 * Inserts what makes edges agree.
 * @param output the output's scales
 */
export function settle(
  network: FixedNetwork,
  scales: Scales,
  output: Float64Array,
): SettledNetwork {
  return new Settler(network, scales).network(output);
}
