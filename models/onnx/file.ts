/** Models in files: tensors outside of the model's own file are read from its folder, and from nowhere else. */

import { realpathSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { readWholeSync } from '../../protocol/files.ts';
import { ModelError } from '../errors.ts';
import type { Graph } from '../graph/index.ts';
import type { ExternalData } from './constant.ts';
import { type OnnxOptions, type OnnxReading, readOnnx, tryOnnx } from './reader.ts';

/** Finds files inside a folder; links that lead out of it are not followed. */
export function folderOf(folder: string): ExternalData {
  const root = realpathSync(folder);
  const files = new Map<string, Uint8Array>();
  return (location) => {
    const known = files.get(location);
    if (known !== undefined) return known;
    try {
      const path = realpathSync(join(root, location));
      if (relative(root, path).split(sep)[0] === '..') {
        throw new ModelError('file', 'it leads out of the folder');
      }
      const bytes = readWholeSync(path);
      files.set(location, bytes);
      return bytes;
    } catch (cause) {
      throw new ModelError('file', `the model's folder has no file '${location}'`, { cause });
    }
  };
}

/**
 * Reads a network from an ONNX file and, where the model says so, from files in the same folder.
 * @throws ModelError as readOnnx does; Error with one sentence when the file cannot be read.
 */
export function readOnnxFile(path: string, options: OnnxOptions = {}): Graph {
  return readOnnx(readWholeSync(path), { external: folderOf(dirname(path)), ...options });
}

/** Reads a network from an ONNX file as far as it can be: see {@link tryOnnx}. */
export function tryOnnxFile(path: string, options: OnnxOptions = {}): OnnxReading {
  return tryOnnx(readWholeSync(path), { external: folderOf(dirname(path)), ...options });
}
