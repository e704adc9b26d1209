import { defineConfig } from "vitest/config";

// Tests that drive a real browser, named by BROWSER, against the built page. Software rendering is slow, so
// one file runs at a time and limits are generous.
export default defineConfig({
  test: {
    include: ["tests/browser/**/*.test.ts"],
    environment: "node",
    globalSetup: ["tests/browser/build.ts"],
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
