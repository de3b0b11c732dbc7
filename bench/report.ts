/** The results as data (JSON) and as a page (Markdown). */

import type { BrowserResult } from './browser.ts';
import type { ImageNetResult } from './imagenet.ts';
import type { InferenceResult } from './inference.ts';
import type { KernelResult } from './kernels.ts';
import type { Disturbance, Machine } from './machine.ts';
import type { Summary } from './measure.ts';
import type { NetworkResult, Taken } from './networks.ts';
import { MEASURED_LATENCIES, PUBLISHED_LATENCIES, REFERENCE_MACHINE } from './references.ts';
import type { ScalingResult } from './scaling.ts';
import type { SquareResult } from './squares.ts';
import { targetsOf } from './targets.ts';

export interface Report {
  readonly machine: Machine;
  /** ISO 8601. */
  readonly date: string;
  readonly disturbance: { readonly before: Disturbance; readonly after: Disturbance };
  readonly inference: InferenceResult;
  readonly kernels: readonly KernelResult[];
  /** Empty when they were not asked for. */
  readonly networks: readonly NetworkResult[];
  /** Absent when networks were not asked for. */
  readonly scaling?: ScalingResult | undefined;
  /** Absent when networks were not asked for. */
  readonly squares?: readonly SquareResult[] | undefined;
  /** Absent when they were not asked for. */
  readonly imagenet?: readonly ImageNetResult[] | undefined;
  /** Absent when the browser was not asked for. */
  readonly browser?: readonly BrowserResult[] | undefined;
}

/** A number with three digits that mean something, four above a thousand. */
export function figure(value: number): string {
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 6));
}

/** Quartiles in words. */
export function spread({ lower, upper }: Summary): string {
  return `${figure(lower)} to ${figure(upper)}`;
}

/** A Markdown table with aligned columns, numbers (all columns but the first) to the right: as the formatter wants it. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((_, i) => Math.max(3, ...[head, ...rows].map((row) => row[i]!.length)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`;
  const rule = widths.map((width, i) =>
    i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`,
  );
  return [head, rule, ...rows].map(line).join('\n');
}

/** The page that is kept as bench/RESULTS.md. */
export function markdown(report: Report): string {
  const { machine, date, disturbance, inference, kernels, networks } = report;
  const { model, relus, activations, phases, plain } = inference;
  const repetitions = phases.at(-1)!.ms.samples;
  const { before, after } = disturbance;
  const percent = (share: number) => `${(100 * share).toFixed(0)} %`;
  const bytes = (count: number) => count.toLocaleString('en');
  const phaseRows = phases.map(({ name, ms, bytesUp, bytesDown, rounds }) => [
    name,
    figure(ms.median),
    spread(ms),
    bytes(bytesUp),
    bytes(bytesDown),
    String(rounds),
  ]);
  const plainText =
    typeof plain === 'string'
      ? `The plaintext baseline was not run: ${plain}.`
      : `The same network in onnxruntime-web (WebAssembly, one thread), in turn with the private runs: ` +
        `${figure(plain.ms.median)} ms (${spread(plain.ms)}). Online / plain, the median of the pairs: ` +
        `**${figure(plain.ratio.median)}** (${spread(plain.ratio)}).`;
  const kernelRows = kernels.map(({ name, unit, value, bytes: moved, reference }) => [
    name,
    `${figure(value.median)} ${unit}`,
    spread(value),
    moved ?? '',
    reference ?? '',
  ]);
  return `# Results

Written by \`npm run bench -- --results bench/RESULTS.md\`; what is measured and how: README.md beside it.

${table(
  ['', 'this run'],
  [
    ['date', date],
    ['commit', machine.commit ?? 'unknown'],
    ['CPU', `${machine.cpu}, ${machine.cores} threads`],
    ['memory', `${machine.memoryGb} GB`],
    ['Node', machine.node],
    ['cores busy just before / after', `${percent(before.busy)} / ${percent(after.busy)}`],
    ['load average before / after', `${figure(before.load)} / ${figure(after.load)}`],
  ],
)}

Cores that were busy before or after the run did other work; times are then too long, and the quartiles say how far they
moved. The load average is that of a minute, so it remembers work that had ended, and after the run the run itself.
Bytes and rounds are exact and the same on every machine.

## A private inference: ${model}, ${bytes(relus)} ReLUs of ${bytes(activations)} activations

Client and server are two processes on loopback; median and quartiles of ${repetitions} repetitions.

${table(['phase', 'ms', 'quartiles', 'bytes up', 'bytes down', 'round trips'], phaseRows)}

${plainText}

## Parts, on one core

Median and quartiles, by processor time. Peers: ${REFERENCE_MACHINE}.

${table(['part', 'median', 'quartiles', 'bytes', 'native peers'], kernelRows)}
${networks.length > 0 ? `\n${networkSection(networks)}` : ''}
${report.squares ? squareSection(report.squares) : ''}${report.imagenet ? imageNetSection(report.imagenet) : ''}${report.browser ? browserSection(report.browser) : ''}${targetSection(report)}`;
}

