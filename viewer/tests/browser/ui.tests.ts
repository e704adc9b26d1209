import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Page } from "puppeteer-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { builtPage, serve, useBrowser, type Server } from "./harness";
import { change, drawn, opened, reset, state } from "./viewing";
import { AGENTS, FIRST, GAP, HEIR, LAST, MORTAL, smallWorld } from "./world";

// Tests of the page around the canvas: keys, clicks and text input.

const browser = useBrowser();
const folder = mkdtempSync(join(tmpdir(), "viewer-ui-"));
const good = join(folder, "good.replay");
const bad = join(folder, "bad.replay");
let server: Server;

beforeAll(async () => {
  writeFileSync(good, smallWorld());
  writeFileSync(bad, "this is no recording at all, whatever its name says");
  server = await serve(builtPage(), 0, { "/good.replay": good, "/bad.replay": bad });
});
afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Opens the small world, paused, in a page that other tests may have used. */
async function share(tick = FIRST): Promise<Page> {
  return prepared(await browser.share(`${server.url}?file=good.replay`), tick);
}

/** Opens it in a new page. */
async function open(tick = FIRST, width?: number, height?: number): Promise<Page> {
  return prepared(await browser.open(`${server.url}?file=good.replay`, width, height), tick);
}

async function prepared(page: Page, tick: number): Promise<Page> {
  await opened(page);
  await reset(page, tick);
  await shows(page, tick);
  return page;
}

const text = (page: Page, selector: string): Promise<string> =>
  page.$eval(selector, (element) => (element as HTMLElement).innerText.trim());

/** Waits until the page reports a tick. */
async function shows(page: Page, tick: number): Promise<void> {
  await page.waitForFunction(
    (tick) => document.querySelector(".track")?.getAttribute("aria-valuenow") === tick,
    {},
    String(tick),
  );
}

/** Waits until an element's text matches. */
async function says(page: Page, selector: string, pattern: RegExp): Promise<void> {
  await page.waitForFunction(
    (selector, source) =>
      new RegExp(source).test((document.querySelector(selector) as HTMLElement)?.innerText ?? ""),
    {},
    selector,
    pattern.source,
  );
}

/** Chooses a file on the start page, and waits until it is shown. */
async function choose(page: Page, path: string): Promise<void> {
  const input = await page.$('input[type="file"]');
  await (await input?.toElement("input"))?.uploadFile(path);
  await page.waitForFunction(() => window.embyr !== undefined);
  await says(page, ".bar h1", /A small world/);
}

test("the page opens from disk without a server", async () => {
  const page = await browser.open(pathToFileURL(join(builtPage(), "index.html")).href);
  await choose(page, good);
  await page.waitForFunction((first) => (window.embyr?.session.state.time ?? 0) > first + 2, {}, FIRST);
});

test("keys play, pause, step, seek, and change the speed", async () => {
  const page = await share(10);
  await page.keyboard.press("ArrowRight");
  await shows(page, 11);
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("ArrowLeft");
  await shows(page, 9);
  await page.keyboard.press("End");
  await shows(page, LAST);
  await page.keyboard.press("Home");
  await shows(page, FIRST);
  await page.keyboard.press(".");
  await page.keyboard.press(".");
  expect((await state(page)).speed).toBe(4);
  await page.keyboard.press(",");
  expect((await state(page)).speed).toBe(2);
  await page.keyboard.press(" ");
  await page.waitForFunction((first) => (window.embyr?.session.state.time ?? 0) > first + 2, {}, FIRST);
  await page.keyboard.press(" ");
  expect((await state(page)).playing).toBe(false);
});

test("a step crosses the gap, and the page indicates a position within it", async () => {
  const page = await share(GAP[0] - 1);
  await page.keyboard.press("ArrowRight");
  await shows(page, GAP[1] + 1);
  await page.keyboard.press("ArrowLeft");
  await shows(page, GAP[0] - 1);
  await change(page, { time: GAP[0] + 3 });
  await says(page, ".timeline .note", /not recorded, showing 40/);
});

