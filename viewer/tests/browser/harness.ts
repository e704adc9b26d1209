import type { Page } from "puppeteer-core";
import { afterAll, afterEach, beforeAll, inject } from "vitest";
import { launch, type Started } from "./browsers";

export { launch } from "./browsers";
export { colorAt, decoded, near, pageScreenshot, pixels, type Color, type Picture } from "./pixels";
export { serve, type Server } from "./server";

/** Folder of the built page, for `serve`. */
export function builtPage(): string {
  return inject("page");
}

/** Folder of the built page with only the scene, scene.html. */
export function builtScene(): string {
  return inject("scene");
}

/** Interface of the browser for a file of browser tests. */
export interface Session {
  /** The renderer reported by WebGL. */
  readonly renderer: string;
  /** Opens an address in a new page of the given size in CSS pixels; it is closed when the test ends. */
  open(url: string, width?: number, height?: number): Promise<Page>;
  /**
   * Returns the page of an address that the tests of the file share, as the last test left it, or a new one.
   * It is in front of all others, and is closed after the last test or when a test fails.
   */
  share(url: string): Promise<Page>;
  /** Console output of these pages since the first was opened. */
  readonly messages: readonly string[];
  /** Ignores errors that match until the test ends. */
  expectError(pattern: RegExp): void;
}

/** The browser that `shareBrowser` has started. */
let common: Started | undefined;

/** Starts a browser for all `useBrowser` calls in the parts of this file, and closes it after their tests. */
export function shareBrowser(): void {
  beforeAll(async () => {
    common = await launch();
  });
  // Undefined if it did not start, which was reported already.
  afterAll(async () => common?.close());
}

/**
 * Returns the shared browser, or one that runs for the tests of a file. A test fails if one of its pages
 * throws an error or writes one to the console, unless `expectError` announced it.
 */
export function useBrowser(): Session {
  let started: Started;
  let pages: Page[] = [];
  const shared = new Map<string, Page>();
  const messages: string[] = [];
  let errors: string[] = [];
  let expected: RegExp[] = [];

  beforeAll(async () => {
    started = common ?? (await launch());
  });
  afterEach(async ({ task }) => {
    if (task.result?.state === "fail") {
      pages.push(...shared.values());
      shared.clear();
    }
    const unexpected = errors.filter((error) => !expected.some((pattern) => pattern.test(error)));
    for (const page of pages) if (!page.isClosed()) await page.close();
    [pages, errors, expected] = [[], [], []];
    if (unexpected.length) throw new Error(`the page reported errors:\n${unexpected.join("\n")}`);
  });
  afterAll(async () => {
    for (const page of shared.values()) await page.close();
    if (!common) await (started as Started | undefined)?.close();
  });

  const newPage = async (width = 960, height = 600): Promise<Page> => {
    const page = await started.browser.newPage();
    // The machine may run other programs, too.
    page.setDefaultTimeout(90_000);
    page.on("console", (message) => {
      messages.push(message.text());
      if (message.type() === "error") errors.push(message.text());
    });
    page.on("pageerror", (error) => errors.push(error instanceof Error ? error.message : String(error)));
    await page.setViewport({ width, height, deviceScaleFactor: 1 });
    return page;
  };

  return {
    get renderer() {
      return started.renderer;
    },
    messages,
    async open(url, width, height) {
      const page = await newPage(width, height);
      pages.push(page);
      await page.goto(url);
      return page;
    },
    async share(url) {
      const old = shared.get(url);
      if (old) {
        await old.bringToFront();
        return old;
      }
      const page = await newPage();
      shared.set(url, page);
      await page.goto(url);
      return page;
    },
    expectError(pattern) {
      expected.push(pattern);
    },
  };
}
