import { describe, expect, it } from 'vitest';
import { readOnnx, readSafetensors } from '../../../models/onnx/index.ts';
import { exportOnnx } from '../../../models/onnx/write.ts';
import { DAMAGED, QUICK, readDamaged } from '../../support/damage.ts';
import { everyOperator } from '../networks.ts';
import { safetensors } from './files.ts';
import { modelOf } from './models.ts';
import { models, operators } from './zoo.ts';

describe('damaged files', () => {
  it(`${QUICK} of ONNX are read or refused, quickly (${DAMAGED} with SOTTO_LONG=onnx)`, () => {
    const files = [
      ...Object.values(models).map(modelOf),
      ...Object.values(operators).map(modelOf),
      exportOnnx(everyOperator()),
    ];
    // Often enough that what is measured below is compiled.
    for (const file of [...files, ...files, ...files, ...files, ...files]) {
      expect(readOnnx(file).nodes.length).toBeGreaterThan(0);
    }
    const refused = readDamaged(files, readOnnx, QUICK);
    // Weights may change without harm; most of everything else may not.
    expect(refused).toBeGreaterThan(QUICK / 4);
    expect(readOnnx(files[0]!).nodes.length).toBeGreaterThan(0);
    expect(Object.keys(Object.prototype)).toEqual([]);
  });

  it(`${DAMAGED} of safetensors are read or refused, quickly`, () => {
    const entry = (dtype: string, shape: number[], from: number, to: number) => ({
      dtype,
      shape,
      data_offsets: [from, to],
    });
    const file = safetensors(
      {
        // An entry of the format that is no tensor: three are.
        __metadata__: { format: 'pt' },
        'layer.weight': entry('F32', [2, 3], 0, 24),
        'layer.bias': entry('F16', [2], 24, 28),
        'layer.count': entry('I64', [], 28, 36),
      },
      new Uint8Array(36).fill(1),
    );
    expect(readSafetensors(file).size).toBe(3);
    expect(readDamaged([file], readSafetensors)).toBeGreaterThan(DAMAGED / 4);
    expect(Object.keys(Object.prototype)).toEqual([]);
  });
});
