/** The last line of a run on CI: how many tests passed and failed, alone on its line. */

import type { Reporter, TestModule } from 'vitest/node';

export class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    let passed = 0;
    let failed = 0;
    let skipped = 0;
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === 'passed') passed++;
        else if (state === 'failed') failed++;
        else skipped++;
      }
      // A file that could not be loaded has no tests to fail.
      if (module.state() === 'failed' && [...module.children.allTests('failed')].length === 0) {
        failed++;
      }
    }
    const rest = skipped > 0 ? `, ${skipped} skipped` : '';
    process.on('exit', () => console.log(`${passed} passed, ${failed} failed${rest}`));
  }
}
