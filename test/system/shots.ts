/** Pictures of pages, for people to look at: where SOTTO_SHOTS names a folder, tests save there what they have reached. */

import { join } from 'node:path';
import type { Page } from 'playwright-core';

const folder = process.env['SOTTO_SHOTS'];

/** Whether pictures are taken. */
export const shooting = folder !== undefined;

/** The whole page as NAME-WIDTHxHEIGHT-THEME.png; nothing where no folder is named. */
export async function shoot(page: Page, name: string): Promise<void> {
  if (folder === undefined) return;
  const { width, height } = page.viewportSize()!;
  const dark = await page.evaluate(() => matchMedia('(prefers-color-scheme: dark)').matches);
  const file = `${name}-${width}x${height}-${dark ? 'dark' : 'light'}.png`;
  await page.screenshot({ path: join(folder, file), fullPage: true });
}
