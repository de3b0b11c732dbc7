/** What a run leaves: plain data, all of it, as bench/report/budget.json keeps it. */

import type { PhaseCost } from '../../protocol/inference/cost.ts';
import type { KindCounts } from '../../protocol/program/kinds.ts';
import type { Disturbance, Machine } from '../machine.ts';
import type { Attribution, ByteClass } from './attribution.ts';
import type { Series } from './points.ts';

export const PHASES = ['offline', 'online'] as const;
export type Phase = (typeof PHASES)[number];

/** One phase of one inference. */
export interface PhaseRun {
  /** The client's wall clock. */
  readonly ms: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Round trips. */
  readonly rounds: number;
  /** Processor time of each party's process, all threads. */
  readonly clientCpuMs: number;
  readonly serverCpuMs: number;
}

export type Repetition = Readonly<Record<Phase, PhaseRun>>;

/**
 * How a time was found. `measured`: a run over what lies between the parties anyway. `emulated`: a run with the channel
 * decorator in front of both parties. `computed`: from the run over loopback and the exact bytes and rounds.
 */
export type Origin = 'measured' | 'emulated' | 'computed';

/** A point over one network. */
export interface NetworkRun {
  readonly network: string;
  readonly origin: Origin;
  /** Milliseconds: of every repetition, or the one that was computed. */
  readonly ms: Readonly<Record<Phase, readonly number[]>>;
  /** What was recorded of each repetition; empty when none was run. */
  readonly repetitions: readonly Repetition[];
  readonly attribution: Readonly<Record<Phase, Attribution>>;
  /** The same by calculation from the loopback run, whether or not it was run; undefined for loopback itself. */
  readonly computed: Readonly<Record<Phase, number>> | undefined;
  /** What the planner said beforehand. */
  readonly planned: Readonly<Record<Phase, number>>;
}

/** One point; its activation elements by kind. */
export interface PointResult extends KindCounts {
  readonly id: string;
  readonly network: string;
  readonly series: Series;
  readonly accuracy: { readonly share: number; readonly data: string } | undefined;
  /** Multiply-accumulates of the linear layers. */
  readonly macs: number;
  /** By the formulas, to which every run is held. */
  readonly cost: Readonly<Record<Phase, PhaseCost>>;
  /** The same bytes, both ways, by class; what is left is commands and the masked input. */
  readonly bytes: Readonly<Record<ByteClass, Readonly<Record<Phase, number>>>>;
  /** What a bundle keeps, bytes. */
  readonly stored: { readonly client: number; readonly server: number };
  /** Most memory of each process over loopback, bytes, Node and its threads included. */
  readonly memory: { readonly client: number; readonly server: number };
  readonly runs: readonly NetworkRun[];
}

/** One point over one network, emulated by the decorator and by something independent of it. */
export interface LinkCheck {
  readonly id: string;
  readonly network: string;
  readonly decorator: Readonly<Record<Phase, readonly number[]>>;
  readonly other: Readonly<Record<Phase, readonly number[]>>;
}

export interface LinkChecks {
  /** What the decorator is compared with. */
  readonly against: 'netem' | 'relay';
  /** Why it was not the kernel's netem. */
  readonly reason: string | undefined;
  readonly checks: readonly LinkCheck[];
}

/** What became of the inferences at one rate. */
export interface Load {
  readonly network: string;
  readonly origin: 'measured' | 'simulated';
  readonly clients: number;
  /** Bundles that each client stores at most. */
  readonly store: number;
  readonly arrivalsPerMinute: number;
  /** From the first arrival to the last answer. */
  readonly answeredPerMinute: number;
  /** From arrival to answer, ms. */
  readonly medianMs: number;
  readonly p95Ms: number;
  /** Share of arrivals for which a bundle waited. */
  readonly ready: number;
  readonly inferences: number;
}

export interface ThroughputResult {
  readonly loads: readonly Load[];
}

export interface BudgetReport {
  /** Of this file's layout. */
  readonly version: 1;
  readonly mode: 'quick' | 'full';
  readonly machine: Machine;
  /** ISO 8601. */
  readonly date: string;
  /** Of weights, maps and arrivals. */
  readonly seed: number;
  /** Wall clock of the run, of all its pieces if it was cut. */
  readonly seconds: number;
  readonly disturbance: Disturbance;
  readonly points: readonly PointResult[];
  readonly links: LinkChecks | undefined;
  readonly throughput: ThroughputResult | undefined;
}

/** The run of a point over a network, if there is one. */
export function runOver({ runs }: PointResult, network: string): NetworkRun | undefined {
  return runs.find((run) => run.network === network);
}
