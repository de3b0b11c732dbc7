/** Lines over ReLU budgets as an SVG picture: accuracy or disparity, one line a method or a group. */

/** One line of a chart. */
export interface Line {
  readonly name: string;
  /** [ReLUs, value], the value in parts of one; by rising ReLUs. */
  readonly points: readonly (readonly [number, number])[];
  /** Drawn dashed: figures of others, for other networks. */
  readonly published?: boolean;
}

export interface Chart {
  readonly title: string;
  /** What the vertical axis has, in percent. */
  readonly axis: string;
  readonly lines: readonly Line[];
}

const WIDTH = 760;
const HEIGHT = 420;
const LEFT = 70;
const RIGHT = 210;
const TOP = 40;
const BOTTOM = 50;

/** Colours that people of every kind of sight tell apart (Okabe and Ito). */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000'];

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** Round numbers that cut a range into three to seven. */
export function ticks(low: number, high: number): number[] {
  const rough = (high - low) / 7 || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * ([1, 2, 5, 10].find((factor) => unit * factor >= rough) ?? 10);
  const first = Math.ceil(low / step);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, i) => (first + i) * step);
}

/** Powers of ten, and what lies at 2 and 5 between them. */
function decades(low: number, high: number): number[] {
  const marks: number[] = [];
  for (let unit = 10 ** Math.floor(Math.log10(low)); unit <= high; unit *= 10) {
    marks.push(...[1, 2, 5].map((factor) => factor * unit).filter((m) => m >= low && m <= high));
  }
  return marks;
}

function relusText(relus: number): string {
  if (relus >= 1e6) return `${relus / 1e6}M`;
  return relus >= 1000 ? `${relus / 1000}K` : `${relus}`;
}

/** The chart as an SVG document: ReLUs on a logarithmic axis. */
export function drawChart({ title, axis, lines }: Chart): string {
  const all = lines.flatMap(({ points }) => points);
  if (all.length === 0) throw new RangeError('a chart needs at least one point');
  const relus = all.map(([x]) => Math.max(1, x));
  const values = all.map(([, y]) => 100 * y);
  const [fewest, most] = [Math.min(...relus), Math.max(...relus)];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = 0.05 * (high - low || 1);
  const [bottom, top] = [low - room, high + room];
  const x = (n: number) =>
    LEFT +
    ((WIDTH - LEFT - RIGHT) * Math.log(Math.max(1, n) / fewest)) / (Math.log(most / fewest) || 1);
  const y = (percent: number) =>
    HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * (percent - bottom)) / (top - bottom);
  const text = (at: readonly [number, number], what: string, more = '') =>
    `<text x="${at[0].toFixed(1)}" y="${at[1].toFixed(1)}" ${more}>${escaped(what)}</text>`;

  const grid = ticks(bottom, top).map((tick) => {
    const at = y(tick).toFixed(1);
    const line = `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}" stroke="#ddd"/>`;
    const label = `${Number(tick.toFixed(6))} %`;
    return line + text([LEFT - 8, y(tick) + 4], label, 'text-anchor="end"');
  });
  const marks = decades(fewest, most).map((mark) =>
    text([x(mark), HEIGHT - BOTTOM + 20], relusText(mark), 'text-anchor="middle"'),
  );
  const drawn = lines.map(({ name, points, published = false }, i) => {
    const colour = COLOURS[i % COLOURS.length]!;
    const at = points.map(([n, value]) => [x(n), y(100 * value)] as const);
    const path = at.map(([px, py]) => `${px.toFixed(1)},${py.toFixed(1)}`).join(' ');
    const dash = published ? ' stroke-dasharray="4 3"' : '';
    const dots = at.map(
      ([px, py]) => `<circle cx="${px.toFixed(1)}" cy="${py.toFixed(1)}" r="3" fill="${colour}"/>`,
    );
    const row = TOP + 10 + 18 * i;
    const key = `<line x1="${WIDTH - RIGHT + 12}" x2="${WIDTH - RIGHT + 32}" y1="${row}" y2="${row}" stroke="${colour}" stroke-width="2"${dash}/>`;
    return [
      `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"${dash}/>`,
      ...dots,
      key,
      text([WIDTH - RIGHT + 38, row + 4], name),
    ].join('');
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    text([LEFT, 22], title, 'font-size="15" font-weight="bold"'),
    ...grid,
    ...marks,
    text([(LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10], 'ReLUs', 'text-anchor="middle"'),
    text([10, TOP - 6], axis),
    ...drawn,
    '</svg>\n',
  ].join('\n');
}

/** A network of one budget, as cards have it. */
export interface Made {
  readonly method: string;
  readonly relus: number;
  /** 0..1 */
  readonly accuracy: number;
}

/** Accuracy against the ReLU budget: a line for each method, and published ones beside them. */
export function drawBudgets(
  title: string,
  made: readonly Made[],
  published: readonly Line[] = [],
): string {
  const methods = [...new Set(made.map(({ method }) => method))];
  const own = methods.map((name) => ({
    name,
    points: made
      .filter(({ method }) => method === name)
      .sort((a, b) => a.relus - b.relus)
      .map(({ relus, accuracy }) => [relus, accuracy] as const),
  }));
  return drawChart({ title, axis: 'accuracy', lines: [...own, ...published] });
}
