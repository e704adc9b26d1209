import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "puppeteer-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { colorAt, near, pixels, useBrowser } from "./harness";
import { likePaint } from "./paint";
import { freePort, nmmo, type Program } from "./programs";
import { change, drawn, lookDown, opened, places, says, shows, state } from "./viewing";

// Pages that watch a training run live while its server stops and restarts.

const browser = useBrowser();
const folder = mkdtempSync(join(tmpdir(), "viewer-live-"));
const run = join(folder, "run");
// biome-ignore format: an option and its value stay together
const WORLD = [
  "--height", "48", "--width", "48", "--slots", "32", "--populations", "4", "--births", "-1",
  "--backend", "torch",
];
const LEARNER = ["--realms", "1", "--hidden", "8", "--horizon", "16", "--minibatches", "4"];
const SAVED = ["--record", "0", "--checkpoint-minutes", "0.02"];
/** Page size in CSS pixels, slightly wider than a phone's. */
const SIZE = [760, 460] as const;
const programs: Program[] = [];
const PATIENCE = { timeout: 60_000, interval: 100 };
/** Without a server the browser logs an error for every attempt to connect. */
const UNREACHED = /WebSocket|ERR_|Failed to load|NetworkError|can.t establish|interrupted/i;

let training: Program;
let server: Program;
let port: number;
let url: string;

const start = (...args: string[]): Program => {
  const program = nmmo(...args);
  programs.push(program);
  return program;
};
const serve = async (): Promise<void> => {
  server = start("view", run, "--no-browser", "--port", String(port));
  await server.until(() => server.output.includes("The viewer is at"), "the server says where it is");
};

beforeAll(async () => {
  port = await freePort();
  url = `http://127.0.0.1:${port}/`;
  training = start("train", "chaos", ...WORLD, ...LEARNER, ...SAVED, "--run", run);
  await training.until(() => recordings().length === 1, "a recording begins");
  training.pause();
  await serve();
});
afterAll(async () => {
  for (const program of programs) {
    program.destroy();
    await program.ended;
  }
  rmSync(folder, { recursive: true, force: true });
});

const recordings = (): string[] => {
  const replays = join(run, "replays");
  // A file that is not complete yet has another ending.
  return existsSync(replays) ? readdirSync(replays).filter((name) => name.endsWith(".replay")) : [];
};

const files = (): string[] => recordings().map((name) => join(run, "replays", name));

test("training is shown live; seeking back leaves live mode, and a button returns to it", async () => {
  const page = await watch();
  expect(await page.$eval(".connection", (element) => (element as HTMLElement).innerText)).toBe("live");
  await page.waitForFunction(() => window.embyr?.session.state.live);
  const { last, places: before } = await newest(page);
  await grows(last + 80, page);
  await page.waitForFunction((last) => (window.embyr?.session.state.time ?? 0) > last, {}, last);
  const later = await newest(page);
  // It has followed: it is close to the newest tick, and all agents have moved.
  expect(later.last - later.time).toBeLessThan(150);
  expect(later.places).not.toEqual(before);
  await page.waitForFunction(
    () => document.querySelector(".timeline .live")?.getAttribute("aria-pressed") === "true",
  );

  const other = await watch();
  const both = await Promise.all([page, other].map(async (each) => (await newest(each)).last));
  for (const [k, each] of [page, other].entries()) {
    await each.bringToFront();
    await grows(both[k]! + 32, each);
    const { time } = await newest(each);
    await each.waitForFunction((time) => (window.embyr?.session.state.time ?? 0) > time, {}, time);
  }
  await other.close();
  await page.bringToFront();

  await change(page, { speed: 0.25 });
  await page.keyboard.press("Home");
  expect((await state(page)).live).toBe(false);
  await page.waitForFunction(
    () => document.querySelector(".timeline .live")?.getAttribute("aria-pressed") === "false",
  );
  const back = await newest(page);
  await grows(back.last + 32, page);
  expect((await newest(page)).time).toBeLessThan(back.last / 2);
  await change(page, { speed: 1 });
  await page.click(".timeline .live");
  await page.waitForFunction((last) => (window.embyr?.session.state.time ?? 0) > last, {}, back.last);
  await page.waitForFunction(
    () => document.querySelector(".timeline .live")?.getAttribute("aria-pressed") === "true",
  );
  expect((await state(page)).live).toBe(true);
  const { fps, renderer } = await page.evaluate(() => window.embyr!.stage.statistics);
  console.log(`live page: ${fps.toFixed(0)} frames a second (${renderer}, a training beside it)`);
});

