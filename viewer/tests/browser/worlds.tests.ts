import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "puppeteer-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { cutOff, hopeless, spoilt } from "./damage";
import {
  builtPage,
  colorAt,
  decoded,
  near,
  pageScreenshot,
  pixels,
  serve,
  useBrowser,
  type Color,
  type Picture,
  type Server,
} from "./harness";
import { memoryOf } from "./memory";
import { count, likePaint, mean } from "./paint";
import { at, firstOf, lastOf, living, readWorld, recordingOf, type Being, type World } from "./truth";
import { change, choose, drawn, lookDown, opened, places, reset, says, shows, state } from "./viewing";

// Compares what the page shows with the expected contents of worlds that Python recorded.

/** Colors of populations, on the page and in the picture. */
const POPULATIONS: readonly Color[] = [
  [0x00, 0x77, 0xbb],
  [0xcc, 0x33, 0x11],
  [0xff, 0xff, 0xff],
];
const NPC: Color = [0xe8, 0xe4, 0xd8];
/** Nothing that covers the canvas. */
const PLAIN = { bars: false, names: false, effects: false, trees: false } as const;

const browser = useBrowser();
const folder = mkdtempSync(join(tmpdir(), "viewer-worlds-"));
let server: Server;
let chaos: World;
let full: World;

beforeAll(async () => {
  [chaos, full] = [readWorld("chaos"), readWorld("full")];
  const served: Record<string, string> = {};
  for (const name of ["chaos", "full"]) served[`/${name}.replay`] = recordingOf(name);
  const good = readFileSync(recordingOf("chaos"));
  const bad = { cut: cutOff(good, 2), spoilt: spoilt(good, 2) };
  for (const [name, bytes] of Object.entries(bad)) {
    served[`/${name}.replay`] = join(folder, `${name}.replay`);
    writeFileSync(join(folder, `${name}.replay`), bytes);
  }
  server = await serve(builtPage(), 0, served);
});
afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Opens a world by its address, paused at a tick, in the shared page or in a new one. */
async function open(
  name: string,
  tick: number,
  options: { plain?: boolean; alone?: boolean } = {},
): Promise<Page> {
  const address = `${server.url}?file=${name}.replay`;
  const page = await (options.alone ? browser.open(address) : browser.share(address));
  await opened(page);
  await reset(page, tick);
  if (options.plain) await change(page, PLAIN);
  await shows(page, tick);
  return page;
}

test("a chosen file and a file from an address show the same world", async () => {
  const chosen = await browser.open(server.url);
  await choose(chosen, recordingOf("chaos"));
  await opened(chosen);
  const tick = firstOf(chaos) + 20;
  await change(chosen, { playing: false, time: tick, ...PLAIN });
  await shows(chosen, tick);
  await everybodyIsThere(chosen, chaos, tick, true);
  const fromAddress = await open("chaos", tick, { plain: true });
  await everybodyIsThere(fromAddress, chaos, tick);
  await says(fromAddress, ".bar h1", /fixture chaos/);
  await says(fromAddress, ".bar .title", /realm 1 · 36 agents · 33 × 47 tiles/);
});

test("after any kind of seek, all agents are where the data says", async () => {
  const page = await open("chaos", firstOf(chaos), { plain: true });
  const [first, last] = [firstOf(chaos), lastOf(chaos)];
  const border = first + chaos.chunk;
  const box = await (await page.$(".track"))?.boundingBox();
  const track = async (tick: number): Promise<void> => {
    const share = (tick - first) / (last - first);
    await page.mouse.click(box!.x + box!.width * share, box!.y + box!.height / 2);
  };
  const type = async (tick: number): Promise<void> => {
    await page.click(".timeline .tick", { count: 3 });
    await page.keyboard.type(String(tick));
    await page.keyboard.press("Enter");
  };
  const ways: readonly (readonly [number, () => Promise<void>])[] = [
    [last, () => page.keyboard.press("End")],
    [border - 1, () => type(border - 1)],
    [border, () => page.keyboard.press("ArrowRight")],
    [first + 45, () => track(first + 45)],
    [first + 30, () => track(first + 30)],
    [first, () => page.keyboard.press("Home")],
  ];
  for (const [tick, go] of ways) {
    await go();
    await shows(page, tick);
    await everybodyIsThere(page, chaos, tick);
  }
});

test("agents and NPCs of the full game are where the data says", async () => {
  const page = await open("full", lastOf(full), { plain: true });
  for (const tick of [lastOf(full), firstOf(full) + 15]) {
    await change(page, { time: tick });
    await shows(page, tick);
    await everybodyIsThere(page, full, tick, tick === lastOf(full));
  }
});

