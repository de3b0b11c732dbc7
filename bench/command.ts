/** `sotto bench`: measures a private inference and its parts on this machine. */

import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { say } from '../models/terminal.ts';
import { checkOutput, makeFolder, replaceFile } from '../protocol/files.ts';
import { benchBrowser } from './browser.ts';
import { budget } from './budget/command.ts';
import { benchImageNet, IMAGENET_SUBJECTS } from './imagenet.ts';
import { benchInference } from './inference.ts';
import { benchKernels } from './kernels.ts';
import { disturbance, machineInfo } from './machine.ts';
import { benchNetworks } from './networks.ts';
import { benchOnnx, ONNX_SUBJECTS, onnxTable } from './onnx-nets.ts';
import { type Profile, profileNetworks } from './profile.ts';
import { markdown, type Report } from './report.ts';
import { benchScaling } from './scaling.ts';
import { page } from './shares.ts';
import { squareBytes } from './squares.ts';
import { timeline } from './timeline.ts';
import { benchTraining, trainingTable } from './training.ts';

interface BenchOptions {
  readonly repetitions?: number;
  readonly quick?: boolean;
  readonly networks?: boolean;
  readonly imagenet?: boolean;
  readonly browser?: boolean;
  readonly onnx?: boolean;
  readonly profile?: string | true;
  readonly budget?: string | true;
  readonly only?: string;
  readonly training?: boolean;
  readonly json?: boolean;
  readonly results?: string;
}

/** Samples of a figure where nothing else is said. */
const REPETITIONS = 10;

export function benchCommand(): Command {
  return new Command('bench')
    .description('measure a private inference and the parts of the protocol on this machine')
    .option('--repetitions <COUNT>', `samples of each figure (default: ${REPETITIONS})`, Number)
    .option('--quick', 'three short samples')
    .option('--networks', 'full-size ResNets as well: some minutes, about 3 GB of memory')
    .option(
      '--imagenet',
      'networks of ImageNet’s size as well, at most 3 repetitions: a quarter of an hour, about 4 GB of memory',
    )
    .option('--browser', 'the client in Chromium as well, beside the client in Node')
    .option(
      '--profile [FOLDER]',
      'instead: where the time of an inference goes, a table and timelines (bench/report)',
    )
    .option(
      '--budget [FOLDER]',
      'instead: latency against ReLU budget over several networks, as a page with plots (bench/report)',
    )
    .option(
      '--only <TEXT>',
      'with --budget, --imagenet or --onnx: only points or networks whose names contain this',
    )
    .option(
      '--onnx',
      'instead: networks that others trained, from their ONNX files, once each unless --repetitions says more: half an hour',
    )
    .option(
      '--training',
      'instead: steps of training on one thread and on two, beside PyTorch where there is one',
    )
    .option('--json', 'print the results as one JSON document instead of the report')
    .option('--results <FILE>', 'write the report to a file instead of printing it')
    .action(bench);
}

/** How long one sample of a kernel lasts, in ms. */
const SAMPLE_MS = { full: 100, quick: 20 };

/** Turns of each engine in training, and how many seconds one lasts. */
const TRAINING_TURNS = { full: [4, 5], quick: [1, 2] } as const;

/** Where reports are kept. */
const REPORT_FOLDER = 'bench/report';

async function bench(options: BenchOptions): Promise<void> {
  const { quick = false, only } = options;
  const other = (['budget', 'profile', 'training', 'onnx'] as const).find((name) => options[name]);
  if (options.json && other !== undefined) {
    throw new InvalidArgumentError(`--json is of the report of all figures, not of --${other}`);
  }
  if (options.budget !== undefined) {
    return budget(options.budget === true ? REPORT_FOLDER : options.budget, { quick, only });
  }
  if (options.profile !== undefined) {
    return writeProfiles(options.profile === true ? REPORT_FOLDER : options.profile, quick);
  }
  if (options.training) {
    const [turns, seconds] = quick ? TRAINING_TURNS.quick : TRAINING_TURNS.full;
    process.stdout.write(trainingTable(await benchTraining(turns, seconds)));
    return;
  }
  const { repetitions: asked } = options;
  if (asked !== undefined && !(Number.isInteger(asked) && asked >= 1)) {
    throw new InvalidArgumentError(`--repetitions: expected a positive integer, got ${asked}`);
  }
  if (options.results !== undefined) checkOutput(options.results);
  if (options.onnx) {
    const subjects = ONNX_SUBJECTS.filter(({ name }) => name.includes(only ?? ''));
    process.stdout.write(onnxTable(await benchOnnx(subjects, asked ?? 1, say)));
    return;
  }
  const repetitions = quick ? 3 : (asked ?? REPETITIONS);
  const before = await disturbance();
  const inference = await benchInference(repetitions);
  const sampleMs = quick ? SAMPLE_MS.quick : SAMPLE_MS.full;
  const kernels = await benchKernels({ repetitions, sampleMs });
  const networks = options.networks ? await benchNetworks(Math.min(repetitions, 7), say) : [];
  const scaling = options.networks ? await benchScaling(Math.min(repetitions, 5)) : undefined;
  const squares = options.networks ? squareBytes() : undefined;
  const wanted = IMAGENET_SUBJECTS.filter(({ name }) => name.includes(only ?? ''));
  const imagenet = options.imagenet
    ? await benchImageNet(wanted, Math.min(repetitions, 3), say)
    : undefined;
  const browser = options.browser ? await benchBrowser(Math.min(repetitions, 5)) : undefined;
  const report: Report = {
    machine: machineInfo(),
    date: new Date().toISOString(),
    disturbance: { before, after: await disturbance() },
    inference,
    kernels,
    networks,
    scaling,
    squares,
    imagenet,
    browser,
  };
  const page = markdown(report);
  if (options.results !== undefined) await replaceFile(options.results, page);
  if (options.json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  else if (options.results === undefined) process.stdout.write(page);
}

/** Profiles networks; writes profile.md and a timeline of each. */
async function writeProfiles(folder: string, quick: boolean): Promise<void> {
  makeFolder(folder);
  const { cpu, cores, node } = machineInfo();
  const { busy } = await disturbance();
  const profiles: Profile[] = [];
  for await (const profile of profileNetworks(quick, say)) {
    profiles.push(profile);
    await replaceFile(join(folder, `timeline-${profile.slug}.svg`), timeline(profile));
  }
  const text = page(
    profiles,
    `${cpu}, ${cores} threads, Node ${node}; cores busy with other work before: ${(100 * busy).toFixed(0)} %`,
  );
  await replaceFile(join(folder, 'profile.md'), text);
  process.stdout.write(text);
}
