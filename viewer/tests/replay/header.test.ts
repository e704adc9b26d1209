import { expect, test } from "vitest";
import { ReplayError } from "../../src/replay/error";
import { checkHeader } from "../../src/replay/header";
import { fakeHeader } from "../fake";

const column = (name: string, type: string, of: string, width = 1): object => ({
  name,
  type,
  of,
  width,
  delta: true,
  scale: 1,
});
const TYPES = {
  entity: "u32",
  age: "i32",
  target: "i32",
  row: "i16",
  col: "i16",
  health: "i16",
  food: "i16",
  water: "i16",
  freeze: "i16",
  damage: "i16",
  alive: "u8",
  cause: "u8",
  style: "u8",
};
const COLUMNS = Object.entries(TYPES).map(([name, type]) => column(name, type, "entities"));
const FIELD = { name: "light", about: "in percent", low: -5, high: 100, light: true, shape: [2, 3] };
const SYSTEM = { name: "day", class: "mine:Day", settings: { period: 9 }, edits: true, fields: [FIELD] };
const OWN = column("day.light", "i16", "agents", 6);

/** Returns the JSON of a header with these systems. */
function plain(systems: unknown, own: object = OWN): Record<string, unknown> {
  const { systems: _, ...rest } = fakeHeader();
  const columns = [...COLUMNS, own];
  const header = { ...rest, format: "nmmo-gpu replay", version: 2, columns };
  return systems === undefined ? header : { ...header, systems };
}

test("the systems of a header", () => {
  const { class: _, ...known } = SYSTEM;
  expect(checkHeader(plain([SYSTEM])).systems).toEqual([
    { ...known, fields: [{ ...FIELD, column: "day.light" }] },
  ]);
});

test("a header of an earlier version has no systems", () => {
  expect(checkHeader(plain(undefined)).systems).toEqual([]);
});

test("any part of a system that is wrong is an error", () => {
  const wrong: unknown[] = [null, 7, [7], [null]];
  for (const name of ["name", "settings", "edits", "fields"]) wrong.push([{ ...SYSTEM, [name]: 7 }]);
  for (const [name, values] of Object.entries({
    name: [7, "dark"],
    about: [null],
    low: ["0", 0.5, 100],
    high: [null, -5, 2 ** 40],
    light: [1],
    shape: [6, [5], [0], ["6"], Array(99).fill(1)],
  })) {
    for (const value of values) wrong.push([{ ...SYSTEM, fields: [{ ...FIELD, [name]: value }] }]);
  }
  for (const systems of wrong) {
    expect(() => checkHeader(plain(systems)), JSON.stringify(systems)).toThrow(ReplayError);
    expect(() => checkHeader(plain(systems))).toThrow(/systems/);
  }
});

test("a field needs a column of its shape", () => {
  for (const own of [
    column("day.light", "i16", "entities", 6),
    column("day.light", "i16", "agents", 5),
    column("night.light", "i16", "agents", 6),
  ]) {
    expect(() => checkHeader(plain([SYSTEM], own))).toThrow(/systems: day.light has no column/);
  }
});
