/** A real browser for tests: Chromium of the system, installed as a Debian package where that is possible. */

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const places = [
  process.env['SOTTO_CHROMIUM'],
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
];

const find = (): string | undefined =>
  places.find((path) => path !== undefined && existsSync(path));

function install(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return undefined;
  const apt = (...args: string[]) =>
    execFileSync('apt-get', ['-o', 'DPkg::Lock::Timeout=300', '-q', '-y', ...args], {
      stdio: 'ignore',
      timeout: 600_000,
    });
  try {
    apt('update');
    apt('install', '--no-install-recommends', 'chromium', 'fonts-dejavu-core');
  } catch {
    // Without packages there is no browser, which the caller says.
  }
  return find();
}

const executablePath = find() ?? install();

/** Why tests in a browser are skipped, if they are. */
export const noBrowser: string | undefined =
  executablePath === undefined
    ? 'there is no Chromium, and it cannot be installed (SOTTO_CHROMIUM names another)'
    : undefined;

/** A fresh browser with a fresh profile, for 127.0.0.1 alone. */
export function openBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: executablePath!,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      // A camera that shows a moving picture, to pages that may have one.
      '--use-fake-device-for-media-stream',
    ],
  });
}
