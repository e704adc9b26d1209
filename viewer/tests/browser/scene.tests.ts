import type { Page } from "puppeteer-core";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { Projected } from "../../src/model/contract";
import { INITIAL, type State } from "../../src/model/session";
import type { Overlay } from "../../src/model/types";
import type { Being } from "../../src/scene/synthetic";
import {
  builtScene,
  pageScreenshot,
  pixels,
  serve,
  useBrowser,
  type Color,
  type Picture,
  type Server,
} from "./harness";
import { count, likePaint, mean } from "./paint";

// Tests that the picture matches the frames: pixel colors are checked where the stage projects tiles and
// agents. The world is synthetic (src/scene/synthetic.ts), 33 x 47 tiles.

const [HEIGHT, WIDTH] = [33, 47];
const MATERIALS = ["lava", "water", "grass", "scrub", "forest", "stone", "orerock"];
const AGENTS = 16;

const session = useBrowser();
let server: Server;
let page: Page;
let base: number[];

beforeAll(async () => {
  server = await serve(builtScene());
});
afterAll(async () => server.close());
beforeEach(async () => {
  const query = `still&height=${HEIGHT}&width=${WIDTH}&agents=${AGENTS}&npcs=8&populations=4`;
  page = await session.share(`${server.url}scene.html?${query}`);
  const text = await page.evaluate((state) => {
    const { stage, session, base } = window.scene;
    session.change(state);
    stage.overlay(null, "none");
    return JSON.stringify([...base]);
  }, INITIAL);
  base = JSON.parse(text) as number[];
});

/** Draws a moment between two ticks with only these entities, as seen by a camera. */
async function show(
  camera: string,
  before: readonly Being[],
  options: {
    after?: readonly Being[];
    fraction?: number;
    used?: readonly number[];
    change?: Partial<State>;
  } = {},
): Promise<void> {
  const { after = before, fraction = 1, used = [], change = {} } = options;
  const same = options.after === undefined;
  await page.evaluate(
    (camera, before, after, fraction, used, change, same) => {
      const { stage, session, frame } = window.scene;
      session.change(change);
      stage.setCamera(camera);
      const start = frame(5, before, used);
      // Twice, since an entity turns in its direction when it is first drawn.
      for (let n = 0; n < 2; n++) stage.draw(start, same ? start : frame(6, after, used), fraction);
    },
    camera,
    before,
    after,
    fraction,
    used,
    change,
    same,
  );
}

const project = (row: number, col: number): Promise<Projected> =>
  page.evaluate((row, col) => window.scene.stage.project(row, col), row, col);

/** Returns a tile surrounded by its own material, away from the map's edge. */
function inside(material: string, radius = 1, skip = 0): { row: number; col: number } {
  const wanted = MATERIALS.indexOf(material);
  let left = skip;
  for (let row = radius; row < HEIGHT - radius; row++) {
    for (let col = radius; col < WIDTH - radius; col++) {
      let all = true;
      for (let r = row - radius; r <= row + radius; r++) {
        for (let c = col - radius; c <= col + radius; c++) all &&= base[r * WIDTH + c] === wanted;
      }
      if (all && left-- === 0) return { row, col };
    }
  }
  throw new Error(`the map has no ${material} of radius ${radius}`);
}

const above = (row: number, col: number, distance = 16): string => `${row}_${col}_${distance}_0_0.05`;

/** Returns the center and the number of the pixels that differ between two pictures, or parts of them. */
function difference(
  one: Picture,
  other: Picture,
  left = 0,
  top = 0,
  right = one.width,
  bottom = one.height,
): { x: number; y: number; number: number } {
  let [x, y, number] = [0, 0, 0];
  const [a, b] = [one.rgba, other.rgba];
  for (let py = Math.max(0, Math.floor(top)); py < Math.min(bottom, one.height); py++) {
    for (let px = Math.max(0, Math.floor(left)); px < Math.min(right, one.width); px++) {
      const at = 4 * (py * one.width + px);
      if ([0, 1, 2].every((k) => Math.abs(a[at + k]! - b[at + k]!) < 40)) continue;
      [x, y, number] = [x + px, y + py, number + 1];
    }
  }
  return { x: x / number, y: y / number, number };
}

/** Waits until the page shows a picture. */
async function screenShows(picture: Picture): Promise<void> {
  await expect
    .poll(
      async () => {
        const screen = await pageScreenshot(page);
        expect([screen.width, screen.height]).toEqual([picture.width, picture.height]);
        return difference(screen, picture).number;
      },
      { timeout: 60_000 },
    )
    .toBe(0);
}

