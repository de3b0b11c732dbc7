/** Why Node reaches no server: one sentence, whatever lies beneath. */

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { unreachedBecause } from '../../client/explain.ts';
import { connect, models } from '../../client/index.ts';
import { serve } from '../../server/index.ts';
import { cert, key } from '../server/certificate.ts';
import { failureOf, localPool, tinyModel } from '../system/support.ts';

const pool = localPool();

it('a port without TLS and a server without the path are told as what they are', async () => {
  const server = createServer((_, response) => response.writeHead(404).end());
  server.on('upgrade', (_, socket) => socket.end('HTTP/1.1 404 Not Found\r\n\r\n'));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const place = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    for (const ask of [connect(`wss://${place}`, { pool }), models(`wss://${place}`)]) {
      expect(await failureOf(ask)).toMatchObject({
        code: 'unreachable',
        message: `cannot connect to wss://${place}: no TLS comes about with what listens there: is it ws:// rather than wss://?`,
      });
    }
    expect(await failureOf(connect(`ws://${place}/there`, { pool }))).toMatchObject({
      code: 'unreachable',
      message: `cannot connect to ws://${place}/there: it answered HTTP 404 and opened no WebSocket: a wrong path, or a proxy that does not let this through`,
    });
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

it.skipIf(process.platform !== 'linux')('so are certificates of others', async () => {
  const offered = [{ name: 'tiny', model: tinyModel() }];
  const server = await serve(offered, { port: 0, host: '0.0.0.0', tls: { cert, key }, pool });
  try {
    // All of 127.0.0.0/8 is this machine, and the certificate names one address of it.
    const other = `wss://127.0.0.2:${server.address.port}`;
    const { message } = await failureOf(connect(other, { pool, ca: cert }));
    expect(message).toBe(
      `cannot connect to ${other}: its certificate is of another host than the one that was asked for`,
    );
    const url = `wss://127.0.0.1:${server.address.port}`;
    expect(await failureOf(models(url))).toMatchObject({
      message: `cannot connect to ${url}: its certificate is of no authority that is trusted here: the option \`ca\` adds one`,
    });
  } finally {
    await server.close();
  }
});

it.each([
  [{ code: 'CERT_HAS_EXPIRED', message: 'certificate has expired' }, 'its certificate has expired'],
  [{ code: 'CERT_NOT_YET_VALID' }, /not valid yet: is the clock/],
  [{ code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' }, /of no authority that is trusted here/],
  [{ code: 'ERR_SSL_WRONG_VERSION_NUMBER', message: '8:error:0A\n' }, /^no TLS comes about/],
  [{ code: 'EHOSTUNREACH', message: 'connect EHOSTUNREACH 10.0.0.1' }, /EHOSTUNREACH/],
  [{}, 'the connection failed'],
])('%o has a sentence', (error, sentence) => {
  if (typeof sentence === 'string') expect(unreachedBecause(error)).toBe(sentence);
  else expect(unreachedBecause(error)).toMatch(sentence);
});
