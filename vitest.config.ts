import { defineConfig } from 'vitest/config';
import { SummaryReporter } from './test/support/summary.ts';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: 'forks',
    maxWorkers: 2,
    coverage: {
      include: ['client/**', 'server/**', 'protocol/**', 'models/**', 'cli.ts'],
      exclude: ['**/wasm/**', '**/assembly/**'],
      reportsDirectory: '.cache/coverage',
      reporter: ['text-summary', 'html'],
    },
    reporters: ['default', new SummaryReporter()],
  },
});
