// Assembles the packages that are published, in dist/packages or the folder that is named, from what the build has left in dist:
//
//   client/   `sotto`: the client and the protocol. What it uses of noble, msgpackr, zod and pngjs is in it, their licences too:
//             it depends on ws and piscina alone
//   server/   `@sotto/server`: the server, the command `sotto`, the demo page
//   models/   `@sotto/models`: from a network to a model, and the models that ship
//
// Every module is in one of them. Where one imports a module of another package, it does so by NAME/internal/PATH, which is for these
// packages alone: they are released together. Prints the packages and their sizes.

import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import ts from 'typescript';

const root = dirname(fileURLToPath(import.meta.url));
const dist = join(root, 'dist');
const out = resolve(process.argv[2] ?? join(dist, 'packages'));
const project = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/**
 * Where the repository is, `https://HOST/OWNER/NAME`: `repository` of its package.json, which has none as long as it is nowhere. Manifests
 * name it then, and links that leave their package lead to it.
 */
const repository = project.repository;

const platforms = (types, browser, node) => ({ types, browser, default: node });
const entry = (path) => ({ types: `${path}.d.ts`, default: `${path}.js` });

/** By folder. `documents` and `files`: from the repository, to where they lie in the package. */
const packages = {
  client: {
    name: 'sotto',
    description: project.description,
    dependencies: ['piscina', 'ws'],
    holds: (path) =>
      /^(client|protocol)\/(?!web\/|command\.)/.test(path) || /^web\/(?!page)[^/]+\.js$/.test(path),
    sideEffects: ['./dist/web/worker.js'],
    exports: {
      '.': platforms('./dist/client/api.d.ts', './dist/web/client.js', './dist/client/index.js'),
      './worker': platforms(
        './dist/client/worker.d.ts',
        './dist/web/worker.js',
        './dist/protocol/inference/worker.js',
      ),
      './cost': entry('./dist/client/cost'),
    },
    documents: {
      'client/README.md': 'README.md',
      'client/examples/README.md': 'examples/README.md',
      ...Object.fromEntries(
        readdirSync(join(root, 'client/guides')).map((name) => [
          `client/guides/${name}`,
          `guides/${name}`,
        ]),
      ),
      'protocol/README.md': 'protocol/README.md',
      'protocol/DECISIONS.md': 'protocol/DECISIONS.md',
      'SECURITY.md': 'SECURITY.md',
    },
    files: {
      'client/examples/node': 'examples/node',
      'client/examples/page': 'examples/page',
      'client/examples/vite': 'examples/vite',
    },
  },
  server: {
    name: '@sotto/server',
    description: 'Offers models for private inference with Sotto, with the command sotto',
    bin: { sotto: './dist/cli.js' },
    holds: (path) => /^(server\/|web\/|(cli|completion|client\/command)\.)/.test(path),
    exports: {
      '.': entry('./dist/server/index'),
      './metrics': entry('./dist/server/metrics'),
    },
    optional: ['ioredis'],
    documents: { 'server/README.md': 'README.md' },
    files: { 'server/deploy': 'deploy' },
  },
  models: {
    name: '@sotto/models',
    description: 'Networks for private inference with Sotto: read, train, reduce, compile',
    // Not what makes what is in the repository: the models that ship, studies, the table of operators; nor what measurements
    // alone write.
    holds: (path) => /^models\/(?!zoo\/|studies\/|onnx\/(table|write)\.)/.test(path),
    exports: {
      '.': entry('./dist/models/index'),
      './charts': entry('./dist/models/reduce/chart'),
    },
    optional: ['@observablehq/plot', 'linkedom'],
    documents: {
      'models/README.md': 'README.md',
      'models/RESEARCH.md': 'RESEARCH.md',
      'models/onnx/OPERATORS.md': 'onnx/OPERATORS.md',
      'models/onnx/EXPORT.md': 'onnx/EXPORT.md',
    },
    files: { 'models/zoo': 'models/zoo', 'models/studies': 'studies' },
  },
};

/**
 * Files of the repository that go along: not the scripts beside them, nor hints and their secrets, which a server has left beside a
 * model that it offered from here.
 */
