import { readdirSync, readFileSync } from "node:fs";
import type { Page } from "puppeteer-core";

/** Measures the memory of a page's browser, over all of its processes. */
export function memoryOf(page: Page): { growth(): Promise<number> } {
  const root = page.browser().process()?.pid;
  const before = root === undefined ? 0 : resident(root);
  let peak = before;
  const timer = setInterval(() => {
    if (root !== undefined) peak = Math.max(peak, resident(root));
  }, 100);
  return {
    /** Ends the measurement. Returns the peak growth in bytes, 0 where it cannot be measured. */
    growth: async () => {
      clearInterval(timer);
      return Promise.resolve(peak - before);
    },
  };
}

/** Returns the resident bytes of a process and its descendants, 0 where there is no /proc. */
function resident(root: number): number {
  const parents = new Map<number, number>();
  const bytes = new Map<number, number>();
  try {
    for (const name of readdirSync("/proc")) {
      if (!/^\d+$/.test(name)) continue;
      try {
        const status = readFileSync(`/proc/${name}/status`, "utf8");
        const field = (key: string): number =>
          Number(new RegExp(`^${key}:\\s*(\\d+)`, "m").exec(status)?.[1] ?? 0);
        parents.set(Number(name), field("PPid"));
        bytes.set(Number(name), 1024 * field("RssAnon"));
      } catch {
        // The process has ended.
      }
    }
  } catch {
    return 0;
  }
  const below = (pid: number): boolean => pid === root || (parents.has(pid) && below(parents.get(pid)!));
  return [...bytes].reduce((sum, [pid, size]) => sum + (below(pid) ? size : 0), 0);
}
