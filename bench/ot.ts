/**
 * OT extension by SoftSpoken's k: bytes and processor time of one correlation, and what those of a network's ReLUs take over
 * links of several rates: `npm run bench:ot`. What protocol/DECISIONS.md says of k was measured here.
 *
 * A separate command: in a process that has loaded more, collecting what OpenSSL's calls return costs more than the calls.
 */

import { cotBytes } from '../protocol/ot/correlations.ts';
import { OT_KS, type OtK } from '../protocol/ot/groups.ts';
import {
  extendReceiver,
  extendSender,
  prepareReceiver,
  prepareSender,
} from '../protocol/ot/softspoken.ts';
import { type AesEngine, defaultAes, wasmAes } from '../protocol/random/aes.ts';
import { freshSeed, randomBytes, systemRandom } from '../protocol/random/index.ts';
import { type Effort, measure, processorTime, type Summary } from './measure.ts';

/** A client in Node, or with the engine of a browser; the server is in Node. */
const CLIENTS = ['Node', 'browser'] as const;

/** One k with one kind of client. */
interface OtResult {
  readonly k: OtK;
  readonly client: (typeof CLIENTS)[number];
  /** Bytes of a correlation. */
  readonly bytes: number;
  /** Nanoseconds of processor time of a correlation: the client that chooses, the server that has the offset. */
  readonly receiver: Summary;
  readonly sender: Summary;
}

/** What is counted: ReLUs that compare 11 bits, and of their 13 correlations the 11 that the client chooses in, by lanes. */
const RELUS = 1000;
const COTS_PER_RELU = 13;
const LANE = 11 * 2048;

/** Times a lane's correlations with every k and engine, all in turn. */
async function benchOts(effort: Effort): Promise<OtResult[]> {
  const count = LANE;
  const parts = OT_KS.flatMap((k) => {
    const keys = {
      zero: randomBytes(systemRandom, 2048),
      one: randomBytes(systemRandom, 2048),
    };
    const context = freshSeed();
    const { message: trees, seeds } = prepareReceiver(context, keys, systemRandom, k);
    const choices = randomBytes(systemRandom, count / 8);
    const made = extendReceiver(seeds, 0, count, choices);
    // An offset of zeros has chosen the keys of zeros.
    const offset = { choices: new Uint8Array(16), chosen: keys.zero };
    const own = prepareSender(context, offset, trees, k);
    const receive = (engine: AesEngine) => () =>
      extendReceiver(seeds, 0, count, choices, made, engine);
    const blocks = new Uint8Array(16 * count);
    const send = () => extendSender(own, 0, count, made.message, blocks);
    return [receive(defaultAes), receive(wasmAes), send];
  });
  const times = (await measure(effort, parts, processorTime)).map((time) => {
    const each = (ms: number) => (1e6 * ms) / count;
    const { lower, median, upper } = time;
    return { ...time, lower: each(lower), median: each(median), upper: each(upper) };
  });
  return OT_KS.flatMap((k, i) =>
    CLIENTS.map((client, j) => ({
      k,
      client,
      bytes: cotBytes(count, k) / count,
      receiver: times[3 * i + j]!,
      sender: times[3 * i + 2]!,
    })),
  );
}

/** Rates of links in Mbit/s; loopback has no limit. */
const LINKS = [Number.POSITIVE_INFINITY, 100, 20, 5];

/** A table in Markdown. */
function otTable(results: readonly OtResult[]): string {
  const figure = ({ lower, median, upper }: Summary) =>
    `${median.toFixed(0)} (${lower.toFixed(0)} to ${upper.toFixed(0)})`;
  const rows = results.map(({ k, client, bytes, receiver, sender }) => {
    const n = RELUS * COTS_PER_RELU;
    const work = [receiver, sender].map(({ median }) => (n * median) / 1e6);
    const totals = LINKS.map((mbits) => {
      const all = [...work, (8 * n * bytes) / mbits / 1e3];
      const inTurn = all.reduce((sum, ms) => sum + ms);
      return `${inTurn.toFixed(1)} / ${Math.max(...all).toFixed(1)}`;
    });
    return [`${k}`, client, `${bytes}`, figure(receiver), figure(sender), ...totals];
  });
  const head = [
    ['k', 'client', 'bytes', 'ns, client', 'ns, server'],
    LINKS.map((mbits) => (mbits < Number.POSITIVE_INFINITY ? `${mbits} Mbit/s` : 'loopback')),
  ].flat();
  const lines = [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`);
  return `Bytes and processor time of a correlation, median (quartiles of ${results[0]?.receiver.samples} samples); then ms that
${RELUS} ReLUs of ${COTS_PER_RELU} correlations take: work of both sides and transfer in turn / all at once.

${lines.join('\n')}
`;
}

process.stdout.write(otTable(await benchOts({ repetitions: 10, sampleMs: 100 })));