/** Networks of ImageNet's size, and peers beside them. */
export function imageNetSection(results: readonly ImageNetResult[]): string {
  const megabytes = (bytes: number) => figure(bytes / 1e6);
  const seconds = (ms: number) => figure(ms / 1000);
  const range = ({ lower, upper }: Summary) => `${seconds(lower)} to ${seconds(upper)}`;
  const timeRows = results.map(({ name, hintMs, connect, offline, online }) => [
    name,
    seconds(hintMs),
    seconds(connect.coldMs),
    seconds(connect.warmMs),
    seconds(offline.median),
    range(offline),
    seconds(online.median),
    range(online),
  ]);
  const sizeRows = results.map(({ name, comparisons, hintBytes, cost, peak }) => [
    name,
    comparisons.toLocaleString('en'),
    megabytes(hintBytes),
    megabytes(cost.offline.up),
    megabytes(cost.offline.down),
    megabytes(cost.online.up),
    megabytes(cost.online.down),
    `${cost.offline.rounds} + ${cost.online.rounds}`,
    megabytes(peak.client),
    megabytes(peak.server),
  ]);
  const published = PUBLISHED_LATENCIES.filter(({ network }) => network.includes('ImageNet'));
  const peerRows = [...MEASURED_LATENCIES, ...published].map((peer) => [
    `${peer.system}: ${peer.network}`,
    figure(peer.totalSeconds!),
    peer.totalMegabytes === undefined ? '' : String(peer.totalMegabytes),
    peer.machine,
    peer.source,
    peer.tag,
  ]);
  const differing = results.filter(({ differs }) => differs !== undefined);
  const answers =
    differing.length === 0
      ? 'Every answer was that of the network in the clear, within the program’s tolerance.'
      : differing.map(({ name, differs }) => `**${name}: ${differs}.**`).join(' ');
  const times = ['hint made', 'connect, cold', 'warm', 'offline', 'quartiles', 'online'];
  const sizes = ['comparisons', 'hint', 'offline up', 'down', 'online up', 'down', 'rounds'];
  return `## Networks of ImageNet's size

Random weights; MobileNetV2 with ReLUs in place of ReLU6; max pools compared privately. 5 %: that part of the ReLUs, chosen
at random, the rest identities; what max pools compare stays, and ResNet-50's ReLUs in front of its padded one. Both parties
on this machine, two processes on loopback; medians of ${results[0]?.online.samples ?? 0} repetitions, seconds. The hint is made once for a model. Cold: a
session of a client that fetches the hint; warm: of one that has kept it. ${answers}

${table(['network', ...times, 'quartiles'], timeRows)}

Megabytes and round trips of one inference, exact, and the most resident memory of either process, MB, for one bundle at a
time; the server's includes making the hint.

${table(['network', ...sizes, 'client', 'server'], sizeRows)}

Peers, whole inferences. Measured: ${REFERENCE_MACHINE.replace('one core a party, over loopback; ', '')}.

${table(['system', 's', 'MB', 'machine', 'source', 'tag'], peerRows)}

`;
}

/** The client in a browser, as ratios to the client in Node. */
export function browserSection(results: readonly BrowserResult[]): string {
  const rows = results.flatMap(({ model, relus, phases }) =>
    phases.map(({ name, node, browser, ratio }, i) => [
      i === 0 ? `${model}, ${relus.toLocaleString('en')} ReLUs` : '',
      name,
      figure(node.median),
      figure(browser.median),
      `**${figure(ratio.median)}** (${spread(ratio)})`,
    ]),
  );
  const tasks = results.map(({ model, longestTask }) =>
    longestTask === 0 ? `${model}: none of 50 ms or more` : `${model}: ${figure(longestTask)} ms`,
  );
  return `## In a browser

Chromium without a window, the page cross-origin isolated; Node and browser in turn against the same server process, ms,
ratio pair by pair. The longest task of the page's main thread in the quietest repetition: ${tasks.join('; ')}.

${table(['network', 'phase', 'Node', 'browser', 'browser / Node'], rows)}

`;
}

