import { expect, test } from "vitest";
import { clipToMap, parseView, viewText } from "../../src/scene/view";

const VIEW = { row: 12.5, col: -0.25, distance: 60, heading: -1.571, tilt: 0.9 };

test("a view is converted to URL-safe text and back", () => {
  const text = viewText(VIEW);
  expect(text).toBe("12.5_-0.25_60_-1.571_0.9");
  expect(encodeURIComponent(text)).toBe(text);
  expect(parseView(text)).toEqual(VIEW);
  expect(viewText({ ...VIEW, row: 1 / 3, col: 1e-9 })).toBe("0.333_0_60_-1.571_0.9");
});

test.each([
  "",
  "1_2_3_4",
  "1_2_3_4_5_6",
  "a_2_3_4_5",
  "1__3_4_5",
  "1e9_2_3_4_5",
  "NaN_2_3_4_5",
  "1_2_3_4_5 ",
])("%j is no view", (text) => {
  expect(parseView(text)).toBeNull();
});

test("the visible area is clipped to the map", () => {
  const around = [
    [-10, -10],
    [-10, 60],
    [50, 60],
    [50, -10],
  ] as const;
  const corners = clipToMap(around, 33, 47);
  expect([...corners].map(String).sort()).toEqual(["0,0", "0,47", "33,0", "33,47"]);
  const inner = [
    [5, 5],
    [5, 9],
    [8, 9],
  ] as const;
  expect(clipToMap(inner, 33, 47)).toEqual(inner);
  expect(
    clipToMap(
      [
        [-9, 1],
        [-9, 5],
        [-2, 3],
      ],
      33,
      47,
    ),
  ).toEqual([]);
});
