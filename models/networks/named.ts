/** Networks by name, with weights from a safetensors file. */

import { ModelError } from '../errors.ts';
import type { Graph } from '../graph/graph.ts';
import { readSafetensors } from '../onnx/index.ts';
import type { BuilderOptions } from './assemble.ts';
import { delphiMap, loadMiniOnn, loadResNetCifar, weightsFrom } from './load.ts';
import { vgg16 } from './plain.ts';
import { hybReNet, resNet18 } from './resnet.ts';

type Loader = (file: Uint8Array, options: BuilderOptions) => Graph;

const from =
  (build: (options: BuilderOptions) => Graph): Loader =>
  (file, options) =>
    build({ ...options, weights: weightsFrom(readSafetensors(file)) });

const LOADERS: Readonly<Record<string, Loader>> = {
  resnet20: (file, options) => loadResNetCifar(file, 20, options),
  resnet32: (file, options) => loadResNetCifar(file, 32, options),
  resnet44: (file, options) => loadResNetCifar(file, 44, options),
  resnet56: (file, options) => loadResNetCifar(file, 56, options),
  resnet18: from(resNet18),
  vgg16: from(vgg16),
  minionn: (file, options) => loadMiniOnn(file, options),
  'minionn-5-squares': (file, options) => loadMiniOnn(file, { ...options, map: delphiMap }),
  'hybrenet-5-5-3': from((options) => hybReNet([5, 5, 3], 16, options)),
  'hybrenet-5-7-2': from((options) => hybReNet([5, 7, 2], 16, options)),
  'hybrenet-6-6-2': from((options) => hybReNet([6, 6, 2], 16, options)),
  'hybrenet-7-5-2': from((options) => hybReNet([7, 5, 2], 16, options)),
};

/** Names that {@link loadNamed} knows. */
export const NETWORK_NAMES: readonly string[] = Object.keys(LOADERS);

/**
 * A network of this name with the weights of a safetensors file.
 * @throws ModelError `argument` when the name is not known, `file` when the file is not readable or of another network
 */
export function loadNamed(name: string, file: Uint8Array, options: BuilderOptions = {}): Graph {
  const load = Object.hasOwn(LOADERS, name) ? LOADERS[name] : undefined;
  if (load === undefined) {
    throw new ModelError(
      'argument',
      `there is no network named '${name}': it should be one of ${NETWORK_NAMES.join(', ')}`,
    );
  }
  return load(file, options);
}