test("a click on the track and a typed number go to a tick", async () => {
  const page = await share();
  const box = await (await page.$(".track"))?.boundingBox();
  if (!box) throw new Error("there is no track");
  await page.mouse.click(box.x + box.width / 4, box.y + box.height / 2);
  await shows(page, Math.round(FIRST + (LAST - FIRST) / 4));
  await page.click(".timeline .tick", { count: 3 });
  await page.keyboard.type("77");
  await page.keyboard.press("Enter");
  await shows(page, 77);
  // When dragged beyond the end, it stays at the end.
  await page.mouse.move(box.x + 5, box.y + 5);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width + 40, box.y - 100, { steps: 4 });
  await page.mouse.up();
  await shows(page, LAST);
});

test("the panel shows what the selected agent observes of a system", async () => {
  const page = await share(10);
  for (const slot of [2, 7]) {
    await change(page, { selected: { slot, entity: 10 + slot } });
    await page.evaluate(() => {
      const tab = document.querySelector<HTMLElement>('.tabs [aria-pressed="false"][aria-label="Selected"]');
      tab?.click();
    });
    await says(page, ".agent .system h3", /System: day/i);
    await says(page, ".agent .system .facts", new RegExp(`light\\s+${100 - slot}\\s+Light in percent\\.`));
    await says(page, ".agent .system .small", /period 50, dark side off/);
    await says(page, ".agent .body", /Shown without what day changes in the observation\./);
  }
});

test("search filters the list, a click selects, and shortcuts are off during text input", async () => {
  const page = await open(10);
  await page.keyboard.press("l");
  await says(page, ".list .count", new RegExp(`${AGENTS} alive`));
  await page.click(".list input");
  await page.keyboard.type("p1");
  await says(page, ".list .count", /4 found/);
  await page.click(".list input", { count: 3 });
  await page.keyboard.type("17");
  await says(page, ".list .count", /1 found/);
  expect(await page.$(".panel.list:not([hidden])")).not.toBeNull();
  expect((await state(page)).overlay).toBe("none");
  await page.click(".list .rows .row:not([hidden])");
  await says(page, ".agent h2", /Agent 17/);
  expect((await state(page)).selected).toEqual({ slot: 7, entity: 17 });
  await says(page, ".agent .facts", /17 ticks[\s\S]*row 11, column 9/);
  await page.keyboard.press("Escape"); // leaves the field, or the list
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => window.embyr?.session.state.selected === null);
});

test("a click on a column sorts the list by it", async () => {
  const page = await open(10);
  await page.keyboard.press("l");
  await says(page, ".list .count", /alive/);
  const first = (): Promise<string> => text(page, ".list .rows .row");
  expect(await first()).toMatch(/^10\s/);
  await page.evaluate(() => {
    const heads = [...document.querySelectorAll<HTMLButtonElement>(".list .heads button")];
    heads.find((button) => button.innerText === "water")?.click();
  });
  await says(page, ".list .rows .row", /^21\s/);
});

test("a dead agent stays selected and is not confused with the next agent in its slot", async () => {
  const page = await share(MORTAL.death - 3);
  await change(page, { selected: { slot: MORTAL.slot, entity: MORTAL.entity } });
  await page.click('.tabs [aria-label="Selected"]');
  await says(page, ".agent h2", /Agent 13/);
  await change(page, { time: MORTAL.heir + 2 });
  await says(page, ".agent .fate", /Died of hunger at tick 30/);
  await says(page, ".agent .facts", /32 ticks/); // its age when it last lived, at tick 29
  expect(await text(page, ".agent h2")).toBe("Agent 13");
  await says(page, ".agent .body > div:first-child button", /Agent 99/);
  await page.click(".agent .body > div:first-child button");
  await says(page, ".agent h2", /Agent 99/);
  expect((await state(page)).selected).toEqual({ slot: MORTAL.slot, entity: HEIR });
  await change(page, { time: MORTAL.death - 5 });
  await says(page, ".agent .fate", /Not born yet/);
});

test("a key switches between light and dark, and the choice persists", async () => {
  const page = await open();
  const theme = (): Promise<string | null> =>
    page.$eval("html", (element) => element.getAttribute("data-theme"));
  const before = await theme();
  await page.keyboard.press("t");
  const after = await theme();
  expect(after).not.toBe(before);
  await page.reload();
  await page.waitForFunction(() => window.embyr !== undefined);
  expect(await theme()).toBe(after);
  await page.keyboard.press("t");
});

