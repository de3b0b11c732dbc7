/** The source files that the rules of the layout are about. */

import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const root: string = resolve(import.meta.dirname, '../..');

/** Every source file of a folder, relative to the root. Kernels in AssemblyScript and generated modules have their own rules. */
export function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      return ['assembly', 'wasm', 'node_modules'].includes(entry.name) ? [] : sources(path);
    }
    return /\.(ts|mjs)$/.test(entry.name) ? [path] : [];
  });
}

const folders = ['client', 'server', 'protocol', 'models', 'bench'];

export const files: readonly string[] = [
  ...folders.flatMap(sources),
  'cli.ts',
  'completion.ts',
  'demo.ts',
].filter((file) => existsSync(join(root, file)));
