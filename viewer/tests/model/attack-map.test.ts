/** The attack map shows the policy's probabilities at the positions of the targets. */
import { expect, test } from "vitest";
import { attackMap, type Perception } from "../../src/model/perception";
import type { Header } from "../../src/model/types";

const HEADER = {
  agents: 4,
  populations: 2,
  nearest: 8,
  npcs: [],
  styles: ["melee", "range"],
} as unknown as Header;
const near = (slot: number, rowOffset: number, colOffset: number, reachable: boolean[]) => ({
  slot,
  rowOffset,
  colOffset,
  distance: Math.max(Math.abs(rowOffset), Math.abs(colOffset)),
  reachable,
});
const SEEN: Perception = {
  slot: 0,
  row: 9,
  col: 9,
  side: 5,
  material: new Uint8Array(25),
  occupant: new Int32Array(25),
  entities: [near(1, 0, 1, [true, true]), near(2, -2, 0, [false, true]), near(3, 2, 2, [false, true])],
};
const at = (row: number, col: number) => (row + 2) * 5 + col + 2;

test("learned targets: one probability per row", () => {
  const probabilities = new Map([
    ["style", Float64Array.of(0.25, 0.75)],
    ["target", Float64Array.of(0.1, 0.2, 0.3, 0.4, 0, 0, 0, 0, 0)],
  ]);
  const map = attackMap(HEADER, SEEN, probabilities, 1);
  expect(map[at(0, 1)]).toBeCloseTo(0.15);
  expect(map[at(-2, 0)]).toBeCloseTo(0.225);
  expect(map[at(2, 2)]).toBeCloseTo(0.3);
  expect(map.filter((each) => each > 0).length).toBe(3);
});

test("targets by rule: the nearest in reach of another population", () => {
  const probabilities = new Map([
    ["style", Float64Array.of(0.25, 0.75)],
    ["target", Float64Array.of(0.6, 0.4)],
  ]);
  // Slot 1 is of its own population; slot 2 is the nearest of the others, and out of reach of melee.
  expect([...attackMap(HEADER, SEEN, probabilities, 1).entries()].filter(([, p]) => p > 0)).toEqual([
    [at(-2, 0), expect.closeTo(0.3)],
  ]);
  expect(attackMap(HEADER, SEEN, probabilities, 0).every((each) => each === 0)).toBe(true);
  expect(attackMap(HEADER, SEEN, new Map(), 0).every((each) => each === 0)).toBe(true);
});