/** Returns a picture that is white where two pictures differ, else black. */
function silhouette(one: Picture, other: Picture): Picture {
  const rgba = new Uint8Array(one.rgba.length);
  for (let at = 0; at < rgba.length; at += 4) {
    if ([0, 1, 2].some((k) => Math.abs(one.rgba[at + k]! - other.rgba[at + k]!) > 40))
      rgba.fill(255, at, at + 4);
  }
  return { ...one, rgba };
}

test("tiles have their material's color from any side", async () => {
  const materials = await page.evaluate(() => window.scene.header.materials);
  for (const name of ["water", "grass", "forest", "stone", "lava"]) {
    const { row, col } = name === "lava" ? { row: 1, col: 20 } : inside(name);
    for (const camera of [above(row, col), `${row}_${col}_14_2.5_0.7`]) {
      await show(camera, [], { change: { trees: false } });
      const place = await project(row, col);
      expect(place.visible).toBe(true);
      const color = mean(await pixels(page), place.x, place.y);
      const paint = materials.find((material) => material.name === name)?.color ?? [0, 0, 0];
      expect(likePaint(color, paint), `${name}: ${color.map(Math.round)}, not like ${paint}`).toBe(true);
    }
  }
});

test("at night the land is dark and bluish; lava glows, and agents keep their colors", async () => {
  const grass = inside("grass", 2);
  const lava = { row: 1, col: 20 };
  const forest = inside("forest");
  const being = { slot: 1, row: grass.row, col: grass.col + 1 };
  const plain = { bars: false, names: false, effects: false };
  const colors = async (light: number, after = light, fraction = 0): Promise<Color[]> => {
    const found: Color[] = [];
    for (const { row, col } of [grass, lava, forest]) {
      const night = [{ ...being, "day.light": light }];
      const then = [{ ...being, "day.light": after }];
      await show(above(row, col), night, { after: then, fraction, change: { ...plain, trees: true } });
      const place = await project(row, col);
      found.push(mean(await pixels(page), place.x, place.y));
    }
    return found;
  };
  const [day, night, dusk] = [await colors(100), await colors(0), await colors(100, 0, 0.5)];
  const shares = (k: number, now: readonly Color[]): number[] => now[k]!.map((part, c) => part / day[k]![c]!);
  for (const k of [0, 2]) {
    const [red, green, blue] = shares(k, night) as [number, number, number];
    expect(red).toBeLessThan(0.35);
    expect(green).toBeGreaterThan(red);
    expect(blue).toBeGreaterThan(green);
    // Halfway between two frames it is halfway dark.
    shares(k, dusk).forEach((part, c) => expect(part).toBeCloseTo((1 + shares(k, night)[c]!) / 2, 1));
  }
  for (const part of shares(1, night)) expect(part).toBeCloseTo(1, 1);
  // The selected agent's light is shown, and the population's blue stays the strongest part of its color.
  const other = { slot: 2, row: grass.row, col: grass.col - 1, "day.light": 0 };
  await show(above(grass.row, grass.col), [being, other], {
    change: { ...plain, selected: { slot: 2, entity: 3 } },
  });
  const at = await project(grass.row, grass.col);
  const chosen = mean(await pixels(page), at.x, at.y);
  chosen.forEach((part, c) => expect(Math.abs(part - night[0]![c]!)).toBeLessThan(12));
  const place = await project(being.row, being.col);
  const isBlue = ([red, green, blue]: Color): boolean => blue > 90 && blue > green && blue > 2 * red;
  expect(count(await pixels(page), place.x, place.y - 6, 12, 14, isBlue)).toBeGreaterThan(40);
});

test("eaten forest looks like scrub, and its neighbor does not", async () => {
  const { row, col } = inside("forest");
  const [green, dry] = [
    [38, 98, 52],
    [168, 158, 98],
  ] as const;
  for (const trees of [false, true]) {
    await show(above(row, col), [], { change: { trees } });
    const [tile, next] = [await project(row, col), await project(row, col + 1)];
    const fresh = mean(await pixels(page), tile.x, tile.y);
    expect(likePaint(fresh, green), `${fresh}`).toBe(true);
    await show(above(row, col), [], { used: [row * WIDTH + col] });
    const picture = await pixels(page);
    const [eaten, left] = [mean(picture, tile.x, tile.y), mean(picture, next.x, next.y)];
    expect(likePaint(eaten, dry), `${eaten}`).toBe(true);
    expect(likePaint(left, green), `${left}`).toBe(true);
    await show(above(row, col), []);
    expect(likePaint(mean(await pixels(page), tile.x, tile.y), green)).toBe(true);
  }
});

