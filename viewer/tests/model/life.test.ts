import { expect, test } from "vitest";
import { findBirth, findDeath, lifeAt } from "../../src/model/life";
import { FakeRecording, fakeFrame, fakeHeader } from "../fake";

// Slot 0: empty until tick 30, agent 5 from 30, dead from 71, agent 9 from 75.
const header = fakeHeader();
const make = (tick: number) =>
  fakeFrame(tick, {
    entity: [tick < 30 ? -1 : tick < 75 ? 5 : 9],
    alive: [Number((tick >= 30 && tick < 71) || tick >= 75)],
  });
const five = { slot: 0, entity: 5 };

test("the selected agent is not confused with the next agent in its slot", () => {
  const lives = [29, 30, 70, 71, 74, 75].map((tick) => lifeAt(make(tick), five));
  expect(lives).toEqual(["unborn", "alive", "alive", "dead", "dead", "dead"]);
});

test("birth and death are found by loading few frames", async () => {
  const recording = new FakeRecording([[0, 4000]], header, make);
  expect(await findBirth(recording, five)).toBe(30);
  expect(await findDeath(recording, five)).toBe(71);
  expect(recording.loaded.length).toBeLessThan(30);
});

test("an agent alive at the end has no death, and a death in a gap is at its end", async () => {
  expect(await findDeath(new FakeRecording([[0, 60]], header, make), five)).toBeNull();
  // biome-ignore format: a row of pairs
  expect(await findDeath(new FakeRecording([[0, 65], [90, 99]], header, make), five)).toBe(90);
  // biome-ignore format: a row of pairs
  expect(await findBirth(new FakeRecording([[0, 20], [40, 99]], header, make), five)).toBe(40);
});

test("only the newest frame is loaded while the agent is alive in it", async () => {
  const recording = new FakeRecording([[0, 60]], header, make);
  await findDeath(recording, five, 50);
  expect(recording.loaded).toEqual([60]);
});
