import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { build } from "vite";

declare module "vitest" {
  interface ProvidedContext {
    /** Folder of the page, built anew for this run. */
    page: string;
  }
}

/** Builds the page once for all test files, into a folder of its own: two browsers may be tested at once. */
export default async function setup(project: TestProject): Promise<() => void> {
  const folder = mkdtempSync(join(tmpdir(), "viewer-page-"));
  await build({ logLevel: "warn", build: { outDir: folder, emptyOutDir: true } });
  project.provide("page", folder);
  return () => rmSync(folder, { recursive: true, force: true });
}