test("an agent is where the data says, in its population's color, also between two ticks", async () => {
  const { row, col } = inside("grass", 2);
  const blue: Color = [0, 0x77, 0xbb];
  const plain = { bars: false, names: false, effects: false, trees: false };
  const [before, after] = [[{ slot: 1, row, col: col - 1 }], [{ slot: 1, row, col: col + 1 - 1 }]];
  const camera = `${row}_${col}_14_0_0.5`;
  for (const fraction of [0, 0.5, 1]) {
    await show(camera, before, { after, fraction, change: plain });
    const picture = await pixels(page);
    const at = await project(row, col - 1 + fraction);
    const isBlue = (color: Color): boolean => likePaint(color, blue, 20);
    expect(count(picture, at.x, at.y - 10, 6, 12, isBlue), `at ${fraction}`).toBeGreaterThan(60);
    const elsewhere = await project(row, col + (fraction === 1 ? -1 : 1));
    expect(count(picture, elsewhere.x, elsewhere.y - 10, 6, 12, isBlue)).toBe(0);
  }
});

test("the selected agent has a ring, and the camera follows it", async () => {
  const { row, col } = inside("grass", 2);
  const yellow = ([red, green, blue]: Color): boolean => red > 230 && green > 210 && blue < 130;
  const beings = [{ slot: 6, row, col }];
  const plain = { bars: false, names: false };
  await show(above(row, col), beings, { change: plain });
  const at = await project(row, col);
  expect(count(await pixels(page), at.x, at.y, 60, 60, yellow)).toBe(0);
  await show(above(row, col), beings, { change: { selected: { slot: 6, entity: 7 } } });
  const picture = await pixels(page);
  expect(count(picture, at.x, at.y, 60, 60, yellow)).toBeGreaterThan(150);
  // Around it, not over it.
  expect(count(picture, at.x, at.y, 8, 8, yellow)).toBe(0);
  // Another entity in the slot is not selected.
  await show(above(row, col), [{ slot: 6, row, col, entity: 99 }]);
  expect(count(await pixels(page), at.x, at.y, 60, 60, yellow)).toBe(0);

  await show(above(row + 3, col + 6), beings);
  const fromMiddle = async (): Promise<number> => {
    const { x, y } = await project(row, col);
    return Math.hypot(x - 480, y - 300);
  };
  expect(await fromMiddle()).toBeGreaterThan(100);
  const follow = async (): Promise<number> => {
    await page.evaluate((beings) => {
      const { stage, session, frame } = window.scene;
      session.change({ following: true });
      const now = frame(5, beings);
      stage.draw(now, now, 1);
    }, beings);
    return fromMiddle();
  };
  await expect.poll(follow, { timeout: 60_000 }).toBeLessThan(15);
});

test("each style of attack flies from the attacker to its target", async () => {
  const { row, col } = inside("grass", 2);
  const camera = `${row}_${col}_13_0_0.3`;
  const colors: Readonly<Record<string, (color: Color) => boolean>> = {
    melee: ([red, green, blue]) => red > 220 && green > 220 && blue > 170,
    range: ([red, green, blue]) => red > 200 && green > 185 && blue > 90 && blue < 190,
    mage: ([red, green, blue]) => blue > 225 && red > 140 && green < red,
  };
  for (const [style, name] of ["melee", "range", "mage"].entries()) {
    const from = { slot: 12, row, col: style === 0 ? col : col - 1 };
    const to = { slot: 13, row, col: col + 1 };
    const after = [{ ...from, style, target: 13 }, to];
    const plain = { bars: false, names: false, trees: false };
    await show(camera, [from, to], { after, fraction: 0.5, change: { ...plain, effects: false } });
    const without = await pixels(page);
    await show(camera, [from, to], { after, fraction: 0.5, change: { effects: true } });
    const picture = await pixels(page);
    const [start, end] = [await project(from.row, from.col), await project(to.row, to.col)];
    const seen = difference(picture, without, start.x - 40, start.y - 70, end.x + 40, end.y + 40);
    expect(seen.number, name).toBeGreaterThan(20);
    expect(seen.x, name).toBeGreaterThan(start.x);
    expect(seen.x, name).toBeLessThan(end.x);
    expect(Math.abs(seen.y - start.y), name).toBeLessThan(45);
    expect(count(picture, seen.x, seen.y, 25, 25, colors[name]!), name).toBeGreaterThan(5);
    // Attacks out of reach are not drawn.
    const far = { slot: 13, row, col: col + 6 };
    await show(camera, [from, far], { after: [{ ...from, style, target: 13 }, far], fraction: 0.5 });
    const missed = await pixels(page);
    expect(count(missed, (start.x + end.x) / 2, seen.y, 60, 25, colors[name]!), name).toBe(0);
  }
});

