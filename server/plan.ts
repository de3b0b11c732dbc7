/** `sotto plan`: what a compiled model will cost, before anybody connects. */

import { availableParallelism } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import { readWhole } from '../protocol/files.ts';
import type { Bytes } from '../protocol/inference/cost.ts';
import { layoutOf } from '../protocol/inference/layout.ts';
import {
  type MeasuredProgram,
  measureProgram,
  type PhasePrice,
  type Price,
  type Profile,
  priceOf,
  timeOf,
} from '../protocol/inference/price.ts';
import { otKFor } from '../protocol/ot/groups.ts';
import { decodeModel, type Model } from '../protocol/program/model.ts';
import { bitsPerSecondOf, millisecondsOf, perSecondOf } from '../protocol/units.ts';
import { type Capacity, capacityOf, type Demand, formatCapacity } from './capacity.ts';

interface PlanOptions {
  readonly bandwidth: number;
  readonly rtt: number;
  readonly clientCores: number;
  readonly serverCores: number;
  readonly clients?: number;
  /** Inferences a second. */
  readonly rate?: number;
  readonly json?: boolean;
}

/** @param pathOf the path of a model, from a path or the name of one that ships */
export function planCommand(pathOf: (text: string) => string): Command {
  return new Command('plan')
    .description(
      'bytes, rounds, memory and estimated time of a compiled model, of its hint, and of both phases',
    )
    .argument('<model>', 'a .sotto file, or the name of a model that ships')
    .addOption(
      new Option(
        '--bandwidth <RATE>',
        'in each direction, like 100mbit; it decides what OTs send, as it does for a client that is told',
      )
        .argParser(bitsPerSecondOf)
        .default(1e9, '1gbit'),
    )
    .addOption(
      new Option('--rtt <TIME>', 'round trip time, like 40ms; a bare number is in ms')
        .argParser((text) => millisecondsOf(text, 'ms'))
        .default(0.5, '0.5ms'),
    )
    .option('--client-cores <COUNT>', 'cores of the client', Number, availableParallelism())
    .option('--server-cores <COUNT>', 'cores of the server', Number, availableParallelism())
    .option('--clients <COUNT>', 'clients at a time; with --rate: what serving them takes')
    .option('--rate <RATE>', 'inferences of all clients, like 5/s or 600/min', perSecondOf)
    .option('--json', 'print one JSON document')
    .action((model: string, options: PlanOptions) => plan(pathOf(model), options));
}

async function plan(path: string, options: PlanOptions): Promise<void> {
  const demand = demandOf(options);
  const { program } = await readModel(path);
  const measured = measureProgram(layoutOf(program), otKFor(options.bandwidth));
  const profile: Profile = {
    bitsPerSecond: options.bandwidth,
    roundTripMs: options.rtt,
    clientCores: options.clientCores,
    serverCores: options.serverCores,
  };
  const price = priceOf(measured, profile);
  const capacity = demand && capacityOf(measured, demand);
  const text = options.json
    ? JSON.stringify(planDocument(measured, profile, price, capacity), null, 2)
    : formatPlan(measured, price) +
      (demand && capacity ? `\n\n${formatCapacity(demand, capacity)}` : '');
  process.stdout.write(`${text}\n`);
}

/** The plan for programs: units stand in the names. */
export function planDocument(
  { cost, steps, hint, parallel }: MeasuredProgram,
  profile: Profile,
  price: Price,
  capacity: Capacity | undefined,
): object {
  const moved = ({ up, down }: Bytes) => ({ bytesUp: up, bytesDown: down });
  const phase = (name: 'offline' | 'online') => ({
    ...moved(cost[name]),
    rounds: cost[name].rounds,
    ...price[name],
  });
  return {
    profile,
    hint: { bytes: cost.hint, makeMs: hint.make, decodeMs: hint.decode, ...price.hint },
    offline: { ...phase('offline'), drawnAhead: moved(cost.draw) },
    online: phase('online'),
    parallelLanes: parallel,
    steps: steps.map(({ name, op, time, ...step }) => ({
      name,
      op,
      offline: {
        ...moved(step.offline),
        clientMs: time.clientOffline,
        serverMs: time.serverOffline,
      },
      online: { ...moved(step.online), clientMs: time.clientOnline, serverMs: time.serverOnline },
      clientStoredBytes: step.clientStored,
      serverStoredBytes: step.serverStored,
    })),
    capacity: capacity && {
      processes: capacity.processes,
      coresPerProcess: capacity.cores,
      sessionsPerProcess: capacity.sessions,
      memoryBytesPerProcess: capacity.memory,
      busyShare: capacity.busy,
      preparedPerSecondAndCore: capacity.prepared,
      answeredPerSecondAndCore: capacity.answered,
      bitsPerSecondUp: capacity.up,
      bitsPerSecondDown: capacity.down,
    },
  };
}

