import { expect, test } from "vitest";
import { lightBetween, lightOf, observed, widthOf } from "../../src/model/systems";
import type { Frame, Header, SystemField } from "../../src/model/types";
import { daylightTint } from "../../src/scene/colors";
import { editingText, settingsText, valueText } from "../../src/ui/systems";
import { fakeFrame, fakeHeader } from "../fake";

const field = (name: string, changes: Partial<SystemField> = {}): SystemField => ({
  name,
  column: `day.${name}`,
  about: name,
  low: 0,
  high: 100,
  light: false,
  shape: [],
  ...changes,
});
const LIGHT = field("light", { light: true });
const PLACE = field("place", { low: -9, high: 9, shape: [3, 1] });

const header = (...fields: SystemField[]): Header =>
  fakeHeader({ agents: 4, entities: 6, systems: [{ name: "day", settings: {}, edits: false, fields }] });
const ALIVE = [0, 1, 1, 1, 1, 0];
const ENTITIES = [10, 11, 12, 13, 14, 15];
const frame = (columns: Readonly<Record<string, readonly number[]>>): Frame =>
  fakeFrame(5, { alive: ALIVE, entity: ENTITIES, ...columns });

test("an agent observes the numbers of its slot, and an NPC none", () => {
  const now = frame({ "day.place": [1, 2, 3, 4, 5, 6, -7, 8, 9, 0, 0, 1] });
  expect(widthOf(PLACE)).toBe(3);
  expect(widthOf(LIGHT)).toBe(1);
  expect(observed(header(PLACE), now, PLACE, 0)).toEqual([1, 2, 3]);
  expect(observed(header(PLACE), now, PLACE, 2)).toEqual([-7, 8, 9]);
  expect(observed(header(PLACE), now, PLACE, 4)).toEqual([]);
  expect(observed(header(PLACE), frame({}), PLACE, 0)).toEqual([]);
});

test("without a selection the light is that of the first living agent", () => {
  expect(lightOf(header(LIGHT), frame({ "day.light": [100, 25, 50, 0] }), null)).toBe(0.25);
});

test("the selected agent's light is shown while it lives; NPCs observe none", () => {
  const now = frame({ "day.light": [90, 25, 50, 0] });
  const light = (slot: number, entity: number): number | null =>
    lightOf(header(LIGHT), now, { slot, entity });
  expect(light(2, 12)).toBe(0.5);
  expect(light(3, 13)).toBe(0);
  expect(light(2, 2)).toBe(0.25);
  expect(light(0, 10)).toBe(0.25);
  expect(light(4, 14)).toBe(0.25);
});

test("light is a share of its range; several fields are multiplied, and vectors averaged", () => {
  const moon = field("moon", { light: true, low: -10, high: 10, shape: [2] });
  const now = frame({ "day.light": [0, 50, 0, 0], "day.moon": [0, 0, -10, 10, 0, 0, 0, 0] });
  expect(lightOf(header(moon), now, null)).toBe(0.5);
  expect(lightOf(header(LIGHT, moon), now, null)).toBe(0.25);
  expect(lightOf(header(moon), frame({ "day.moon": [0, 0, 99, 99] }), null)).toBe(1);
});

test("without such a field, or without agents, the light is unknown", () => {
  expect(lightOf(fakeHeader(), frame({}), null)).toBeNull();
  expect(lightOf(header(PLACE), frame({ "day.place": Array<number>(12).fill(1) }), null)).toBeNull();
  const empty = frame({ "day.light": [9, 9, 9, 9], alive: [0, 0, 0, 0, 1, 1] });
  expect(lightOf(header(LIGHT), empty, null)).toBeNull();
});

test("between two frames the light changes steadily", () => {
  expect([0, 0.5, 1, 2, -1].map((at) => lightBetween(0.2, 0.6, at))).toEqual([0.2, 0.4, 0.6, 0.6, 0.2]);
  expect(lightBetween(null, 0.3, 0)).toBe(0.3);
  expect(lightBetween(0.3, null, 1)).toBe(0.3);
  expect(lightBetween(null, null, 0.5)).toBe(1);
});

test("daylight leaves colors as they are; the night is dark and bluish", () => {
  expect(daylightTint(1)).toEqual([1, 1, 1]);
  const [red, green, blue] = daylightTint(0);
  expect(red).toBeGreaterThan(0.1);
  expect(green).toBeGreaterThan(red);
  expect(blue).toBeGreaterThan(green);
  expect(blue).toBeLessThan(0.7);
  const dusk = daylightTint(0.5);
  [red, green, blue].forEach((part, k) => expect(dusk[k]).toBeCloseTo((1 + part) / 2));
});

test("values and settings as texts", () => {
  expect(valueText([])).toBe("–");
  expect(valueText([1234])).toBe("1,234");
  expect(valueText([1, -20, 3])).toBe("1, -20, 3");
  const long = Array.from({ length: 40 }, (_, k) => k);
  expect(valueText(long)).toBe("0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, … (40 numbers)");
  expect(settingsText({ period: 200, safe_zone: true, wet: false, kind: "sun", deep: { a: 1 } })).toBe(
    "period 200, safe zone on, wet off, kind sun",
  );
  expect(settingsText({})).toBe("");
  const system = (name: string, edits: boolean) => ({ name, settings: {}, edits, fields: [] });
  expect(editingText([system("day", false)])).toBe("");
  expect(editingText([system("day", true), system("rain", false), system("thick_fog", true)])).toBe(
    "Shown without what day and thick fog changes in the observation.",
  );
});
