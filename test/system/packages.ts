/** The packages as they are published, packed into a folder for tests. */

import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from './serving.ts';

const execute = promisify(execFile);

/** Runs a program; both of its outputs. What it says is in the error when it fails. */
export async function run(
  command: string,
  args: readonly string[],
  cwd: string,
  environment: Readonly<Record<string, string>> = {},
): Promise<string> {
  const env = { ...process.env, ...environment };
  const running = execute(command, args, { cwd, env, maxBuffer: 1 << 26 });
  const { stdout, stderr } = await running.catch((cause) => {
    throw new Error(`${command} ${args.join(' ')}\n${cause.stdout}\n${cause.stderr}`, { cause });
  });
  return stdout + stderr;
}

/** Names of the packages, by the folder that packages.mjs makes of each. */
export const NAMES = { client: 'sotto', server: '@sotto/server', models: '@sotto/models' } as const;

export type PackageFolder = keyof typeof NAMES;

/** Packs all into `folder`; the paths of the tarballs. */
export async function packAll(folder: string): Promise<Record<PackageFolder, string>> {
  await run(process.execPath, [join(root, 'packages.mjs'), join(folder, 'unpacked')], root);
  const tarball = async (own: PackageFolder): Promise<string> => {
    const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
    const { stdout } = await execute('npm', args, { cwd: join(folder, 'unpacked', own) });
    return join(folder, JSON.parse(stdout)[0].filename);
  };
  return {
    client: await tarball('client'),
    server: await tarball('server'),
    models: await tarball('models'),
  };
}

/** Puts packed packages into a project, with what they depend on and `others` from this repository: no registry is asked. */
export async function place(
  tarballs: Readonly<Partial<Record<PackageFolder, string>>>,
  project: string,
  others: readonly string[] = [],
): Promise<void> {
  const wanted = new Set(others);
  for (const [folder, tarball] of Object.entries(tarballs)) {
    const installed = join(project, 'node_modules', NAMES[folder as PackageFolder]);
    mkdirSync(installed, { recursive: true });
    await run('tar', ['xzf', tarball, '-C', installed, '--strip-components=1'], project);
    const { dependencies } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
    for (const name of Object.keys(dependencies)) wanted.add(name);
  }
  for (const name of wanted) {
    if (Object.values<string>(NAMES).includes(name)) continue;
    const link = join(project, 'node_modules', name);
    mkdirSync(join(link, '..'), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), link);
  }
  cpSync(join(root, 'client/examples'), project, { recursive: true });
}

/** Every file below a folder, by path. */
export function filesOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
}
