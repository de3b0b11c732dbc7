/**
 * The one interpreter of programs. It decides the order of steps and the life of values; what a value is and what a step
 * does to it is the backend's: fixed-point numbers (clear), nothing but counts (cost), or one party's shares.
 */

import type { ActivationStep, LinearStep, LocalStep, OutputStep, Program } from './program.ts';
import { inputsOf } from './program.ts';

/** What each step means for values of type V. A backend may answer with a promise when it is walked by `walkAsync`. */
export interface Backend<V, R = V> {
  /** The value that enters the network. */
  input(): R;
  linear(step: LinearStep, x: V, index: number): R;
  /** Public linear operations: the same code serves every share and the clear value. */
  local(step: LocalStep, inputs: readonly V[], index: number): R;
  activation(step: ActivationStep, x: V, index: number): R;
  output(step: OutputStep, x: V, index: number): R;
}

/** Yields what the backend answers and takes the value back, so that one loop serves both drivers. */
function* interpret<V, R>(program: Program, backend: Backend<V, R>): Generator<R, V, V> {
  const { steps } = program;
  const lastUse = new Array<number>(steps.length + 1).fill(-1);
  steps.forEach((step, i) => {
    for (const value of inputsOf(step)) lastUse[value] = i;
  });
  const values: (V | undefined)[] = [yield backend.input()];
  for (const [i, step] of steps.entries()) {
    const inputs = inputsOf(step).map((value) => values[value] as V);
    const x = inputs[0] as V;
    switch (step.op) {
      case 'linear':
        values.push(yield backend.linear(step, x, i));
        break;
      case 'activation':
        values.push(yield backend.activation(step, x, i));
        break;
      case 'output':
        values.push(yield backend.output(step, x, i));
        break;
      default:
        values.push(yield backend.local(step, inputs, i));
    }
    // A value nobody reads again is let go at once: this is what bounds the memory of a deep network.
    for (const value of inputsOf(step)) if (lastUse[value] === i) values[value] = undefined;
  }
  return values[steps.length] as V;
}

/** Runs `program` on a synchronous backend; returns the output's value. */
export function walk<V>(program: Program, backend: Backend<V>): V {
  const run = interpret(program, backend);
  let next = run.next();
  while (!next.done) next = run.next(next.value);
  return next.value;
}

/** Runs `program` step by step on a backend whose answers may be promises. */
export async function walkAsync<V>(
  program: Program,
  backend: Backend<V, V | Promise<V>>,
): Promise<V> {
  const run = interpret<V, V | Promise<V>>(program, backend);
  // The first `next` takes no value.
  let next = run.next(undefined as V);
  while (!next.done) next = run.next(await next.value);
  return next.value;
}
