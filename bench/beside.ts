/**
 * What an inference takes while the same session prepares another: `npm run bench:beside -- [MODEL] [REPEATS]`. The server is a process;
 * both share the cores. Alone and beside take turns, so that what the machine does otherwise meets both.
 */

import { connect } from '../client/index.ts';
import { sizeOf } from '../protocol/ring/shape.ts';
import { loadDigits } from './digits.ts';
import { quantile } from './measure.ts';
import { startServer } from './server-process.ts';

const [path = loadDigits().path, repeats = '15'] = process.argv.slice(2);
const server = await startServer(path);
const session = await connect(server.url);
const pixels = new Float32Array(sizeOf(session.program.input.shape));
const times: Record<'alone' | 'beside', number[]> = { alone: [], beside: [] };

/** Prepares one inference while another one runs; resolves when both are over. */
async function beside(): Promise<number> {
  let begin = (): void => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const onProgress = ({ done }: { readonly done: number }) => done > 0 && begin();
  const preparing = session.prepare({ onProgress });
  await begun;
  const { stats } = await session.infer(pixels);
  await preparing;
  return stats.online.ms + stats.waitMs;
}

try {
  await session.prepare();
  let bytes = 0;
  for (let i = -2; i < Number(repeats); i++) {
    const during = await beside();
    const { stats } = await session.infer(pixels);
    await session.prepare();
    bytes = stats.online.bytesUp + stats.online.bytesDown;
    // Two rounds to warm up.
    if (i >= 0) times.alone.push(stats.online.ms + stats.waitMs);
    if (i >= 0) times.beside.push(during);
  }
  const quartiles = (own: number[]) => [0.25, 0.5, 0.75].map((q) => quantile(own, q));
  const { rounds } = (await session.infer(pixels)).stats.online;
  const ratio = quantile(times.beside, 0.5) / quantile(times.alone, 0.5);
  const figures = { model: session.model, repeats: Number(repeats), bytes, rounds, ratio };
  process.stdout.write(
    `${JSON.stringify({ ...figures, aloneMs: quartiles(times.alone), besideMs: quartiles(times.beside) })}\n`,
  );
} finally {
  await session.close();
  await server.stop();
}
