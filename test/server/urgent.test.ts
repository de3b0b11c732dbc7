/** The tasks of inferences go before all others of a server's pool. */

import { expect, it } from 'vitest';
import { connect } from '../../client/index.ts';
import * as table from '../../protocol/inference/tasks.ts';
import { createInlinePool } from '../../protocol/pool/inline.ts';
import { serve } from '../../server/index.ts';
import { ModelBuilder, seedOf } from '../support/model.ts';
import { distance, localPool, plainAnswer, somePixels } from '../system/support.ts';

it('all tasks of an inference are urgent, and none of what comes before it', async () => {
  // Its ReLUs are garbled circuits, which take a task to answer.
  const net = new ModelBuilder([1, 6, 6], seedOf(714), 'garbled');
  net.conv(2, 3, 2);
  net.activation();
  net.dense(3);
  const model = net.finish('logits');
  const pool = createInlinePool(table);
  const tasks: boolean[] = [];
  const onTask = (_: number, urgent: boolean) => void tasks.push(urgent);
  const server = await serve([{ name: 'garbled', model }], { port: 0, pool, onTask });
  const session = await connect(server.url, { pool: localPool() });
  await session.prepare({ inferences: 2 });
  expect(tasks.length).toBeGreaterThan(5);
  expect(tasks.filter((urgent) => urgent)).toEqual([]);
  for (let i = 0; i < 2; i++) {
    tasks.length = 0;
    const { logits } = await session.infer(somePixels(model, i));
    const plain = plainAnswer(model, somePixels(model, i));
    expect(distance(logits!, plain.logits)).toBeLessThanOrEqual(plain.tolerance);
    expect(tasks.length).toBeGreaterThan(0);
    expect(tasks.filter((urgent) => !urgent)).toEqual([]);
  }
  await session.close();
  await server.close();
  await pool.close();
});
