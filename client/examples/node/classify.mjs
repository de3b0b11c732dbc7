// Classifies one PNG file privately:  node classify.mjs ws://127.0.0.1:8080 3.png

import { connect, pixelsOf, readImage } from 'sotto';

const [url, path] = process.argv.slice(2);
const session = await connect(url);
try {
  const pixels = pixelsOf(await readImage(path), session.program.input.shape);
  const { label, labelName, stats } = await session.infer(pixels);
  console.log(`${path}: ${labelName ?? label}, answered in ${stats.online.ms.toFixed(0)} ms`);
} finally {
  await session.close();
}
