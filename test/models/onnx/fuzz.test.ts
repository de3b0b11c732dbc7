import { describe, expect, it } from 'vitest';
import { exportOnnx } from '../../../bench/onnx.ts';
import { readOnnx, readSafetensors } from '../../../models/onnx/index.ts';
import { everyOperator } from '../networks.ts';
import { damage, integers, safetensors } from './files.ts';
import { modelOf } from './models.ts';
import { models } from './zoo.ts';

const FILES = 10_000;
/** No file here may take longer to read or refuse, in milliseconds. */
const MOST_TIME = 50;
/** Nor make more bytes of arrays live, for files of a few thousand. */
const MOST_MEMORY = 2 ** 28;

/** Reads damaged files; a value and a RangeError are both fine, nothing else is. */
function readDamaged(files: readonly Uint8Array[], read: (bytes: Uint8Array) => unknown) {
  const next = integers(2026);
  let refused = 0;
  for (let i = 0; i < FILES; i++) {
    const bytes = damage(files[i % files.length]!, next);
    const before = process.memoryUsage().arrayBuffers;
    const attempt = () => {
      const start = performance.now();
      try {
        read(bytes);
      } catch (error) {
        if (!(error instanceof RangeError) || /call stack/.test(error.message)) throw error;
        refused++;
      }
      return performance.now() - start;
    };
    // Another process may hold up one attempt, but not all of them.
    let time = attempt();
    for (let again = 0; again < 3 && time > MOST_TIME; again++) time = Math.min(time, attempt());
    expect(time, `file ${i}`).toBeLessThan(MOST_TIME);
    expect(process.memoryUsage().arrayBuffers - before, `file ${i}`).toBeLessThan(MOST_MEMORY);
  }
  return refused;
}

describe('damaged files', () => {
  it(`${FILES} of ONNX are read or refused, quickly`, () => {
    const files = [...Object.values(models).map(modelOf), exportOnnx(everyOperator())];
    for (const file of files) expect(readOnnx(file).nodes.length).toBeGreaterThan(0);
    const refused = readDamaged(files, readOnnx);
    // Weights may change without harm; most of everything else may not.
    expect(refused).toBeGreaterThan(FILES / 4);
    expect(readOnnx(files[0]!).nodes.length).toBeGreaterThan(0);
    expect(Object.keys(Object.prototype)).toEqual([]);
  });

  it(`${FILES} of safetensors are read or refused, quickly`, () => {
    const entry = (dtype: string, shape: number[], from: number, to: number) => ({
      dtype,
      shape,
      data_offsets: [from, to],
    });
    const file = safetensors(
      {
        __metadata__: { format: 'pt' },
        'layer.weight': entry('F32', [2, 3], 0, 24),
        'layer.bias': entry('F16', [2], 24, 28),
        'layer.count': entry('I64', [], 28, 36),
      },
      new Uint8Array(36).fill(1),
    );
    expect(readSafetensors(file).size).toBe(3);
    expect(readDamaged([file], readSafetensors)).toBeGreaterThan(FILES / 4);
    expect(Object.keys(Object.prototype)).toEqual([]);
  });
});
