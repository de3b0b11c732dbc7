/**
 * What a program costs, before anybody connects: `sotto/cost`, which needs no platform.
 *
 *     const { offline, online } = costOf(session.program);
 *     const { online } = plan(decodeModel(bytes).program, { bitsPerSecond: 20e6, roundTripMs: 60, clientCores: 4, serverCores: 8 });
 */

import { type Cost, costOf as costOfLayout } from '../protocol/inference/cost.ts';
import { layoutOf } from '../protocol/inference/layout.ts';
import { measureProgram, type Price, type Profile, priceOf } from '../protocol/inference/price.ts';
import { otKFor } from '../protocol/ot/groups.ts';
import type { Program } from '../protocol/program/program.ts';

export type { Bytes, Cost, PhaseCost, StepCost } from '../protocol/inference/cost.ts';
export type { PhasePrice, Price, Profile } from '../protocol/inference/price.ts';

/**
 * Bytes and round trips of the hint, of preparing one inference and of running it: exact, as sessions count them, from the program
 * alone.
 * @param program - of a session, or of a model
 * @param bitsPerSecond - as `connect` is told of the link; default: a fast link
 * @throws RangeError when `bitsPerSecond` is not a positive number, or it is no program
 */
export function costOf(program: Program, bitsPerSecond?: number): Cost {
  return costOfLayout(layoutOf(program), otKFor(bitsPerSecond));
}

/**
 * Milliseconds of the hint, of preparing one inference and of running it, between two parties with the cores of the profile: from
 * {@link costOf} and a measurement of the program's steps here, which takes about a second and blocks its thread. Expect the
 * truth within a factor of two.
 * @throws RangeError as {@link costOf}
 */
export function plan(program: Program, profile: Profile): Price {
  return priceOf(measureProgram(layoutOf(program), otKFor(profile.bitsPerSecond)), profile);
}
