/**
 * A profile as a picture: both parties on one time axis, a row for each thread and each direction of the network. SVG
 * written by hand, for light and dark pages; pointing at a bar tells what it is.
 */

import { escapeText } from '../models/plot.ts';
import { Kind } from '../protocol/inference/messages.ts';
import type { tasks } from '../protocol/inference/tasks.ts';
import type { Profile, Span } from './profile.ts';
import { IDLE, type Part } from './samples.ts';
import type { FrameMark, PartyTrace, TaskSpan } from './trace.ts';

/** Lengths in pixels. */
const WIDTH = 1400;
const LEFT = 150;
const RIGHT = 20;
const TOP = 96;
const ROW = 26;
const GAP = 6;
const PLOT = WIDTH - LEFT - RIGHT;

/** One colour of the legend: tasks, and the messages they make. */
interface Colour {
  readonly name: string;
  readonly fill: string;
  readonly tasks: readonly (keyof typeof tasks)[];
  readonly kinds: readonly number[];
}

/** Every task and message but those of the setup. */
export const COLOURS: readonly Colour[] = [
  {
    name: 'masks',
    fill: '#5ba3e0',
    tasks: ['maskInput'],
    kinds: [Kind.layer],
  },
  {
    name: "server's shares",
    fill: '#2f5fa8',
    tasks: ['serverShares', 'exactServerShares', 'correctLayer', 'transformRows'],
    kinds: [],
  },
  {
    name: "client's shares",
    fill: '#4fb3a5',
    tasks: ['clientShares', 'decodeHint'],
    kinds: [],
  },
  {
    name: "server's choices",
    fill: '#b48ade',
    tasks: ['drawBatch'],
    kinds: [Kind.grant, Kind.clientOffset, Kind.serverOffset, Kind.productChoices],
  },
  {
    name: "client's transfers",
    fill: '#8a55c2',
    tasks: ['openBatch', 'openArgmax'],
    kinds: [Kind.labelTrees, Kind.labelChoices, Kind.corrections],
  },
  {
    name: 'prepare batches',
    fill: '#e08a2e',
    tasks: ['prepareBatch', 'prepareArgmax'],
    kinds: [Kind.tables],
  },
  {
    name: 'layers on integers',
    fill: '#58a55c',
    tasks: ['linearOnline'],
    kinds: [Kind.maskedInput, Kind.output],
  },
  { name: 'reveal', fill: '#c9a227', tasks: ['reveal'], kinds: [Kind.material] },
  {
    name: 'evaluate',
    fill: '#d2504c',
    tasks: ['evaluate', 'evaluateArgmax'],
    kinds: [Kind.result],
  },
];

/** Colours of the main threads' parts, in the order of the legend; other parts have the last. */
const MAIN: readonly { readonly name: string; readonly fill: string; readonly parts: string[] }[] =
  [
    { name: 'frames and sockets', fill: '#3f9d94', parts: ['frames'] },
    { name: 'to and from workers', fill: '#8f7a54', parts: ['hand-over'] },
    { name: 'garbage collection', fill: '#7a4f4f', parts: ['garbage collection'] },
    { name: 'protocol steps and small layers', fill: '#8a93a0', parts: [] },
  ];

const UNKNOWN = '#8a93a0';

/** A bar: where, how high (1: the whole row), its colour and what it says. */
interface Bar extends Span {
  readonly height: number;
  readonly fill: string;
  readonly title: string;
}

interface Row {
  readonly label: string;
  readonly bars: readonly Bar[];
}

/** Groups of neighbours of one name that have less than `gap` ms between them. */
export function groups<T extends Span>(
  spans: readonly T[],
  nameOf: (span: T) => string,
  gap: number,
): { name: string; start: number; end: number; members: T[] }[] {
  const found: { name: string; start: number; end: number; members: T[] }[] = [];
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    const last = found.at(-1);
    const name = nameOf(span);
    if (last !== undefined && last.name === name && span.start - last.end < gap) {
      last.end = Math.max(last.end, span.end);
      last.members.push(span);
    } else {
      found.push({ name, start: span.start, end: span.end, members: [span] });
    }
  }
  return found;
}