test("damage is shown in red, and frozen agents are pale", async () => {
  const { row, col } = inside("grass", 2);
  const camera = `${row}_${col}_10_0_0.4`;
  const red = ([r, g, b]: Color): boolean => r > 230 && g < 110 && b < 100;
  const being = { slot: 5, row, col };
  const change = { bars: false, names: false, effects: true };
  await show(camera, [being], { after: [{ ...being, damage: 8 }], fraction: 0.85, change });
  const at = await project(row, col);
  expect(count(await pixels(page), at.x, at.y - 70, 12, 60, red)).toBeGreaterThan(25);
  await show(camera, [being], { after: [being], fraction: 0.85 });
  expect(count(await pixels(page), at.x, at.y - 70, 12, 60, red)).toBe(0);

  const body: number[] = [];
  for (const freeze of [0, 3]) {
    await show(camera, [{ ...being, freeze }]);
    const picture = await pixels(page);
    body.push(count(picture, at.x, at.y - 15, 15, 25, ([r, , b]) => b > 150 && b > r));
  }
  expect(body[1]).toBeGreaterThan(body[0]! + 100);
});

test("newborns grow and dead agents vanish", async () => {
  const { row, col } = inside("grass", 2);
  const camera = `${row}_${col}_10_0_0.4`;
  const change = { bars: false, names: false, effects: false, trees: false };
  await show(camera, [], { change });
  const nobody = await pixels(page);
  const at = await project(row, col);
  const seen = async (
    before: readonly Being[],
    after: readonly Being[],
    fraction: number,
  ): Promise<number> => {
    await show(camera, before, { after, fraction });
    return difference(await pixels(page), nobody, at.x - 60, at.y - 90, at.x + 60, at.y + 60).number;
  };
  const being = { slot: 5, row, col };
  const births = [await seen([], [being], 0), await seen([], [being], 0.3), await seen([], [being], 1)];
  expect(births[0]).toBe(0);
  expect(births[1]).toBeGreaterThan(50);
  expect(births[2]).toBeGreaterThan(births[1]! * 1.5);
  for (const cause of [1, 2, 3, 4]) {
    const dead = [{ ...being, alive: false, cause }];
    expect(await seen([being], dead, 0.3)).toBeGreaterThan(births[2]! * 0.8);
    expect(await seen([being], dead, 1), `cause ${cause}`).toBe(0);
  }
});

test("mouse and keys move the camera, but not during text input", async () => {
  const place = "16_23_20_0_0.6";
  const view = (): Promise<number[]> =>
    page.evaluate(() => window.scene.stage.camera().split("_").map(Number));
  const draw = (): Promise<void> => show(place, []);
  const hold = async (key: "w" | "d" | "e"): Promise<number[]> => {
    await draw();
    await page.keyboard.down(key);
    await page.evaluate(async () => {
      const { stage, frame } = window.scene;
      const now = frame(5, []);
      for (let n = 0; n < 6; n++) {
        stage.draw(now, now, 1);
        await new Promise((resolve) => setTimeout(resolve, 40));
      }
    });
    await page.keyboard.up(key);
    return view();
  };
  const [north, east, turned] = [await hold("w"), await hold("d"), await hold("e")];
  expect(north[0]).toBeLessThan(15.5);
  expect(north[1]).toBeCloseTo(23, 1);
  expect(east[1]).toBeGreaterThan(23.5);
  expect(turned[3]).toBeGreaterThan(0.1);
  expect(turned.slice(0, 2)).toEqual([16, 23]);

  await page.evaluate(() => {
    const field = document.createElement("input");
    document.body.append(field);
    field.focus();
  });
  expect((await hold("w")).slice(0, 2)).toEqual([16, 23]);
  await page.evaluate(() => document.querySelector("input")?.remove());

  await draw();
  await page.mouse.move(480, 300);
  await page.mouse.wheel({ deltaY: -300 });
  await expect.poll(async () => (await view())[2], { timeout: 60_000 }).toBeLessThan(19);
  await draw();
  await page.mouse.down();
  await page.mouse.move(380, 300, { steps: 4 });
  await page.mouse.up();
  // The map moves with the mouse, so the camera target moves east.
  await expect.poll(async () => (await view())[1], { timeout: 60_000 }).toBeGreaterThan(24);
  // The camera stays above the ground and near the map.
  await show("900_-900_99999_0_3.1", []);
  const [row = 0, col = 0, distance = 0, , tilt = 0] = await view();
  expect([row, col]).toEqual([HEIGHT - 0.5, -0.5]);
  expect(distance).toBeLessThan(200);
  expect(tilt).toBeLessThan(Math.PI / 2);
});