test("tiles have the color of their material, and eaten forest its own", async () => {
  const page = await open("full", firstOf(full), { plain: true });
  for (const tick of [lastOf(full), firstOf(full)]) {
    await change(page, { time: tick });
    await shows(page, tick);
    const looked = new Map<string, number>();
    const eaten = full.base.flatMap((material, tile) =>
      material !== at(full, lastOf(full)).material[tile] ? [tile] : [],
    );
    expect(eaten.length).toBeGreaterThan(10);
    for (const [row, col] of [
      [10, 12],
      [22, 34],
      [3, 24],
    ] as const) {
      await lookDown(page, row, col);
      for (const [tile, color] of await groundInView(page, full, tick)) {
        const { name, color: paint } = full.materials[at(full, tick).material[tile]!]!;
        const forest = full.materials[full.base[tile]!]!.name === "forest";
        const what = forest && name === "scrub" ? "eaten" : name;
        looked.set(what, (looked.get(what) ?? 0) + 1);
        const words = `tick ${tick}, tile ${tile}, ${what}: ${color.map(Math.round)}, not like ${paint}`;
        expect(likePaint(color, paint), words).toBe(true);
      }
    }
    const wanted = ["lava", "water", "grass", "forest", "stone", ...(tick > firstOf(full) ? ["eaten"] : [])];
    for (const what of wanted) expect(looked.get(what) ?? 0, what).toBeGreaterThan(2);
  }
});

test("the map has every tile's color, and a dot for every entity", async () => {
  const page = await open("full", lastOf(full));
  // The whole map is visible, so the frame of the visible area is along its edge.
  await page.evaluate(() => window.embyr?.stage.setCamera("16_23_200_0_0.05"));
  for (const tick of [firstOf(full) + 33, lastOf(full)]) {
    await change(page, { time: tick });
    await shows(page, tick);
    const beings = living(full, tick);
    const material = at(full, tick).material;
    await expect
      .poll(async () => (await mapColors(page, full)).wrongDots(beings), { timeout: 60_000 })
      .toEqual([]);
    const map = await mapColors(page, full);
    expect(map.wrongTiles(material, beings)).toEqual([]);
  }
});

test("the panel shows the data of agents and NPCs", async () => {
  for (const [name, world] of [
    ["chaos", chaos],
    ["full", full],
  ] as const) {
    const page = await open(name, firstOf(world));
    await page.click('.tabs [aria-label="Selected"]');
    const ticks = world.ticks.filter(({ panels }) => panels?.length);
    for (const { tick, panels, columns } of [ticks.at(-1)!, ticks[3]!, ticks[6]!]) {
      expect(panels!.length).toBeGreaterThan(2);
      for (const { slot, title, facts, meters, skills, inventory } of panels!) {
        await change(page, { time: tick, selected: { slot, entity: columns["entity"]![slot]! } });
        const expected = { title, facts, meters, skills: skills ?? {}, inventory: inventory ?? {} };
        await expect.poll(() => panelOf(page, Object.keys(facts)), { timeout: 60_000 }).toEqual(expected);
      }
    }
  }
});

test("the panel shows a policy's probabilities, its choices and its value", async () => {
  const page = await open("chaos", firstOf(chaos));
  await page.click('.tabs [aria-label="Selected"]');
  for (const tick of [firstOf(chaos) + 17, firstOf(chaos) + 50]) {
    const { columns } = at(chaos, tick);
    for (const { slot, entity } of living(chaos, tick).slice(5, 8)) {
      await change(page, { time: tick, selected: { slot, entity } });
      await shows(page, tick);
      await says(page, ".agent h2", new RegExp(`Agent ${entity}$`));
      const width = Object.values(chaos.heads).reduce((sum, choices) => sum + choices, 0);
      const shares = columns["probability"]!.slice(slot * width, (slot + 1) * width).map(
        (n) => (100 * n) / 255,
      );
      await expect
        .poll(
          async () =>
            furthest(
              (await barsOf(page, "move")).map(({ share }) => share),
              shares.slice(0, 5),
            ),
          { timeout: 60_000 },
        )
        .toBeLessThan(1);
      const bars = await barsOf(page, "move");
      expect(bars.map(({ name }) => name)).toEqual(["stay", "east", "south", "west", "north"]);
      const styles = await barsOf(page, "style");
      expect(styles.map(({ name }) => name)).toEqual(chaos.styles);
      expect(
        furthest(
          styles.map(({ share }) => share),
          shares.slice(5, 8),
        ),
      ).toBeLessThan(1);
      expect(styles.filter(({ made }) => made).map(({ name }) => name)).toEqual([
        chaos.styles[columns["style"]![slot]!],
      ]);
      expect((await barsOf(page, "target"))[0]).toMatchObject({ name: "none" });
      const value = columns["value"]![slot]! / 1024;
      const shown = Number((await factsOf(page))["value"]);
      expect(Math.abs(shown - value)).toBeLessThan(0.006 * Math.max(1, Math.abs(value)));
    }
  }
});

