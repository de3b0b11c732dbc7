/** `npm run docs` makes the site of the documents and the public API: every type and link in it is found, without a remote of git. */

import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { root } from '../system/serving.ts';
import { notBuilt } from '../system/support.ts';

const execute = promisify(execFile);

if (notBuilt) console.log(`the site of documents skipped: ${notBuilt}`);

it.skipIf(notBuilt)(
  'npm run docs makes the site without a warning',
  async () => {
    const out = mkdtempSync(join(tmpdir(), 'sotto-docs-'));
    try {
      const typedoc = join(root, 'node_modules/typedoc/bin/typedoc');
      // As a tree without a remote, whatever this one has.
      const env = { ...process.env, GIT_DIR: out };
      const { stdout, stderr } = await execute(process.execPath, [typedoc, '--out', out], {
        cwd: root,
        env,
      });
      expect(`${stdout}${stderr}`).not.toContain('[warning]');
      expect(existsSync(join(out, 'index.html'))).toBe(true);
      expect(readdirSync(join(out, 'documents')).length).toBeGreaterThan(10);
    } finally {
      rmSync(out, { recursive: true });
    }
  },
  240_000,
);