/** What was aimed at, and what keeps it back where it was missed. */
function targetSection(report: Report): string {
  const targets = targetsOf(report);
  const rows = targets.map(({ what, before, wanted, got, met }) => [
    what,
    before,
    wanted,
    got,
    met ? 'yes' : 'no',
  ]);
  const missed = targets.filter(({ met }) => !met);
  const percent = (share: number) => `${(100 * share).toFixed(0)} %`;
  const { scaling } = report;
  const workers =
    scaling === undefined
      ? ''
      : `
Two workers against one: the offline phase of ResNet-20, both parties in one process with one pool between them, takes
${figure(scaling.one.median)} ms with one worker (${spread(scaling.one)}) and ${figure(scaling.two.median)} ms with two (${spread(scaling.two)}): ${figure(scaling.gain.median)} times
(${spread(scaling.gain)}). Tasks that only compute gain ${figure(scaling.ceiling.median)} times here (${spread(scaling.ceiling)}): the ceiling. With two workers the
event loop of both parties is busy ${percent(scaling.loop.median)} of the time, on the same cores.
`;
  return `## Targets

${table(['', 'version 3', 'wanted', 'measured', 'met'], rows)}
${missed.length > 0 ? `\nWhat keeps the others back:\n\n${missed.map(({ what, bound }) => `- **${what}**: ${bound}`).join('\n')}\n` : ''}${workers}`;
}

/** What squares send. */
function squareSection(results: readonly SquareResult[]): string {
  const range = ([least, most]: readonly [number, number]) => `${least} to ${most}`;
  const sum = ({ offline, online }: SquareResult['bytes']) =>
    `${offline.toFixed(1)} + ${online.toFixed(1)}`;
  const rows = results.map(({ network, squares, rangeBits, shift, bytes, at16 }) => [
    network,
    squares.toLocaleString('en'),
    range(rangeBits),
    range(shift),
    sum(bytes),
    sum(at16),
  ]);
  return `## Squares

Bytes of one square, offline + online, both ways, by the formulas: means over the squares of a network, with the range k
and the truncation f that its layers have, and with f = 16 in all of them.

${table(['network', 'squares', 'k', 'f', 'bytes', 'bytes, f = 16'], rows)}

`;
}

/** Full-size networks, beside what the plan said. */
function networkSection(networks: readonly NetworkResult[]): string {
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
  const all = networks.flatMap(({ halfGates, ...network }) => [
    network,
    ...(halfGates ? [{ ...halfGates, name: `${network.name}, half gates` }] : []),
  ]);
  const rows = all.map((network) => {
    const { name, offline, online, offlineBytes, onlineBytes, rounds, clientStored } = network;
    return [
      name,
      figure(offline.median),
      spread(offline),
      figure(online.median),
      spread(online),
      megabytes(network.hintBytes),
      (network.linearBytes / 1e6).toFixed(2),
      megabytes(offlineBytes),
      megabytes(onlineBytes),
      String(rounds),
      megabytes(clientStored),
    ];
  });
  const planRows = all.map(({ planned, ...network }) => {
    const plain = 'plain' in network ? network.plain : '';
    return [
      network.name,
      figure(planned.offline.totalMs),
      figure(planned.offline.totalMs / network.offline.median),
      figure(planned.online.totalMs),
      figure(planned.online.totalMs / network.online.median),
      typeof plain === 'string' ? plain : figure(plain.ms.median),
      typeof plain === 'string' ? '' : figure(plain.ratio.median),
    ];
  });
  const ratioRows = networks.flatMap(({ name, halfGates, ...encoded }) => {
    if (halfGates === undefined) return [];
    const { offline, online } = halfGates.ratio;
    const bytes = (of: (taken: Taken) => number) => figure(of(encoded) / of(halfGates));
    return [
      [
        name,
        `${figure(offline.median)} (${spread(offline)})`,
        `${figure(online.median)} (${spread(online)})`,
        bytes(({ offlineBytes }) => offlineBytes),
        bytes(({ onlineBytes }) => onlineBytes),
        bytes(({ clientStored }) => clientStored),
      ],
    ];
  });
  const head = ['network', 'offline ms', 'quartiles', 'online ms', 'quartiles'];
  return `## Full-size networks

Both parties on this machine, two processes on loopback, medians of ${networks[0]!.online.samples} repetitions.
Random weights and noise for images: times and bytes do not depend on either. Linear layers are a part of the offline
bytes; the last column is what the client keeps of one bundle. Half gates: the same network with the garbled comparison, in turn with the encoded one.

${table([...head, 'hint MB, once', 'linear MB', 'offline MB', 'online MB', 'rounds', 'client keeps MB'], rows)}

Encoded / half gates, times pair by pair with quartiles:

${table(['network', 'offline', 'online', 'offline bytes', 'online bytes', 'client keeps'], ratioRows)}

What \`sotto plan\` said beforehand, and its ratio to what was measured; the network without privacy in onnxruntime-web
(WebAssembly, one thread), and the ratio of the online phase to it.

${table(['network', 'offline planned', 'ratio', 'online planned', 'ratio', 'plain ms', 'online / plain'], planRows)}
`;
}