test("a map of values comes from the server, and is shown at the right tiles", async () => {
  training.resume();
  await training.until(() => existsSync(join(run, "checkpoint.safetensors")), "a checkpoint is written");
  training.pause();
  const page = await watch();
  const { last } = await newest(page);
  await change(page, {
    playing: false,
    live: false,
    time: last - 8,
    bars: false,
    names: false,
    effects: false,
    trees: false,
    overlayOpacity: 1,
  });
  await shows(page, last - 8);
  await lookDown(page, 24, 24, 44);
  const taken = page.waitForResponse((response) => response.url().includes("/api/value"));
  await change(page, { overlay: "value", overlayPopulation: 2 });
  const answer = await taken;
  expect(new URL(answer.url()).searchParams.get("population")).toBe("2");
  await says(page, ".overlay-legend", /Value of a newborn, population 2, after iteration \d+/);
  const { values, about } = mapOf(await (await fetch(answer.url())).arrayBuffer());
  expect(values.length).toBe(48 * 48);
  expect(about).toMatch(/population 2/);
  await drawn(page);
  const covered = await pixels(page);
  await change(page, { overlayOpacity: 0 });
  await drawn(page);
  const bare = await pixels(page);
  const { base, rows, cols, alive, materials } = await page.evaluate((tick) => {
    const { recording } = window.embyr!;
    const frame = recording.frame(tick)!;
    const list = (name: string): number[] => [...frame.column(name)!];
    const materials = recording.header.materials.map(({ name }) => name);
    return {
      base: [...recording.base],
      rows: list("row"),
      cols: list("col"),
      alive: list("alive"),
      materials,
    };
  }, last - 8);
  const tiles = values.map((value, tile) => ({ value, tile, row: Math.floor(tile / 48), col: tile % 48 }));
  // Newborns can be on tiles other than water, lava and rock.
  const standing = tiles.filter(({ tile }) => ["grass", "scrub", "forest"].includes(materials[base[tile]!]!));
  expect(tiles.filter(({ value }) => !Number.isNaN(value))).toEqual(standing);
  const high = (row: number, col: number): boolean => materials[base[row * 48 + col] ?? 0] === "stone";
  const free = tiles.filter(
    ({ row, col, tile }) =>
      !["water", "lava"].includes(materials[base[tile]!]!) &&
      ![-1, 0, 1].some((r) => [-1, 0, 1].some((c) => high(row + r, col + c))) &&
      alive.every(
        (lives, slot) => !lives || Math.max(Math.abs(rows[slot]! - row), Math.abs(cols[slot]! - col)) > 1,
      ),
  );
  const where = await places(
    page,
    free.map(({ row, col }) => [row, col]),
  );
  const min = Math.min(...standing.map(({ value }) => value));
  const max = Math.max(...standing.map(({ value }) => value));
  let looked = 0;
  free.forEach(({ value, tile }, k) => {
    const { x, y, clear } = where[k]!;
    if (!clear) return;
    const [with_, without] = [colorAt(covered, x, y), colorAt(bare, x, y)];
    expect(near(with_, without, 6), `tile ${tile}, ${value}: ${without} became ${with_}`).toBe(
      Number.isNaN(value),
    );
    const share = (value - min) / (max - min);
    if (share > 0.97) expect(likePaint(with_, [253, 231, 37])).toBe(true);
    if (share < 0.03) expect(likePaint(with_, [68, 1, 84])).toBe(true);
    looked++;
  });
  expect(looked).toBeGreaterThan(50);
});