test("the window of an agent shows its observation", async () => {
  for (const [name, world] of [
    ["chaos", chaos],
    ["full", full],
  ] as const) {
    const page = await open(name, firstOf(world));
    await page.click('.tabs [aria-label="Selected"]');
    for (const { tick, columns, seen } of [world.ticks[50]!, world.ticks[15]!]) {
      for (const { slot, material, occupant } of seen) {
        await change(page, { time: tick, selected: { slot, entity: columns["entity"]![slot]! } });
        const own = Math.floor(slot / (world.slots / world.populations));
        const wrong = async (): Promise<string[]> => {
          const colors = await windowColors(page, 2 * world.vision + 1);
          return colors.flatMap((color, cell) => {
            const kind = occupant[cell]!;
            const ground = world.materials[material[cell]!]!.color;
            const others = POPULATIONS.filter((_, population) => population !== own);
            const wanted =
              kind === 0 ? [ground] : kind === 1 ? [POPULATIONS[own]!] : kind === 2 ? others : [NPC];
            return wanted.some((each) => near(color, each, 3))
              ? []
              : [`${cell}: ${color}, not ${wanted.join(" or ")}`];
          });
        };
        await expect.poll(wrong, { timeout: 60_000, message: `tick ${tick}, slot ${slot}` }).toEqual([]);
      }
    }
  }
});

test("a followed agent stays in the middle during playback", async () => {
  const walker = longest(chaos);
  const [from, until] = [walker.from, Math.min(walker.until, walker.from + 16)];
  const page = await open("chaos", from);
  const rows = chaos.ticks.map(({ columns }) => columns["row"]![walker.slot]!);
  const cols = chaos.ticks.map(({ columns }) => columns["col"]![walker.slot]!);
  const first = firstOf(chaos);
  await change(page, { selected: { slot: walker.slot, entity: walker.entity }, ticksPerSecond: 6 });
  await page.keyboard.press("f");
  const away = (): Promise<number> => awayFromMiddle(page, rows[from - first]!, cols[from - first]!);
  await page.waitForFunction(() => window.embyr?.session.state.following);
  await expect
    .poll(
      async () => {
        await drawn(page);
        return away();
      },
      { timeout: 60_000 },
    )
    .toBeLessThan(20);
  await page.keyboard.press(" ");
  const distances = await page.evaluate(
    async (rows, cols, first, until) => {
      const { session, stage } = window.embyr!;
      const found: number[] = [];
      while (session.state.time < until && session.state.playing) {
        await new Promise((resolve) => requestAnimationFrame(resolve));
        const { time } = session.state;
        const [tick, share] = [Math.floor(time) - first, time % 1];
        const between = (numbers: number[]): number =>
          numbers[tick]! + ((numbers[tick + 1] ?? numbers[tick]!) - numbers[tick]!) * share;
        const at = stage.project(between(rows), between(cols));
        found.push(Math.hypot(at.x - stage.canvas.clientWidth / 2, at.y - stage.canvas.clientHeight / 2));
      }
      return found;
    },
    rows,
    cols,
    first,
    until,
  );
  expect((await state(page)).time).toBeGreaterThan(from + 10);
  expect(distances.length).toBeGreaterThan(10);
  expect(Math.max(...distances)).toBeLessThan(60);
  await page.keyboard.press(" ");
  // If the camera did not follow, the agent would be far from the middle.
  const moved = rows
    .slice(from - first, until - first)
    .map((row, k) => Math.hypot(row - rows[from - first]!, cols[from - first + k]! - cols[from - first]!));
  expect(Math.max(...moved)).toBeGreaterThan(3);
});

test("visits, danger and resources are shown at the right tiles only, with the right numbers", async () => {
  const tick = lastOf(chaos);
  const page = await open("chaos", tick, { plain: true });
  await page.waitForFunction(() => window.embyr?.scan.progress === 1);
  for (const name of ["visits", "danger"] as const) {
    for (const population of [-1, 0, 1, 2]) {
      const known = (name: "visits" | "danger", population: number): boolean =>
        window.embyr!.scan.heat(name, population) !== null;
      await page.waitForFunction(known, {}, name, population);
      const map = await page.evaluate(
        (name, population) => {
          const { rows, cols, stride, values } = window.embyr!.scan.heat(name, population)!;
          return {
            rows,
            cols,
            stride,
            values: [...values].map((value) => (Number.isNaN(value) ? 0 : value)),
          };
        },
        name,
        population,
      );
      expect(map).toMatchObject({ rows: chaos.height, cols: chaos.width, stride: 1 });
      expect(map.values, `${name} of ${population}`).toEqual(chaos[name][String(population)]);
    }
  }
  const forest = chaos.base.map((material) => Number(chaos.materials[material]!.name === "forest"));
  await change(page, { overlayOpacity: 1 });
  await lookOver(page, chaos);
  const before = new Map(await groundInView(page, chaos, tick));
  for (const [overlay, population, numbers, words] of [
    ["visits", -1, chaos.visits["-1"]!, /Agent-ticks on each tile/],
    ["visits", 1, chaos.visits["1"]!, /Population 1/],
    ["danger", -1, chaos.danger["-1"]!, /Deaths of agents on each tile/],
    ["resources", -1, forest, /Tiles of forest/],
  ] as const) {
    const cover = { overlay, overlayPopulation: population };
    const covered = await coverOf(page, chaos, tick, before, cover, words);
    const wrong = covered.filter(({ tile, changed }) => changed !== numbers[tile]! > 0);
    expect(wrong, overlay).toEqual([]);
    expect(covered.filter(({ changed }) => changed).length, overlay).toBeGreaterThan(6);
    expect(covered.filter(({ changed }) => !changed).length, overlay).toBeGreaterThan(20);
    if (overlay === "resources") {
      for (const { tile, color } of covered.filter(({ changed }) => changed)) {
        const left = at(chaos, tick).material[tile] === chaos.base[tile];
        expect(likePaint(color, left ? [38, 190, 150] : [232, 130, 50]), `${tile} ${color} ${left}`).toBe(
          true,
        );
      }
    } else if (overlay === "visits") {
      const top = covered.reduce((best, each) => (numbers[each.tile]! > numbers[best.tile]! ? each : best));
      if (numbers[top.tile] === Math.max(...numbers)) expect(likePaint(top.color, [253, 231, 37])).toBe(true);
      const seen = covered
        .filter(({ changed }) => changed)
        .sort((a, b) => numbers[a.tile]! - numbers[b.tile]!);
      const third = Math.floor(seen.length / 3);
      expect(light(seen.slice(-third))).toBeGreaterThan(light(seen.slice(0, third)) + 30);
    }
  }
});

