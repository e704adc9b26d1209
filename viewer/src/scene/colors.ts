/** Colors of populations, kinds of NPCs and measured values, for the scene and the panels. */

/** Red, green and blue, 0 to 255. */
export type Rgb = readonly [number, number, number];

/**
 * Twelve colors that also the color-blind can tell apart: white, and eleven from the schemes "vibrant",
 * "bright", "muted", "light", "high-contrast" and "medium-contrast" of Paul Tol
 * (https://sronpersonalpages.nl/~pault/). Chosen so that the least distance of two of them (CIE Lab, also as
 * seen with each of the three dichromacies) is as large as a search found, and ordered so that the first ones
 * are furthest apart. tests/scene/colors.test.ts measures it.
 */
const POPULATIONS: readonly Rgb[] = [
  [0x00, 0x77, 0xbb],
  [0xcc, 0x33, 0x11],
  [0xff, 0xff, 0xff],
  [0x88, 0x22, 0x55],
  [0xee, 0x88, 0x66],
  [0xbb, 0xcc, 0x33],
  [0x99, 0xdd, 0xff],
  [0xff, 0xaa, 0xbb],
  [0x00, 0x44, 0x88],
  [0x77, 0xaa, 0xdd],
  [0xbb, 0x55, 0x66],
  [0xee, 0xdd, 0x88],
];

/** Number of populations with a color that is safe for the color-blind. */
export const SAFE_POPULATIONS = POPULATIONS.length;

/** NPCs are distinguished by shape; their colors, those of fur and bone, are not used by populations. */
const NPCS: readonly Rgb[] = [
  [226, 214, 188],
  [92, 108, 62],
  [98, 72, 54],
  [96, 96, 104],
  [58, 52, 66],
  [178, 150, 112],
];

/** Color of a population; after the twelfth the colors repeat, each time darker. */
export function populationColor(population: number): Rgb {
  return repeated(POPULATIONS, population);
}

/** Color of a kind of NPC. */
export function npcColor(kind: number): Rgb {
  return repeated(NPCS, kind);
}

/** By moonlight blue is left more than red. */
const NIGHT = [0.26, 0.33, 0.52] as const;

/**
 * Factors, 0 to 1, by which daylight multiplies red, green and blue.
 *
 * @param light 0 at night to 1 by day.
 */
export function daylightTint(light: number): [number, number, number] {
  const [red, green, blue] = NIGHT;
  const at = (night: number): number => night + (1 - night) * light;
  return [at(red), at(green), at(blue)];
}

/** A color in CSS: "#0077bb". */
export function css([red, green, blue]: Rgb): string {
  return `#${((1 << 24) | (red << 16) | (green << 8) | blue).toString(16).slice(1)}`;
}

function repeated(colors: readonly Rgb[], index: number): Rgb {
  const color = colors[index % colors.length] ?? [128, 128, 128];
  const round = Math.floor(index / colors.length);
  if (round === 0) return color;
  return color.map((value) => Math.round(value * 0.6 ** round)) as unknown as Rgb;
}
