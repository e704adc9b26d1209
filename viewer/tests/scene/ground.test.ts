import { expect, test } from "vitest";
import { coarse, fine } from "../../src/scene/chunk";
import { Ground, HIGH, LOW, LOW_HEIGHT, MIDDLE } from "../../src/scene/ground";
import { madeHeader, madeTerrain } from "../../src/scene/synthetic";

const header = madeHeader(33, 47, 8, 0);
const base = madeTerrain(header, 3);
const ground = new Ground(header, base);

test("water is below walkable tiles, and rock is above them", () => {
  const seen = new Set<number>();
  for (let row = 0; row < 33; row++) {
    for (let col = 0; col < 47; col++) {
      const of = ground.classAt(row, col);
      seen.add(of);
      const y = ground.at(col + 0.5, row + 0.5);
      const walked = ground.corner(row, col, MIDDLE);
      if (of === LOW) expect(y).toBe(LOW_HEIGHT);
      expect(walked).toBeGreaterThan(LOW_HEIGHT + 0.2);
      expect(ground.corner(row, col, HIGH)).toBeGreaterThan(walked + 0.5);
    }
  }
  expect(seen).toEqual(new Set([LOW, MIDDLE, HIGH]));
  expect(ground.at(-3, 5)).toBe(LOW_HEIGHT);
});

test("heights match the mesh", () => {
  const part = { top: 3, left: 5, bottom: 20, right: 30 };
  const position = fine(ground, part).getAttribute("position");
  const index = fine(ground, part).getIndex();
  let level = 0;
  for (let n = 0; n < (index?.count ?? 0); n += 3) {
    const corners = [0, 1, 2].map((k) => index?.getX(n + k) ?? 0);
    const [x, y, z] = (["getX", "getY", "getZ"] as const).map(
      (get) => corners.reduce((sum, corner) => sum + position[get](corner), 0) / 3,
    ) as [number, number, number];
    const wall =
      new Set(corners.map((corner) => position.getX(corner))).size === 1 ||
      new Set(corners.map((corner) => position.getZ(corner))).size === 1;
    if (wall) continue;
    level++;
    expect(ground.at(x, z)).toBeCloseTo(y, 5);
  }
  // Two triangles per tile.
  expect(level).toBe(2 * 17 * 25);
});

test("the distant mesh has few triangles at about the same height", () => {
  const part = { top: 0, left: 0, bottom: 33, right: 32 };
  const [far, near] = [coarse(ground, part, 8), fine(ground, part)];
  expect(far.getIndex()?.count ?? 0).toBe(6 * 10 * 10);
  expect(near.getIndex()?.count ?? 0).toBeGreaterThan(6 * 33 * 32);
  const mean = (array: ArrayLike<number>): number => {
    const heights = Array.from(array).filter((y, k) => k % 3 === 1 && y > LOW_HEIGHT - 0.5);
    return heights.reduce((sum, y) => sum + y, 0) / heights.length;
  };
  expect(mean(far.getAttribute("position").array)).toBeCloseTo(mean(near.getAttribute("position").array), 0);
});

test("a ray hits the tile that it is aimed at", () => {
  for (let row = 1; row < 33; row += 4) {
    for (let col = 1; col < 47; col += 3) {
      const [x, z] = [col + 0.5, row + 0.5];
      const y = ground.at(x, z);
      // From high above, where nothing is in between.
      const hit = ground.hit(x + 2, y + 40, z - 3, -2, -40, 3);
      expect(hit && [Math.floor(hit[1]), Math.floor(hit[0])]).toEqual([row, col]);
    }
  }
  expect(ground.hit(-20, 10, 5, -1, -1, 0)).toBeNull();
  // A low ray hits the first rock on its path.
  const rock = Array.from({ length: 47 }, (_, col) => col).find((col) => ground.classAt(16, col) === HIGH);
  if (rock === undefined) throw new Error("row 16 has no rock");
  const hit = ground.hit(-5, 0.75, 16.5, 1, -0.001, 0);
  expect(Math.floor(hit?.[0] ?? -1)).toBeLessThanOrEqual(rock);
});