test("the file's map of values for the current tick is shown over the terrain", async () => {
  const first = firstOf(full);
  const page = await open("full", first + 12, { plain: true });
  await change(page, { overlayOpacity: 1 });
  for (const [tick, mapped] of [
    [first + 12, first + 10],
    [first + 40, first + 20],
  ] as const) {
    await change(page, { time: tick, overlay: "none" });
    await shows(page, tick);
    await page.waitForFunction(() => document.querySelector<HTMLElement>(".overlay-legend")?.hidden);
    const total = new Intl.NumberFormat("en").format((full.height * full.width - 1) * (mapped - first));
    const words = new RegExp(`A map in a fixture\\. Population 2\\. Tick ${mapped}\\.\\s[^]*${total}`);
    await lookOver(page, full);
    const before = new Map(await groundInView(page, full, tick));
    const covered = await coverOf(
      page,
      full,
      tick,
      before,
      { overlay: "value", overlayPopulation: 2 },
      words,
    );
    // As written by tests/viewer/fixtures.py: values that increase tile by tile, with a hole.
    const hole = (tile: number): boolean => {
      const [row, col] = [Math.floor(tile / full.width), tile % full.width];
      return row >= 10 && row < 20 && col >= 20 && col < 30;
    };
    expect(covered.filter(({ tile, changed }) => changed === hole(tile))).toEqual([]);
    expect(covered.filter(({ tile }) => hole(tile)).length).toBeGreaterThan(10);
    const shown = covered.filter(({ changed }) => changed);
    expect(light(shown.slice(-15))).toBeGreaterThan(light(shown.slice(0, 15)) + 30);
  }
});

test("the charts' numbers match the world", async () => {
  for (const [name, world] of [
    ["chaos", chaos],
    ["full", full],
  ] as const) {
    const page = await open(name, firstOf(world));
    await page.waitForFunction(() => window.embyr?.scan.progress === 1);
    const series = await page.evaluate(() => {
      const { tick, population, deaths, births, lifetime, usedUp, price } = window.embyr!.scan.series;
      const list = (numbers: Float64Array): (number | null)[] =>
        [...numbers].map((number) => (Number.isNaN(number) ? null : number));
      const used = Object.entries(usedUp).map(([name, numbers]) => [name, list(numbers)]);
      return {
        tick: list(tick),
        population: population.map(list),
        deaths: deaths.map(list),
        births: list(births),
        lifetime: list(lifetime),
        usedUp: Object.fromEntries(used) as Record<string, (number | null)[]>,
        price: price.map(list),
      };
    });
    expect(series.tick).toEqual(world.ticks.map(({ tick }) => tick));
    expect(series.population).toEqual(world.population);
    expect(series.deaths).toEqual(world.deaths);
    expect(series.births).toEqual(world.births);
    expect(series.usedUp).toEqual(world.usedUp);
    expect(series.price).toEqual(world.prices);
    series.lifetime.forEach((age, k) => {
      if (world.lifetime[k] === null) expect(age).toBeNull();
      else expect(age).toBeCloseTo(world.lifetime[k]!, 9);
    });
  }
});

test("the list has exactly the living agents", async () => {
  const page = await open("full", firstOf(full));
  await page.keyboard.press("l");
  for (const tick of [firstOf(full) + 31, lastOf(full), firstOf(full)]) {
    await change(page, { time: tick });
    await shows(page, tick);
    const wanted = living(full, tick).filter(({ population }) => population >= 0);
    const ids = wanted.map(({ entity }) => entity).sort((a, b) => a - b);
    await expect.poll(() => listed(page), { timeout: 60_000 }).toEqual(ids);
    await says(page, ".list .count", new RegExp(`^${ids.length} alive`));
  }
});

