/** The text format of Prometheus, read strictly: what is not as it should be throws. */

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const ESCAPES: Readonly<Record<string, string>> = { '\\\\': '\\', '\\"': '"', '\\n': '\n' };
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)/y;
/** Numbers as Go reads them, in which Prometheus is written. */
const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([Nn]a[Nn]|[+-]Inf|-?[0-9.]+(?:e[+-]?\d+)?)$/;

/** @throws Error that quotes the line which is none of the format, or comes before its help and type, or twice */
export function samplesOf(text: string): Sample[] {
  if (!text.endsWith('\n')) throw new Error('the last line does not end');
  const types = new Map<string, string>();
  const seen = new Set<string>();
  return text
    .slice(0, -1)
    .split('\n')
    .flatMap((line) => {
      if (line === '' || /^# HELP \S+ .+$/.test(line)) return [];
      const [, declared, type] = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line) ?? [];
      if (declared !== undefined) {
        if (types.has(declared)) throw new Error(`declared twice: ${line}`);
        types.set(declared, type!);
        return [];
      }
      const [, name, labels = '', value] = LINE.exec(line) ?? [];
      if (name === undefined) throw new Error(`no sample: ${line}`);
      const base = name.replace(/_(bucket|sum|count)$/, '');
      if (!types.has(name) && types.get(base) !== 'histogram') throw new Error(`untyped: ${line}`);
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
