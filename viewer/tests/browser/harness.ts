import type { Page } from "puppeteer-core";
import { afterAll, afterEach, beforeAll, inject } from "vitest";
import { launch, type Started } from "./browsers";

export { launch } from "./browsers";
export { colourAt, decoded, near, pageScreenshot, pixels, type Colour, type Picture } from "./pixels";
export { serve, type Server } from "./server";

/** Folder of the built page, for `serve`. */
export function builtPage(): string {
  return inject("page");
}

/** What a file of browser tests works with. */
export interface Session {
  /** What draws, as WebGL names it. */
  readonly renderer: string;
  /** Opens an address in a new page of so many CSS pixels; it is closed when the test ends. */
  open(url: string, width?: number, height?: number): Promise<Page>;
  /** From now until the test ends, an error that matches is no failure. */
  expectError(pattern: RegExp): void;
}

/**
 * Starts the browser before a file's tests and closes it after them. A test fails if one of its pages throws,
 * or writes an error to the console, that `expectError` did not announce.
 */
export function useBrowser(): Session {
  let started: Started;
  let pages: Page[] = [];
  let errors: string[] = [];
  let expected: RegExp[] = [];

  beforeAll(async () => {
    started = await launch();
  });
  afterEach(async () => {
    const unexpected = errors.filter((error) => !expected.some((pattern) => pattern.test(error)));
    for (const page of pages) if (!page.isClosed()) await page.close();
    [pages, errors, expected] = [[], [], []];
    if (unexpected.length) throw new Error(`the page reported errors:\n${unexpected.join("\n")}`);
  });
  // Undefined if it did not start, which has been reported.
  afterAll(async () => (started as Started | undefined)?.close());

  return {
    get renderer() {
      return started.renderer;
    },
    async open(url, width = 960, height = 600) {
      const page = await started.browser.newPage();
      pages.push(page);
      // A machine may have other things to do, too.
      page.setDefaultTimeout(90_000);
      page.on("console", (message) => {
        if (message.type() === "error") errors.push(message.text());
      });
      page.on("pageerror", (error) => errors.push(error instanceof Error ? error.message : String(error)));
      await page.setViewport({ width, height, deviceScaleFactor: 1 });
      await page.goto(url);
      return page;
    },
    expectError(pattern) {
      expected.push(pattern);
    },
  };
}