test("a screenshot is a PNG of the canvas, and a film is a WebM that plays", async () => {
  const page = await open("chaos", firstOf(chaos) + 8, { plain: true, alone: true });
  await lookDown(page, 16, 23);
  await page.evaluate(() => {
    const kept: { name: string; url: string }[] = [];
    Object.assign(window, { kept });
    HTMLAnchorElement.prototype.click = function () {
      kept.push({ name: this.download, url: this.href });
    };
  });
  const keeps = (count: number) =>
    page.waitForFunction(
      (count) => (window as unknown as { kept: unknown[] }).kept.length === count,
      {},
      count,
    );
  await page.keyboard.press("p");
  await keeps(1);
  const { name, type, base64, width, height } = await page.evaluate(async () => {
    const [{ name, url }] = (window as unknown as { kept: [{ name: string; url: string }] }).kept;
    const blob = await (await fetch(url)).blob();
    const bytes = new Uint8Array(await blob.arrayBuffer());
    const { width, height } = window.embyr!.stage.canvas;
    return {
      name,
      type: blob.type,
      base64: btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), "")),
      width,
      height,
    };
  });
  expect(name).toMatch(/^fixture-chaos-tick-10\.png$/);
  expect(type).toBe("image/png");
  const picture = decoded(Buffer.from(base64, "base64"));
  expect([picture.width, picture.height]).toEqual([width, height]);
  let looked = 0;
  for (const [tile, color] of await groundInView(page, chaos, firstOf(chaos) + 8, (x, y) =>
    mean(picture, x, y),
  )) {
    const { name, color: paint } = chaos.materials[at(chaos, firstOf(chaos) + 8).material[tile]!]!;
    expect(likePaint(color, paint), `tile ${tile}, ${name}: ${color}, not like ${paint}`).toBe(true);
    looked++;
  }
  expect(looked).toBeGreaterThan(50);
  const box = (await (await page.$("#world"))!.boundingBox())!;
  const tiles = chaos.base.map((_, tile) => [Math.floor(tile / chaos.width), tile % chaos.width] as const);
  const inSight = (await places(page, tiles)).filter(({ clear }) => clear);
  const differing = async (): Promise<unknown[]> => {
    const screen = await pageScreenshot(page);
    return inSight.filter(({ x, y }) => !near(mean(screen, box.x + x, box.y + y), mean(picture, x, y)));
  };
  expect(inSight.length).toBeGreaterThan(100);
  await expect.poll(differing, { timeout: 60_000 }).toEqual([]);

  await page.keyboard.press("r");
  await says(page, ".notices", /Recording a video/);
  await change(page, { playing: true });
  const { time } = await state(page);
  await page.waitForFunction((time) => (window.embyr?.session.state.time ?? 0) > time + 6, {}, time);
  await page.keyboard.press("r");
  await keeps(2);
  const film = await page.evaluate(async () => {
    const { name, url } = (window as unknown as { kept: { name: string; url: string }[] }).kept[1]!;
    const blob = await (await fetch(url)).blob();
    const bytes = new Uint8Array(await blob.arrayBuffer());
    const video = document.createElement("video");
    video.muted = true;
    await new Promise((resolve, reject) => {
      video.onloadeddata = resolve;
      video.onerror = () => reject(new Error(video.error?.message));
      video.src = url;
    });
    return {
      name,
      type: blob.type,
      magic: [...bytes.slice(0, 4)],
      size: bytes.length,
      width: video.videoWidth,
      height: video.videoHeight,
    };
  });
  expect(film.name).toMatch(/\.webm$/);
  expect(film.type).toBe("video/webm");
  expect(film.magic).toEqual([0x1a, 0x45, 0xdf, 0xa3]);
  expect(film.size).toBeGreaterThan(5000);
  expect(Math.abs(film.width - width) + Math.abs(film.height - height)).toBeLessThan(3);
});

test("a truncated file plays to its last whole chunk", async () => {
  const page = await open("cut", firstOf(chaos), { plain: true, alone: true });
  const end = firstOf(chaos) + 2 * chaos.chunk - 1;
  await page.keyboard.press("End");
  await shows(page, end);
  await everybodyIsThere(page, chaos, end);
  await says(page, ".timeline .total", new RegExp(`of ${end}$`));
  await change(page, { time: end - 3, playing: true });
  await page.waitForFunction(
    (end) => window.embyr?.session.state.time === end && !window.embyr.session.state.playing,
    {},
    end,
  );
});

test("the page reports a damaged chunk, and shows the others", async () => {
  const page = await open("spoilt", firstOf(chaos), { plain: true, alone: true });
  const broken = firstOf(chaos) + 2 * chaos.chunk;
  await change(page, { time: broken + 3 });
  await says(page, ".notices", /The chunk at byte \d+ is damaged/);
  await page.click('.notices [aria-label="Close this message"]');
  for (const [tick, key] of [
    [lastOf(chaos), "End"],
    [firstOf(chaos), "Home"],
  ] as const) {
    await page.keyboard.press(key);
    await shows(page, tick);
    await everybodyIsThere(page, chaos, tick);
  }
});

