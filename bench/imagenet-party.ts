/** A party of a run with networks of ImageNet's size, a process that does what it is told: the server, or the client. */

import { connect, type Session, storedHints } from '../client/index.ts';
import { loadModelFile, serve } from '../server/index.ts';
import { obey, usage } from './budget/party.ts';
import { timed } from './measure.ts';

let session: Session;

const orders = {
  /** Serves a `.sotto` file; its URL, and how long its hint was made, in ms: 0 when it was there. */
  async serve(path: string): Promise<{ url: string; hintMs: number }> {
    let hintMs = 0;
    const { url } = await serve([await loadModelFile(path)], {
      port: 0,
      onEvent(event) {
        if (event.type === 'hint') hintMs = event.ms;
        // An error of a session is the client's to report; what is this side's own fault would be lost there.
        if (event.type === 'error' && event.code === 'internal')
          process.stderr.write(`${event.message}\n`);
      },
    });
    return { url, hintMs };
  },

  /** Opens a session with hints from a folder, in place of the one before; milliseconds. */
  async connect({ url, folder }: { url: string; folder: string }): Promise<number> {
    await session?.close();
    const { ms, result } = await timed(() => connect(url, { hints: storedHints({ folder }) }));
    session = result;
    return ms;
  },

  prepare: () => session.prepare(),

  infer: (image: Uint8Array) => session.infer(image),

  usage,
};

export type PartyOrders = typeof orders;

obey(orders);
