import type { ElementHandle, Page } from "puppeteer-core";
import { INITIAL, type State } from "../../src/model/session";

// Helpers that control an open viewer and read from it.

export const change = (page: Page, patch: Partial<State>): Promise<void> =>
  page.evaluate((patch) => window.embyr?.session.change(patch), patch);
export const state = (page: Page): Promise<State> =>
  page.evaluate(() => window.embyr?.session.state as State);

/** Waits until a world is open. */
export async function opened(page: Page): Promise<void> {
  await page.waitForFunction(() => window.embyr !== undefined);
}

/** Resets a shared page to the state of a page that was just opened, paused at a tick. */
export async function reset(page: Page, tick: number): Promise<void> {
  await page.evaluate(
    (state) => {
      const { session, stage } = window.embyr!;
      (document.activeElement as HTMLElement | null)?.blur();
      for (const tab of document.querySelectorAll<HTMLElement>('.tabs [aria-pressed="true"]')) {
        if (tab.getAttribute("aria-label") !== "Map") tab.click();
      }
      for (const close of document.querySelectorAll<HTMLElement>(".notices button")) close.click();
      session.change({ ...state, dark: session.state.dark });
      // The initial camera of the page, from when it was opened or from now.
      const root = document.documentElement;
      root.dataset["camera"] ??= stage.camera();
      stage.setCamera(root.dataset["camera"]);
    },
    { ...INITIAL, playing: false, time: tick },
  );
}

/** Waits until the page shows a tick: reports it, has its frame, and has drawn it. */
export async function shows(page: Page, tick: number): Promise<void> {
  await page.waitForFunction(
    (tick) =>
      document.querySelector(".track")?.getAttribute("aria-valuenow") === String(tick) &&
      window.embyr?.recording.frame(tick)?.tick === tick,
    {},
    tick,
  );
  await drawn(page);
}

/** Waits until changes have been drawn. */
export async function drawn(page: Page): Promise<void> {
  await page.evaluate(async () => {
    for (let n = 0; n < 2; n++) await new Promise((resolve) => requestAnimationFrame(resolve));
  });
}

/** Waits until an element's text matches. */
export async function says(page: Page, selector: string, pattern: RegExp): Promise<void> {
  await page.waitForFunction(
    (selector, source) =>
      [...document.querySelectorAll<HTMLElement>(selector)].some((one) =>
        new RegExp(source).test(one.innerText),
      ),
    {},
    selector,
    pattern.source,
  );
}

/** Chooses a file with the page's file chooser. */
export async function choose(page: Page, path: string): Promise<void> {
  const input = (await page.$('input[type="file"]')) as ElementHandle<HTMLInputElement> | null;
  await input?.uploadFile(path);
}

/** A position on the canvas in CSS pixels; `clear` if nothing covers the canvas there. */
export interface Place {
  readonly x: number;
  readonly y: number;
  readonly clear: boolean;
}

/** Returns the positions of the tiles' middles on the canvas. */
export async function places(
  page: Page,
  tiles: readonly (readonly [row: number, col: number])[],
): Promise<Place[]> {
  // As strings, since browser drivers wrap every number of a list.
  const found = await page.evaluate((text) => {
    const tiles = JSON.parse(text) as [number, number][];
    const { stage } = window.embyr!;
    const box = stage.canvas.getBoundingClientRect();
    // Elements that let clicks through cover the canvas, too.
    const covers = [...document.querySelectorAll(".overlay-legend, .notice")].map((one) =>
      one.getBoundingClientRect(),
    );
    const found = tiles.map(([row, col]) => {
      const at = stage.project(row, col);
      const [x, y] = [box.left + at.x, box.top + at.y];
      // Away from the edge, since the area around the position must be visible.
      const inside = at.x > 20 && at.y > 20 && at.x < box.width - 20 && at.y < box.height - 20;
      const covered = covers.some(
        ({ left, right, top, bottom }) => x > left - 10 && x < right + 10 && y > top - 10 && y < bottom + 10,
      );
      const open = [-8, 8].every((dx) =>
        [-8, 8].every((dy) => document.elementFromPoint(x + dx, y + dy) === stage.canvas),
      );
      const clear = at.visible && inside && !covered && open;
      return { x: at.x, y: at.y, clear };
    });
    return JSON.stringify(found);
  }, JSON.stringify(tiles));
  return JSON.parse(found) as Place[];
}

/** Moves the camera directly above a tile, so that nothing is hidden. */
export async function lookDown(page: Page, row: number, col: number, distance = 22): Promise<void> {
  await page.evaluate((text) => window.embyr?.stage.setCamera(text), `${row}_${col}_${distance}_0_0.05`);
  await drawn(page);
}
