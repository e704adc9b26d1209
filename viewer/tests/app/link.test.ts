import { expect, test } from "vitest";
import { fromLink, readLink, writeLink } from "../../src/app/link";
import { INITIAL, type State } from "../../src/model/session";

const STATE: State = {
  ...INITIAL,
  time: 123.456,
  selected: { slot: 7, entity: 4294967290 },
  following: true,
  overlay: "visits",
  overlayPopulation: 3,
  speed: 0.25,
};

test("a link restores the state of the page, paused", () => {
  const link = readLink(writeLink(STATE, "1.5_-2_30"));
  expect(link.camera).toBe("1.5_-2_30");
  expect(fromLink(link, 20, 8)).toEqual({
    time: 123.46,
    playing: false,
    live: false,
    selected: STATE.selected,
    following: true,
    overlay: "visits",
    overlayPopulation: 3,
    speed: 0.25,
  });
});

test("state that a link omits has its default", () => {
  const link = readLink(writeLink({ ...INITIAL, time: 5 }, "a b&c=d"));
  expect(link.camera).toBe("a b&c=d");
  expect(fromLink(link, 20, 8)).toEqual({
    time: 5,
    playing: false,
    live: false,
    selected: null,
    following: false,
  });
  expect(fromLink(readLink(""), 20, 8)).toEqual({});
});

test.each([
  "#tick=-3",
  "#tick=abc",
  "#agent=1",
  "#agent=1.x",
  "#agent=1.2.",
  "#speed=3",
  "#overlay=weather",
  "#%E0",
])("nonsense in a link is left out: %s", (hash) => {
  const patch = fromLink(readLink(hash), 20, 8);
  expect(patch.time).toBeUndefined();
  expect(patch.speed).toBeUndefined();
  expect(patch.overlay).toBeUndefined();
  if (hash !== "#agent=1.2.") expect(patch.selected).toBeUndefined();
});

test("slots and populations of another world are ignored", () => {
  const patch = fromLink(readLink(writeLink(STATE, "")), 7, 3);
  expect(patch.selected).toBeNull();
  expect(patch.following).toBe(false);
  expect(patch.overlayPopulation).toBeUndefined();
});
