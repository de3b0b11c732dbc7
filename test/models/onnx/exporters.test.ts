import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { checkCommand } from '../../../models/check-command.ts';
import { EXPORTERS, exportAdvice } from '../../../models/onnx/exporters.ts';
import { modelOf, node } from './models.ts';

const folder = mkdtempSync(join(tmpdir(), 'check-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('models of other tools', () => {
  it('are answered with three lines, which the document says as well', () => {
    const text = readFileSync(new URL('../../../models/onnx/EXPORT.md', import.meta.url), 'utf8');
    for (const { files, lines } of EXPORTERS) {
      for (const line of lines) expect(text).toContain(line);
      expect(exportAdvice(`a/${files[0]!.startsWith('.') ? 'net' : ''}${files[0]}`)).toBeDefined();
    }
    expect(exportAdvice('x/net.tflite')).toMatch(
      /^x\/net.tflite is a model of TensorFlow Lite: export it to ONNX with\n.*\n.*--tflite x\/net.tflite.*\n.*check/,
    );
    expect(exportAdvice('x/model.json')).toMatch(/TensorFlow.js/);
    expect(exportAdvice('x/other.json')).toBeUndefined();
  });
});

describe('sotto check', () => {
  const write = vi.spyOn(process.stdout, 'write').mockImplementation(() => true);
  afterEach(() => {
    write.mockClear();
    process.exitCode = 0;
  });
  afterAll(() => write.mockRestore());

  const check = async (name: string, nodes: Parameters<typeof modelOf>[0]['nodes']) => {
    const path = join(folder, name);
    writeFileSync(path, modelOf({ input: [1, 3, 'H', 4], nodes }));
    await checkCommand().parseAsync([path, '--shape', 'x=1,3,4,4'], { from: 'user' });
    return write.mock.calls.join('');
  };

  it('sums a network up', async () => {
    const text = await check('good.onnx', [node('LeakyRelu', ['x'], 'y')]);
    expect(text).toMatch(/input {3}x \[3,4,4\], pixels\nresult {2}y \[3,4,4\]\nlayers 0.*ReLUs 48/);
    expect(process.exitCode).not.toBe(1);
  });

  it('has a line for every node in the way, and fails', async () => {
    const text = await check('bad.onnx', [
      node('Erf', ['x'], 'a'),
      node('Relu', ['a'], 'b'),
      node('Exp', ['b'], 'y'),
    ]);
    expect(text.trim().split('\n')).toHaveLength(3);
    expect(text).toMatch(/2 in the way\nnode 'Erf of a' \(Erf\): .*\nnode 'Exp of y' \(Exp\): /);
    expect(process.exitCode).toBe(1);
  });

  it('answers folders that TensorFlow saved', async () => {
    mkdirSync(join(folder, 'saved'));
    writeFileSync(join(folder, 'saved', 'saved_model.pb'), '');
    const attempt = checkCommand().parseAsync([join(folder, 'saved')], { from: 'user' });
    await expect(attempt).rejects.toThrow(/--saved-model FOLDER/);
  });
});
