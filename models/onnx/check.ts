/** Whether a model can be read: what it costs, or every node that is in the way. */

import {
  countGraph,
  elements,
  type Graph,
  inferShapes,
  type Readout,
  resultsOf,
  tensorOf,
} from '../graph/index.ts';
import { type OnnxOptions, type OnnxReading, type Refusal, tryOnnx } from './reader.ts';

/** A network in numbers. */
export interface GraphSummary {
  readonly input: {
    readonly name: string;
    /** [C, H, W] */
    readonly shape: readonly number[];
    readonly kind: 'pixels' | 'numbers';
  };
  readonly results: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly readout?: Readout;
  }[];
  /** Convolutions and dense layers. */
  readonly layers: number;
  readonly parameters: number;
  /** Multiplications by a weight for one image. */
  readonly macs: number;
  /** Private comparisons for one image: those of ReLUs, of the pieces of piecewise functions, and of maxima. */
  readonly relus: number;
  /** What costs more than it may have to, one sentence each. */
  readonly notes: readonly string[];
}

/** What a check comes to: exactly one of the two is there. */
export interface Check {
  /** Every node that cannot be read; the model as a whole has no name. */
  readonly refused?: readonly Refusal[];
  readonly summary?: GraphSummary;
}

/** Masks that are neither 0 nor 1: ReLUs whose slopes differ from element to element, on a flat vector. */
function notesOf({ nodes, tensors }: Graph): string[] {
  const flat = new Set(nodes.flatMap(({ op, id }) => (op === 'flatten' ? [id] : [])));
  return nodes.flatMap((node) => {
    if (node.op !== 'piecewise' || !flat.has(node.inputs[0])) return [];
    const { data } = tensorOf({ tensors }, node.slope);
    if (data.every((slope) => slope === data[0])) return [];
    return [
      `all ${data.length} elements of '${node.id}' are compared, each with a slope of its negative side: if the slopes are a mask of ReLUs, round it to 0 and 1`,
    ];
  });
}

export function summaryOf(graph: Graph): GraphSummary {
  const shapes = inferShapes(graph);
  const { macs, parameters, relus } = countGraph(graph);
  const bends = graph.nodes.reduce((sum, node) => {
    if (node.op !== 'piecewise') return sum;
    const shape = shapes.get(node.id)!;
    const own = tensorOf(graph, node.bends).data.filter((bend) => bend !== 0).length;
    return sum + own * elements(shape.slice(1));
  }, 0);
  const { id, shape, numbers } = graph.input;
  return {
    input: { name: id, shape, kind: numbers ? 'numbers' : 'pixels' },
    results: resultsOf(graph, shapes.get(graph.output)!),
    layers: graph.nodes.filter(({ op }) => op === 'conv' || op === 'dense').length,
    parameters,
    macs,
    relus: relus + bends,
    notes: notesOf(graph),
  };
}

export function checkReading(reading: OnnxReading): Check {
  if ('graph' in reading) return { summary: summaryOf(reading.graph) };
  return { refused: reading.refusals };
}

/**
 * Reads a model without calibrating it.
 * @throws ModelError `file` when the bytes are no model of ONNX, `network` when its input cannot be the input of a network,
 *   `argument` when an option does not fit the model
 */
export function checkOnnx(bytes: Uint8Array, options: OnnxOptions = {}): Check {
  return checkReading(tryOnnx(bytes, options));
}

function describeReadout(readout: Readout | undefined): string {
  if (readout === undefined) return '';
  return 'axis' in readout ? `, ${readout.kind} along axis ${readout.axis}` : `, ${readout.kind}`;
}

/** A check as lines for a terminal. */
export function formatCheck({ refused, summary }: Check): string {
  if (refused !== undefined) {
    const lines = refused.map(({ node, op, reason }) =>
      node === undefined ? `the model: ${reason}` : `node '${node}' (${op}): ${reason}`,
    );
    return [`cannot be read: ${refused.length} in the way`, ...lines].join('\n');
  }
  const { input, results, layers, parameters, macs, relus, notes } = summary!;
  const count = (n: number) => n.toLocaleString('en');
  return [
    `input   ${input.name} [${input.shape}], ${input.kind}`,
    ...results.map(
      ({ name, shape, readout }) => `result  ${name} [${shape}]${describeReadout(readout)}`,
    ),
    `layers ${count(layers)}, parameters ${count(parameters)}, MACs ${count(macs)}, ReLUs ${count(relus)}`,
    ...notes.map((note) => `note    ${note}`),
  ].join('\n');
}
