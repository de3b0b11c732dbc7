/** A server that lies in one step of an otherwise real inference: results that cannot be right are refused. */

import { describe, expect, it } from 'vitest';
import type { Channel } from '../../../protocol/channel/index.ts';
import { memoryPair } from '../../../protocol/channel/memory.ts';
import { argmax } from '../../../protocol/gadgets/argmax.ts';
import type { ClientBundle } from '../../../protocol/inference/bundle.ts';
import {
  COMMAND_BYTES,
  Command,
  decodeCommand,
  Kind,
} from '../../../protocol/inference/messages.ts';
import { inferClient, inferServer } from '../../../protocol/inference/online.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import { cutBits } from '../../../protocol/program/cut.ts';
import type { OutputStep } from '../../../protocol/program/program.ts';
import { pack, unpack } from '../../../protocol/ring/packing.ts';
import {
  openSessions,
  prepareBoth,
  randomInput,
  residualModel,
  type Sessions,
  seedOf,
} from '../../support/model.ts';
import { resealing } from '../../support/resealed.ts';

const CLASSES = 10;

/** What a server says in place of a message of a kind. */
type Lie = (kind: number, payload: Uint8Array) => Uint8Array;

/** Two connected channels, of which the second one's owner lies as soon as it has been told how. */
function lying(): { pair: [Channel, Channel]; lie: (how: Lie) => void } {
  const [near, far] = memoryPair();
  let current: Lie | undefined;
  const send = far.send.bind(far);
  far.send = (kind, payload) => send(kind, current?.(kind, payload) ?? payload);
  resealing(near);
  return {
    pair: [near, far],
    lie(how) {
      current = how;
    },
  };
}

/** Reads the next command as a server does. */
const nextInference = async ({ server }: Sessions) =>
  decodeCommand(await server.online.receive(Kind.infer, COMMAND_BYTES));

/** One inference, with what the client came to. */
async function infer(sessions: Sessions, input: Int32Array, bundle: ClientBundle) {
  const { model, client, server, serverBundles } = sessions;
  const serving = async () => {
    const { bundle: number } = await nextInference(sessions);
    await inferServer(server, model, serverBundles.take(number));
  };
  const asking = inferClient(client, bundle, input);
  return (await Promise.allSettled([asking, serving()]))[0];
}

/** The client has refused a result with this sentence, and told the server nothing of it. */
async function expectRefusal(
  sessions: Sessions,
  outcome: PromiseSettledResult<Int32Array>,
  message: string,
): Promise<void> {
  const reason = { name: 'ProtocolError', code: 'corrupted', message };
  expect(outcome).toMatchObject({ status: 'rejected', reason });
  const said = await sessions.server.channel.receive(Kind.command, COMMAND_BYTES);
  expect(decodeCommand(said).command).toBe(Command.bye);
  expect(await sessions.client.channel.closed).toBeUndefined();
}

describe('logits that cannot be right', () => {
  const model = residualModel();
  const { rangeBits } = model.program.steps.at(-1) as OutputStep;
  const shift = cutBits(model.program);
  const input = randomInput(model, seedOf(501));

  /** Runs an inference in which the server makes logit 3 come to `value`. */
  async function withLogit(value: number) {
    const { pair, lie } = lying();
    const sessions = await openSessions(model, seedOf(500), undefined, pair);
    await prepareBoth(sessions);
    const bundle = sessions.clientBundles.take();
    // A server would have to guess the client's share.
    const own = bundle.output as Int32Array;
    lie((kind, payload) => {
      if (kind !== Kind.output) return payload;
      const shares = unpack(payload, CLASSES, rangeBits - shift);
      shares[3] = (value >> shift) - (own[3]! >> shift);
      return pack(shares, rangeBits - shift);
    });
    return { sessions, outcome: await infer(sessions, input, bundle) };
  }

  it('are refused, and the server hears goodbye alone', async () => {
    const { sessions, outcome } = await withLogit(-(2 ** (rangeBits - 1)));
    const message = 'logit 3 of the result is beyond the range that the program states';
    await expectRefusal(sessions, outcome, message);
  });

  it.each([2 ** shift - 2 ** (rangeBits - 1), 2 ** (rangeBits - 1) - 2 ** shift])(
    'but not the outermost that range and margin leave: %i',
    async (value) => {
      const { outcome } = await withLogit(value);
      expect(outcome).toMatchObject({ status: 'fulfilled' });
      expect((outcome as PromiseFulfilledResult<Int32Array>).value[3]).toBe(value);
    },
  );
});

describe('a class that is none', () => {
  const model = residualModel('label');
  const input = randomInput(model, seedOf(502));
  const [truth] = runClear(model, input) as Iterable<number> as [number];

  it.each([CLASSES, CLASSES + 1, 15])('is refused: %i of 10', async (claimed) => {
    const { sessions, outcome } = await withIndex(claimed);
    const message = `the result is class ${claimed}, there are ${CLASSES}`;
    await expectRefusal(sessions, outcome, message);
  });

  it('but not one that is there', async () => {
    const { outcome } = await withIndex(CLASSES - 1);
    expect(outcome).toMatchObject({ status: 'fulfilled', value: Int32Array.of(CLASSES - 1) });
  });

  /** Runs an inference in which the server garbles an argmax whose index comes out as `claimed`. */
  async function withIndex(claimed: number) {
    const { pair, lie } = lying();
    const sessions = await openSessions(model, seedOf(503), undefined, pair);
    const { tables: bytes } = argmax.bytes(sessions.server.layout.output.argmax!);
    lie((kind, payload) => {
      if (kind !== Kind.tables || payload.length !== bytes) return payload;
      // The last byte has the colours of the index.
      const changed = payload.slice();
      changed[changed.length - 1]! ^= truth ^ claimed;
      return changed;
    });
    await prepareBoth(sessions);
    return { sessions, outcome: await infer(sessions, input, sessions.clientBundles.take()) };
  }
});
