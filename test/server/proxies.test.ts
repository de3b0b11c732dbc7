/** Addresses of clients behind proxies that are named, and those that others would like to have. */

import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { serve } from '../../server/index.ts';
import { failureOf, localPool } from '../system/support.ts';
import { model, type Serving, statusOf, turnedAway, withTiny } from './serving.ts';

/** Refuses everybody, so that nothing but the address matters. */
const authorize = () => ({ message: 'nobody' });

/** The address that a request with this header is counted by. */
async function addressOf({ url, of }: Serving, forwarded?: string): Promise<string> {
  await turnedAway(url, forwarded === undefined ? {} : { 'x-forwarded-for': forwarded });
  return of('error').at(-1)!.address;
}

describe('behind trusted proxies an address', () => {
  const trustProxies = ['127.0.0.1', '10.0.0.0/8', '2001:db8::/32'];

  it('is the last one in X-Forwarded-For that is no trusted proxy', async () => {
    await withTiny({ trustProxies, authorize }, async (serving) => {
      for (const [forwarded, address] of [
        [undefined, '127.0.0.1'],
        ['203.0.113.9', '203.0.113.9'],
        // What the client wrote itself stands to the left.
        ['198.51.100.1, 203.0.113.9', '203.0.113.9'],
        ['10.0.0.1,127.0.0.1,203.0.113.9', '203.0.113.9'],
        ['198.51.100.1, 203.0.113.9, 10.1.2.3', '203.0.113.9'],
        ['203.0.113.9,\t10.1.2.3 ,  10.4.5.6', '203.0.113.9'],
        ['203.0.113.9, 2001:db8::7', '203.0.113.9'],
        ['203.0.113.9, ::ffff:10.1.2.3', '203.0.113.9'],
        // All of them are proxies.
        ['10.9.9.9, 10.1.2.3', '10.9.9.9'],
        // One spelling for each.
        ['2001:DB9:0:0::1', '2001:db9::1'],
        ['::ffff:203.0.113.9', '203.0.113.9'],
        ['::ffff:cb00:7109', '203.0.113.9'],
      ] as const) {
        expect(await addressOf(serving, forwarded), forwarded).toBe(address);
      }
    });
  });

  it('is that of the proxy before, where an entry is none', async () => {
    await withTiny({ trustProxies, authorize }, async (serving) => {
      for (const [forwarded, address] of [
        ['', '127.0.0.1'],
        [' , ,', '127.0.0.1'],
        ['unknown', '127.0.0.1'],
        ['203.0.113.9:443', '127.0.0.1'],
        ['[2001:db9::1]', '127.0.0.1'],
        ['"203.0.113.9"', '127.0.0.1'],
        ['203.0.113.009', '127.0.0.1'],
        ['203.0.113', '127.0.0.1'],
        ['localhost', '127.0.0.1'],
        ['203.0.113.9, _hidden, 10.1.2.3', '10.1.2.3'],
        ['203.0.113.9,, 10.1.2.3', '10.1.2.3'],
        [`203.0.113.9, ${'x'.repeat(12_000)}`, '127.0.0.1'],
        ['10.1.2.3,'.repeat(1500), '127.0.0.1'],
        [`203.0.113.9${', 10.1.2.3'.repeat(1200)}`, '203.0.113.9'],
      ] as const) {
        expect(await addressOf(serving, forwarded), forwarded.slice(0, 40)).toBe(address);
      }
      expect(await statusOf(serving.url, [`X-Forwarded-For: ${'1'.repeat(20_000)}`])).toBe(431);
    });
  });

  it('is read from several headers as from one, and no other header counts', async () => {
    await withTiny({ trustProxies, authorize, origins: [] }, async ({ url, of }) => {
      const other = ['Forwarded: for=198.51.100.1', 'X-Real-IP: 198.51.100.1', 'Origin: null'];
      const lines = ['X-Forwarded-For: 198.51.100.1', 'x-forwarded-for: 203.0.113.9'];
      expect(await statusOf(url, [...lines, ...other])).toBe(403);
      expect(await statusOf(url, [...[...lines].reverse(), ...other])).toBe(403);
      expect(of('error').map(({ address }) => address)).toEqual(['203.0.113.9', '198.51.100.1']);
    });
  });

  it('is what limits count, loopback too', async () => {
    const limits = { connectionsPerAddress: 1 };
    const slow = () => new Promise<string>(() => {});
    await withTiny({ trustProxies, authorize: slow, limits }, async ({ url, of }) => {
      for (const address of ['203.0.113.9', '203.0.113.10', '127.0.0.1']) {
        const socket = new WebSocket(url, { headers: { 'x-forwarded-for': address } });
        await once(socket, 'open');
      }
      const refused =
        'the peer gave up: too many connections come from this address, try again later';
      for (const address of ['203.0.113.9', '198.51.100.1, 203.0.113.10', '127.0.0.1', '']) {
        const { message } = await turnedAway(url, { 'x-forwarded-for': address });
        expect(message, address).toBe(refused);
      }
      expect(of('error').map(({ address }) => address)).toContain('127.0.0.1');
    });
  });
});

describe('X-Forwarded-For', () => {
  it('is not read where no proxy is trusted, or another one than the one that asks', async () => {
    for (const trustProxies of [undefined, [], ['10.0.0.0/8', '203.0.113.0/24']]) {
      await withTiny({ trustProxies, authorize }, async (serving) => {
        for (const forwarded of ['203.0.113.9', '10.1.2.3', '203.0.113.9, 127.0.0.1']) {
          expect(await addressOf(serving, forwarded)).toBe('127.0.0.1');
        }
      });
    }
  });

  it('is believed from addresses and CIDRs alone', async () => {
    const wrong = [
      ...['', 'localhost', '10.0.0.0/33', '10.0.0.0/', '10.0.0/8', '/8', '10.0.0.0/8/8'],
      ...['::/129', '10.0.0.0/-1', '10.0.0.0/08x', ' 10.0.0.1', '*'],
    ];
    for (const entry of wrong) {
      const options = { port: 0, pool: localPool(), trustProxies: [entry] };
      const error = await failureOf(serve([{ name: 'tiny', model }], options));
      expect(error).toBeInstanceOf(RangeError);
      expect(error.message).toBe(
        `trustProxies: expected an address or a CIDR such as 10.0.0.0/8, got "${entry}"`,
      );
    }
  });
});
