import { expect, test } from "vitest";
import { listAgents, parseQuery, sortKeys, type Query, type SortKey } from "../../src/ui/agents";
import { fakeFrame, fakeHeader } from "../fake";

const header = fakeHeader(); // six agents, two populations of three slots
const frame = fakeFrame(9, {
  entity: [12, 7, 120, 4, 121, 30],
  alive: [1, 1, 1, 1, 0, 1],
  age: [5, 9, 5, 1, 8, 2],
  health: [3, 10, 1, 10, 9, 4],
});
const list = (query: Query, key: SortKey, descending = false): number[] => [
  ...listAgents(frame, header, query, key, descending),
];

test("all living agents are listed, sorted by any column, ties by slot", () => {
  expect(list(null, "id")).toEqual([3, 1, 0, 5, 2]);
  expect(list(null, "id", true)).toEqual([2, 5, 0, 1, 3]);
  expect(list(null, "age", true)).toEqual([1, 0, 2, 5, 3]);
  expect(list(null, "health")).toEqual([2, 0, 5, 1, 3]);
  expect(list(null, "population", true)).toEqual([3, 5, 0, 1, 2]);
});

test("a search finds ids by prefix, or a population", () => {
  expect(list({ id: "12" }, "id")).toEqual([0, 2]);
  expect(list({ id: "121" }, "id")).toEqual([]);
  expect(list({ population: 1 }, "id")).toEqual([3, 5]);
});

test("search queries", () => {
  expect(parseQuery("  ")).toBeNull();
  expect(["12", "#12", "id 12", "agent 12"].map(parseQuery)).toEqual(Array(4).fill({ id: "12" }));
  expect(["p3", "pop 3", "Population 3"].map(parseQuery)).toEqual(Array(3).fill({ population: 3 }));
  expect(["x", "p", "3 4", "population x"].map(parseQuery)).toEqual(Array(4).fill("unknown"));
});

test("ids above 2^31 are not negative", () => {
  const late = fakeFrame(9, { entity: [-2, 5], alive: [1, 1] });
  expect([...listAgents(late, fakeHeader({ agents: 2, entities: 2 }), null, "id", false)]).toEqual([1, 0]);
});

test("levels are summed over all skills, and gold is listed if it is recorded", () => {
  const columns = ["gold", "level"].map((name) => ({
    name,
    type: "u8" as const,
    of: "agents" as const,
    width: 1,
    delta: false,
    scale: 1,
  }));
  const full = fakeHeader({ agents: 2, entities: 2, skills: ["melee", "mage"], columns });
  expect(sortKeys(full).slice(-2)).toEqual(["gold", "levels"]);
  expect(sortKeys(header)).not.toContain("gold");
  const skilled = fakeFrame(1, { entity: [1, 2], alive: [1, 1], level: [9, 1, 4, 5] });
  expect([...listAgents(skilled, full, null, "levels", false)]).toEqual([1, 0]);
});

test("ten thousand agents are sorted correctly", () => {
  const count = 10_000;
  const many = fakeHeader({ agents: count, entities: count, populations: 8 });
  const ages = Array.from({ length: count }, (_, k) => (k * 7919) % 4099);
  const entity = Array.from({ length: count }, (_, k) => k);
  const crowd = fakeFrame(1, { entity, alive: Array(count).fill(1), age: ages });
  const sorted = [...listAgents(crowd, many, null, "age", true)].map((slot) => ages[slot] ?? 0);
  expect(sorted).toHaveLength(count);
  expect(sorted.every((age, k) => k === 0 || age <= (sorted[k - 1] ?? 0))).toBe(true);
});
