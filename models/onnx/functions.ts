/** Functions of a model, put in the place of the nodes that call them. */

import { ModelError } from '../errors.ts';
import type { Attribute, OnnxFunction, OnnxNode } from './proto.ts';

/** Functions may call functions this deep, and make this many nodes. LOCAL: a call of a call of a call doubles quickly. */
const MAX_DEPTH = 16;
const MAX_NODES = 2 ** 16;

/** Attributes of a node inside of a function, those that stand for the caller's looked up. */
function attributesOf(
  node: OnnxNode,
  caller: OnnxNode,
  { defaults }: OnnxFunction,
): Map<string, Attribute> {
  const result = new Map<string, Attribute>();
  for (const [name, attribute] of node.attributes) {
    const { reference } = attribute;
    const found =
      reference === undefined
        ? attribute
        : (caller.attributes.get(reference) ?? defaults.get(reference));
    if (found !== undefined) result.set(name, found);
  }
  return result;
}

/**
 * The nodes of a model without calls of its functions.
 * @throws ModelError `network` when functions call each other without end
 */
export function inlined(
  nodes: readonly OnnxNode[],
  functions: readonly OnnxFunction[],
): OnnxNode[] {
  if (functions.length === 0) return [...nodes];
  const byName = new Map(functions.map((one) => [one.op, one]));
  const result: OnnxNode[] = [];
  let calls = 0;
  const visit = (node: OnnxNode, depth: number): void => {
    const called = byName.get(node.op);
    if (called === undefined) {
      result.push(node);
      if (result.length > MAX_NODES) {
        throw new ModelError('network', `the model's functions make more than ${MAX_NODES} nodes`);
      }
      return;
    }
    if (depth === MAX_DEPTH || ++calls > MAX_NODES) {
      throw new ModelError('network', `the model's function '${node.op}' calls others without end`);
    }
    const prefix = `${node.name || node.outputs[0] || node.op}.${calls}/`;
    const names = new Map<string, string>([['', '']]);
    called.inputs.forEach((name, i) => {
      names.set(name, node.inputs[i] ?? '');
    });
    called.outputs.forEach((name, i) => {
      const made = node.outputs[i];
      if (made !== undefined && made !== '') names.set(name, made);
    });
    const rename = (name: string) => names.get(name) ?? `${prefix}${name}`;
    for (const inner of called.nodes) {
      visit(
        {
          name: `${prefix}${inner.name}`,
          op: inner.op,
          inputs: inner.inputs.map(rename),
          outputs: inner.outputs.map(rename),
          attributes: attributesOf(inner, node, called),
        },
        depth + 1,
      );
    }
  };
  for (const node of nodes) visit(node, 0);
  return result;
}
