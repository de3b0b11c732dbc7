// Compiles every assembly/<name>.ts below a kernel folder to wasm/<name>.ts, a module that exports the bytes as base64:
// one file to import, the same in Node, a worker thread, a bundler and a plain browser page.
//
// Every kernel module imports one shared memory and owns no static data, so that all of them work on the same arena
// and none needs a runtime. A data segment would overwrite another module's memory: the build refuses it.
//
//   node protocol/kernels/build.mjs [FOLDER ...]     (default: protocol/kernels, models/train/kernels)

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const folders = process.argv.slice(2);
// Most 64 KiB pages a kernel's memory may have: fixed for the protocol, eight times that for training.
const maximumPages = (folder) => (folder === 'models/train/kernels' ? 8192 : 1024);
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
    const hash = createHash('sha256').update([...flags, pages].join(' '));
    for (const file of [name, ...parts]) hash.update(readFileSync(join(source, file)));
    const stamp = `// source ${hash.digest('hex')}`;
    if (existsSync(out) && readFileSync(out, 'utf8').startsWith(stamp)) continue;
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
    const encoded = Buffer.from(binary).toString('base64');
    writeFileSync(out, `${stamp}\nexport const wasm: string =\n  '${encoded}';\n`);
    console.log(`${folder}/wasm/${basename(name)}: ${binary.length} bytes`);
  }
}
