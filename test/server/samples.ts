/** The text of OpenMetrics, read strictly: what is not as it should be throws. */

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const ESCAPES: Readonly<Record<string, string>> = { '\\\\': '\\', '\\"': '"', '\\n': '\n' };
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)/y;
/** Numbers as Go reads them, in which Prometheus is written. */
const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([Nn]a[Nn]|[+-]Inf|-?[0-9.]+(?:e[+-]?\d+)?)$/;
const END = '\n# EOF\n';
/** What stands behind the name of a family in the names of its samples. */
const SUFFIXES: Readonly<Record<string, RegExp>> = {
  counter: /^_total$/,
  gauge: /^$/,
  histogram: /^_(bucket|sum|count)$/,
};

/** @throws Error that quotes the line which is none of the format, or is not where it belongs, or comes twice */
export function samplesOf(text: string): Sample[] {
  if (!text.endsWith(END)) throw new Error('the last line is not that of the end');
  const families = new Set<string>();
  const seen = new Set<string>();
  /** To which the samples behind it belong. */
  let family: { name: string; type: string } | undefined;
  return text
    .slice(0, -END.length)
    .split('\n')
    .flatMap((line) => {
      if (/^# HELP \S+ .+$/.test(line)) return [];
      const [, declared, type] = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line) ?? [];
      if (declared !== undefined) {
        if (families.has(declared)) throw new Error(`declared twice: ${line}`);
        if (type === 'counter' && declared.endsWith('_total')) throw new Error(`named so: ${line}`);
        families.add(declared);
        family = { name: declared, type: type! };
        return [];
      }
      const [, name, labels = '', value] = LINE.exec(line) ?? [];
      if (name === undefined) throw new Error(`no sample: ${line}`);
      const own = family !== undefined && name.startsWith(family.name);
      if (!own || !SUFFIXES[family!.type]!.test(name.slice(family!.name.length))) {
        throw new Error(`of another family: ${line}`);
      }
      const key = `${name}{${labels}}`;
      if (seen.has(key)) throw new Error(`twice: ${line}`);
      seen.add(key);
      return [{ name, labels: labelsOf(labels), value: Number(value!.replace('Inf', 'Infinity')) }];
    });
}

function labelsOf(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  let at = 0;
  while (at < text.length) {
    LABEL.lastIndex = at;
    const found = LABEL.exec(text);
    if (found === null) throw new Error(`no labels: ${text}`);
    labels[found[1]!] = found[2]!.replace(/\\[\\"n]/g, (pair) => ESCAPES[pair]!);
    at = LABEL.lastIndex;
  }
  return labels;
}

/** The value of one sample; 0 when there is none. */
export function numberOf(
  samples: readonly Sample[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  const found = samples.filter(
    (sample) =>
      sample.name === name && Object.entries(labels).every(([l, v]) => sample.labels[l] === v),
  );
  if (found.length > 1) throw new Error(`several samples of ${name}`);
  return found[0]?.value ?? 0;
}