test("unreadable files give a message and take no memory, and a valid file opens afterwards", async () => {
  const page = await browser.open(server.url);
  await page.waitForSelector(".start:not([hidden])");
  const memory = memoryOf(page);
  for (const [name, [bytes, sentence]] of Object.entries(hopeless(readFileSync(recordingOf("chaos"))))) {
    const path = join(folder, `${name}.replay`);
    writeFileSync(path, bytes);
    await choose(page, path);
    await says(
      page,
      ".start .message",
      new RegExp(`${name}\\.replay could not be opened\\. .*${sentence.source}.*`),
    );
    expect(await page.$(".start:not([hidden])"), name).not.toBeNull();
  }
  expect(await memory.growth()).toBeLessThan(500 << 20);
  await choose(page, recordingOf("chaos"));
  await opened(page);
  await change(page, { playing: false, time: lastOf(chaos), ...PLAIN });
  await shows(page, lastOf(chaos));
  await everybodyIsThere(page, chaos, lastOf(chaos));
});

/**
 * Checks that agents have their population's color, that other tiles do not, and that NPCs cover the ground.
 *
 * @param all also checks, one by one, entities that rock may hide from a camera above the middle of the map.
 */
async function everybodyIsThere(page: Page, world: World, tick: number, all = false): Promise<void> {
  const beings = living(world, tick);
  const alone = beings.filter((one) => !beings.some((other) => other !== one && apart(one, other) === 0));
  let left = alone.filter(({ frozen }) => !frozen);
  await lookOver(page, world);
  for (let picture = 0; left.length && (all || picture < 1); picture++) {
    const center = picture > 0 ? left[0]! : null;
    if (center) await lookDown(page, center.row, center.col);
    const seen = await lookAtThose(page, world, tick, beings, left, center);
    expect(seen.length).toBeGreaterThan(picture > 0 ? 0 : -1);
    left = left.filter((being) => !seen.includes(being));
  }
  expect(left.length).toBeLessThan(beings.length / 2);
}

/** Checks the entities that are certainly visible, and returns them. */
async function lookAtThose(
  page: Page,
  world: World,
  tick: number,
  beings: readonly Being[],
  wanted: readonly Being[],
  center: Being | null,
): Promise<Being[]> {
  const where = await places(
    page,
    wanted.map(({ row, col }) => [row, col]),
  );
  const picture = await pixels(page);
  const eye = center ?? { row: Math.floor(world.height / 2), col: Math.floor(world.width / 2) };
  const sure = (being: Being): boolean => !besideRock(world, being.row, being.col, eye);
  const seen = wanted.filter((being, k) => where[k]!.clear && sure(being));
  for (const being of seen) {
    const place = where[wanted.indexOf(being)]!;
    const { slot, row, col, population } = being;
    const words = `tick ${tick}: slot ${slot} at row ${row}, column ${col}`;
    if (population >= 0) {
      const own = inColor(picture, place.x, place.y, population);
      expect(own, `${words} is not in the color of population ${population}`).toBeGreaterThan(12);
    } else {
      const ground = world.materials[at(world, tick).material[row * world.width + col]!]!.color;
      const hidden = count(picture, place.x, place.y, 6, 6, (color) => !likePaint(color, ground));
      expect(hidden, `${words} is not there`).toBeGreaterThan(20);
    }
  }
  await nobodyElse(page, world, tick, picture, beings);
  return seen;
}

/** Moves the camera above the map so that everything within its border is visible. */
async function lookOver(page: Page, world: World): Promise<void> {
  await lookDown(page, Math.floor(world.height / 2), Math.floor(world.width / 2), world.height);
}

/** Checks that no pixel away from all entities has the color of a population. */
async function nobodyElse(
  page: Page,
  world: World,
  tick: number,
  picture: Picture,
  beings: readonly Being[],
): Promise<void> {
  const tiles = freeTiles(world, tick, beings).filter((_, k) => k % 3 === 0);
  const where = await places(page, tiles);
  tiles.forEach(([row, col], k) => {
    const { x, y, clear } = where[k]!;
    if (!clear) return;
    for (let population = 0; population < world.populations; population++) {
      const words = `tick ${tick}: nobody of population ${population} is at row ${row}, column ${col}`;
      expect(inColor(picture, x, y, population), words).toBeLessThan(5);
    }
  });
}

/** Counts the pixels of 13 x 13 in a population's color. */
function inColor(picture: Picture, x: number, y: number, population: number): number {
  const paint = POPULATIONS[population]!;
  const white = paint.every((part) => part === 255);
  const head = paint.map((part) => part + 0.28 * (255 - part)) as unknown as Color;
  const like = (color: Color): boolean => likePaint(color, paint, 10) || likePaint(color, head, 10);
  return count(picture, x, y, 6, 6, (color) => (white ? Math.min(...color) > 175 : like(color)));
}

function apart(one: { row: number; col: number }, other: { row: number; col: number }): number {
  return Math.max(Math.abs(one.row - other.row), Math.abs(one.col - other.col));
}