test("an overlay colors only tiles with numbers", async () => {
  const { row, col } = inside("grass", 1);
  const plain = { bars: false, names: false, trees: false, overlayOpacity: 1 };
  await show(above(row, col), [], { change: plain });
  const [left, right] = [await project(row, col - 1), await project(row, col + 1)];
  const was = await pixels(page);
  for (const kind of ["visits", "value", "danger"] as Overlay[]) {
    await page.evaluate(
      (kind, row, col, rows, cols) => {
        const values = new Float32Array(rows * cols).fill(NaN);
        for (let r = 0; r < rows; r++)
          for (let c = col + 1; c < cols; c++) values[r * cols + c] = c === cols - 1 ? 2 : 1;
        values[row * cols + col + 1] = 5;
        window.scene.stage.overlay({ name: kind, rows, cols, stride: 1, about: "", values }, kind);
      },
      kind,
      row,
      col,
      HEIGHT,
      WIDTH,
    );
    await show(above(row, col), []);
    const picture = await pixels(page);
    // The highest number is the bright end of either scale.
    const top = mean(picture, right.x, right.y);
    expect(likePaint(top, kind === "danger" ? [252, 255, 164] : [253, 231, 37]), `${kind}: ${top}`).toBe(
      true,
    );
    expect(mean(picture, left.x, left.y)).toEqual(mean(was, left.x, left.y));
  }
  await page.evaluate(() => window.scene.stage.overlay(null, "none"));
  await show(above(row, col), []);
  expect(mean(await pixels(page), right.x, right.y)).toEqual(mean(was, right.x, right.y));

  // Resources: forest that is left or eaten, which the stage itself knows.
  const wood = inside("forest");
  await page.evaluate(() => window.scene.stage.overlay(null, "resources"));
  await show(above(wood.row, wood.col), [], { used: [wood.row * WIDTH + wood.col] });
  const picture = await pixels(page);
  const [eaten, fresh] = [await project(wood.row, wood.col), await project(wood.row, wood.col + 1)];
  expect(likePaint(mean(picture, eaten.x, eaten.y), [232, 130, 50])).toBe(true);
  expect(likePaint(mean(picture, fresh.x, fresh.y), [38, 190, 150])).toBe(true);
});

test("picking and tile lookup invert the projection", async () => {
  const land = [inside("grass", 1), inside("grass", 1, 12), inside("forest", 1)];
  const beings = land.map(({ row, col }, slot) => ({ slot: 5 * slot, row, col }));
  await show(`16_23_45_0.4_0.6`, beings);
  for (const { slot, row, col } of beings) {
    const at = await project(row, col);
    expect(await page.evaluate(({ x, y }) => window.scene.stage.pick(x, y), at)).toBe(slot);
  }
  expect(await page.evaluate(() => window.scene.stage.pick(3, 597))).toBeNull();
  await show(`16_23_60_0.4_0.02`, []);
  const wrong = await page.evaluate(
    (rows, cols) => {
      const { stage } = window.scene;
      const found: string[] = [];
      for (let row = 2; row < rows; row += 3) {
        for (let col = 2; col < cols; col += 3) {
          const { x, y, visible } = stage.project(row, col);
          const tile = visible ? stage.tileAt(x, y) : { row, col };
          if (tile?.row !== row || tile.col !== col) found.push(`${row},${col}: ${JSON.stringify(tile)}`);
        }
      }
      return found;
    },
    HEIGHT,
    WIDTH,
  );
  expect(wrong).toEqual([]);
  expect(await page.evaluate(() => window.scene.stage.tileAt(1, 1))).toBeNull();
});

