/**
 * What an OT offset is worth to a client, should it ever learn one: all that the server computes of that bundle, and nothing of
 * another one. The test takes the offsets from the server; the attacks are those that once followed.
 */

import { beforeAll, describe, expect, it } from 'vitest';
import { corrupted } from '../../protocol/errors.ts';
import { Kind } from '../../protocol/inference/messages.ts';
import { runClear } from '../../protocol/program/clear.ts';
import { encodeInput } from '../../protocol/program/input.ts';
import type { ActivationStep, LinearStep, OutputStep } from '../../protocol/program/program.ts';
import { LocalServer, plainAnswer, somePixels } from '../system/support.ts';
import {
  attackedModel,
  bestMessage,
  deviatingClient,
  failing,
  hooked,
  type InputOf,
  noting,
  readLogits,
  readReluInputs,
} from './support.ts';

const model = attackedModel();
const BUNDLES = 5;
const IMAGES = [0, 1].map((index) => somePixels(model, index));

/** What the tasks of server and client saw in one session: the first two bundles serve an inference each. */
const server = {
  chooseSetup: [] as InputOf<'chooseSetup'>[],
  prepareBatch: [] as InputOf<'prepareBatch'>[],
};
const client = {
  openBatch: [] as InputOf<'openBatch'>[],
  openArgmax: [] as InputOf<'openArgmax'>[],
  evaluateArgmax: [] as InputOf<'evaluateArgmax'>[],
};
const local = new LocalServer([{ name: 'attacked', model }], { pool: hooked(noting(server)) });
/** What the server sent of the activation layer, bundle by bundle. */
let sent: { tables: Uint8Array; material: Uint8Array }[];
/** The server's offset in the label OTs, bundle by bundle. */
let offsets: Uint8Array[];

beforeAll(async () => {
  const { session, frames } = deviatingClient(local, { hooks: noting(client) });
  const open = await session;
  await open.prepare({ inferences: BUNDLES });
  for (const pixels of IMAGES) {
    expect((await open.infer(pixels)).label).toBe(plainAnswer(model, pixels).label);
  }
  await open.close();
  await local.settled();
  const of = (kind: number) => frames.filter((frame) => frame.kind === kind);
  // Of each bundle those of the activation layer, and those of the argmax.
  const tables = of(Kind.tables).filter((_, i) => i % 2 === 0);
  sent = of(Kind.material).map(({ payload }, i) => ({
    tables: tables[i]!.payload,
    material: payload,
  }));
  offsets = server.prepareBatch.map(({ labels }) => labels.seeds.offset);
});

/** What the server alone should know of an inference: the clear value of a step, and how far a private one is from it. */
function secretOf(name: string, pixels: Float32Array): Int32Array {
  let secret: Int32Array | undefined;
  runClear(model, encodeInput(model.program, pixels), (step, value) => {
    if (step.name === name) secret = value.slice();
  });
  return secret!;
}

const [conv, relu] = model.program.steps as [LinearStep, ActivationStep];
const output = model.program.steps.at(-1) as OutputStep;
/** How far what is read may be: of pre-activations only the bits from t on are compared, below them a coin is thrown. */
const ERRORS = { relus: 2 ** (relu.dropBits + 1) + conv.tolerance, logits: output.tolerance };

/** How many numbers are those of a secret, within `error`. */
const hits = (read: Int32Array, secret: Int32Array, error: number): number =>
  read.filter((value, i) => Math.abs(value - secret[i]!) <= error).length;

/** With the offset of bundle `n` all `count` numbers are read, with another one no more than noise hits. */
function expectOne(read: readonly number[], n: number, count: number): void {
  expect(read[n]).toBe(count);
  expect(Math.max(...read.filter((_, bundle) => bundle !== n))).toBeLessThan(3);
}

describe('the offsets of the bundles of a session', () => {
  it('of both directions, and the root’s, agree with each other as often as chance has it', () => {
    const own = client.openBatch.map(({ products }) => products.seeds.offset);
    const all = [server.chooseSetup[0]!.offset, ...offsets, ...own];
    expect(all).toHaveLength(1 + 2 * BUNDLES);
    // In groups of four bits: a guess that was right for one of them is right for another in one of sixteen cases.
    let agreeing = 0;
    let groups = 0;
    all.forEach((a, i) => {
      for (const b of all.slice(i + 1)) {
        // The lowest bit of every offset is set, which leaves out the first byte.
        for (let at = 1; at < 16; at++) {
          const difference = a[at]! ^ b[at]!;
          agreeing += ((difference & 0x0f) === 0 ? 1 : 0) + ((difference & 0xf0) === 0 ? 1 : 0);
          groups += 2;
        }
      }
    });
    const expected = groups / 16;
    expect(Math.abs(agreeing - expected)).toBeLessThan(4 * Math.sqrt(expected));
  });

  it('pass the check of a client that knows one and deviates in every group, in its own bundle alone', async () => {
    const flips = Array.from({ length: 32 }, (_, group) => ({ correlation: 5 * group, group }));
    /** Why bundle number `bundle` is refused, of a client that takes `offset` for its offset. */
    const refusalOf = async (bundle: number, offset: Uint8Array) => {
      let opened = 0;
      const { session } = deviatingClient(local, {
        hooks: {
          async openBatch(input, run) {
            const own = await run();
            if (opened++ !== bundle) return own;
            return { ...own, choices: bestMessage(input, flips, offset) };
          },
        },
      });
      const open = await session;
      for (let i = 0; i < bundle; i++) await open.prepare();
      const failure = await failing(open.prepare());
      await open.close();
      await local.settled();
      return failure?.message;
    };
    const [first, second] = offsets as [Uint8Array, Uint8Array];
    const refusal = `the peer gave up: ${corrupted().message}`;
    expect(await refusalOf(0, first)).toBeUndefined();
    expect(await refusalOf(1, first)).toBe(refusal);
    expect(await refusalOf(0, second)).toBe(refusal);
    expect(await refusalOf(1, second)).toBeUndefined();
  });
});

describe('a client that knows an offset', () => {
  it('reads all pre-activations of the bundle’s ReLUs, and with another bundle’s offset none', () => {
    IMAGES.forEach((pixels, n) => {
      const secret = secretOf(conv.name, pixels);
      const read = offsets.map((offset) =>
        hits(readReluInputs(client.openBatch[n]!, sent[n]!, offset), secret, ERRORS.relus),
      );
      expectOne(read, n, 36);
    });
  });

  it('reads all logits from the argmax of a label-only program, and with another bundle’s offset none', () => {
    IMAGES.forEach((pixels, n) => {
      const secret = secretOf('dense2', pixels);
      const read = offsets.map((offset) =>
        hits(
          readLogits(client.openArgmax[n]!.c, client.evaluateArgmax[n]!, offset),
          secret,
          ERRORS.logits,
        ),
      );
      expectOne(read, n, 5);
    });
  });
});

it('after all of this the server answers another client', async () => {
  const session = await local.connect();
  const [pixels] = IMAGES as [Float32Array, Float32Array];
  expect((await session.infer(pixels)).label).toBe(plainAnswer(model, pixels).label);
  await session.close();
});