const goesAlong = (path) => statSync(path).isDirectory() || !/\.(ts|py)$|\.sotto\.hint/.test(path);

/** The package of a built module; none has those of bench. */
const ownerOf = (path) => Object.keys(packages).find((folder) => packages[folder].holds(path));

const isModule = (path) => /\.(js|d\.ts)$/.test(path) && !path.startsWith('web/');

/** A module whose source is gone is left from an earlier build, and so are maps of sources. */
const isCurrent = (path) =>
  isModule(path)
    ? existsSync(join(root, path.replace(/\.(js|d\.ts)$/, '.ts')))
    : !path.endsWith('.map');

rmSync(out, { recursive: true, force: true });
const built = readdirSync(dist, { recursive: true })
  .map((path) => path.replaceAll('\\', '/'))
  .filter((path) => statSync(join(dist, path)).isFile() && isCurrent(path));
const notices = await bundleClient(join(out, 'client/dist'));
for (const folder of Object.keys(packages)) {
  assemble(folder);
  const bytes = readdirSync(join(out, folder), { recursive: true })
    .map((path) => statSync(join(out, folder, path)))
    .reduce((sum, stat) => sum + (stat.isFile() ? stat.size : 0), 0);
  console.log(`${join(out, folder)}: ${packages[folder].name}, ${(bytes / 1e6).toFixed(2)} MB`);
}

/**
 * The client's modules, each where it was, with what they use of other packages in vendor/.
 * @returns the licences of those
 */
