/** Curves stay short for recordings of any length, and their sums stay correct. */
import { expect, test } from "vitest";
import type { Header } from "../../src/model/types";
import { Curves } from "../../src/replay/series";
import { Measures } from "../../src/replay/summary";

const HEADER = {
  populations: 2,
  causes: ["none", "hunger", "combat"],
  materials: [{ name: "grass" }, { name: "forest" }],
  used_up: [0, 0],
  items: [{ name: "ore" }],
  prices: [5, 10],
  columns: [{ name: "quotes" }],
} as unknown as Header;
const MEASURES = new Measures(HEADER);

/** A chunk with one birth, tick % 3 deaths by combat at age 10, and tick % 7 living agents in each tick. */
function chunk(first: number, ticks: number) {
  const counts = new Float64Array(ticks * MEASURES.length);
  for (let t = 0; t < ticks; t++) {
    const [tick, at] = [first + t, t * MEASURES.length];
    counts[at + MEASURES.births] = 1;
    counts[at + MEASURES.deaths + 2] = tick % 3;
    counts[at + MEASURES.lifetimes] = 10 * (tick % 3);
    counts[at + MEASURES.population + 1] = tick % 7;
    counts[at + MEASURES.usedUp] = 4;
    counts[at + MEASURES.price] = tick % 3;
  }
  return { first, ticks, counts };
}

const sum = (curve: Float64Array) => curve.reduce((total, each) => total + each, 0);

test("each tick is a point while there are few ticks", () => {
  const curves = new Curves(HEADER);
  curves.add(chunk(10, 3));
  curves.add(chunk(20, 1));
  const { series } = curves;
  expect([...series.tick]).toEqual([10, 11, 12, 20]);
  expect([...series.ticks]).toEqual([1, 1, 1, 1]);
  expect([...series.population[1]!]).toEqual([3, 4, 5, 6]);
  expect([...series.deaths[2]!]).toEqual([1, 2, 0, 2]);
  expect([...series.lifetime]).toEqual([10, 10, NaN, 10]);
  expect([...series.births]).toEqual([1, 1, 1, 1]);
  expect([...series.usedUp["forest"]!]).toEqual([4, 4, 4, 4]);
  expect([...series.price[0]!]).toEqual([5, 10, NaN, 10]);
  expect(curves.series).toBe(series);
  curves.add(chunk(21, 1));
  expect(curves.series.tick.length).toBe(5);
});

test.each([[0], [1_000_000]])("many ticks, with a gap of %d, are merged", (gap) => {
  const curves = new Curves(HEADER);
  const [half, ticks] = [17_000, 34_000];
  curves.add(chunk(5, half));
  curves.add(chunk(5 + half + gap, ticks - half));
  const { series } = curves;
  expect(series.tick.length).toBeLessThanOrEqual(2000);
  expect(series.tick.at(-1)).toBe(5 + gap + ticks - 1);
  expect([...series.tick]).toEqual([...series.tick].sort((a, b) => a - b));
  expect(sum(series.births)).toBe(ticks);
  expect(sum(series.ticks)).toBe(ticks);
  let died = 0;
  for (let i = 0; i < ticks; i++) died += (5 + i + (i < half ? 0 : gap)) % 3;
  expect(sum(series.deaths[2]!)).toBe(died);
  for (const each of series.usedUp["forest"]!) expect(each).toBe(4);
  expect(series.lifetime.every((age) => age === 10)).toBe(true);
});
