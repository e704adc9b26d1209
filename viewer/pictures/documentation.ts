import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "puppeteer-core";
import { test } from "vitest";
import { builtPage, serve, useBrowser } from "../tests/browser/harness";

// Takes the documentation's pictures of a recording of the full game (env RECORDING) into a folder (env OUT).

const { RECORDING, OUT } = process.env;
if (!RECORDING || !OUT) throw new Error("set RECORDING to a .replay file and OUT to a folder");
const [recording, out] = [RECORDING, OUT];
const browser = useBrowser();
mkdirSync(out, { recursive: true });
const server = await serve(builtPage(), 0, { "/world.replay": recording });

async function picture(
  name: string,
  options: { width?: number; height?: number; link?: string; dark?: boolean },
  arrange?: (page: Page) => Promise<void>,
): Promise<void> {
  const { width = 1280, height = 800, link = "", dark = false } = options;
  const page = await browser.open(`${server.url}?file=world.replay${link}`, width, height);
  await page.waitForFunction(() => window.embyr !== undefined && window.embyr.scan.progress === 1);
  await page.evaluate((dark) => window.embyr?.session.change({ dark, playing: false }), dark);
  await arrange?.(page);
  // The camera comes to rest, and everything has been drawn.
  await new Promise((resolve) => setTimeout(resolve, 3000));
  await page.screenshot({ path: join(out, `${name}.webp`) as `${string}.webp`, type: "webp", quality: 88 });
}

/** Selects and follows the oldest agent at the middle of the recording, a moment after a tick. */
async function followOldest(page: Page, distance = 15): Promise<void> {
  await page.evaluate(async (distance) => {
    const { session, recording, stage } = window.embyr!;
    const tick = Math.floor((recording.first + recording.last) / 2);
    const frame = await recording.load(tick);
    const [alive, age, entity, row, col] = ["alive", "age", "entity", "row", "col"].map((n) =>
      frame.column(n),
    );
    let oldest = 0;
    for (let slot = 0; slot < recording.header.agents; slot++) {
      if (alive?.[slot] && (age?.[slot] ?? 0) > (age?.[oldest] ?? 0)) oldest = slot;
    }
    const selected = { slot: oldest, entity: entity?.[oldest] ?? 0 };
    stage.lookAt(row?.[oldest] ?? 0, col?.[oldest] ?? 0, distance);
    session.change({ time: tick + 0.6, selected, following: true });
  }, distance);
}

const press = async (page: Page, title: string): Promise<void> => page.click(`button[title^="${title}"]`);

test("the world", () =>
  picture("world", {}, (page) =>
    page.evaluate(async () => {
      const { session, recording, stage } = window.embyr!;
      session.change({ time: Math.floor((recording.first + recording.last) / 2) + 0.5 });
      const { height, width } = recording.header;
      stage.lookAt(height * 0.7, width * 0.5, height * 0.5);
    }),
  ));

test("an agent", () =>
  picture("agent", { height: 1000 }, async (page) => {
    await followOldest(page);
    await press(page, "Selected");
  }));

test("overlay and charts", () =>
  picture("charts", { dark: true }, async (page) => {
    await page.evaluate(() => {
      const { session, recording } = window.embyr!;
      session.change({ overlay: "value", time: Math.floor((recording.first + recording.last) / 2) });
    });
    await press(page, "Charts");
  }));

// Frames of an animation, at the top of the README: scripts/take_pictures.sh joins them.
const FRAMES = 64;
const TICKS_PER_FRAME = 0.25;

test("an animation", async () => {
  const frames = join(out, "frames");
  mkdirSync(frames, { recursive: true });
  const page = await browser.open(`${server.url}?file=world.replay`, 900, 560);
  await page.waitForFunction(() => window.embyr !== undefined && window.embyr.scan.progress === 1);
  await page.evaluate(() => window.embyr?.session.change({ dark: false, playing: false }));
  await followOldest(page, 24);
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const start = await page.evaluate(() => window.embyr!.session.state.time);
  for (let frame = 0; frame < FRAMES; frame++) {
    await page.evaluate(
      async (time) => {
        const { session, recording } = window.embyr!;
        await recording.load(Math.floor(time) + 1);
        session.change({ time });
        // Two frames of the browser: one in which the change is seen, one in which it has been drawn.
        await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
      },
      start + frame * TICKS_PER_FRAME,
    );
    await page.screenshot({ path: join(frames, `${String(frame).padStart(3, "0")}.png`) as `${string}.png` });
  }
});

test("a phone", () => picture("phone", { width: 360, height: 640 }, (page) => followOldest(page)));
