import { describe, expect, it } from 'vitest';
import { budgetsOf, bySubject, comparisonsOf, type ShownModel } from '../../client/web/models.ts';

const model = (name: string, relus: number, more: Partial<ShownModel> = {}): ShownModel => ({
  ...{ name, relus, squares: 0, identities: 0, labels: ['cat', 'dog'], shape: [3, 32, 32] },
  ...{ hint: 0, offline: { up: 0, down: 0 }, online: { up: 0, down: 0 } },
  ...more,
});
const names = (models: readonly ShownModel[] | undefined) => models?.map(({ name }) => name);

describe('models that the demo page runs against each other', () => {
  it('are of one network, told by the budgets in their names', () => {
    const models = [model('net', 1000), model('net-50', 50), model('net-500', 499)];
    const others = [model('wide', 4000), model('wide-2000', 1990), model('alone', 9)];
    const [group, ...rest] = bySubject([...models, ...others]);
    expect(rest).toEqual([]);
    for (const one of models) expect(names(budgetsOf(one, group!))).toEqual(['net', 'net-50']);
    expect(names(budgetsOf(others[1]!, group!))).toEqual(['wide', 'wide-2000']);
    expect(budgetsOf(others[2]!, group!)).toBe(undefined);
  });

  it('are no two networks whose names have other numbers', () => {
    const [group] = bySubject([model('resnet-18', 557056), model('resnet-50', 990000)]);
    for (const one of group!) expect(budgetsOf(one, group!)).toBe(undefined);
  });

  it('are one in both comparisons, of which one alone can be chosen', () => {
    const halfGates = model('net-half-gates', 1000, { halfGatesOf: 'net' });
    const models = [model('net', 1000), model('other', 1000), halfGates];
    expect(bySubject(models).map(names)).toEqual([['net', 'other']]);
    expect(names(comparisonsOf(models[0]!, models))).toEqual(['net-half-gates', 'net']);
    expect(comparisonsOf(models[1]!, models)).toBe(undefined);
  });
});
