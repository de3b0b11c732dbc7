import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PNG } from 'pngjs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type * as command from '../../../models/command.ts';
import { saveGraph } from '../../../models/graph/index.ts';
import { decodeModel } from '../../../protocol/program/model.ts';
import { GraphBuilder } from '../builder.ts';

/** It measures on threads, which run what is built. */
const built = new URL('../../../dist/models/command.js', import.meta.url);
const isBuilt = existsSync(built);
if (!isBuilt) {
  console.log('sotto compile skipped: dist/ is missing, run `npm run build` first');
}

let folder: string;
const at = (name: string) => join(folder, name);

/** A network of CIFAR-10's images, and four of them. */
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sotto-compile-'));
  const b = new GraphBuilder(1, [3, 32, 32]);
  const relu = b.activation(b.norm(b.conv('image', 4, { stride: 2 })), 'relu');
  const graph = b.build(b.dense(b.flatten(b.pool(b.maxPool(relu, 2), 8)), 10));
  writeFileSync(at('net.sottonet'), saveGraph(graph));
  const images = Uint8Array.from({ length: 4 * 3073 }, (_, i) => (i % 3073 ? (i * i) & 255 : 3));
  writeFileSync(at('images.bin'), images);
  writeFileSync(at('labels.txt'), 'a\nb\nc\nd\ne\nf\r\ng\nh\ni\nj\n');
});
afterAll(() => rmSync(folder, { recursive: true }));

async function run(...args: string[]): Promise<string> {
  const written: string[] = [];
  const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    written.push(`${text}`);
    return true;
  });
  try {
    const { compileCommand }: typeof command = await import(built.href);
    await compileCommand().exitOverride().parseAsync(args, { from: 'user' });
  } finally {
    spy.mockRestore();
  }
  return written.join('');
}

describe.skipIf(!isBuilt)('sotto compile', () => {
  it('writes a model and says what it decided', async () => {
    const out = at('net.sotto');
    const text = await run(
      ...[at('net.sottonet'), '--calibrate', at('images.bin'), '-o', out],
      ...['--labels', at('labels.txt'), '--reveal', 'label', '--mean', '0.5,0.4,0.3'],
    );
    const { program } = decodeModel(readFileSync(out));
    expect(program).toMatchObject({ name: 'net', labels: [...'abcdefghij'] });
    expect(program.input.mean).toEqual([0.5, 0.4, 0.3]);
    expect(program.steps.at(-1)).toMatchObject({ op: 'output', reveal: 'label' });
    expect(text).toMatch(/layer +step/);
    expect(text).toMatch(/ranges from 4 images; 14 fractional bits/);
    expect(text).toMatch(/net.sotto: \d+ bytes/);
  });

  it('chooses compared bits by what they change', async () => {
    const out = at('auto.sotto');
    const arguments_ = [at('net.sottonet'), '--calibrate', at('images.bin'), '-o', out];
    const text = await run(...arguments_, '--compare-bits', 'auto');
    expect(text).toMatch(/layer .* compared /);
    expect(text).toMatch(/a ReLU compares [\d.]+ \(with 12 fractional bits: [\d.]+\) bits/);
    expect(text).toMatch(/0 \(with 12 fractional bits: 0\) images change their label/);
    const bits = (file: string) => {
      const { program } = decodeModel(readFileSync(file));
      return program.steps.flatMap((step) => (step.op === 'activation' ? [step.dropBits] : []));
    };
    const chosen = bits(out);
    await run(...arguments_, '--compare-bits', '8');
    expect(Math.max(...bits(out).map((t, i) => chosen[i]! - t))).toBeGreaterThan(0);
    expect(Math.min(...bits(out).map((t, i) => chosen[i]! - t))).toBeGreaterThanOrEqual(0);
  });

  it('measures on several sources, and on images that it makes fit', async () => {
    const png = new PNG({ width: 50, height: 40 });
    for (let i = 0; i < png.data.length; i++) png.data[i] = (i * i) & 255;
    writeFileSync(at('large.png'), PNG.sync.write(png));
    const model = [at('net.sottonet'), '-o', at('fit.sotto'), '--calibrate', at('large.png')];
    await expect(run(...model)).rejects.toThrow(
      /large.png is 50x40, the network takes 32x32: use --resize 32 --crop/,
    );
    const text = await run(...model, '--resize', '36', '--crop', '--calibrate', at('images.bin'));
    expect(text).toMatch(/ranges from 5 images/);
    const most = ['--calibrate', at('images.bin'), '--images', '2', '--crop'];
    expect(await run(...model, ...most)).toMatch(/ranges from 2 images/);
  });

  it.each<[string, string[], RegExp]>([
    ['no images', ['net.sottonet', '--images', '0'], /--images should be a whole number from 1/],
    ['a size that is none', ['net.sottonet', '--resize', 'x'], /--resize should be a whole number/],
    ['no network', ['none.onnx'], /none.onnx: there is no such file/],
    ['another kind of file', ['labels.txt'], /labels.txt should be an .onnx, .safetensors/],
    ['weights without a network', ['images.bin.safetensors'], /say with --network.*resnet20/],
    [
      'a wrong reveal',
      ['net.sottonet', '--reveal', 'all'],
      /argument 'all' is invalid. Allowed choices are logits, label/,
    ],
    ['a mean that is none', ['net.sottonet', '--mean', '1,,2'], /--mean should be numbers/],
    ['a mean of other channels', ['net.sottonet', '--mean', '1'], /one number for each of 3/],
    [
      'compared bits that are none',
      ['net.sottonet', '--compare-bits', 'few'],
      /number or auto, not few/,
    ],
    [
      'no compared bits',
      ['net.sottonet', '--compare-bits', '0'],
      /compareBits should be .* 1\.\.14/,
    ],
    ['a margin that is none', ['net.sottonet', '--margin', 'x'], /margin should be a factor/],
  ])('refuses in one sentence: %s', async (_what, [network, ...options], message) => {
    writeFileSync(at('images.bin.safetensors'), new Uint8Array(8));
    const calibrate = ['--calibrate', at('images.bin'), '-o', at('x.sotto')];
    await expect(run(at(network!), ...calibrate, ...options)).rejects.toThrow(message);
  });
});