test("on a phone's screen nothing overflows, and touch targets are large enough", async () => {
  const page = await open(10, 360, 640);
  await change(page, { selected: { slot: 2, entity: 12 } });
  for (const [tab, content] of [
    ["Selected", ".agent .meter"],
    ["Agents", ".list .rows .row:not([hidden])"],
    ["Charts", ".chart .u-over"],
    ["Map", ".map canvas"],
    ["Display", ".options .lil-gui"],
  ] as const) {
    await page.click(`.tabs [aria-label="${tab}"]`);
    await page.waitForSelector(content, { visible: true });
    const layout = (): Promise<unknown> =>
      page.evaluate(() => ({
        wide: [...document.querySelectorAll("body *")]
          .filter((element) => element.checkVisibility() && !element.closest(".head-bars, .uplot, .track"))
          .filter((element) => element.getBoundingClientRect().right > window.innerWidth + 0.5)
          .map((element) => element.className),
        open: document.querySelectorAll(".panel:not([hidden])").length,
        small: [
          ...document.querySelectorAll(
            ".bar button, .tabs button, .timeline button, .timeline select, .track",
          ),
        ]
          .filter((element) => element.checkVisibility())
          .map((element) => element.getBoundingClientRect())
          .filter(({ width, height }) => width < 39.5 || height < 39.5).length,
        tall: (document.querySelector("#world")?.getBoundingClientRect().height ?? 0) > 150,
      }));
    await drawn(page);
    await expect
      .poll(layout, { timeout: 60_000, message: `with ${tab}` })
      .toEqual({ wide: [], open: 1, small: 0, tall: true });
  }
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
});

test("the address restores camera, tick, selection, overlay and speed", async () => {
  const page = await open(20);
  await page.evaluate(() => window.embyr?.stage.lookAt(9, 17, 12));
  await change(page, {
    time: 22.5,
    selected: { slot: 5, entity: 15 },
    overlay: "visits",
    overlayPopulation: 1,
    speed: 8,
  });
  await page.waitForFunction(() => window.location.hash.includes("tick=22.5"));
  await page.waitForFunction(() => window.location.hash.includes("overlay=visits"));
  const [address, camera] = await page.evaluate(() => [window.location.href, window.embyr?.stage.camera()]);
  const other = await browser.open(address ?? "");
  await other.waitForFunction(() => window.embyr !== undefined);
  await shows(other, 22);
  expect(await state(other)).toMatchObject({
    time: 22.5,
    playing: false,
    selected: { slot: 5, entity: 15 },
    overlay: "visits",
    overlayPopulation: 1,
    speed: 8,
  });
  expect(await other.evaluate(() => window.embyr?.stage.camera())).toBe(camera);
});

test("a file that is not a recording gives a message, and another can be chosen", async () => {
  const page = await browser.open(`${server.url}?file=bad.replay`);
  await says(page, ".start .message", /bad\.replay could not be opened\. This is not a recording/);
  await choose(page, good);
  await page.click('[aria-label="Open another recording"]');
  await page.waitForFunction(() => window.embyr === undefined);
  expect(await page.$(".start:not([hidden])")).not.toBeNull();
  expect(await page.$eval(".start .message", (element) => (element as HTMLElement).hidden)).toBe(true);
});

test("an invalid file dropped on a world gives a message and leaves the world unchanged", async () => {
  const page = await share(33);
  await page.evaluate(() => {
    const transfer = new DataTransfer();
    transfer.items.add(new File(["nonsense"], "other.replay"));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
  });
  await says(page, ".notices", /other\.replay could not be opened/);
  await shows(page, 33);
});

test("help lists the keys, and captures them while it is open", async () => {
  const page = await share(12);
  await page.keyboard.press("?");
  expect(await text(page, "dialog[open]")).toMatch(/play, pause/);
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => !document.querySelector("dialog[open]"));
  expect((await state(page)).time).toBe(12);
});

test("a click in a chart goes to a tick, and a click on the map moves the camera", async () => {
  const page = await share(12);
  await page.keyboard.press("c");
  await page.waitForSelector(".chart .u-over");
  await page.waitForFunction(() => window.embyr?.scan.progress === 1);
  // Until the chart covers the whole recording, a click goes to another tick.
  const wanted = FIRST + 0.9 * (LAST - FIRST);
  const missed = async (): Promise<number> => {
    const plot = await (await page.$(".chart .u-over"))?.boundingBox();
    if (!plot) return Infinity;
    await page.mouse.click(plot.x + plot.width * 0.9, plot.y + 20);
    return Math.abs((await state(page)).time - wanted);
  };
  await expect.poll(missed, { timeout: 60_000 }).toBeLessThan(2);
  const map = await (await page.$(".map canvas"))?.boundingBox();
  if (!map) throw new Error("there is no map");
  await page.mouse.click(map.x + map.width * 0.9, map.y + map.height * 0.5);
  await page.waitForFunction(() => {
    const at = window.embyr?.stage.project(12, 27);
    const canvas = window.embyr?.stage.canvas;
    return at?.visible && Math.abs(at.x - (canvas?.clientWidth ?? 0) / 2) < 40;
  });
});

