/**
 * The order in which a network's nodes run: everything that can be computed before a round of activations comes before it,
 * and activation layers of one round stand one behind the other, so that they can be one step of the program.
 */

import type { FixedNetwork, MaxPoolNode, NetworkNode } from './network.ts';

/** Rounds of a max pool. */
export function maxPoolRounds({ kernel }: Pick<MaxPoolNode, 'kernel'>): number {
  return kernel.reduce((rounds, window) => rounds + Math.ceil(Math.log2(window)), 0);
}

const roundsOf = (node: NetworkNode): number => {
  if (node.op === 'activation') return 1;
  return node.op === 'maxPool' ? maxPoolRounds(node) : 0;
};

/** Nodes that run before the next round, then the activation layers of that round; the latter may be none. */
export interface ScheduleStage {
  readonly nodes: readonly NetworkNode[];
  readonly activations: readonly Extract<NetworkNode, { op: 'activation' }>[];
}

/** The stages of a network, in order. */
export function scheduleStages({ input, nodes }: FixedNetwork): ScheduleStage[] {
  /** Rounds that are over when a value is there. */
  const depths = new Map([[input.id, 0]]);
  const stages: { nodes: NetworkNode[]; activations: ScheduleStage['activations'][number][] }[] =
    [];
  for (const node of nodes) {
    const begins = Math.max(...node.inputs.map((id) => depths.get(id)!));
    depths.set(node.id, begins + roundsOf(node));
    while (stages.length <= begins) stages.push({ nodes: [], activations: [] });
    const stage = stages[begins]!;
    if (node.op === 'activation') stage.activations.push(node);
    else stage.nodes.push(node);
  }
  return stages;
}
