/** The API of `sotto` is one: what it declares, Node and browsers both have, and neither has more. */

import { expect, it } from 'vitest';
import type * as api from '../../client/api.ts';
import * as browser from '../../client/browser.ts';
import * as node from '../../client/index.ts';

// The compiler's part: each platform is what is declared.
const platforms: { readonly node: typeof api; readonly browser: typeof api } = { node, browser };

it('the clients of Node and of browsers have the same names', () => {
  expect(Object.keys(platforms.node)).toEqual(
    expect.arrayContaining(['connect', 'createPool', 'pixelsOf', 'readImage', 'storedHints']),
  );
  expect(Object.keys(platforms.browser).sort()).toEqual(Object.keys(platforms.node).sort());
});

it('a browser refuses what only Node can set', async () => {
  const ready = browser.connect('ws://127.0.0.1:9', {
    ca: 'PEM',
    pool: { runner: () => ({}), close: async () => {} } as never,
  });
  await expect(ready).rejects.toThrow(
    new TypeError('ca, headers: a browser lets no page set them'),
  );
});
