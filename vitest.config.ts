import { defineConfig } from 'vitest/config';
import { SummaryReporter } from './test/support/summary.ts';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: 'forks',
    // More than two cores' worth: many tests wait for the time of a limit.
    maxWorkers: 3,
    coverage: {
      include: ['client/**', 'server/**', 'protocol/**', 'models/**', 'cli.ts'],
      exclude: ['**/wasm/**', '**/assembly/**'],
      reportsDirectory: '.cache/coverage',
      reporter: ['text-summary', 'html'],
    },
    reporters: ['default', new SummaryReporter()],
  },
});
