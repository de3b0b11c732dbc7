/** The files of server/deploy that nothing here can run: what they name is there, and what they pass on is taken. */

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { layoutOf } from '../../protocol/inference/layout.ts';
import { measureProgram } from '../../protocol/inference/price.ts';
import { decodeModel } from '../../protocol/program/model.ts';
import { identityOf } from '../../server/identity-options.ts';
import { DEFAULT_SERVER_LIMITS } from '../../server/limits.ts';
import { memoryOf } from '../../server/memory.ts';
import { proxiesOf } from '../../server/request.ts';
import { type ServeCommandOptions, serveOptions } from '../../server/serve-options.ts';
import { withTiny } from '../server/serving.ts';
import { root } from '../system/serving.ts';
import { freePort, shipped } from './fleet.ts';

const folder = join(root, 'server/deploy');

/** What `sotto serve` makes of its options. */
function taken(args: readonly string[]): ServeCommandOptions {
  expect(args[0]).toBe('serve');
  const command = serveOptions()
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  const options = command.parse(args.slice(1), { from: 'user' }).opts<ServeCommandOptions>();
  identityOf(options);
  return options;
}

/** The instructions of the Containerfile, with continued lines joined. */
const instructions = shipped('Containerfile')
  .replace(/^#.*\n/gm, '')
  .replace(/\\\n\s*/g, '')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => /^([A-Z]+) (.*)$/.exec(line)!.slice(1) as [string, string]);

const instruction = (name: string): string => instructions.findLast(([own]) => own === name)![1];

interface Service {
  readonly image?: string;
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly command?: readonly string[];
  readonly volumes?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly depends_on?: readonly string[];
  readonly stop_grace_period?: string;
  readonly mem_limit?: string;
}

