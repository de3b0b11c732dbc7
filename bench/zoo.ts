/** The shipped models, wherever this is run from. */

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The zoo's folder. Data files are not built: they lie beside the sources alone, one folder above what is built. */
export function zooFolder(): string {
  const [source, built] = ['..', '../..'].map((up) =>
    fileURLToPath(new URL(`${up}/models/zoo/`, import.meta.url)),
  );
  return existsSync(`${source}/digits.sotto`) ? source! : built!;
}
