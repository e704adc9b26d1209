import { defineConfig } from "vitest/config";

// Relative addresses: the built page works below any path, and from any file server.
export default defineConfig({
  base: "./",
  build: {
    target: "es2022",
    assetsInlineLimit: 64 * 1024,
    // three.js alone is larger than the limit at which Vite warns.
    chunkSizeWarningLimit: 2000,
  },
  test: {
    include: ["tests/**/*.test.ts"],
    exclude: ["tests/browser/**"],
    environment: "node",
  },
});