/** Returns tiles of grass, scrub and forest with no entity on them or beside them. */
function freeTiles(world: World, tick: number, beings: readonly Being[]): [number, number][] {
  const walkable = ["grass", "scrub", "forest"];
  return at(world, tick).material.flatMap((material, tile) => {
    const [row, col] = [Math.floor(tile / world.width), tile % world.width];
    const free = walkable.includes(world.materials[material]!.name);
    const alone = beings.every((being) => apart(being, { row, col }) > 1);
    return free && alone && !besideRock(world, row, col) ? [[row, col] as [number, number]] : [];
  });
}

/** Whether rock, the highest material, may hide a tile from a camera above another tile, or above any. */
function besideRock(world: World, row: number, col: number, eye?: { row: number; col: number }): boolean {
  const sides = (here: number, there?: number): number[] =>
    there === undefined ? [-1, 0, 1] : [0, Math.sign(there - here)];
  const high = (r: number, c: number): boolean =>
    ["stone", "orerock"].includes(world.materials[world.base[r * world.width + c] ?? 0]!.name);
  const [rows, cols] = [sides(row, eye?.row), sides(col, eye?.col)];
  return !high(row, col) && rows.some((r) => cols.some((c) => high(row + r, col + c)));
}

/** Returns [tile, color] of every visible tile with no entity on it or beside it. */
async function groundInView(
  page: Page,
  world: World,
  tick: number,
  colorOf?: (x: number, y: number) => Color,
): Promise<[number, Color][]> {
  const beings = living(world, tick);
  const tiles = world.base.map((_, tile) => [Math.floor(tile / world.width), tile % world.width] as const);
  const free = tiles.filter(
    ([row, col]) => !besideRock(world, row, col) && beings.every((being) => apart(being, { row, col }) > 1),
  );
  const where = await places(page, free);
  const picture = colorOf ? null : await pixels(page);
  return free.flatMap(([row, col], k) => {
    const { x, y, clear } = where[k]!;
    const color = clear ? (colorOf?.(x, y) ?? mean(picture!, x, y)) : null;
    return color ? [[row * world.width + col, color] as [number, Color]] : [];
  });
}

/** Returns the effect of an overlay on tiles without entities that are not animated. */
async function coverOf(
  page: Page,
  world: World,
  tick: number,
  before: ReadonlyMap<number, Color>,
  cover: Parameters<typeof change>[1],
  words: RegExp,
): Promise<{ tile: number; changed: boolean; color: Color }[]> {
  await change(page, cover);
  await says(page, ".overlay-legend", words);
  await drawn(page);
  return (await groundInView(page, world, tick)).flatMap(([tile, color]) => {
    const still = !["water", "lava"].includes(world.materials[world.base[tile]!]!.name);
    const old = before.get(tile);
    return still && old ? [{ tile, changed: !near(old, color, 6), color }] : [];
  });
}

/** Returns the mean lightness, 0 to 255. */
function light(tiles: readonly { readonly color: Color }[]): number {
  return tiles.reduce((sum, { color: [r, g, b] }) => sum + 0.3 * r + 0.59 * g + 0.11 * b, 0) / tiles.length;
}

/** The map's pixels at tiles and entities. */
async function mapColors(page: Page, world: World) {
  const { width, height, rgba } = await page.$eval(".map canvas", (canvas) => {
    const { width, height } = canvas as HTMLCanvasElement;
    const image = (canvas as HTMLCanvasElement).getContext("2d")!.getImageData(0, 0, width, height);
    return { width, height, rgba: JSON.stringify([...image.data]) };
  });
  const picture: Picture = { width, height, rgba: Uint8Array.from(JSON.parse(rgba) as number[]) };
  const middle = (row: number, col: number): [number, number] => [
    ((col + 0.5) * width) / world.width,
    ((row + 0.5) * height) / world.height,
  ];
  return {
    wrongDots: (beings: readonly Being[]): string[] =>
      beings.flatMap((being) => {
        const hidden = beings.some((other) => other !== being && apart(being, other) < 2);
        if (being.population < 0 || hidden) return [];
        const color = colorAt(picture, ...middle(being.row, being.col));
        return near(color, POPULATIONS[being.population]!, 2) ? [] : [`slot ${being.slot}: ${color}`];
      }),
    wrongTiles: (material: readonly number[], beings: readonly Being[]): string[] =>
      material.flatMap((kind, tile) => {
        const [row, col] = [Math.floor(tile / world.width), tile % world.width];
        const rim = Math.min(row, col, world.height - 1 - row, world.width - 1 - col) < 1;
        if (rim || beings.some((being) => apart(being, { row, col }) < 2)) return [];
        const color = colorAt(picture, ...middle(row, col));
        return near(color, world.materials[kind]!.color, 2) ? [] : [`row ${row}, column ${col}: ${color}`];
      }),
  };
}