test("each overlay has a legend that describes it", async () => {
  const page = await share(60);
  await page.waitForFunction(() => window.embyr?.scan.progress === 1);
  for (const [overlay, words] of [
    ["visits", /Agent-ticks/],
    ["danger", /Deaths of agents/],
    ["resources", /Tiles of forest/],
    ["value", /has no value map/],
  ] as const) {
    await page.keyboard.press("o");
    expect((await state(page)).overlay).toBe(overlay);
    await says(page, ".overlay-legend", words);
  }
  await page.keyboard.press("o");
  await page.waitForFunction(() => document.querySelector<HTMLElement>(".overlay-legend")?.hidden);
});

test("it draws only while something moves", async () => {
  const page = await share(12);
  await page.evaluate(() => {
    const { stage } = window.embyr!;
    const draw = stage.draw.bind(stage);
    stage.draw = (...moment) => {
      const root = document.documentElement;
      root.dataset["draws"] = String(Number(root.dataset["draws"] ?? 0) + 1);
      draw(...moment);
    };
  });
  /** Returns how often it draws within ten frames after an action. */
  const draws = (act: () => void = () => undefined): Promise<number> =>
    page.evaluate(async (act) => {
      const { dataset } = document.documentElement;
      dataset["draws"] = "0";
      new Function(`(${act})()`)();
      for (let n = 0; n < 10; n++) await new Promise((resolve) => requestAnimationFrame(resolve));
      return Number(dataset["draws"]);
    }, String(act));
  const rests = () => expect.poll(() => draws(), { timeout: 60_000 }).toBe(0);
  await rests();
  for (const act of [
    () => window.embyr!.stage.lookAt(9, 17, 12),
    () => window.embyr!.session.change({ bars: false }),
    () => window.embyr!.session.change({ time: 14 }),
    () => window.embyr!.session.change({ overlay: "resources" }),
  ]) {
    expect(await draws(act), String(act)).toBeGreaterThan(0);
    await rests();
  }
  await page.mouse.move(300, 300);
  await rests();
  await page.keyboard.down("w");
  expect(await draws()).toBeGreaterThan(5);
  await page.keyboard.up("w");
  await rests();
  // The camera moves smoothly until it reaches the followed agent.
  await change(page, { selected: { slot: 9, entity: 19 }, following: true });
  await rests();
  const away = await page.evaluate(() => {
    const { stage, recording } = window.embyr!;
    const col = recording.frame(14)!.column("col")![9]!;
    const { x, y } = stage.project(13, col);
    return Math.hypot(x - stage.canvas.clientWidth / 2, y - stage.canvas.clientHeight / 2);
  });
  expect(away).toBeLessThan(15);
  await page.keyboard.press(" ");
  expect(await draws()).toBeGreaterThan(5);
  await page.keyboard.press(" ");
  await rests();
});

test("a click on an agent selects and follows it, and F toggles following", async () => {
  const page = await share(12);
  await page.evaluate(() => window.embyr?.stage.lookAt(8, 10, 14));
  await drawn(page);
  const [x, y] = await page.evaluate(() => {
    const box = window.embyr?.stage.canvas.getBoundingClientRect();
    const at = window.embyr?.stage.project(8, 10);
    return [(box?.left ?? 0) + (at?.x ?? 0), (box?.top ?? 0) + (at?.y ?? 0) - 6];
  });
  await page.mouse.click(x ?? 0, y ?? 0);
  await page.waitForFunction(() => window.embyr?.session.state.selected?.slot === 4);
  expect((await state(page)).following).toBe(true);
  await page.keyboard.press("f");
  expect((await state(page)).following).toBe(false);
  await page.keyboard.press("f");
  expect((await state(page)).following).toBe(true);
});