function demandOf({ clients, rate, serverCores }: PlanOptions): Demand | undefined {
  if (clients === undefined && rate === undefined) return undefined;
  if (clients !== undefined && rate !== undefined) {
    return { clients, perSecond: rate, cores: serverCores };
  }
  throw new InvalidArgumentError('--clients and --rate are needed together');
}

/** @throws Error with one sentence that names the file when it cannot be read or is no model */
async function readModel(path: string): Promise<Model> {
  const bytes = await readWhole(path);
  try {
    return decodeModel(bytes);
  } catch (cause) {
    throw new Error(`${path}: ${(cause as Error).message}`, { cause });
  }
}

const megabytes = (bytes: number) => (bytes / 1e6).toFixed(bytes < 1e6 ? 3 : 1);
const ms = (value: number) => value.toFixed(value < 10 ? 1 : 0);

/**
 * The plan as text: a row for each step that costs anything, times of one core; then the hint, the phases, and what they come
 * to for a client and a server.
 */
export function formatPlan({ cost, steps, hint }: MeasuredProgram, price: Price): string {
  const rows = [
    [
      'step',
      'offline up',
      'down',
      'client',
      'server',
      'online up',
      'down',
      'client',
      'server',
      'stored c',
      'stored s',
    ],
    ['', 'MB', 'MB', 'ms', 'ms', 'MB', 'MB', 'ms', 'ms', 'MB', 'MB'],
    ...steps.map((step) => [
      step.name,
      megabytes(step.offline.up),
      megabytes(step.offline.down),
      ms(step.time.clientOffline),
      ms(step.time.serverOffline),
      megabytes(step.online.up),
      megabytes(step.online.down),
      ms(step.time.clientOnline),
      ms(step.time.serverOnline),
      megabytes(step.clientStored),
      megabytes(step.serverStored),
    ]),
  ];
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const table = rows.map((row) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  '),
  );
  const rounds = (count: number) =>
    count === 0.5 ? 'one way' : `${count} round trip${count === 1 ? '' : 's'}`;
  const phase = (name: string, of: typeof cost.offline, time: PhasePrice) =>
    `${name}: ${megabytes(of.up)} MB up, ${megabytes(of.down)} MB down, ${rounds(of.rounds)}; ` +
    `about ${ms(time.totalMs)} ms (computing ${ms(time.computeMs)}, network ${ms(time.networkMs)})`;
  const stored = (of: 'clientStored' | 'serverStored') =>
    megabytes(steps.reduce((total, step) => total + step[of], 0));
  const moved = ({ up, down }: typeof cost.offline) => up + down;
  const every = moved(cost.offline) + moved(cost.online);
  const everyMs = price.offline.totalMs + price.online.totalMs;
  const { serverOffline } = timeOf({ steps });
  const inference = (name: string, bytes: number, time: number) =>
    `${name}: ${megabytes(bytes)} MB, about ${ms(time)} ms`;
  return [
    ...table,
    '',
    `hint   : ${megabytes(cost.hint)} MB down, once for a client that keeps it; ` +
      `about ${ms(price.hint.totalMs)} ms (computing ${ms(price.hint.computeMs)}, network ${ms(price.hint.networkMs)}); ` +
      `made once for the model, in about ${ms(hint.make)} ms of a core`,
    phase('offline', cost.offline, price.offline),
    phase('online ', cost.online, price.online),
    inference("a client's first inference", cost.hint + every, price.hint.totalMs + everyMs),
    inference('every further one         ', every, everyMs),
    ...(cost.hint > every
      ? [
          `the hint is ${Math.round((100 * cost.hint) / (cost.hint + every))} % of what the first inference moves: ` +
            'a client that makes one inference and keeps nothing pays it each time',
        ]
      : []),
    `a server prepares about ${(1000 / serverOffline).toFixed(1)} inferences a second and core`,
    `a bundle keeps ${stored('clientStored')} MB at the client, ${stored('serverStored')} MB at the server`,
  ].join('\n');
}
