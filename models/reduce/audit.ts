/** `sotto audit`: what removing ReLUs did to each group of images. */

import { basename } from 'node:path';
import { Command } from 'commander';
import { checkOutput, replaceFile } from '../../protocol/files.ts';
import { readLines } from '../files.ts';
import { type FitOptions, fitOf, withFitOptions } from '../fit.ts';
import { type NetworkReadOptions, readGraph, withReadOptions } from '../read.ts';
import { createTrainingPool, Network } from '../train/index.ts';
import { chanceWarning, GROUPINGS, LABELLED, readGrouping, readLabelled } from './data.ts';
import { reluCount } from './elements.ts';
import { auditGroups, disparity, type GroupTable } from './groups.ts';

/** One network's audit. */
export interface Audited {
  readonly name: string;
  readonly relus: number;
  readonly table: GroupTable;
}

interface AuditCommandOptions extends NetworkReadOptions, FitOptions {
  readonly data: readonly string[];
  readonly groups: string;
  readonly labels?: string;
  readonly json?: boolean;
  readonly svg?: string;
  readonly workers?: number;
}

/** Images scored together. LOCAL */
const BATCH = 64;

export function auditCommand(): Command {
  const command = new Command('audit')
    .description('compare what networks of fewer ReLUs do to groups of images')
    .argument('<models...>', 'the network of all ReLUs first, then reduced ones')
    .requiredOption('--data <PATH...>', `labelled images that nothing was trained on: ${LABELLED}`)
    .option('--groups <WHAT>', GROUPINGS, 'classes')
    .option('--labels <FILE>', 'names of the classes, one a line')
    .option('--json', 'print one JSON document')
    .option('--svg <FILE>', "draws each group's disparity against the ReLUs")
    .option('--workers <COUNT>', 'threads (default: those of the machine)');
  return withReadOptions(withFitOptions(command)).action(run);
}

async function run(paths: readonly string[], options: AuditCommandOptions): Promise<void> {
  if (options.svg !== undefined) checkOutput(options.svg);
  const graphs = paths.map((path) => ({ name: basename(path), graph: readGraph(path, options) }));
  const [first] = graphs;
  const set = await readLabelled(options.data, first!.graph.input.shape, fitOf(options));
  const classes = new Network(first!.graph, 1).results;
  const names = options.labels === undefined ? undefined : readLines(options.labels);
  const grouping = readGrouping(options.groups, set, classes, names);
  const pool = createTrainingPool(options.workers);
  const audited: Audited[] = [];
  try {
    for (const { name, graph } of graphs) {
      const table = await auditGroups(graph, set, grouping, { batch: BATCH, pool });
      audited.push({ name, relus: reluCount(graph), table });
    }
  } finally {
    await pool.close();
  }
  const warning = chanceWarning(audited[0]!.table.overall.accuracy, set.labels);
  if (warning !== undefined) process.stderr.write(`${warning}\n`);
  const text = options.json
    ? JSON.stringify({ groups: grouping.names, networks: audited }, null, 2)
    : formatAudit(audited, grouping.names);
  process.stdout.write(`${text}\n`);
  if (options.svg !== undefined) {
    await replaceFile(options.svg, await drawAudit(audited, grouping.names));
  }
}

/**
 * One line a group: accuracy and loss in each network, and, behind the first, its drop beyond the overall one in points
 * of a percent.
 */
export function formatAudit(audited: readonly Audited[], names: readonly string[]): string {
  const [dense] = audited;
  const width = Math.max(...names.map(({ length }) => length), 'disparity at most'.length);
  const percent = (share: number) => (100 * share).toFixed(2);
  const lines: string[] = [];
  for (const { name, relus, table } of audited) {
    const gaps = disparity(dense!.table, table);
    const lost = table.overall.lost === 0 ? '' : `, ${table.overall.lost} images without scores`;
    lines.push(`${name}: ${relus} ReLUs${lost}`);
    const row = (title: string, accuracy: number, loss: number, gap: string, images: number) =>
      `  ${title.padEnd(width)}  ${percent(accuracy).padStart(6)} %  loss ${loss.toFixed(4)}  ${gap.padStart(6)}  ${images} images`;
    const { overall } = table;
    lines.push(row('overall', overall.accuracy, overall.loss, '', overall.images));
    table.groups.forEach(({ accuracy, loss, images }, g) => {
      const gap = gaps[g]!;
      lines.push(row(names[g]!, accuracy, loss, `${gap > 0 ? '+' : ''}${percent(gap)}`, images));
    });
  }
  return lines.join('\n');
}

/**
 * Each group's disparity against the ReLUs, as an SVG.
 * @throws Error when the packages that draw are not installed
 */
export async function drawAudit(
  audited: readonly Audited[],
  names: readonly string[],
): Promise<string> {
  const { drawChart } = await import('./chart.ts').catch((cause) => {
    throw new Error('drawing needs the packages @observablehq/plot and linkedom', { cause });
  });
  const [dense] = audited;
  const sorted = [...audited].sort((a, b) => a.relus - b.relus);
  const lines = names.map((name, g) => ({
    name,
    points: sorted.map(({ relus, table }) => [relus, disparity(dense!.table, table)[g]!] as const),
  }));
  const axis = 'drop of accuracy beyond the overall drop (above 0: worse off)';
  return drawChart({ title: 'Disparity of groups against the ReLU budget', axis, lines });
}
