/**
 * The stages of a network: its activation layers by the height and width of their planes. The stem of a residual network
 * belongs to the first stage, whose resolution it has.
 */

import { type ActivationNode, type Graph, inferShapes, type Shape } from '../graph/index.ts';
import { operatorOf } from '../graph/operators.ts';
import { relusIn } from './elements.ts';

export interface Stage {
  readonly height: number;
  readonly width: number;
  /** In running order. */
  readonly layers: readonly ActivationNode[];
  readonly relus: number;
  /** Multiplications of the linear layers up to the stage's last one; a classifier's are its last stage's. */
  readonly macs: number;
}

const planeOf = ([, height = 1, width = 1]: Shape) => [height, width] as const;

/** The stages that have activation layers, in running order, with what they cost. */
export function stagesOf(graph: Graph): Stage[] {
  const shapes = inferShapes(graph);
  const layersOf = new Map<string, ActivationNode[]>();
  const key = (id: string) => planeOf(shapes.get(id)!).join('x');
  for (const node of graph.nodes) {
    if (node.op !== 'activation') continue;
    layersOf.set(key(node.id), [...(layersOf.get(key(node.id)) ?? []), node]);
  }
  const macs = new Map<string, number>();
  // A linear layer whose resolution has no activation counts where the network stands.
  let current = [...layersOf.keys()][0] ?? '';
  for (const node of graph.nodes) {
    if (layersOf.has(key(node.id))) current = key(node.id);
    const site = {
      graph,
      shapes: node.inputs.map((id) => shapes.get(id)!),
      shape: shapes.get(node.id)!,
    };
    const own = operatorOf(node).macs?.(node, site) ?? 0;
    macs.set(current, (macs.get(current) ?? 0) + own);
  }
  return [...layersOf].map(([plane, layers]) => {
    const [height, width] = planeOf(shapes.get(layers[0]!.id)!);
    const relus = layers.reduce((sum, layer) => sum + relusIn(layer), 0);
    return { height, width, layers, relus, macs: macs.get(plane) ?? 0 };
  });
}
