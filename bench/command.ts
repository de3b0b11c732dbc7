/** `sotto bench`: measures a private inference and its parts on this machine. */

import { writeFile } from 'node:fs/promises';
import { Command } from 'commander';
import { benchInference } from './inference.ts';
import { benchKernels } from './kernels.ts';
import { disturbance, machineInfo } from './machine.ts';
import { benchNetworks } from './networks.ts';
import { markdown, type Report } from './report.ts';

interface BenchOptions {
  readonly repetitions: number;
  readonly quick?: boolean;
  readonly networks?: boolean;
  readonly json?: string;
  readonly results?: string;
}

export function benchCommand(): Command {
  return new Command('bench')
    .description('measure a private inference and the parts of the protocol on this machine')
    .option('--repetitions <N>', 'samples of each figure', Number, 10)
    .option('--quick', 'three short samples')
    .option('--networks', 'full-size ResNets as well: some minutes, about 3 GB of memory')
    .option('--json <FILE>', 'write the results as JSON')
    .option('--results <FILE>', 'write the report to a file instead of printing it')
    .action(bench);
}

/** How long one sample of a kernel lasts, in ms. */
const SAMPLE_MS = { full: 100, quick: 20 };

async function bench(options: BenchOptions): Promise<void> {
  const repetitions = options.quick ? 3 : options.repetitions;
  if (!(Number.isInteger(repetitions) && repetitions >= 1)) {
    throw new RangeError(`--repetitions: expected a positive integer, got ${options.repetitions}`);
  }
  const before = await disturbance();
  const inference = await benchInference(repetitions);
  const sampleMs = options.quick ? SAMPLE_MS.quick : SAMPLE_MS.full;
  const kernels = await benchKernels({ repetitions, sampleMs });
  const networks = options.networks
    ? await benchNetworks(Math.min(repetitions, 5), (line) => process.stderr.write(`${line}\n`))
    : [];
  const report: Report = {
    machine: machineInfo(),
    date: new Date().toISOString(),
    disturbance: { before, after: await disturbance() },
    inference,
    kernels,
    networks,
  };
  if (options.json !== undefined) {
    await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`);
  }
  const page = markdown(report);
  if (options.results !== undefined) await writeFile(options.results, page);
  else process.stdout.write(page);
}
