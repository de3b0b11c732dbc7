/** What serving so many clients, and so many inferences a second, takes: processes, cores, memory and bandwidth. */

import { effective, type MeasuredProgram, timeOf } from '../protocol/inference/price.ts';
import { DEFAULT_SERVER_LIMITS } from './limits.ts';
import { memoryOf } from './memory.ts';

/** What is asked of servers. */
export interface Demand {
  /** At a time. */
  readonly clients: number;
  /** Inferences a second, of all clients together, each prepared as well. */
  readonly perSecond: number;
  /** That a process may have. */
  readonly cores: number;
}

export interface Capacity {
  /** Inferences a second that one core prepares alone, and that it answers alone. */
  readonly prepared: number;
  readonly answered: number;
  readonly processes: number;
  /** Of each process. */
  readonly cores: number;
  readonly sessions: number;
  /** Bytes, with every client at its worst. */
  readonly memory: number;
  /** Of its cores, what computes, 0..1. */
  readonly busy: number;
  /** Bits a second of all processes, on average; without hints. */
  readonly up: number;
  readonly down: number;
}

/** How much of its cores a process may be busy with: beyond that, tasks wait for long when clients come together. LOCAL. */
const BUSY = 0.7;

/** Limits of each process are the default ones. */
export function capacityOf(
  measured: MeasuredProgram,
  { clients, perSecond, cores: most }: Demand,
): Capacity {
  const { serverOffline, serverOnline } = timeOf(measured);
  const { offline, online } = measured.cost;
  const kept = measured.steps.reduce((sum, { serverStored }) => sum + serverStored, 0);
  /** Cores of the measured kind, each working alone. */
  const load = (perSecond * (serverOffline + serverOnline)) / 1000;
  const processes = Math.max(
    Math.ceil(clients / DEFAULT_SERVER_LIMITS.sessions),
    Math.ceil(load / (BUSY * effective(most))),
  );
  const each = load / processes;
  let cores = 1;
  while (each > BUSY * effective(cores)) cores++;
  const sessions = Math.ceil(clients / processes);
  return {
    prepared: 1000 / serverOffline,
    answered: 1000 / serverOnline,
    processes,
    cores,
    sessions,
    memory: memoryOf({ ...DEFAULT_SERVER_LIMITS, sessions }, kept),
    busy: each / effective(cores),
    up: 8 * perSecond * (offline.up + online.up),
    down: 8 * perSecond * (offline.down + online.down),
  };
}

const rounded = (value: number) => (value < 10 ? value.toFixed(1) : Math.round(value).toString());

/** As sentences. */
export function formatCapacity(demand: Demand, capacity: Capacity): string {
  const { clients, perSecond } = demand;
  const { processes, cores, sessions, memory, busy, up, down, prepared, answered } = capacity;
  const megabits = (bits: number) => `${rounded(bits / 1e6)} Mbit/s`;
  const counted = (count: number, one: string, many: string) =>
    `${count} ${count === 1 ? one : many}`;
  return [
    `for ${counted(clients, 'client', 'clients')} at a time and ${rounded(60 * perSecond)} inferences a minute, at servers:`,
    `a core prepares about ${rounded(prepared)} inferences a second, or answers about ${rounded(answered)}`,
    `${counted(processes, 'process', 'processes')}, each with ${counted(cores, 'core', 'cores')} ` +
      `(about ${Math.round(100 * busy)} % busy), ${counted(sessions, 'session', 'sessions')} ` +
      `and up to ${(memory / 1e9).toFixed(1)} GB`,
    `${megabits(up)} from clients, ${megabits(down)} to them, beside hints`,
  ].join('\n');
}