const compose = parse(shipped('compose.yaml'), { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, null>>;
  readonly networks: { default: { ipam: { config: { subnet: string }[] } } };
};
const { services } = compose;
const sottos = Object.entries(services).filter(([name]) => name.startsWith('sotto-'));

describe('the Containerfile', () => {
  it('copies what is there, or what the build leaves', () => {
    const copied = instructions.filter(([name]) => name === 'COPY').map(([, what]) => what);
    expect(copied[0]).toBe('. .');
    for (const what of copied.slice(1)) {
      const [, path] = /^--from=build \/build\/(\S+) \/srv\/sotto\//.exec(what)!;
      expect(existsSync(join(root, path!)), what).toBe(true);
    }
    // What is left out is not needed: the build makes it, or it is a secret.
    const left = readFileSync(join(folder, 'Containerfile.dockerignore'), 'utf8');
    expect(left).toContain('**/*.hint-secret');
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const run = instructions.filter(([name]) => name === 'RUN').map(([, what]) => what);
    for (const [, script] of run.join('\n').matchAll(/npm run (\S+)/g)) {
      expect(scripts).toHaveProperty(script!);
    }
  });

  it('runs the command as a user that is not root, with options that it takes', () => {
    expect(instruction('USER')).toBe('node');
    expect(JSON.parse(instruction('ENTRYPOINT'))).toEqual(['node', '/srv/sotto/dist/cli.js']);
    const options = taken(JSON.parse(instruction('CMD')));
    expect(options).toMatchObject({ host: '0.0.0.0', insecure: true, port: '8443' });
    expect(instruction('EXPOSE').split(' ')).toContain(`${options.port}`);
  });

  it('has a check of health that a server passes, and nothing else', async () => {
    const [, command] = /CMD (\[.*\])$/.exec(instruction('HEALTHCHECK'))!;
    const [, ...args] = JSON.parse(command!) as string[];
    const check = (port: number) => {
      const own = args.map((arg) => arg.replace(':8443/', `:${port}/`));
      expect(own).not.toEqual(args);
      return new Promise<number | null>((resolve) => {
        spawn(process.execPath, own).on('exit', resolve);
      });
    };
    await withTiny({}, async ({ server }) => {
      expect(await check(server.address.port)).toBe(0);
    });
    expect(await check(await freePort())).toBe(1);
  });
});

describe('compose.yaml', () => {
  it('builds and mounts what is there, but for what its first lines ask for', () => {
    const [head] = shipped('compose.yaml').split('\n\n');
    const volumes = new Set<string>();
    for (const [name, service] of Object.entries(services)) {
      if (service.build) {
        const { context, dockerfile } = service.build;
        expect(join(folder, context, '/')).toBe(root);
        expect(existsSync(join(folder, context, dockerfile)), name).toBe(true);
      } else {
        expect(service.image, name).toMatch(/^[\w/]+:v?\d/);
      }
      for (const volume of service.volumes ?? []) {
        const [source] = volume.split(':');
        if (!source!.startsWith('./')) volumes.add(source!);
        else if (!existsSync(join(folder, source!))) expect(head).toContain(source!.slice(2));
      }
      for (const other of service.depends_on ?? []) expect(services).toHaveProperty(other);
    }
    expect([...volumes].sort()).toEqual(Object.keys(compose.volumes).sort());
  });

  it('gives each server options that it takes, and folders that are its own', () => {
    expect(sottos).toHaveLength(3);
    const made = instruction('RUN');
    for (const [name, service] of sottos) {
      const options = taken(service.command!);
      const mounted = service.volumes!.map((volume) => volume.split(':')[1]!);
      for (const path of [...options.model!, options.spill!, options.spillKey!]) {
        const place = mounted.find((folder) => path.startsWith(folder));
        expect(place, `${name}: ${path}`).toBeDefined();
        expect(made).toContain(place);
      }
      expect(service.ports).toBeUndefined();
      expect(proxiesOf(options.trustProxy!)).toBeDefined();
      expect(options.trustProxy).toEqual([compose.networks.default.ipam.config[0]!.subnet]);
      expect(services).toHaveProperty(new URL(options.quotaStore!).hostname);
      expect(Number.parseInt(service.stop_grace_period!, 10)).toBeGreaterThan(options.grace / 1000);
    }
  });

  it('has the memory that the page plans for digits', () => {
    const { program } = decodeModel(readFileSync(join(root, 'models/zoo/digits.sotto')));
    const { steps } = measureProgram(layoutOf(program));
    const kept = steps.reduce((sum, { serverStored }) => sum + serverStored, 0);
    for (const [, { mem_limit }] of sottos) {
      const given = Number(/^(\d+)m$/.exec(mem_limit!)![1]) * 2 ** 20;
      expect(given).toBeGreaterThanOrEqual(memoryOf(DEFAULT_SERVER_LIMITS, kept));
      expect(given).toBeLessThan(1.1 * memoryOf(DEFAULT_SERVER_LIMITS, kept));
    }
  });

  it('tells HAProxy and Prometheus where all servers are', () => {
    const wanted = new Set(
      [...shipped('haproxy.cfg').matchAll(/\$\{(SOTTO_[A-Z]+)-/g)].map(([, n]) => n!),
    );
    wanted.delete('SOTTO_CERTIFICATE');
    const places = services['haproxy']!.environment!;
    expect(Object.keys(places).sort()).toEqual([...wanted].sort());
    const hosts = sottos.map(([name]) => name);
    expect(Object.values(places)).toEqual(hosts.map((host) => `${host}:8443`));
    const { scrape_configs } = parse(shipped('prometheus.yml'));
    const [{ targets }] = scrape_configs[0].static_configs;
    const { metricsHost, metricsPort, port } = taken(sottos[0]![1].command!);
    expect([metricsHost, `${port}`]).toEqual(['0.0.0.0', '8443']);
    expect(targets).toEqual(hosts.map((host) => `${host}:${metricsPort}`));
  });
});

it('prometheus.yml is one that Prometheus takes', ({ skip }) => {
  if (spawnSync('promtool', ['--version']).status !== 0) {
    console.log('skipped: there is no promtool');
    return skip();
  }
  const path = join(folder, 'prometheus.yml');
  expect(spawnSync('promtool', ['check', 'config', path]).status).toBe(0);
});
