import { afterEach, describe, expect, it, vi } from 'vitest';
import { readRaw } from '../../client/images.ts';
import { freshResumption, Link } from '../../client/link.ts';
import { LocalSession } from '../../client/session.ts';
import { ProtocolError } from '../../protocol/errors.ts';
import { LocalServer, localPool, somePixels, tinyModel } from '../system/support.ts';

afterEach(() => {
  vi.useRealTimers();
});

describe('a session that has lost its link', () => {
  it.each([
    ['that says to come again in a month', 30 * 86_400_000],
    ['that says nothing of when', undefined],
  ])('ends after 5 minutes of a server %s', async (_, retryAfterMs) => {
    const server = new LocalServer([{ name: 'tiny', model: tinyModel() }]);
    const left = freshResumption();
    const pool = localPool();
    const statuses: string[] = [];
    let tries = 0;
    let link: Link | undefined;
    const open = async (): Promise<Link> => {
      tries++;
      if (link !== undefined) throw new ProtocolError('busy', 'no room', { retryAfterMs });
      link = await Link.open({ channel: server.accept(), pool }, {}, left);
      return link;
    };
    const session = await LocalSession.begin(
      { left, open, readPixels: readRaw, lasting: true },
      { onStatus: (status) => statuses.push(status) },
    );
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const began = performance.now();
    link!.end(new ProtocolError('lost', 'the cable'));
    while (!statuses.includes('closed')) {
      expect(performance.now() - began).toBeLessThan(6 * 60_000);
      await vi.advanceTimersByTimeAsync(1000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(performance.now() - began).toBeGreaterThan(5 * 60_000 - 1000);
    // Once at once, and at the end; in between as often as the server lets it.
    if (retryAfterMs !== undefined) expect(tries).toBe(3);
    else expect(tries).toBeGreaterThan(20);
    expect(await session.closed).toMatchObject({ code: 'lost', message: 'the cable' });
  });

  it('waits for a try that begins after the call, not only for one that had begun', async () => {
    const model = tinyModel();
    const server = new LocalServer([{ name: 'tiny', model }]);
    const left = freshResumption();
    const links: Link[] = [];
    let tries = 0;
    let fail: (() => void) | undefined;
    const open = async (): Promise<Link> => {
      if (++tries === 2) {
        await new Promise<never>((_, reject) => {
          fail = () => reject(new ProtocolError('unreachable', 'nobody listens'));
        });
      }
      const link = await Link.open({ channel: server.accept(), pool: localPool() }, {}, left);
      links.push(link);
      return link;
    };
    const session = await LocalSession.begin(
      { left, open, readPixels: readRaw, lasting: true },
      {},
    );
    links[0]!.end(new ProtocolError('lost', 'the cable'));
    await vi.waitUntil(() => fail !== undefined);
    const asked = session.infer(somePixels(model));
    // The server is there again by the time that the try ends which found it gone.
    await new Promise((resolve) => setImmediate(resolve));
    fail!();
    expect((await asked).logits).toHaveLength(3);
    expect(tries).toBe(3);
    await session.close();
  });
});