test("the camera is restored from its text, and the visible area contains its target", async () => {
  await show("12.5_30.25_20_1.2_0.7", []);
  const before = await project(12, 30);
  const text = await page.evaluate(() => window.scene.stage.camera());
  expect(encodeURIComponent(text)).toBe(text);
  await page.evaluate(() => window.scene.stage.lookAt(3, 3, 8));
  expect((await project(12, 30)).x).not.toBeCloseTo(before.x, 0);
  await page.evaluate((text) => window.scene.stage.setCamera(text), text);
  const after = await project(12, 30);
  expect(Math.hypot(after.x - before.x, after.y - before.y)).toBeLessThan(0.5);
  await page.evaluate(() => window.scene.stage.setCamera("nonsense"));
  expect(await page.evaluate(() => window.scene.stage.camera())).toBe(text);
  const corners = await page.evaluate(() => window.scene.stage.footprint());
  const rows = corners.map(([row]) => row);
  expect(Math.min(...rows)).toBeLessThan(12);
  expect(Math.max(...rows)).toBeGreaterThan(12);
  for (const [row, col] of corners) expect(row >= 0 && row <= HEIGHT && col >= 0 && col <= WIDTH).toBe(true);
});

test("a screenshot matches the page", async () => {
  const { row, col } = inside("grass", 1);
  await show(`${row}_${col}_25_0.3_0.8`, [{ slot: 3, row, col }]);
  await screenShows(await pixels(page));
});

test("it draws again after the WebGL context is restored", async () => {
  const { row, col } = inside("forest", 1);
  const used = [row * WIDTH + col];
  await show(above(row, col), [{ slot: 3, row, col }], { used });
  const before = await pixels(page);
  await screenShows(before);
  await page.evaluate(async () => {
    const { canvas } = window.scene.stage;
    const context = canvas.getContext("webgl2")!;
    const losing = context.getExtension("WEBGL_lose_context")!;
    const event = (name: string) => new Promise((resolve) => canvas.addEventListener(name, resolve));
    const lost = event("webglcontextlost");
    losing.loseContext();
    await lost;
    Object.assign(window, { losing });
  });
  // Without its context the canvas is empty.
  await expect
    .poll(async () => difference(await pageScreenshot(page), before).number, { timeout: 60_000 })
    .toBeGreaterThan(10_000);
  await page.evaluate(() => (window as unknown as { losing: WEBGL_lose_context }).losing.restoreContext());
  await screenShows(before);
});

test("the page reports that WebGL 2 is missing", async () => {
  const message = await page.evaluate(() => {
    const { Stage, header, base, session } = window.scene;
    const canvas = document.createElement("canvas");
    const { getContext } = HTMLCanvasElement.prototype;
    HTMLCanvasElement.prototype.getContext = () => null;
    try {
      new Stage(canvas, header, base, session);
    } catch (error) {
      return String(error);
    } finally {
      HTMLCanvasElement.prototype.getContext = getContext;
    }
    return "";
  });
  expect(message).toMatch(/cannot draw in 3D: WebGL 2 is missing/);
});

test("names and bars can be toggled, NPCs have their own shapes, and WebGL reports no errors", async () => {
  const { row, col } = inside("grass", 2);
  const off = { bars: false, names: false, trees: false };
  const silhouettes: Picture[] = [];
  await show(above(row, col, 8), [], { change: off });
  const nobody = await pixels(page);
  for (const slot of [0, AGENTS, AGENTS + 4, AGENTS + 6]) {
    await show(above(row, col, 8), [{ slot, row, col }]);
    silhouettes.push(silhouette(await pixels(page), nobody));
  }
  for (const [n, one] of silhouettes.entries()) {
    expect(difference(one, silhouette(nobody, nobody), 380, 200, 580, 420).number).toBeGreaterThan(500);
    for (const other of silhouettes.slice(0, n)) {
      expect(difference(one, other, 380, 200, 580, 420).number).toBeGreaterThan(300);
    }
  }
  const counts = [];
  for (const change of [{}, { bars: true }, { names: true }]) {
    await show(above(row, col, 8), [{ slot: 0, row, col }], { change });
    counts.push(difference(await pixels(page), nobody, 380, 150, 580, 420).number);
  }
  expect(counts[1]).toBeGreaterThan(counts[0]! + 100);
  expect(counts[2]).toBeGreaterThan(counts[1]! + 100);
  expect(session.messages.filter((text) => /invalid|error|warn/i.test(text))).toEqual([]);
});
