/** What the server answers to those who load it as a page. */

import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { costOf } from '../../protocol/inference/cost.ts';
import { loadDemo } from '../../server/demo.ts';
import { offerModels } from '../../server/models.ts';
import { residualModel } from '../support/model.ts';
import { failureOf, localPool, tinyModel } from '../system/support.ts';

const pool = localPool();
const offers = await offerModels([{ name: 'tiny', model: tinyModel() }], { pool });
const cards = new Map([['tiny', { about: 'Insects', accuracy: 0.5 }]]);
let folder: string;
let server: Server;
let port: number;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-demo-'));
  mkdirSync(join(folder, 'examples'));
  writeFileSync(join(folder, 'index.html'), '<!doctype html>');
  writeFileSync(join(folder, 'page.js'), 'export {};');
  writeFileSync(join(folder, 'secret.key'), 'not a type that is served');
  writeFileSync(join(folder, 'examples/1.png'), 'png');
  writeFileSync(join(folder, 'how.svg'), '<svg/>');
  server = createServer(await loadDemo(offers, cards, folder));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ({ port } = server.address() as AddressInfo);
});

afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

/** One request, its path as it stands: a URL would be tidied up. */
async function ask(path: string, method = 'GET') {
  const asked = request({ host: '127.0.0.1', port, path, method }).end();
  const [response] = await once(asked, 'response');
  let body = '';
  for await (const part of response) body += part;
  return { status: response.statusCode as number, headers: response.headers, body };
}

describe('the demo page', () => {
  it('is served isolated, and may load nothing from elsewhere', async () => {
    const { status, headers, body } = await ask('/?server=x');
    expect([status, body]).toEqual([200, '<!doctype html>']);
    expect(headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-embedder-policy': 'require-corp',
      'x-content-type-options': 'nosniff',
    });
    expect(headers['content-security-policy']).toMatch(/^default-src 'none'; script-src 'self' /);
    expect(headers['content-security-policy']).not.toMatch(/unsafe-inline|'unsafe-eval'/);
    const head = await ask('/page.js', 'HEAD');
    expect([head.status, head.body, head.headers['content-length']]).toEqual([200, '', '10']);
    expect((await ask('/examples/1.png')).headers['content-type']).toBe('image/png');
    expect((await ask('/how.svg')).headers['content-type']).toBe('image/svg+xml');
  });

  it('tells of the models', async () => {
    const { body } = await ask('/models.json');
    const { hint, offline, online } = costOf(offers.get('tiny')!.layout);
    const [tiny, ...others] = JSON.parse(body);
    expect(others).toEqual([]);
    expect(tiny).toMatchObject({
      name: 'tiny',
      about: 'Insects',
      accuracy: 0.5,
      labels: ['ant', 'bee', 'cat'],
      shape: [1, 6, 6],
      hint,
      offline,
      online,
    });
    expect(tiny.relus + tiny.squares + tiny.identities).toBe(18);
  });

  it('tells of the models that are offered at that moment, and their cards', async () => {
    const own = new Map(offers);
    const about = new Map(cards);
    const live = createServer(await loadDemo(own, about, folder)).listen(0, '127.0.0.1');
    await once(live, 'listening');
    const list = async () => {
      const url = `http://127.0.0.1:${(live.address() as AddressInfo).port}/models.json`;
      return (await fetch(url)).json();
    };
    expect(await list()).toMatchObject([{ shape: [1, 6, 6], about: 'Insects' }]);
    const model = residualModel();
    const [next] = (await offerModels([{ name: 'tiny', model }], { pool })).values();
    own.set('tiny', next!);
    about.set('tiny', { about: 'Others', accuracy: 1 });
    const { shape } = model.program.input;
    expect(await list()).toMatchObject([{ shape, about: 'Others', accuracy: 1 }]);
    live.close();
    live.closeAllConnections();
  });

  it.each([
    '/secret.key',
    '/../package.json',
    '/examples/../../package.json',
    '/%2e%2e/package.json',
    '//etc/passwd',
    '/examples',
    '/__proto__',
    '*',
  ])('serves nothing else: %s', async (path) => {
    expect((await ask(path)).status).toBe(404);
  });

  it('is only read', async () => {
    expect((await ask('/', 'POST')).status).toBe(405);
    expect((await ask('/models.json', 'PUT')).status).toBe(405);
  });

  it('says when it has not been built', async () => {
    const missing = join(folder, 'missing');
    expect((await failureOf(loadDemo(offers, new Map(), missing))).message).toBe(
      `the demo page is not in ${missing}: build it first`,
    );
  });
});
