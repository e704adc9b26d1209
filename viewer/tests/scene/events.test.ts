import { expect, test } from "vitest";
import { ABSENT, BORN, DIED, Events, LIVING } from "../../src/scene/events";
import { madeFrame, madeHeader, type Being } from "../../src/scene/synthetic";

const header = madeHeader(33, 47, 8, 5, 2);

function events(before: readonly Being[], after: readonly Being[], ticks = 1): Events {
  const made = new Events(header);
  made.update(madeFrame(header, 7, before), madeFrame(header, 7 + ticks, after));
  return made;
}

test("an entity survives, is born, dies or is absent; a new id in a slot is a birth", () => {
  const here = { row: 5, col: 5 };
  const before = [
    { slot: 0, ...here },
    { slot: 2, ...here },
    { slot: 3, ...here, entity: 4 },
  ];
  const after = [
    { slot: 0, ...here },
    { slot: 1, ...here },
    { slot: 3, ...here, entity: 44 },
  ];
  expect([...events(before, after).fate.subarray(0, 5)]).toEqual([LIVING, BORN, DIED, BORN, ABSENT]);
});

test.each([
  // style, distance in tiles at the start of the tick, whether it counts (reach is 1, 3, 4)
  [0, 1, true],
  [0, 2, false],
  [1, 3, true],
  [1, 4, false],
  [2, 4, true],
  [2, 5, false],
])("style %i at %i tiles: %s", (style, away, counts) => {
  // Movement into or out of reach during the tick does not matter.
  const before = [
    { slot: 1, row: 9, col: 9 },
    { slot: 2, row: 9 + away, col: 10 },
  ];
  const after = [
    { slot: 1, row: 9, col: 9, style, target: 2 },
    { slot: 2, row: counts ? 30 : 9, col: 10 },
  ];
  const made = events(before, after);
  expect(made.attacks).toBe(Number(counts));
  expect(made.attacked[1]).toBe(counts ? 2 : -1);
  if (counts) expect(made.attackers[0]).toBe(1);
});

test("NPCs use melee; dead entities neither attack nor are attacked", () => {
  const npc = { slot: 9, row: 9, col: 9 };
  for (const away of [1, 2]) {
    const victim = { slot: 0, row: 9, col: 9 + away };
    expect(events([npc, victim], [{ ...npc, target: 0 }, victim]).attacks).toBe(Number(away === 1));
  }
  const [one, other] = [
    { slot: 0, row: 9, col: 9 },
    { slot: 1, row: 9, col: 10 },
  ];
  const strike = [{ ...one, target: 1 }, other];
  expect(events([one, other], strike).attacks).toBe(1);
  expect(events([one], strike).attacks).toBe(0);
  expect(events([other], strike).attacks).toBe(0);
  expect(events([one, other], [{ ...one, target: 0 }, other]).attacks).toBe(0);
  // Killed in the same tick: it was alive when it was attacked.
  expect(
    events(
      [one, other],
      [
        { ...one, target: 1 },
        { ...other, alive: false, cause: 4 },
      ],
    ).attacks,
  ).toBe(1);
});

test("attacks across a gap are unknown; the same frames are not examined twice", () => {
  const [one, other] = [
    { slot: 0, row: 9, col: 9 },
    { slot: 1, row: 9, col: 10 },
  ];
  expect(events([one, other], [{ ...one, target: 1 }, other], 2).attacks).toBe(0);
  const made = new Events(header);
  const [before, after] = [madeFrame(header, 1, [one]), madeFrame(header, 2, [one])];
  expect(made.update(before, after)).toBe(true);
  expect(made.update(before, after)).toBe(false);
  expect(made.update(after, after)).toBe(true);
});
