import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { operatorTable, runOperatorTests } from '../../../models/onnx/table.ts';

const root = new URL('../../../', import.meta.url);
const folder = new URL('../shared/data/onnx-node-tests/', root);
const isThere = existsSync(folder);
if (!isThere) console.log('skipped: no operator tests of ONNX in ../shared/data/onnx-node-tests');

describe.skipIf(!isThere)("ONNX's operator tests", () => {
  // runOperatorTests throws for a test that is computed wrong.
  const tests = isThere ? runOperatorTests(folder.pathname) : [];

  it('are computed right or refused, as the document says', () => {
    expect(tests.length).toBe(82);
    expect(operatorTable(tests)).toBe(
      readFileSync(new URL('models/onnx/OPERATORS.md', root), 'utf8'),
    );
  });

  it('are computed where the operator is one of ours and works on images', () => {
    const computed = tests.filter(({ refusal }) => refusal === undefined);
    const operators = new Set(computed.map((test) => test.operators));
    for (const op of ['Conv', 'MaxPool', 'AveragePool', 'Gemm', 'MatMul', 'BatchNormalization']) {
      expect(operators).toContain(op);
    }
    expect(computed.length).toBeGreaterThanOrEqual(35);
  });

  it('are refused in one sentence that names the node or the input', () => {
    for (const { name, refusal } of tests) {
      if (refusal !== undefined)
        expect(refusal, name).toMatch(/^(node '|the input '|the model has)/);
    }
  });
});