test("the page reports a killed server, keeps playing, and continues when the server is back", async () => {
  browser.expectError(UNREACHED);
  const page = await watch();
  await grows(200, page);
  const { last } = await newest(page);
  const from = last - 100;
  await change(page, { live: false, time: from, playing: false });
  await shows(page, from);
  const slot = await page.evaluate(
    (tick) => window.embyr!.recording.frame(tick)!.column("alive")!.indexOf(1),
    from,
  );
  const entity = await page.evaluate(
    (tick, slot) => window.embyr!.recording.frame(tick)!.column("entity")![slot]!,
    from,
    slot,
  );
  await change(page, { selected: { slot, entity } });
  await page.evaluate(() => window.embyr?.stage.setCamera("20_21_30_0.5_0.7"));
  await drawn(page);
  const camera = await page.evaluate(() => window.embyr?.stage.camera());
  await page.waitForFunction(
    (tick) => window.embyr?.recording.frame(tick + 20) && window.embyr.recording.frame(tick),
    {},
    from,
  );

  server.signal("SIGKILL");
  expect(await server.ended).toBe("SIGKILL");
  await says(page, ".connection", /connecting/);
  await page.keyboard.press(" ");
  await page.waitForFunction((tick) => (window.embyr?.session.state.time ?? 0) > tick, {}, from + 8);
  await page.keyboard.press(" ");
  const { time } = await state(page);
  const frozen = await newest(page);
  expect(time).toBeGreaterThan(from + 8);

  await serve();
  await says(page, ".connection", /live/);
  await grows(frozen.last + 50, page);
  expect(await state(page)).toMatchObject({
    time,
    selected: { slot, entity },
    playing: false,
    live: false,
  });
  expect(await page.evaluate(() => window.embyr?.stage.camera())).toBe(camera);
  await page.click(".timeline .live");
  await page.waitForFunction((last) => (window.embyr?.session.state.time ?? 0) > last, {}, frozen.last);
  expect(await state(page)).toMatchObject({ selected: { slot, entity }, live: true });
});

test("the page shows no error when training ends, and continues when training resumes", async () => {
  const page = await watch();
  const [old] = recordings();
  await change(page, { speed: 16 });
  training.resume();
  training.signal("SIGTERM");
  expect(await training.ended, training.output).toBe(0);
  expect(training.output).not.toMatch(/Traceback/);
  const end = await settled(page);
  await page.waitForFunction((end) => (window.embyr?.session.state.time ?? 0) > end - 3, {}, end);
  expect(await page.$$(".notice")).toHaveLength(0);
  await says(page, ".connection", /live/);

  await change(page, { speed: 2, bars: false });
  training = start("train", "--resume", run, "--record", "0");
  await training.until(() => recordings().length === 2, "another recording begins");
  const [fresh] = recordings().filter((name) => name !== old);
  await says(page, ".notices", new RegExp(`The run continues in ${fresh}`));
  await page.waitForFunction((end) => (window.embyr?.recording.first ?? 0) > end, {}, end);
  expect(new URL(page.url()).searchParams.get("run")).toBe(fresh);
  await says(page, ".connection", /live/);
  expect(await state(page)).toMatchObject({ live: true, speed: 2, bars: false });
  const { last, time } = await newest(page);
  await moreThan(page, last + 32);
  await page.waitForFunction((time) => (window.embyr?.session.state.time ?? 0) > time + 8, {}, time);
  await says(page, ".connection", /live/);
  training.signal("SIGTERM");
  expect(await training.ended, training.output).toBe(0);
});

