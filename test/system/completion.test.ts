/** `sotto completion`: the scripts, in the shells themselves where they are installed. */

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { notBuilt } from './support.ts';

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const has = (shell: string) => spawnSync(shell, ['--version']).status === 0;
const script = (shell: string) =>
  execFileSync(process.execPath, [cli, 'completion', shell], { encoding: 'utf8' });

if (notBuilt) console.log(`skipped, for ${notBuilt}`);

describe.skipIf(notBuilt)('completion', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'sotto-completion-'));
    writeFileSync(join(folder, 'my image.png'), '');
    mkdirSync(join(folder, 'images'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  describe.skipIf(!has('bash'))('in bash', () => {
    let source: string;
    beforeAll(() => {
      source = script('bash');
    });

    /** What bash offers behind these words, of which the last is being typed. */
    function offered(...words: string[]): string[] {
      const ask = `COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sotto
        ((\${#COMPREPLY[@]} == 0)) || printf '%s\\n' "\${COMPREPLY[@]}"`;
      const args = ['--norc', '-c', `set -u; ${source}\n${ask}`, 'bash', 'sotto', ...words];
      const { stdout, stderr, status } = spawnSync('bash', args, { cwd: folder, encoding: 'utf8' });
      expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
      return stdout.split('\n').filter((line) => line !== '');
    }

    it('completes commands', () => {
      expect(offered('')).toEqual(
        expect.arrayContaining(['serve', 'infer', 'models', 'plan', 'completion', 'help']),
      );
      expect(offered('co')).toEqual(['compile', 'completion']);
      expect(offered('help', 'inf')).toEqual(['infer']);
    });

    it('completes options of a command, and nothing of another', () => {
      expect(offered('infer', '--t')).toEqual(['--top']);
      expect(offered('serve', 'x', '--quota-')).toEqual([
        '--quota-answers',
        '--quota-sessions',
        '--quota-bytes',
        '--quota-store',
      ]);
      expect(offered('models', '--quota')).toEqual([]);
      expect(offered('compile', '-')).toEqual(expect.arrayContaining(['-o', '--output', '--help']));
    });

    it('completes choices, models that ship, and files, those with blanks too', () => {
      expect(offered('reduce', 'net', '--method', 'd')).toEqual(['deepreduce']);
      expect(offered('reduce', 'net', '--method', 'my')).toEqual(['my image.png']);
      expect(offered('completion', '')).toEqual(['bash', 'zsh', 'fish']);
      expect(offered('serve', '--model', 'fashion-')).toEqual([
        'fashion-7296',
        'fashion-3648',
        'fashion-729',
        'fashion-1459',
      ]);
      expect(offered('plan', 'dig')).toEqual(['digits']);
      expect(offered('serve', '--model', 'im')).toEqual(['images']);
      expect(offered('infer', '--server', 'ws://h', 'my')).toEqual(['my image.png']);
      expect(offered('infer', '--server', '')).toEqual([]);
      expect(offered('serve', '--port', '')).toEqual([]);
    });

    it('is what bash asks for the command', () => {
      const { stdout } = spawnSync('bash', ['--norc', '-c', `${source}\ncomplete -p sotto`]);
      expect(stdout.toString()).toBe('complete -F _sotto sotto\n');
    });
  });

  it.skipIf(!has('zsh'))('in zsh is read and registered', () => {
    const read = `autoload -U compinit; compinit -D -u; ${script('zsh')}\nprint -r -- $_comps[sotto]`;
    const { stdout, stderr } = spawnSync('zsh', ['-f', '-c', read], { encoding: 'utf8' });
    expect({ stdout, stderr }).toEqual({ stdout: '_sotto\n', stderr: '' });
  });

  it.skipIf(!has('fish'))('in fish completes commands, choices and models', () => {
    const offered = (line: string) =>
      spawnSync('fish', ['-N', '-c', `${script('fish')}\ncomplete -C '${line}'`], {
        cwd: folder,
        encoding: 'utf8',
      }).stdout;
    expect(offered('sotto inf')).toMatch(/^infer\t/);
    expect(offered('sotto reduce x --method d')).toMatch(/^deepreduce/);
    expect(offered('sotto serve --model dig')).toMatch(/^digits/);
  });

  it('of another shell is wrong usage that lists those that there are', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [cli, 'completion', 'fsh'], {
      encoding: 'utf8',
    });
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(/bash, zsh, fish/);
  });
});
