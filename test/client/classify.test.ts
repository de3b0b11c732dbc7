import { describe, expect, it } from 'vitest';
import { openSession } from '../../client/index.ts';
import { pixelsOfRgba } from '../../protocol/program/pixels.ts';
import { probabilities } from '../../protocol/program/probabilities.ts';
import { pngOf } from '../support/pictures.ts';
import {
  failureOf,
  LocalServer,
  localPool,
  plainAnswer,
  somePixels,
  tinyModel,
} from '../system/support.ts';

const model = tinyModel();
const [channels, height, width] = model.program.input.shape;
const tiny = { name: 'tiny', model };

function open(models = [tiny]) {
  return openSession({ channel: new LocalServer(models).accept(), pool: localPool() });
}

/** Bytes of an RGBA image with something to see. */
const rgba = (width: number, height: number) =>
  Uint8Array.from({ length: 4 * width * height }, (_, i) => (i % 4 === 3 ? 255 : (i * 37) % 256));

describe('classify', () => {
  it('gives the likeliest classes first, with the softmax of the logits', async () => {
    const session = await open();
    const pixels = somePixels(model, 1);
    const tensor = { data: pixels, dims: model.program.input.shape };
    const [first, second, ...rest] = await session.classify(tensor, { topK: 2 });
    expect(rest).toEqual([]);
    const { logits, label } = plainAnswer(model, pixels);
    const shares = probabilities(logits, 1);
    const order = [...shares.keys()].sort((a, b) => shares[b]! - shares[a]!);
    expect([first!.index, second!.index]).toEqual(order.slice(0, 2));
    expect(first!.index).toBe(label);
    expect(first!.label).toBe(['ant', 'bee', 'cat'][label]);
    expect(first!.score).toBeCloseTo(shares[label]!, 2);
    expect(await session.classify(tensor)).toHaveLength(3);
    const [flat] = await session.classify(tensor, { temperature: 1e6 });
    expect(flat!.score).toBeCloseTo(1 / 3, 3);
    await session.close();
  });

  it('takes files, PNG bytes and RGBA pixels, and makes other sizes fit', async () => {
    const session = await open();
    const image = { width, height, data: rgba(width, height) };
    const expected = plainAnswer(model, pixelsOfRgba(image, [channels, height, width])).label;
    const file = new File([Uint8Array.from(pngOf(image))], 'it.png');
    for (const same of [image, file]) {
      expect((await session.classify(same))[0]!.index).toBe(expected);
    }
    const wide = { width: 3 * width, height: 2 * height, data: rgba(3 * width, 2 * height) };
    for (const fit of [undefined, 'contain', 'fill'] as const) {
      expect(await session.classify(wide, { fit })).toHaveLength(3);
    }
    await session.close();
  });

  it('has no score where the program reveals the label alone', async () => {
    const session = await open([{ name: 'tiny', model: tinyModel('label') }]);
    const pixels = somePixels(model, 2);
    const classes = await session.classify({ data: pixels, dims: model.program.input.shape });
    const { label } = plainAnswer(model, pixels);
    expect(classes).toEqual([
      { label: ['ant', 'bee', 'cat'][label], index: label, score: undefined },
    ]);
    await session.close();
  });

  it('refuses mistakes in one sentence, and spends nothing', async () => {
    const session = await open();
    await session.prepare();
    const tensor = { data: somePixels(model, 1), dims: model.program.input.shape };
    const mistakes = [
      session.classify(tensor, { topK: 0 }),
      session.classify(tensor, { topk: 1 } as object),
      session.classify(tensor, { fit: 'crop' as 'cover' }),
      session.classify(tensor, { temperature: 0 }),
      session.classify({ data: tensor.data, dims: [1, 1] }),
      session.classify(new Blob(['no image'])),
      session.classify(42 as unknown as Blob),
    ];
    expect((await Promise.all(mistakes.map(failureOf))).map(({ message }) => message)).toEqual([
      'topK: expected a positive integer, got 0',
      'there is no option "topk"; there are signal, onProgress, topK, fit, temperature',
      'fit: expected one of cover, contain, fill, got crop',
      'temperature: expected a positive number, got 0',
      expect.stringMatching(/^a tensor of 1x1 with \d+ elements: the model takes /),
      'the image is not a PNG file',
      'image: expected what readImage gave, RGBA pixels or a tensor',
    ]);
    expect(session.available).toBe(1);
    await session.close();
  });
});
