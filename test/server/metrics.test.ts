/** Metrics of real servers, read as strictly as OpenMetrics has them. */

import { afterAll, describe, expect, it } from 'vitest';
import { connect } from '../../client/index.ts';
import * as tasks from '../../protocol/inference/tasks.ts';
import { createInlinePool } from '../../protocol/pool/inline.ts';
import { type RunningServer, type ServeOptions, serve } from '../../server/index.ts';
import { type ServerMetrics, serverMetrics } from '../../server/metrics.ts';
import { listenWatch } from '../../server/watch.ts';
import { relay } from '../support/relay.ts';
import { failureOf, localPool, somePixels, tinyModel } from '../system/support.ts';
import { numberOf, type Sample, samplesOf } from './samples.ts';

const model = tinyModel();
const pixels = somePixels(model);
/** A name that must not end a line or a label. */
const NAME = 'a "tiny"\none\\ {x="y"} 7';
const pool = createInlinePool(tasks);
afterAll(() => pool.close());

interface Watched {
  readonly server: RunningServer;
  readonly metrics: ServerMetrics;
  samples(): Promise<Sample[]>;
}

async function watched(options: Partial<ServeOptions> = {}, name = NAME): Promise<Watched> {
  const metrics = serverMetrics();
  const { onEvent, onTask } = metrics;
  const server = await serve([{ name, model }], { port: 0, pool, onEvent, onTask, ...options });
  return { server, metrics, samples: async () => samplesOf(await metrics.text(server)) };
}

/** Waits until nobody is connected. */
async function alone({ server }: Watched): Promise<void> {
  while (server.connections > 0) await new Promise((resolve) => setTimeout(resolve, 10));
}