async function bundleClient(to) {
  const modules = built.filter(
    (path) => ownerOf(path) === 'client' && /^(?!web).*\.js$/.test(path),
  );
  const bundle = await rolldown({
    input: Object.fromEntries(modules.map((path) => [path.slice(0, -3), join(dist, path)])),
    platform: 'node',
    external: [/^node:/, ...packages.client.dependencies],
    preserveEntrySignatures: 'strict',
    onwarn(warning) {
      throw new Error(warning.message);
    },
  });
  const { output } = await bundle.write({
    dir: to,
    format: 'esm',
    preserveModules: true,
    preserveModulesRoot: dist,
    // npm packs no node_modules.
    entryFileNames: ({ name }) => `${name.replace(/^.*node_modules\//, 'vendor/')}.js`,
    chunkFileNames: 'vendor/[name]-[hash].js',
  });
  await bundle.close();
  const folders = new Set(
    output.flatMap(({ moduleIds = [] }) =>
      moduleIds.map((id) => /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(id)?.[0]).filter(Boolean),
    ),
  );
  return [...folders].sort().map((folder) => {
    const { name, version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const licence = readdirSync(folder).find((file) => /^licen[cs]e/i.test(file));
    return `${name} ${version}\n\n${readFileSync(join(folder, licence), 'utf8').trim()}\n`;
  });
}

function assemble(folder) {
  const { holds, documents, files } = packages[folder];
  const to = join(out, folder);
  /** Packages that its modules import. */
  const used = new Set(packages[folder].dependencies);
  for (const path of built.filter(holds)) {
    if (folder === 'client' && isModule(path) && path.endsWith('.js')) continue;
    const bytes = readFileSync(join(dist, path));
    write(join(to, 'dist', path), isModule(path) ? linked(path, `${bytes}`, folder, used) : bytes);
  }
  for (const [from, path] of Object.entries(files)) {
    cpSync(join(root, from), join(to, path), { recursive: true, filter: goesAlong });
  }
  for (const [from, path] of Object.entries(documents)) {
    write(join(to, path), readable(from, folder));
  }
  cpSync(join(root, 'LICENSE'), join(to, 'LICENSE'));
  // The page of the server holds the client.
  if (folder !== 'models')
    write(join(to, 'LICENSES-OF-OTHERS'), notices.join(`\n${'-'.repeat(80)}\n\n`));
  write(join(to, 'package.json'), `${JSON.stringify(manifestOf(folder, used), null, 2)}\n`);
}

function write(path, content) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

/**
 * The text of a module whose imports find each other in packages.
 * @param used - is told of packages that it imports
 */
function linked(path, text, folder, used) {
  const target = (specifier) =>
    relative(dist, resolve(dist, dirname(path), specifier)).replace(/(\.d)?\.ts$/, '.js');
  for (const [, specifier] of text.matchAll(/new URL\(\s*'(\.[^']+\.js)'/g)) {
    const owner = ownerOf(target(specifier));
    if (owner !== undefined && owner !== folder) {
      throw new Error(`${path}: ${specifier} is a file of another package`);
    }
  }
  let result = text;
  // From the last one on, so that what stands before keeps its place.
  for (const { fileName, pos } of ts.preProcessFile(text, true, true).importedFiles.reverse()) {
    let specifier = fileName;
    if (!fileName.startsWith('.')) {
      if (!fileName.startsWith('node:')) used.add(/^(@[^/]+\/)?[^/]+/.exec(fileName)[0]);
      continue;
    }
    const owner = ownerOf(target(fileName));
    if (owner === undefined) continue;
    if (owner === folder) specifier = fileName.replace(/\.ts$/, '.js');
    else {
      used.add(packages[owner].name);
      specifier = `${packages[owner].name}/internal/${target(fileName)}`;
    }
    const at = text.indexOf(fileName, pos);
    result = result.slice(0, at) + specifier + result.slice(at + fileName.length);
  }
  return result;
}

/** A document whose links lead to files of its package; what is elsewhere is a link to the repository, or named alone. */
function readable(from, folder) {
  const { documents, files } = packages[folder];
  const here = dirname(documents[from]);
  const placeOf = (path) => {
    if (documents[path] !== undefined) return documents[path];
    const along = Object.keys(files).find((own) => path === own || path.startsWith(`${own}/`));
    return along && goesAlong(join(root, path))
      ? files[along] + path.slice(along.length)
      : undefined;
  };
  const text = readFileSync(join(root, from), 'utf8');
  return text
    .replace(/\[([^\]]+)\]\((?!https?:|#)([^)#]*)(#[^)]*)?\)/g, (_, words, link, part = '') => {
      const path = relative(root, resolve(root, dirname(from), link));
      const place = placeOf(path);
      if (place !== undefined) return `[${words}](${relative(here, place)}${part})`;
      if (repository !== undefined) return `[${words}](${repository}/blob/HEAD/${path}${part})`;
      const other = Object.values(packages).find(({ documents }) => documents[path] !== undefined);
      return other === undefined ? words : `${words} (in \`${other.name}\`)`;
    })
    .replace(/src="([^":]+)"/g, (_, link) => {
      const path = relative(root, resolve(root, dirname(from), link));
      const place = placeOf(path);
      if (place === undefined) throw new Error(`${from}: ${link} is in no package`);
      return `src="${relative(here, place)}"`;
    });
}

function manifestOf(folder, used) {
  const { name, description, sideEffects = false, bin, exports, optional = [] } = packages[folder];
  const { version, license, engines } = project;
  const versions = { ...project.dependencies, ...project.optionalDependencies };
  for (const own of Object.values(packages)) versions[own.name] = version;
  const pick = (wanted) =>
    Object.fromEntries(
      [...used].sort().flatMap((one) => {
        if (versions[one] === undefined)
          throw new Error(`${name} imports ${one}, which is unknown`);
        return optional.includes(one) === wanted
          ? [[one, (wanted ? '^' : '') + versions[one]]]
          : [];
      }),
    );
  return {
    name,
    version,
    description,
    license,
    ...(repository !== undefined && {
      repository: { type: 'git', url: `git+${repository}.git` },
      bugs: `${repository}/issues`,
    }),
    type: 'module',
    sideEffects,
    engines,
    bin,
    exports: { ...exports, './internal/*': './dist/*', './package.json': './package.json' },
    dependencies: pick(false),
    ...(optional.length > 0 && {
      peerDependencies: pick(true),
      peerDependenciesMeta: Object.fromEntries(optional.map((one) => [one, { optional: true }])),
    }),
  };
}
