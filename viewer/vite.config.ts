import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

/**
 * Browsers load no modules from a disk. So the only module of the built page becomes a plain script, and the page
 * opens by a double click, too.
 */
function fromDisk(): Plugin {
  return {
    name: "from-disk",
    apply: "build",
    generateBundle(_, bundle) {
      for (const chunk of Object.values(bundle)) {
        if (chunk.type !== "chunk") continue;
        if (chunk.imports.length || chunk.exports.length) this.error(`${chunk.fileName} is not all in one`);
        const code = chunk.code.replaceAll("import.meta.url", "thisScript");
        chunk.code = `(() => { const thisScript = document.currentScript.src;\n${code}})();\n`;
      }
    },
    transformIndexHtml: {
      order: "post",
      handler: (page) =>
        page.replaceAll('<script type="module" crossorigin', "<script defer").replaceAll(" crossorigin", ""),
    },
  };
}

// Relative addresses: the built page works below any path, and from any file server.
export default defineConfig({
  base: "./",
  plugins: [fromDisk()],
  build: {
    target: "es2022",
    assetsInlineLimit: 64 * 1024,
    // three.js alone is larger than the limit at which Vite warns.
    chunkSizeWarningLimit: 2000,
    // The licenses of what is bundled ask for their text beside every copy.
    license: { fileName: "third-party-licenses.md" },
  },
  test: {
    include: ["tests/**/*.test.ts"],
    exclude: ["tests/browser/**"],
    environment: "node",
  },
});
