/** Moving the elements of a tensor, be it a value or a constant: what all operators that only move have in common. */

import { OUTSIDE } from '../../protocol/ring/gather.ts';
import { ModelError } from '../errors.ts';
import { elements, type Readout } from '../graph/index.ts';
import { zerosLike } from './arithmetic.ts';
import type { Constant } from './constant.ts';
import { isTraced, type Operand, type Operation } from './operation.ts';
import {
  dimsOf,
  forEachElement,
  inOrder,
  isInOrder,
  type Picks,
  picked,
  reshaped,
  transposed,
  type View,
  viewSize,
} from './view.ts';

/** Along which axis of it the readout of a value works, if it has one that does. */
function axisOf(readout: Readout | undefined): number | undefined {
  return readout !== undefined && 'axis' in readout ? readout.axis : undefined;
}

/** A tensor on its way to other places. */
export class Moving {
  #source: Operand;
  #view: View;
  #axis: number | undefined;
  readonly #op: Operation;

  constructor(op: Operation, source: Operand) {
    this.#op = op;
    this.#source = source;
    this.#view = isTraced(source) ? source.view : inOrder(source.shape);
    this.#axis = isTraced(source) ? axisOf(source.readout) : undefined;
    if (isTraced(source) && source.labels !== undefined) {
      throw new ModelError(
        'network',
        'it moves labels: only their shape may be changed behind an ArgMax',
      );
    }
  }

  get dims(): number[] {
    return dimsOf(this.#view);
  }

  /** The same elements in the same order under other extents. */
  reshape(dims: readonly number[]): this {
    const before = this.dims;
    this.#op.writer.checkSize(dims);
    let next = reshaped(this.#view, dims);
    if (next === undefined) {
      this.#settle();
      next = reshaped(this.#view, dims)!;
    }
    this.#view = next;
    if (this.#axis !== undefined) this.#axis = this.#axisAfter(this.#axis, before, dims);
    return this;
  }

  #axisAfter(axis: number, before: readonly number[], dims: readonly number[]): number {
    const outer = elements(before.slice(0, axis));
    const at = dims.findIndex((n, i) => n === before[axis] && elements(dims.slice(0, i)) === outer);
    if (at >= 0) return at;
    throw new ModelError(
      'network',
      `it reshapes [${before}] to [${dims}], which cuts up axis ${axis} that the softmax before it works along: read up to what the softmax reads with --output-name`,
    );
  }

  /** Axis i of the result is axis order[i] of what was there, as `perm` of ONNX's Transpose. */
  transpose(order: readonly number[]): this {
    this.#view = transposed(this.#view, order);
    if (this.#axis !== undefined) this.#axis = order.indexOf(this.#axis);
    return this;
  }

  /** Takes elements along an axis: see {@link picked}. */
  pick(axis: number, indices: Picks): this {
    const count = indices instanceof Int32Array ? indices.length : indices.count;
    const dims = this.dims.with(axis, count);
    this.#op.writer.checkSize(dims);
    if (indices instanceof Int32Array || this.#view.axes[axis]!.length > 1) {
      this.#op.writer.allocate(4 * Math.max(count, this.dims[axis]!));
    }
    const before = this.#view;
    this.#view = picked(before, axis, indices);
    const source = this.#source;
    if (!isTraced(source) || source.readout === undefined || this.#view === before) return this;
    if (indices instanceof Int32Array && indices.includes(OUTSIDE)) {
      throw new ModelError(
        'network',
        `it puts zeros among the results of a ${source.readout.kind}: read up to what that reads with --output-name`,
      );
    }
    if (axis === this.#axis) {
      throw new ModelError(
        'network',
        `it takes part of axis ${axis}, which the ${source.readout.kind} before it works along: read up to what that reads with --output-name`,
      );
    }
    return this;
  }

  /** Takes elements along an axis. */
  pickEach(axis: number, count: number, index: (i: number) => number): this {
    this.#op.writer.checkSize(this.dims.with(axis, count));
    this.#op.writer.allocate(4 * count);
    return this.pick(
      axis,
      Int32Array.from({ length: count }, (_, i) => index(i)),
    );
  }

  /** Puts the elements into their order where a view cannot say the next move: by a node for a value, by copying for a constant. */
  #settle(): void {
    const source = this.#source;
    if (isTraced(source)) {
      const size = viewSize(this.#view);
      this.#source = this.#op.settled({ ...source, view: this.#view, placed: this.#op.name }, [
        size,
      ]);
      this.#view = this.#source.view;
    } else {
      this.#source = this.#copied(source);
      this.#view = inOrder(this.#source.shape);
    }
  }

  #copied(source: Constant): Constant {
    const count = viewSize(this.#view);
    this.#op.writer.allocate(4 * 8 * count);
    const data = zerosLike(source, count);
    forEachElement(this.#view, (from, i) => {
      if (from !== OUTSIDE) data[i] = source.data[from]!;
    });
    return { shape: this.dims, data };
  }

  /** The tensor after all moves. */
  done(): Operand {
    const source = this.#source;
    if (!isTraced(source)) {
      return isInOrder(this.#view) ? { ...source, shape: this.dims } : this.#copied(source);
    }
    const { readout } = source;
    const own =
      readout !== undefined && 'axis' in readout
        ? { readout: { ...readout, axis: this.#axis! } }
        : {};
    return { ...source, view: this.#view, placed: this.#op.name, ...own };
  }
}

/** Moves the first input of an operator. */
export function moving(op: Operation, input = 0): Moving {
  return new Moving(op, op.constant(input) ?? op.movable(input));
}
