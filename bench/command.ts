/** `sotto bench`: measures points over links, and draws what was measured. */

import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError, Option } from 'commander';
import { readText } from '../models/files.ts';
import { modelPath } from '../models/shipped.ts';
import { checkOutput, makeFolder, replaceFile } from '../protocol/files.ts';
import { say, showStatus } from '../protocol/terminal.ts';
import { compareBrowser } from './browser.ts';
import { measureKernels } from './kernels.ts';
import { onnxPoints } from './onnx-points.ts';
import { htmlPage, markdownPage } from './page/page.ts';
import { withCosts } from './page/tables.ts';
import {
  type BenchPoint,
  imageNetPoints,
  ownPoints,
  publishedPoints,
  standardPoints,
} from './points.ts';
import {
  csv,
  NO_RESULTS,
  type Results,
  readResults,
  resultsText,
  type Sections,
} from './results.ts';
import { measureBeside } from './stand/beside.ts';
import { measureLoads } from './stand/loads.ts';
import { runStand, type Section, type SectionContext, type StandOptions } from './stand/run.ts';
import { measureSteady } from './stand/steady.ts';
import { chromeTrace } from './stand/trace.ts';

interface BenchOptions {
  readonly quick?: boolean;
  readonly budget?: boolean;
  readonly only?: string;
  readonly parts?: readonly string[];
  readonly models?: readonly string[];
  readonly imagenet?: boolean;
  readonly onnx?: boolean;
  readonly browser?: boolean;
  readonly profile?: boolean;
  readonly draw?: boolean;
  readonly json?: boolean;
  readonly output?: string;
}

/** Where the results that are kept lie in the repository. */
const REPORT = 'bench/report';

export function benchCommand(): Command {
  return new Command('bench')
    .description('measure private inferences over several links, and the parts of the protocol')
    .option(
      '--quick',
      'few points and samples, to see that it works: beside the results that are kept',
    )
    .option('--budget', 'networks at several ReLU budgets alone, not the parts of the protocol')
    .option(
      '--only <TEXT>',
      'only points whose names contain this, and one’s own, and nothing beside them',
    )
    .addOption(
      new Option('--parts <PARTS...>', 'only these of what is measured beside points').choices(
        Object.keys(SECTIONS),
      ),
    )
    .option('--models <FILES...>', 'one’s own models as well, or shipped ones by name')
    .option('--imagenet', 'networks of ImageNet’s size as well: about 4 GB of memory')
    .option('--onnx', 'networks that others trained as well, from their ONNX files')
    .option('--browser', 'the client in Chromium as well, beside the client in Node')
    .option('--profile', 'a Chrome trace of one inference of each point as well')
    .option('--draw', 'measure nothing: draw page and tables from the results that are there')
    .option('--json', 'print the results as one JSON document')
    .option(
      '--output <FOLDER>',
      `where results are kept (default: ${REPORT}, of --quick: ${REPORT}/quick)`,
    )
    .action(bench);
}

/** What is measured beside points, in this order. */
const SECTIONS: { readonly [K in keyof Sections]: Section<K> } = {
  loads: measureLoads,
  steady: measureSteady,
  beside: measureBeside,
  kernels: measureKernels,
  browser: compareBrowser,
};

/** Those that are measured. */
function partsOf({ parts, only, budget, browser }: BenchOptions): string[] {
  if (parts !== undefined) return [...parts];
  const own =
    only !== undefined ? [] : budget ? ['loads'] : ['loads', 'steady', 'beside', 'kernels'];
  return [...own, ...(browser ? ['browser'] : [])];
}

/** What is measured. */
function wanted(options: BenchOptions): Pick<StandOptions, 'points' | 'sections'> {
  const { quick = false, only, models = [], imagenet, onnx } = options;
  const others: BenchPoint[] = [
    ...standardPoints(quick),
    ...(quick ? [] : publishedPoints()),
    ...(imagenet ? imageNetPoints() : []),
    ...(onnx ? onnxPoints() : []),
  ];
  const points = [
    ...ownPoints(models.map(modelPath)),
    ...others.filter(({ id }) => id.includes(only ?? '')),
  ];
  if (points.length === 0) throw new InvalidArgumentError(`--only: no point is named ${only}`);
  const names = partsOf(options);
  const sections = Object.fromEntries(
    Object.entries(SECTIONS)
      .filter(([name]) => names.includes(name))
      .map(([name, measure]) => [
        name,
        (context: SectionContext) => measure({ ...context, points }),
      ]),
  );
  return { points: options.parts === undefined ? points : [], sections };
}

async function bench(options: BenchOptions): Promise<void> {
  const { quick = false, profile, draw } = options;
  const folder = options.output ?? (quick ? `${REPORT}/quick` : REPORT);
  makeFolder(folder);
  const document = join(folder, 'results.json');
  checkOutput(document);
  const earlier = await readResults(document);
  if (draw) {
    if (earlier === undefined) throw new Error(`${document}: there are no results to draw`);
    return leave(folder, earlier, options);
  }
  const controller = new AbortController();
  const interrupt = (): void =>
    controller.abort(new Error('stopped; the same command goes on from here'));
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  try {
    const results = await runStand({
      ...wanted(options),
      mode: quick ? 'quick' : 'full',
      // Few samples stand beside no others.
      earlier: quick ? NO_RESULTS : earlier,
      partial: join(folder, 'results.part.json'),
      signal: controller.signal,
      report: progressLines(),
      async onTrace(id, trace) {
        if (!profile) return;
        const path = join(folder, `trace-${id.replace(/[^\w-]+/g, '-')}.json`);
        await replaceFile(path, chromeTrace(trace));
      },
    });
    await replaceFile(document, resultsText(results));
    await leave(folder, results, options);
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

/** Draws everything; the tables of the repository's own documents where its own results are drawn. */
async function leave(folder: string, results: Results, { json }: BenchOptions): Promise<void> {
  const files: Record<string, string> = {
    [join(folder, 'results.csv')]: csv(results),
    [join(folder, 'index.html')]: htmlPage(results),
  };
  const root = fileURLToPath(new URL('../..', import.meta.url));
  if (resolve(folder) === join(root, REPORT)) {
    files[join(root, 'bench/RESULTS.md')] = markdownPage(results);
    files[join(root, 'README.md')] = withCosts(readText(join(root, 'README.md')), results);
  } else {
    files[join(folder, 'RESULTS.md')] = markdownPage(results);
  }
  for (const [path, text] of Object.entries(files)) await replaceFile(path, text);
  say(join(folder, 'index.html'));
  if (json) process.stdout.write(resultsText(results));
}

/** One line that is rewritten on a terminal, lines elsewhere, each with the time since the start. */
function progressLines(): (line: string) => void {
  const start = performance.now();
  return (line) => {
    const seconds = Math.round((performance.now() - start) / 1000);
    const time = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
    if (process.stderr.isTTY) showStatus(`${time} ${line}`);
    else say(`${time} ${line}`);
  };
}
