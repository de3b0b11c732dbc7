/**
 * Where the time of a phase goes, by class of operator.
 *
 * Both parties are traced on one clock: workers tell when a task ran and of which kind, main threads are sampled. Each
 * instant of the phase is shared equally among all that either party does at that instant; an instant at which nobody
 * computes is the network's (on loopback: the hand-over between threads and processes). So the shares of a phase add up
 * to its length, and computation that hides behind other computation or behind the network is not counted twice.
 */

import { type Bytes, costOf, laneCosts, type StepCost } from '../../protocol/inference/cost.ts';
import type { Layout } from '../../protocol/inference/layout.ts';
import * as linearTasks from '../../protocol/linear/tasks.ts';
import { type ActivationKind, KINDS, type KindName, kindOf } from '../../protocol/program/kinds.ts';
import { byPhase, type PerPhase } from '../phases.ts';
import { IDLE, type PartTable, type Span } from './samples.ts';
import type { PartyTrace } from './trace.ts';

/** Classes that send anything. */
export type ByteClass = 'linear' | KindName | 'output';
export const BYTE_CLASSES: readonly ByteClass[] = [
  'linear',
  ...KINDS.map((kind) => kindOf(kind).name),
  'output',
];

/** Classes of operators, in the order in which they are shown. `other`: frames, copies, collection, steps. */
export type OperatorClass = ByteClass | 'other' | 'wait';
export const CLASSES: readonly OperatorClass[] = [...BYTE_CLASSES, 'other', 'wait'];

/** Milliseconds of a phase by class. */
export type Attribution = Readonly<Record<OperatorClass, number>>;

/**
 * Which class a main thread works for, by the innermost frame that one of these knows: see samples.ts. A gadget's file is
 * named after its kind, with half gates as well.
 */
export const CLASS_OF_FRAME: PartTable = [
  [IDLE, /^(\(idle\)|wait) /],
  ...KINDS.map((kind): PartTable[number] => {
    const { name } = kindOf(kind);
    return [name, new RegExp(`/gadgets/${name.toLowerCase()}(-garbled)?\\.[jt]s$`)];
  }),
  ['output', /\/gadgets\/argmax\.[jt]s$/],
  ['linear', /\/protocol\/(linear\/|ring\/linear)/],
];

/** The class of a task of the pool. */
export function classOfTask(task: string, kind: ActivationKind | undefined): OperatorClass {
  if (kind !== undefined) return kindOf(kind).name;
  if (/argmax/i.test(task)) return 'output';
  return Object.hasOwn(linearTasks, task) || task === 'linearOnline' ? 'linear' : 'other';
}

interface Activity extends Span {
  readonly of: OperatorClass;
}

function activitiesOf({ tasks, main }: PartyTrace): Activity[] {
  return [
    ...tasks.map(({ task, kind, start, end }) => ({ of: classOfTask(task, kind), start, end })),
    ...main
      .filter(({ part }) => part !== IDLE)
      .map(({ part, start, end }) => ({
        of: CLASSES.find((name) => name === part) ?? ('other' as const),
        start,
        end,
      })),
  ];
}

/** The shares of a phase. */
export function attribute(parties: readonly PartyTrace[], phase: Span): Attribution {
  const events = parties
    .flatMap(activitiesOf)
    .map(({ of, start, end }) => ({
      of,
      start: Math.max(start, phase.start),
      end: Math.min(end, phase.end),
    }))
    .filter(({ start, end }) => start < end)
    .flatMap(({ of, start, end }) => [
      { of, at: start, change: 1 },
      { of, at: end, change: -1 },
    ])
    .sort((a, b) => a.at - b.at);
  const shares = Object.fromEntries(CLASSES.map((name) => [name, 0])) as Record<
    OperatorClass,
    number
  >;
  const active = { ...shares };
  let busy = 0;
  let since = phase.start;
  const share = (until: number): void => {
    const ms = until - since;
    if (busy === 0) shares.wait += ms;
    else for (const name of CLASSES) shares[name] += (ms * active[name]) / busy;
    since = until;
  };
  for (const { of, at, change } of events) {
    share(at);
    active[of] += change;
    busy += change;
  }
  share(phase.end);
  return shares;
}

/** The bytes of both phases by class, both ways, by the cost formulas. */
export function bytesByClass(layout: Layout): Record<ByteClass, PerPhase<number>> {
  const { steps } = costOf(layout);
  const lanes = laneCosts(layout);
  const total = (costs: readonly PerPhase<Bytes>[]): PerPhase<number> =>
    byPhase((phase) => costs.reduce((sum, cost) => sum + cost[phase].up + cost[phase].down, 0));
  const ofStep = (op: StepCost['op']) => total(steps.filter((step) => step.op === op));
  const ofKinds = KINDS.map((kept) => [
    kindOf(kept).name,
    total(lanes.filter(({ kind }) => kind === kept)),
  ]);
  return {
    linear: ofStep('linear'),
    ...(Object.fromEntries(ofKinds) as Record<KindName, PerPhase<number>>),
    output: ofStep('output'),
  };
}
