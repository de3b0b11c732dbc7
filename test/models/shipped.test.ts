import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { countGraph } from '../../models/graph/index.ts';
import { modelPath, shippedModels, shippedNames, shippedNetwork } from '../../models/shipped.ts';

describe('the models that ship', () => {
  it('are files of known names, the smallest first', () => {
    expect(shippedNames()[0]).toBe('digits');
    expect(shippedNames()).toEqual(expect.arrayContaining(['cifar10', 'fashion', 'fashion-729']));
    expect(shippedModels().every((path) => existsSync(path))).toBe(true);
  });

  it('are named instead of a file, and a misspelt name is told the nearest', () => {
    expect(modelPath('digits')).toMatch(/zoo.digits\.sotto$/);
    expect(() => modelPath('digist')).toThrow(/no model named "digist"; did you mean digits\?/);
  });

  it('have float networks, all ReLUs but the digits’', () => {
    expect(countGraph(shippedNetwork('cifar10'))).toMatchObject({ relus: 77_824, squares: 0 });
    expect(countGraph(shippedNetwork('digits')).squares).toBeGreaterThan(0);
  });

  it('have none of another name', () => {
    expect(() => shippedNetwork('fashion-729')).toThrow(
      /no network named "fashion-729": those that ship are air, cifar10, digits, fashion/,
    );
  });
});
