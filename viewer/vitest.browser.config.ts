import { defineConfig } from "vitest/config";

// Tests that drive a real browser, named by BROWSER, against the built page. Software rendering is slow, so
// limits are generous.
export default defineConfig({
  test: {
    include: ["tests/browser/viewer.test.ts"],
    environment: "node",
    globalSetup: ["tests/browser/build.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
