import { expect, test } from "vitest";
import { paint, scaleOf, share } from "../../src/scene/heat";

const heat = (values: readonly number[]): Parameters<typeof paint>[0] => ({
  name: "x",
  rows: 1,
  cols: values.length,
  stride: 1,
  about: "",
  values: Float32Array.from(values),
});

test("values are scaled linearly from minimum to maximum; NaN is transparent", () => {
  const scale = scaleOf(heat([-2, NaN, 6]), "value");
  expect([scale.low, scale.high]).toEqual([-2, 6]);
  expect(share(2, scale)).toBeCloseTo(0.5);
  expect(share(NaN, scale)).toBe(-1);
  const out = new Uint8Array(12);
  paint(heat([-2, NaN, 6]), "value", out);
  expect([...out]).toEqual([0x44, 0x01, 0x54, 255, 0x44, 0x01, 0x54, 0, 0xfd, 0xe7, 0x25, 255]);
});

test("counts are scaled by their logarithm, and zero is transparent", () => {
  const scale = scaleOf(heat([0, 9, 99]), "visits");
  expect(share(9, scale)).toBeCloseTo(0.5);
  expect(share(0, scale)).toBe(-1);
  expect(share(1, scaleOf(heat([0, 0]), "visits"))).toBeGreaterThan(0);
});

test("a map with one value or none has a scale, too", () => {
  expect(share(3, scaleOf(heat([3, 3]), "value"))).toBe(0.5);
  expect(scaleOf(heat([NaN]), "value")).toMatchObject({ low: 0, high: 1 });
});

test("scales increase in lightness throughout", () => {
  for (const kind of ["visits", "danger"] as const) {
    const { colors } = scaleOf(heat([1]), kind);
    const light = Array.from(
      { length: 256 },
      (_, n) => 0.2126 * colors[4 * n]! + 0.7152 * colors[4 * n + 1]! + 0.0722 * colors[4 * n + 2]!,
    );
    for (let n = 8; n < 256; n += 8) expect(light[n]).toBeGreaterThan(light[n - 8]!);
  }
});
