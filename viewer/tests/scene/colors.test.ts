import { expect, test } from "vitest";
import { css, populationColor, SAFE_POPULATIONS, type Rgb } from "../../src/scene/colors";

type Matrix = readonly (readonly [number, number, number])[];

/** Dichromacies (severity 1.0) in linear RGB, of Machado, Oliveira and Fernandes (2009). */
const SIGHTS: Readonly<Record<string, Matrix>> = {
  normal: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritanopia: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
};
const XYZ: Matrix = [
  [0.4124564, 0.3575761, 0.1804375],
  [0.2126729, 0.7151522, 0.072175],
  [0.0193339, 0.119192, 0.9503041],
];
const WHITE = [0.95047, 1, 1.08883];

const times = (matrix: Matrix, [x, y, z]: readonly number[]): number[] =>
  matrix.map(([a, b, c]) => a * (x ?? 0) + b * (y ?? 0) + c * (z ?? 0));

/** Returns CIE Lab (D65) of a color as a viewer with the given vision sees it. */
function lab(color: Rgb, sight: Matrix): number[] {
  const linear = color.map((value) =>
    value <= 10.31475 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4,
  );
  const seen = times(sight, linear).map((value) => Math.min(Math.max(value, 0), 1));
  const [x = 0, y = 0, z = 0] = times(XYZ, seen).map((value, k) => {
    const share = value / (WHITE[k] ?? 1);
    return share > (6 / 29) ** 3 ? Math.cbrt(share) : share / (3 * (6 / 29) ** 2) + 4 / 29;
  });
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

const distance = (one: Rgb, other: Rgb, sight: Matrix): number => {
  const [a, b] = [lab(one, sight), lab(other, sight)];
  return Math.hypot(...a.map((value, k) => value - (b[k] ?? 0)));
};

test.each(Object.entries(SIGHTS))("any two of the twelve colors differ with %s", (_, sight) => {
  expect(SAFE_POPULATIONS).toBe(12);
  for (let one = 0; one < SAFE_POPULATIONS; one++) {
    for (let other = 0; other < one; other++) {
      const apart = distance(populationColor(one), populationColor(other), sight);
      // Differences of about 2.3 are just noticeable; 15 is clearly visible.
      expect(apart, `${css(populationColor(one))} and ${css(populationColor(other))}`).toBeGreaterThan(15);
    }
  }
});

test("the metric detects colors that are confused with color blindness", () => {
  const [red, green]: Rgb[] = [
    [200, 80, 60],
    [125, 120, 50],
  ];
  expect(distance(red!, green!, SIGHTS["normal"]!)).toBeGreaterThan(40);
  expect(distance(red!, green!, SIGHTS["deuteranopia"]!)).toBeLessThan(15);
});

test("populations beyond the twelfth have colors of their own", () => {
  const seen = new Set(Array.from({ length: 36 }, (_, population) => css(populationColor(population))));
  expect(seen.size).toBe(36);
  expect(css([0, 119, 187])).toBe("#0077bb");
});