// The tests above cover live worlds in the browser. This one covers the program.
if (process.env["BROWSER"] !== "firefox") {
  test("a world that is played is shown as it grows, and Ctrl-C ends the program", async () => {
    browser.expectError(UNREACHED);
    const other = await freePort();
    // biome-ignore format: an option and its value stay together
    const play = start(
    "play", "chaos", "--view", "--no-browser", "--port", String(other), "--policy", "forager",
    "--rate", "20", ...WORLD,
  );
    await play.until(() => play.output.includes("The viewer is at"), "it says where the page is");
    const page = await browser.open(`http://127.0.0.1:${other}/`, ...SIZE);
    await opened(page);
    await limitFrames(page);
    await says(page, ".bar h1", /played by forager/);
    const { last, time, places: before } = await newest(page);
    await moreThan(page, last + 20);
    await page.waitForFunction((time) => (window.embyr?.session.state.time ?? 0) > time + 5, {}, time);
    expect((await newest(page)).places).not.toEqual(before);
    play.signal("SIGINT");
    expect([0, 130]).toContain(await play.ended);
    expect(play.output).not.toMatch(/Traceback|Error/);
    expect(play.alive).toBe(false);
    await says(page, ".connection", /connecting/);
  });
}

/** Resumes the training, which is otherwise suspended, until a page knows of more than the given ticks. */
async function grows(tick: number, page: Page): Promise<void> {
  training.resume();
  await moreThan(page, tick);
  training.pause();
}

/** Opens a page that watches the newest recording. */
async function watch(): Promise<Page> {
  // A page follows a recording only if it was written to in the last seconds.
  const written = (): number => Math.max(...files().map((path) => statSync(path).mtimeMs));
  const before = written();
  training.resume();
  await training.until(() => written() > before, "the recording grows");
  const page = await browser.open(url, ...SIZE);
  if (recordings().length > 1) await page.click(".offered button");
  await opened(page);
  await limitFrames(page);
  await page.bringToFront();
  await says(page, ".connection", /live/);
  training.pause();
  return page;
}

/** Draws ten frames per second, since these pages play beside programs that need the processor. */
async function limitFrames(page: Page): Promise<void> {
  await page.evaluate(() => {
    const request = window.requestAnimationFrame.bind(window);
    window.requestAnimationFrame = (act) => window.setTimeout(() => request(act), 100);
  });
}

/** Returns what the page knows and shows. */
function newest(page: Page): Promise<{ last: number; time: number; places: string }> {
  return page.evaluate(() => {
    const { recording, session } = window.embyr!;
    const { time } = session.state;
    const frame = recording.frame(Math.floor(time));
    const places = ["row", "col"].map((name) => [...(frame?.column(name) ?? [])].join()).join(";");
    return { last: recording.last, time, places };
  });
}

/** Waits until the page knows of more than the given ticks. */
async function moreThan(page: Page, tick: number): Promise<void> {
  await page.waitForFunction(
    (tick) => (window.embyr?.recording.last ?? -1) > tick,
    { timeout: 90_000 },
    tick,
  );
}

/** Returns the page's last tick, once it is the end of the served file. */
async function settled(page: Page): Promise<number> {
  const last = async (): Promise<readonly [number, number]> => {
    const list = await page.evaluate(
      async () => (await (await fetch("api/recordings")).json()) as { last: number }[],
    );
    return [Math.max(...list.map((each) => each.last)), (await newest(page)).last];
  };
  await expect.poll(async () => ((pair) => pair[0] - pair[1])(await last()), PATIENCE).toBe(0);
  return (await last())[1];
}

/** Returns a map of numbers as the server sends it: a line of JSON, then float32 numbers. */
function mapOf(bytes: ArrayBuffer): { values: number[]; about: string } {
  const end = new Uint8Array(bytes).indexOf(10);
  const line = JSON.parse(new TextDecoder().decode(bytes.slice(0, end))) as { about: string };
  return { values: [...new Float32Array(bytes.slice(end + 1))], about: line.about };
}
