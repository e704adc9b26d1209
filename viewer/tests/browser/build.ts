import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { build } from "vite";

declare module "vitest" {
  interface ProvidedContext {
    /** Folder of the page, built for this run. */
    page: string;
    /** Folder of the page with only the scene, scene.html. */
    scene: string;
  }
}

/** Builds the pages before the tests, in separate folders, since two browsers may be tested at once. */
export default async function setup(project: TestProject): Promise<() => void> {
  const folder = mkdtempSync(join(tmpdir(), "viewer-page-"));
  const [page, scene] = [join(folder, "page"), join(folder, "scene")];
  await build({ logLevel: "warn", build: { outDir: page, emptyOutDir: true } });
  const rollupOptions = { input: "scene.html" };
  await build({ logLevel: "warn", build: { outDir: scene, emptyOutDir: true, rollupOptions } });
  project.provide("page", page);
  project.provide("scene", scene);
  return () => rmSync(folder, { recursive: true, force: true });
}
