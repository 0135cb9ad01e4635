import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Two at a time: the tests start programs of their own.
    maxWorkers: 2,
    reporters: ['default'],
  },
});