/** Returns the contents of the panel: the requested facts, and the rest. */
function panelOf(page: Page, wanted: readonly string[]) {
  return page.evaluate((wanted) => {
    const words = (element: Element | null | undefined): string =>
      (element as HTMLElement | null)?.innerText.trim() ?? "";
    const shown = (element: Element): boolean => element.checkVisibility();
    const pairs = (selector: string): [string, string][] =>
      [...document.querySelectorAll(`.agent ${selector} dt`)]
        .filter(shown)
        .map((term) => [words(term), words(term.nextElementSibling)]);
    const chips = (title: string): Record<string, number> => {
      const section = [...document.querySelectorAll(".agent section")].find(
        (each) => words(each.querySelector("h3")).toLowerCase() === title,
      );
      if (!section || !shown(section)) return {};
      const entries = [...section.querySelectorAll(".chip")].map(
        (chip) => [words(chip.children[0]), Number(words(chip.children[1]))] as const,
      );
      return Object.fromEntries(entries);
    };
    const meters = [...document.querySelectorAll(".agent .meter")]
      .filter(shown)
      .map((meter) => [words(meter.querySelector(".name")), words(meter.querySelector(".value"))]);
    return {
      title: words(document.querySelector(".agent h2")),
      facts: Object.fromEntries(pairs(".facts").filter(([name]) => wanted.includes(name))) as Record<
        string,
        string
      >,
      meters: Object.fromEntries(meters) as Record<string, string>,
      skills: chips("skills"),
      inventory: chips("inventory"),
    };
  }, wanted);
}

async function factsOf(page: Page): Promise<Record<string, string>> {
  return (await panelOf(page, ["value"])).facts;
}

/** Returns the bars of a head of the policy. */
function barsOf(page: Page, head: string): Promise<{ name: string; share: number; made: boolean }[]> {
  return page.evaluate((head) => {
    const heads = [...document.querySelectorAll<HTMLElement>(".agent .head-bars")];
    const found = heads.find((each) => each.querySelector("h4")?.textContent === head);
    return [...(found?.querySelectorAll<HTMLElement>(".bar:not([hidden])") ?? [])].map((bar) => ({
      name: bar.children[0]?.textContent ?? "",
      share: parseFloat(bar.children[2]?.textContent ?? ""),
      made: bar.classList.contains("made"),
    }));
  }, head);
}

function furthest(one: readonly number[], other: readonly number[]): number {
  return one.length === other.length
    ? Math.max(...one.map((each, k) => Math.abs(each - other[k]!)))
    : Infinity;
}

/** Returns the color of the middle of every cell of the window. */
async function windowColors(page: Page, side: number): Promise<Color[]> {
  return page.$eval(
    ".agent figure canvas",
    (element, side) => {
      const canvas = element as HTMLCanvasElement;
      const { data } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
      return Array.from({ length: side * side }, (_, cell) => {
        const [x, y] = [(cell % side) + 0.5, Math.floor(cell / side) + 0.5].map((n) =>
          Math.floor((n * canvas.width) / side),
        );
        const from = 4 * (y! * canvas.width + x!);
        return [data[from]!, data[from + 1]!, data[from + 2]!] as const;
      });
    },
    side,
  );
}

/** Returns the ids of all rows of the list, although the page contains only the visible ones. */
function listed(page: Page): Promise<number[]> {
  return page.evaluate(async () => {
    const scroller = document.querySelector(".list .scroller")!;
    const ids = new Set<number>();
    for (let top = 0; ; top += scroller.clientHeight / 2) {
      scroller.scrollTop = top;
      await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
      for (const cell of document.querySelectorAll<HTMLElement>(".list .rows .row:not([hidden]) .id")) {
        ids.add(Number(cell.innerText));
      }
      if (top + scroller.clientHeight >= scroller.scrollHeight) break;
    }
    scroller.scrollTop = 0;
    return [...ids].sort((a, b) => a - b);
  });
}

/** Returns the distance from the middle of the canvas to a tile in CSS pixels. */
function awayFromMiddle(page: Page, row: number, col: number): Promise<number> {
  return page.evaluate(
    (row, col) => {
      const { stage } = window.embyr!;
      const at = stage.project(row, col);
      return Math.hypot(at.x - stage.canvas.clientWidth / 2, at.y - stage.canvas.clientHeight / 2);
    },
    row,
    col,
  );
}

/** Returns the agent that walks farthest in one life of 12 ticks or more, and the ticks of that life. */
function longest(world: World): { slot: number; entity: number; from: number; until: number } {
  let best = { slot: -1, entity: -1, from: 0, until: 0, way: -1 };
  for (let slot = 0; slot < world.slots; slot++) {
    for (let begin = 0; begin < world.ticks.length; ) {
      const column = (name: string, k: number): number => world.ticks[k]!.columns[name]![slot]!;
      const entity = column("entity", begin);
      let [end, way] = [begin, 0];
      while (end < world.ticks.length && column("entity", end) === entity && column("alive", end)) {
        way = Math.max(
          way,
          Math.hypot(column("row", end) - column("row", begin), column("col", end) - column("col", begin)),
        );
        end++;
      }
      if (end - begin > 14 && end - begin < 40 && way > best.way) {
        best = { slot, entity, from: world.ticks[begin]!.tick, until: world.ticks[end - 1]!.tick, way };
      }
      begin = Math.max(end, begin + 1);
    }
  }
  return best;
}
