import { describe, expect, it } from 'vitest';
import { trafficBetween } from '../../../protocol/channel/counted.ts';
import type { ServerBundle } from '../../../protocol/inference/bundle.ts';
import { costOf } from '../../../protocol/inference/cost.ts';
import { drawServer } from '../../../protocol/inference/draw.ts';
import { layoutOf } from '../../../protocol/inference/layout.ts';
import {
  COMMAND_BYTES,
  Command,
  decodeCommand,
  Kind,
} from '../../../protocol/inference/messages.ts';
import { prepareClient, prepareServer } from '../../../protocol/inference/offline.ts';
import { OT_KS } from '../../../protocol/ot/groups.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import { RELU, SQUARE } from '../../../protocol/program/kinds.ts';
import type { Model } from '../../../protocol/program/model.ts';
import type { Comparison, OutputStep } from '../../../protocol/program/program.ts';
import { Lockstep } from '../../support/lockstep.ts';
import {
  drawBoth,
  inferBoth,
  ModelBuilder,
  openSessions,
  prepareBoth,
  randomInput,
  residualModel,
  type Sessions,
  seedOf,
} from '../../support/model.ts';

/** One hidden layer of more than one lane, ReLUs and squares, two linear layers of which one is wide. */
function wideModel(): Model {
  const net = new ModelBuilder([1, 30, 30], seedOf(20));
  net.conv(10, 5, 1);
  net.activation([RELU]);
  net.pool(6);
  net.dense(40);
  net.activation([SQUARE]);
  net.dense(3);
  return net.finish();
}

/** No activation at all. */
function linearModel(): Model {
  const net = new ModelBuilder([3, 6, 5], seedOf(21));
  net.conv(4, 3, 1, 0);
  return net.finish();
}

function withComparison(model: Model, comparison: Comparison): Model {
  return { ...model, program: { ...model.program, comparison } };
}

const models: [string, () => Model][] = [
  ['residual, logits', () => residualModel()],
  ['residual, label only', () => residualModel('label')],
  ['residual, garbled', () => withComparison(residualModel(), 'garbled')],
  ['wide', wideModel],
  ['linear alone', linearModel],
];

const runs = models.flatMap(([name, make]) => OT_KS.map((k) => [name, k, make] as const));

/** Reads a command as a server does, whichever it is. */
async function serveCommand({ server }: Sessions): Promise<ServerBundle | undefined> {
  const payload = await server.channel.receive(Kind.command, COMMAND_BYTES);
  const { command, bundle } = decodeCommand(payload);
  if (command === Command.prepare) return prepareServer(server, bundle);
  expect(command).toBe(Command.draw);
  await drawServer(server, bundle);
  return undefined;
}

describe('a bundle', () => {
  it('takes one round trip, or two for a client that has not drawn ahead, and is as good', async () => {
    const model = residualModel();
    const network = new Lockstep();
    const sessions = await network.run(openSessions(model, seedOf(3), network.pool, network.pair));
    const { client, clientBundles, serverBundles } = sessions;
    const flights: number[] = [];
    for (const ahead of [false, true]) {
      if (ahead) await network.run(drawBoth(sessions));
      const before = network.flights;
      const serving = async () => (await serveCommand(sessions)) ?? (await serveCommand(sessions))!;
      const [own, peer] = await network.run(Promise.all([prepareClient(client), serving()]));
      flights.push(network.flights - before);
      clientBundles.add(own);
      serverBundles.add(peer);
      const input = randomInput(model, seedOf(4));
      const clear = runClear(model, input);
      const { tolerance } = model.program.steps.at(-1) as OutputStep;
      const result = await network.run(inferBoth(sessions, input));
      for (const [i, value] of result.entries()) {
        expect(Math.abs(value - clear[i]!)).toBeLessThanOrEqual(tolerance);
      }
    }
    expect(flights).toEqual([4, 2]);
  });
});

describe('cost formulas', () => {
  for (const [name, k, make] of runs) {
    it(`${name}, k = ${k}: counted bytes and flights are the formula's, offline and online`, async () => {
      const model = make();
      const cost = costOf(layoutOf(model.program), k);
      const network = new Lockstep();
      const sessions = await network.run(
        openSessions(model, seedOf(3), network.pool, network.pair, k),
      );
      const { traffic } = sessions;
      const measure = async (work: () => Promise<unknown>) => {
        const before = traffic.snapshot();
        const flights = network.flights;
        await network.run(work());
        const moved = trafficBetween(before, traffic.snapshot());
        return {
          rounds: (network.flights - flights) / 2,
          up: moved.bytesSent,
          down: moved.bytesReceived,
        };
      };
      // The choices are drawn ahead: their bytes are the bundle's, their round trip is not.
      const ahead = await measure(() => drawBoth(sessions));
      const { rounds, up, down } = await measure(() => prepareBoth(sessions));
      const offline = { rounds, up: ahead.up + up, down: ahead.down + down };
      expect(offline).toEqual(cost.offline);
      const input = randomInput(model, seedOf(4));
      expect(await measure(() => inferBoth(sessions, input))).toEqual(cost.online);
    });
  }
});
