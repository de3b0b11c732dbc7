/**
 * max(ReLU(x)) = ReLU(max(x)): a layer of ReLUs that only a max pool reads moves behind it, where it has as many elements
 * as there are windows. Max pooling compares shares as they are, so that nothing else has to stand before it.
 */

import { elements, type Graph, inferShapes, type Node, RELU } from '../graph/index.ts';

/** The graph with its ReLUs moved; values of other nodes keep their names. */
export function delayRelus(graph: Graph): Graph {
  const shapes = inferShapes(graph);
  const readers = new Map<string, Node[]>();
  for (const node of graph.nodes) {
    for (const id of node.inputs) readers.set(id, [...(readers.get(id) ?? []), node]);
  }
  const moved = new Map<string, Extract<Node, { op: 'activation' }>>();
  for (const node of graph.nodes) {
    if (node.op !== 'activation' || node.id === graph.output) continue;
    const [reader, ...others] = readers.get(node.id) ?? [];
    if (reader?.op !== 'maxPool' || others.length > 0) continue;
    if (elements(shapes.get(reader.id)!) > node.kinds.length) continue;
    if (node.kinds.every((kind) => kind === RELU)) moved.set(reader.id, node);
  }
  const gone = new Set([...moved.values()].map(({ id }) => id));
  const nodes = graph.nodes.flatMap((node): Node[] => {
    if (gone.has(node.id)) return [];
    const relu = moved.get(node.id);
    if (node.op !== 'maxPool' || relu === undefined) return [node];
    // The pool's name goes on to mean what it meant: the value after both.
    const pooled = `${node.id}.max`;
    const kinds = new Uint8Array(elements(shapes.get(node.id)!)).fill(RELU);
    return [
      { ...node, id: pooled, inputs: relu.inputs },
      { op: 'activation', id: node.id, inputs: [pooled], kinds },
    ];
  });
  return { ...graph, nodes };
}