describe('the metrics of a server', () => {
  it('count what its clients did, whatever their model is called', async () => {
    const own = await watched({ limits: { bundlesPerSession: 3 } });
    const session = await connect(own.server.url, { pool: localPool(), hints: false });
    await session.prepare({ inferences: 3 });
    expect(await failureOf(session.prepare())).toMatchObject({ code: 'refused' });
    await session.infer(pixels);
    const during = await own.samples();
    expect(numberOf(during, 'sotto_sessions')).toBe(1);
    expect(numberOf(during, 'sotto_connections')).toBe(1);
    expect(numberOf(during, 'sotto_bundles_ready')).toBe(2);
    expect(numberOf(during, 'sotto_ready')).toBe(1);
    await session.close();
    await alone(own);
    const after = await own.samples();
    const of = (name: string, labels: Record<string, string> = {}) => numberOf(after, name, labels);
    const named = { model: NAME };
    expect(of('sotto_setup_seconds_count', named)).toBe(1);
    expect(of('sotto_offline_seconds_count', named)).toBe(3);
    expect(of('sotto_online_seconds_count', named)).toBe(1);
    expect(of('sotto_inferences_total', named)).toBe(1);
    expect(of('sotto_refusals_total', { reason: 'full' })).toBe(1);
    expect(of('sotto_closed_total', { reason: 'goodbye' })).toBe(1);
    expect(of('sotto_bundles_unused_total')).toBe(2);
    expect([of('sotto_sessions'), of('sotto_connections'), of('sotto_bundles_ready')]).toEqual([
      0, 0, 0,
    ]);
    expect(of('sotto_pool_workers')).toBe(1);
    expect([of('sotto_pool_running'), of('sotto_pool_waiting')]).toEqual([0, 0]);
    expect(of('sotto_hints_made_total')).toBe(1);
    expect(
      of('sotto_hints_sent_total', { over: 'http' }) +
        of('sotto_hints_sent_total', { over: 'session' }),
    ).toBe(1);
    for (const direction of ['up', 'down']) {
      expect(of('sotto_bytes_total', { direction })).toBeGreaterThan(5000);
    }
    // Setup and three preparations; an inference of so small a network is no task.
    expect(of('sotto_task_wait_seconds_count', { urgent: 'false' })).toBeGreaterThan(5);
    expect(of('process_resident_memory_bytes')).toBeGreaterThan(1e7);
    await own.server.close();
  });

  it('count errors by code, and say nothing of who a client is', async () => {
    const own = await watched();
    const fetched = await fetch(`${own.server.url.replace('ws', 'http')}/healthz`);
    expect(fetched.status).toBe(200);
    const unknown = 'no such\nmodel';
    const error = await failureOf(connect(own.server.url, { model: unknown, pool: localPool() }));
    expect(error).toMatchObject({ code: 'refused' });
    await alone(own);
    const samples = await own.samples();
    expect(numberOf(samples, 'sotto_errors_total', { code: 'refused' })).toBe(1);
    const labels = samples
      .filter(({ name }) => name.startsWith('sotto_'))
      .flatMap((sample) => Object.entries(sample.labels));
    const known = ['code', 'direction', 'le', 'model', 'over', 'reason', 'urgent'];
    for (const [label, value] of labels) {
      expect(known).toContain(label);
      expect(value).not.toMatch(/no such|127\.0\.0\.1/);
    }
    await own.server.close();
  });

  it('count what waits for a client whose link was lost until it comes back', async () => {
    const own = await watched();
    const ready = async () => numberOf(await own.samples(), 'sotto_bundles_ready');
    const link = await relay(own.server.address.port);
    const url = `ws://127.0.0.1:${link.port}`;
    const session = await connect(url, { pool: localPool(), hints: false });
    await session.prepare({ inferences: 3 });
    // The client has the last frame before the server is through with it.
    while ((await ready()) < 3) await new Promise((resolve) => setTimeout(resolve, 10));
    // It cannot come back.
    link.to(1);
    link.cut();
    await alone(own);
    expect(own.server.kept).toBe(3);
    expect(await ready()).toBe(3);
    link.to(own.server.address.port);
    await session.infer(pixels);
    while (own.server.kept > 0 || (await ready()) !== 2) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await session.close();
    await alone(own);
    expect(await ready()).toBe(0);
    link.close();
    await own.server.close();
  });

  it('are of one server alone, of several in a process', async () => {
    const [one, two] = [await watched({}, 'one'), await watched({}, 'two')];
    const session = await connect(one.server.url, { pool: localPool() });
    await session.infer(pixels);
    await session.close();
    await alone(one);
    expect(numberOf(await one.samples(), 'sotto_inferences_total', { model: 'one' })).toBe(1);
    const other = await two.samples();
    expect(other.some(({ name }) => name === 'sotto_inferences_total')).toBe(false);
    expect(numberOf(other, 'sotto_closed_total', { reason: 'goodbye' })).toBe(0);
    await Promise.all([one.server.close(), two.server.close()]);
  });
});

describe('the port of those who watch', () => {
  it('has metrics and health, and neither is the other port', async () => {
    const { server, metrics } = await watched();
    const port = await listenWatch({ host: '127.0.0.1', port: 0 }, server, metrics);
    const response = await fetch(port.url);
    expect(response.headers.get('content-type')).toBe(
      'application/openmetrics-text; version=1.0.0; charset=utf-8',
    );
    expect(numberOf(samplesOf(await response.text()), 'sotto_ready')).toBe(1);
    const at = (path: string, method = 'GET') => fetch(new URL(path, port.url), { method });
    expect((await at('/healthz')).status).toBe(200);
    expect((await at('/readyz')).status).toBe(200);
    expect((await at('/')).status).toBe(404);
    expect((await at('/metrics', 'POST')).status).toBe(405);
    expect((await fetch(`${server.url.replace('ws', 'http')}/metrics`)).status).toBe(426);
    const taken = listenWatch(
      { host: '127.0.0.1', port: Number(new URL(port.url).port) },
      server,
      metrics,
    );
    expect((await failureOf(taken)).message).toMatch(
      /^cannot listen for metrics on 127\.0\.0\.1:\d+: something else listens there already$/,
    );
    await port.close();
    await server.close();
  });
});
