// Bundles what browsers load, from the compiled modules in dist/, into dist/web/:
//
//   client.js   the client, for pages and bundlers: `sotto` in a browser
//   worker.js   its web worker, found beside client.js
//   page.js     the demo page, with index.html, its styles and example images; how.html, which explains it
//
// Modules that several of them need go to chunks of their own, so that nothing is loaded twice. Prints the sizes.

import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { rolldown } from 'rolldown';
import { decodeModel } from '../../dist/protocol/program/model.js';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const out = join(root, 'dist/web');
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });

const entry = (name) => join(root, `dist/${name}.js`);
const input = {
  client: entry('client/browser'),
  worker: entry('client/worker'),
  page: entry('client/web/page'),
};

const options = {
  platform: 'browser',
  preserveEntrySignatures: 'strict',
  // A module that reaches for Node, or that cannot be found, must not get into a page unseen.
  onwarn(warning) {
    throw new Error(warning.message);
  },
};

/** The modules that an entry loads at once. */
const modulesOf = (name) =>
  bundled({ [name]: input[name] }, async (bundle) => {
    const { output } = await bundle.generate({ format: 'esm' });
    const chunks = new Map(output.map((chunk) => [chunk.fileName, chunk]));
    const names = loaded(chunks, [`${name}.js`]);
    return new Set(names.flatMap((name) => chunks.get(name).moduleIds));
  });

const [ofPages, ofWorkers] = [await modulesOf('client'), await modulesOf('worker')];

const chunks = await bundled(input, async (bundle) => {
  const { output } = await bundle.write({
    dir: out,
    format: 'esm',
    minify: true,
    entryFileNames: '[name].js',
    chunkFileNames: '[name]-[hash].js',
    // What workers load, in two chunks: with what pages load at once, and the rest, which pages load for what they ask of it. The module that
    // names the worker's file is in neither: bundlers follow that name, and one of them for ever.
    codeSplitting: {
      groups: [
        { name: 'shared', test: (id) => ofPages.has(id) && ofWorkers.has(id) },
        {
          name: 'core',
          test: (id) => !ofPages.has(id) && !/\/client\/(worker\.js$|web\/)/.test(id),
        },
      ],
    },
  });
  return new Map(output.map((chunk) => [chunk.fileName, chunk]));
});

async function bundled(input, use) {
  const bundle = await rolldown({ input, ...options });
  try {
    return await use(bundle);
  } finally {
    await bundle.close();
  }
}

/** What chunks load at once, themselves included. */
function loaded(chunks, names) {
  const seen = new Set(names);
  for (const name of seen) {
    for (const next of chunks.get(name).imports) seen.add(next);
  }
  return [...seen];
}

const pages = [
  'index.html',
  'demo.css',
  'details.css',
  'style.css',
  'how.html',
  'how.css',
  'how.svg',
];
for (const name of pages) {
  copyFileSync(join(root, 'client/web', name), join(out, name));
}
// Images to try, and what the networks take and say that know such things.
const examples = [];
for (const folder of ['digits', 'fashion', 'cifar10']) {
  const from = join(root, `models/zoo/${folder}-images`);
  const to = join(out, 'examples', folder);
  mkdirSync(to, { recursive: true });
  const files = readdirSync(from);
  for (const name of files) copyFileSync(join(from, name), join(to, name));
  const { program } = decodeModel(readFileSync(join(root, `models/zoo/${folder}.sotto`)));
  examples.push({ folder, files, shape: program.input.shape, labels: program.labels });
}
writeFileSync(join(out, 'examples.json'), JSON.stringify(examples));

// What a page loads for the client, with its workers.
const sizes = loaded(chunks, ['client.js', 'worker.js']).map((name) => [
  name,
  gzipSync(readFileSync(join(out, name))).length,
]);
const kB = (bytes) => `${(bytes / 1000).toFixed(1)} kB`;
const total = sizes.reduce((sum, [, bytes]) => sum + bytes, 0);
console.log(
  `dist/web, the client gzipped: ${kB(total)} (${sizes.map(([name, bytes]) => `${name} ${kB(bytes)}`).join(', ')})`,
);
