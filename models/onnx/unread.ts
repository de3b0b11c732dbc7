/** Going on behind nodes that cannot be read, to find all of them. */

import { elements } from '../graph/index.ts';
import { broadcast } from './arithmetic.ts';
import { identityForm } from './form.ts';
import { type ModelState, naturalShape, type Traced } from './operation.ts';
import type { OnnxNode } from './proto.ts';
import { inOrder } from './view.ts';

/** Operators that make something of another shape than their input's, or of a shape that is not known here. */
const OTHERS =
  /Conv|Pool|Gemm|Reshape|Transpose|Flatten|queeze|Slice|Split|Gather|Concat|Pad|Expand|Tile|Space|Depth|Resize|Upsample|Reduce|Arg|LSTM|GRU|RNN|If|Loop|Scan|TopK|OneHot|NonZero|NonMax|Unique|Roi|Grid|Scatter|Compress|Attention|Einsum|Shape|Random|Dynamic|QLinear|Integer|STFT|DFT|Sequence|Col2Im/;

/** The extents of what a node makes, as far as they are plain from its inputs'. */
export function dimsAfter(
  { op, inputs }: OnnxNode,
  dims: (name: string) => readonly number[] | undefined,
): readonly number[] | undefined {
  try {
    const known = inputs.filter((name) => name !== '').map(dims);
    if (known.length === 0 || known.some((list) => list === undefined)) return undefined;
    const [a, b] = known as (readonly number[])[];
    if (op === 'MatMul' && a!.length > 1 && b!.length > 1) {
      const outer = broadcast(a!.slice(0, -2), b!.slice(0, -2));
      return [...outer, a!.at(-2)!, b!.at(-1)!];
    }
    if (op === 'MatMul' || OTHERS.test(op) || op.includes('.')) return undefined;
    if (['Add', 'Div', 'Max', 'Min', 'Mul', 'Pow', 'Sub', 'Sum', 'Where'].includes(op)) {
      return (known as (readonly number[])[]).reduce(broadcast);
    }
    return a;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return undefined;
  }
}

/** A value of these extents that nothing computes; nothing when there cannot be one. */
export function placeholder(
  model: ModelState,
  name: string,
  dims: readonly number[],
): Traced | undefined {
  const { batch, writer } = model;
  if (!(elements(dims) > 0 && elements(dims) < 2 ** 26)) return undefined;
  const isBatched = batch !== undefined && dims[0] === batch.count;
  const own = isBatched ? dims.slice(1) : dims;
  const id = writer.addInput(name, naturalShape(isBatched ? [1, ...own] : own));
  return { form: identityForm(id), name: id, view: inOrder(own, isBatched ? batch : undefined) };
}
