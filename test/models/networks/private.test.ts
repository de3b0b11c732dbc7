import { availableParallelism } from 'node:os';
import { describe, expect, it } from 'vitest';
import type { ProtocolPool } from '../../../protocol/inference/session.ts';
import type * as tasks from '../../../protocol/inference/tasks.ts';
import { createThreadPool } from '../../../protocol/pool/node.ts';
import { runClear } from '../../../protocol/program/clear.ts';
import { encodeInput } from '../../../protocol/program/input.ts';
import type { OutputStep } from '../../../protocol/program/program.ts';
import { indexOfLargest } from '../../../protocol/ring/tensor.ts';
import { inferBoth, openSessions, prepareBoth, seedOf } from '../../support/model.ts';
import { available, builtWorker, load, long, type Name, pixelsAt, testImages } from './data.ts';

/** Images of each network that go through the whole protocol. */
const IMAGES: readonly (readonly [Name, number])[] = [
  ['resnet20', long ? 50 : 2],
  ['minionn', long ? 20 : 1],
  ['minionn-5-squares', long ? 20 : 1],
];

const worker = builtWorker('protocol/inference/worker.js');

describe.skipIf(!available)('published networks between two parties', () => {
  it.each(IMAGES)(
    '%s: the logits of %i images are those of fixed point within the tolerance',
    async (name, count) => {
      const { model } = load(name, long ? 200 : 10);
      const pool: ProtocolPool | undefined = worker
        ? createThreadPool<typeof tasks>(worker, { workers: availableParallelism() })
        : undefined;
      const sessions = await openSessions(model, seedOf(400), pool);
      const images = testImages(count);
      const { tolerance, fractionBits } = model.program.steps.at(-1) as OutputStep;
      const times = { offline: 0, online: 0 };
      let worst = 0;
      let same = 0;
      for (let i = 0; i < count; i++) {
        const pixels = Float32Array.from(pixelsAt(images, i), (p) => p / 255);
        const input = encodeInput(model.program, pixels);
        const start = performance.now();
        await prepareBoth(sessions);
        const prepared = performance.now();
        const result = await inferBoth(sessions, input);
        times.offline += prepared - start;
        times.online += performance.now() - prepared;
        const clear = runClear(model, input, () => {});
        result.forEach((logit, j) => {
          worst = Math.max(worst, Math.abs(logit - clear[j]!));
        });
        if (indexOfLargest(result) === indexOfLargest(clear)) same++;
      }
      await pool?.close();
      const unit = 2 ** -fractionBits;
      console.log(
        `${name}: ${count} images, offline ${Math.round(times.offline / count)} ms, online ${Math.round(times.online / count)} ms each; ` +
          `off by at most ${(worst * unit).toPrecision(2)} of ${(tolerance * unit).toPrecision(2)} in a logit, ${same} labels the same`,
      );
      expect(worst).toBeLessThanOrEqual(tolerance);
      expect(worst).toBeGreaterThan(0);
      expect(same).toBeGreaterThanOrEqual(count - Math.floor(count / 20));
    },
    1_800_000,
  );
});
