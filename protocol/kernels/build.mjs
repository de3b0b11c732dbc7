// Compiles every assembly/<name>.ts below a kernel folder to wasm/<name>.ts, a module that exports the bytes as base64:
// one file to import, the same in Node, a worker thread, a bundler and a plain browser page.
//
// Every kernel module imports one shared memory and owns no static data, so that all of them work on the same arena
// and none needs a runtime. A data segment would overwrite another module's memory: the build refuses it.
//
// A kernel that asks for ASC_FEATURE_RELAXED_SIMD is built twice: as `wasm` without, and as `relaxed` with it.
//
//   node protocol/kernels/build.mjs [FOLDER ...]     (default: protocol/kernels, models/train/kernels)

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const folders = process.argv.slice(2);
// Most 64 KiB pages a kernel's memory may have: fixed for the protocol; 2 GiB for float networks.
const maximumPages = (folder) => (folder === 'models/train/kernels' ? 32768 : 1024);
const flags =
  '--optimizeLevel 3 --shrinkLevel 0 --noAssert --enable simd --runtime stub --importMemory --initialMemory 1024 --maximumMemory'.split(
    ' ',
  );

for (const folder of folders.length > 0
  ? folders
  : ['protocol/kernels', 'models/train/kernels'].filter((f) => existsSync(join(root, f)))) {
  const source = join(root, folder, 'assembly');
  const target = join(root, folder, 'wasm');
  const pages = String(maximumPages(folder));
  mkdirSync(target, { recursive: true });
  // A file whose name starts with _ is a part that kernels import, not a kernel of its own.
  const names = readdirSync(source).filter((f) => f.endsWith('.ts') && !f.startsWith('_'));
  const parts = readdirSync(source).filter((f) => f.startsWith('_'));
  for (const name of names) {
    const out = join(target, name);
    // Extra flags of each module, by the name it is exported as.
    const builds = { wasm: [] };
    if (readFileSync(join(source, name), 'utf8').includes('ASC_FEATURE_RELAXED_SIMD')) {
      builds.relaxed = ['--enable', 'relaxed-simd'];
    }
    const hash = createHash('sha256').update([...flags, pages].join(' '));
    if (builds.relaxed) hash.update(JSON.stringify(builds));
    for (const file of [name, ...parts]) hash.update(readFileSync(join(source, file)));
    const stamp = `// source ${hash.digest('hex')}`;
    if (existsSync(out) && readFileSync(out, 'utf8').startsWith(stamp)) continue;
    let text = `${stamp}\n`;
    for (const [id, more] of Object.entries(builds)) {
      const binary = await compile(folder, name, pages, more);
      const encoded = Buffer.from(binary).toString('base64');
      text += `export const ${id}: string =\n  '${encoded}';\n`;
      console.log(`${folder}/wasm/${basename(name)}, ${id}: ${binary.length} bytes`);
    }
    writeFileSync(out, text);
  }
}

/** The bytes of a kernel's module. */
async function compile(folder, name, pages, more) {
  const source = join(root, folder, 'assembly');
  let binary;
  let text;
  const { error, stderr } = await asc.main(
    [
      join(source, name),
      '--outFile',
      'k.wasm',
      '--textFile',
      'k.wat',
      '--baseDir',
      source,
      ...flags,
      pages,
      ...more,
    ],
    {
      writeFile: (file, data) => {
        if (file === 'k.wasm') binary = data;
        if (file === 'k.wat') text = data;
      },
    },
  );
  if (error) {
    console.error(`${folder}/assembly/${name}: ${stderr.toString()}`);
    process.exit(1);
  }
  if (/^ *\(data /m.test(text)) {
    console.error(`${folder}/assembly/${name}: a kernel must own no static data, pass a pointer`);
    process.exit(1);
  }
  return binary;
}