const msText = (ms: number): string => `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;

function workerRows(name: string, { tasks, workers }: PartyTrace, pixel: number): Row[] {
  const threads = [...new Set(tasks.map(({ thread }) => thread))].sort((a, b) => a - b);
  return threads.map((thread, i) => ({
    label: workers > 1 ? `${name} worker ${i + 1}` : `${name} worker`,
    bars: groups(
      tasks.filter((task) => task.thread === thread),
      ({ task }: TaskSpan) => task,
      pixel,
    ).map(({ name: task, start, end, members }) => {
      const busy = members.reduce((sum, span) => sum + span.end - span.start, 0);
      const fill =
        COLOURS.find((colour) => colour.tasks.some((own) => own === task))?.fill ?? UNKNOWN;
      const count = members.length > 1 ? `${members.length} tasks, ` : '';
      return { start, end, height: 1, fill, title: `${task}: ${count}${msText(busy)}` };
    }),
  }));
}

/** A main thread: as high as it was busy, in the colour of what it did most, pixels that are alike joined. */
function mainRow(label: string, parts: readonly Part[], { start, end }: Span, pixel: number): Row {
  const step = 2 * pixel;
  const bins = Array.from(
    { length: Math.ceil((end - start) / step) },
    () => new Map<string, number>(),
  );
  for (const part of parts) {
    if (part.part === IDLE) continue;
    const [from, to] = [Math.max(part.start, start) - start, Math.min(part.end, end) - start];
    for (let i = Math.floor(from / step); i * step < to; i++) {
      const inside = Math.min(to, (i + 1) * step) - Math.max(from, i * step);
      const bin = bins[i];
      bin?.set(part.part, (bin.get(part.part) ?? 0) + inside);
    }
  }
  const drawn = bins.flatMap((bin, i): (Bar & { name: string })[] => {
    const busy = [...bin.values()].reduce((sum, ms) => sum + ms, 0);
    const height = Math.round((4 * busy) / step) / 4;
    if (height === 0) return [];
    const [part] = [...bin].reduce((most, entry) => (entry[1] > most[1] ? entry : most));
    const { fill } = MAIN.find(({ parts }) => parts.includes(part)) ?? MAIN.at(-1)!;
    const from = start + i * step;
    return [
      { name: `${part} ${height}`, start: from, end: from + step, height, fill, title: part },
    ];
  });
  const joined = groups(drawn, ({ name }) => name, pixel / 2);
  return { label, bars: joined.map(({ start, end, members }) => ({ ...members[0]!, start, end })) };
}

/** A direction of the network: the n-th frame sent is the n-th that arrives. */
function networkRow(
  label: string,
  sent: readonly FrameMark[],
  received: readonly FrameMark[],
  pixel: number,
): Row {
  const names = new Map(Object.entries(Kind).map(([name, kind]) => [kind as number, name]));
  const frames = sent.map(({ at, kind, bytes }, i) => ({
    start: at,
    end: received[i]?.at ?? at,
    kind,
    bytes,
  }));
  const nameOf = ({ kind }: { kind: number }) => names.get(kind) ?? String(kind);
  return {
    label,
    bars: groups(frames, nameOf, pixel).map(({ name, start, end, members }) => {
      const bytes = members.reduce((sum, frame) => sum + frame.bytes, 0);
      const { kind } = members[0]!;
      const fill = COLOURS.find(({ kinds }) => kinds.includes(kind))?.fill ?? UNKNOWN;
      const title = `${name}: ${members.length} frames, ${(bytes / 1e3).toFixed(1)} kB, under way ${msText(end - start)}`;
      return { start, end: Math.max(end, start + pixel / 2), height: 1, fill, title };
    }),
  };
}

/** A step of 1, 2 or 5 times a power of ten that divides `length` into at most 12. */
export function tickStep(length: number): number {
  const power = 10 ** Math.floor(Math.log10(length / 12));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => length / step <= 12)!;
}

/** The picture, an SVG file. */
export function timeline({ name, commit, offline, online, client, server }: Profile): string {
  const whole = { start: offline.start, end: online.end };
  const pixel = (whole.end - whole.start) / PLOT;
  const x = (time: number): number => LEFT + (time - whole.start) / pixel;
  const rows: (Row | undefined)[] = [
    mainRow('client main', client.main, whole, pixel),
    ...workerRows('client', client, pixel),
    undefined,
    networkRow('network up', client.sent, server.received, pixel),
    networkRow('network down', server.sent, client.received, pixel),
    undefined,
    mainRow('server main', server.main, whole, pixel),
    ...workerRows('server', server, pixel),
  ];
  const body: string[] = [];
  let y = TOP;
  for (const row of rows) {
    if (row === undefined) {
      y += 2 * GAP;
      continue;
    }
    body.push(`<text class="label" x="${LEFT - 10}" y="${y + ROW / 2 + 4}">${row.label}</text>`);
    body.push(`<rect class="track" x="${LEFT}" y="${y}" width="${PLOT}" height="${ROW}"/>`);
    for (const bar of row.bars) {
      const from = Math.max(x(bar.start), LEFT);
      const width = Math.max(Math.min(x(bar.end), LEFT + PLOT) - from, 0.5);
      const height = ROW * bar.height;
      const at = `at ${msText(Math.max(0, bar.start - whole.start))}`;
      body.push(
        `<rect x="${from.toFixed(1)}" y="${y + ROW - height}" width="${width.toFixed(1)}" height="${height}" ` +
          `fill="${bar.fill}"><title>${escapeText(`${bar.title}, ${at}`)}</title></rect>`,
      );
    }
    y += ROW + GAP;
  }
  const bottom = y;
  const axis: string[] = [];
  const step = tickStep(whole.end - whole.start);
  for (let ms = 0; ms <= whole.end - whole.start; ms += step) {
    const at = x(whole.start + ms).toFixed(1);
    axis.push(`<line class="tick" x1="${at}" x2="${at}" y1="${TOP - 6}" y2="${bottom}"/>`);
    const unit = ms === 0 ? ' ms' : '';
    axis.push(`<text class="axis" x="${at}" y="${bottom + 16}">${Math.round(ms)}${unit}</text>`);
  }
  for (const [phase, span] of Object.entries({ offline, online })) {
    const [from, to] = [x(span.start), x(span.end)];
    const text = `${phase}, ${msText(span.end - span.start)}`;
    axis.push(
      `<path class="phase" d="M${from.toFixed(1)} ${bottom}V${TOP - 24}H${to.toFixed(1)}V${bottom}"/>`,
      `<text class="axis" x="${((from + to) / 2).toFixed(1)}" y="${TOP - 30}">${text}</text>`,
    );
  }
  const used = new Set([...client.tasks, ...server.tasks].map(({ task }) => task));
  const legends = [
    legend(
      'workers, messages',
      COLOURS.filter(({ tasks: own }) => own.some((task) => used.has(task))),
      bottom + 42,
    ),
    legend('main threads', MAIN, bottom + 68),
  ];
  const height = bottom + 84;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="system-ui, sans-serif" font-size="13">
<style>
.page { fill: #fff } .track { fill: #f0f1f4 } text { fill: #24292f } .label { text-anchor: end } .axis { text-anchor: middle }
.tick { stroke: #24292f; stroke-opacity: .12 } .phase { fill: none; stroke: #24292f; stroke-opacity: .6 } .title { font-size: 17px; font-weight: 600 }
@media (prefers-color-scheme: dark) { .page { fill: #15181d } .track { fill: #20252c } text { fill: #dde2e8 } .tick, .phase { stroke: #dde2e8 } }
</style>
<rect class="page" width="${WIDTH}" height="${height}"/>
<text class="title" x="${LEFT}" y="28">${escapeText(`One private inference: ${name}`)}</text>
<text x="${WIDTH - RIGHT}" y="28" text-anchor="end">both parties on one machine over loopback, commit ${escapeText(commit)}</text>
${[...body, ...axis, ...legends].join('\n')}
</svg>
`;
}

function legend(
  title: string,
  entries: readonly { readonly name: string; readonly fill: string }[],
  y: number,
): string {
  const parts = [`<text class="label" x="${LEFT - 10}" y="${y}" font-size="11">${title}</text>`];
  let x = LEFT;
  for (const { name, fill } of entries) {
    parts.push(`<rect x="${x}" y="${y - 11}" width="13" height="13" fill="${fill}"/>`);
    parts.push(`<text x="${x + 18}" y="${y}" font-size="12">${name}</text>`);
    x += 36 + Math.round(6.3 * name.length);
  }
  return parts.join('');
}
