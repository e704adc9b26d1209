/** Colours of populations, kinds of NPCs and measured values, for the scene and the panels. */

/** Red, green and blue, 0 to 255. */
export type Rgb = readonly [number, number, number];

/**
 * Twelve colours that also the colour-blind can tell apart: white, and eleven from the schemes "vibrant",
 * "bright", "muted", "light", "high-contrast" and "medium-contrast" of Paul Tol (Introduction to colour schemes,
 * https://sronpersonalpages.nl/~pault/). Chosen so that the least distance of two of them (CIE Lab, also as
 * seen with each of the three dichromacies) is as large as a search found, and ordered so that the first ones
 * are furthest apart. tests/scene/colours.test.ts measures it.
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

/** Number of populations with a colour that is safe for the colour-blind. */
export const SAFE_POPULATIONS = POPULATIONS.length;

/** NPCs are distinguished by shape; their colours, those of fur and bone, are not used by populations. */
const NPCS: readonly Rgb[] = [
  [226, 214, 188],
  [92, 108, 62],
  [98, 72, 54],
  [96, 96, 104],
  [58, 52, 66],
  [178, 150, 112],
];

/** Colour of a population; after the twelfth the colours repeat, each time darker. */
export function populationColour(population: number): Rgb {
  return repeated(POPULATIONS, population);
}

/** Colour of a kind of NPC. */
export function npcColour(kind: number): Rgb {
  return repeated(NPCS, kind);
}

/** A colour in CSS: "#0077bb". */
export function css([red, green, blue]: Rgb): string {
  return `#${((1 << 24) | (red << 16) | (green << 8) | blue).toString(16).slice(1)}`;
}

function repeated(colours: readonly Rgb[], index: number): Rgb {
  const colour = colours[index % colours.length] ?? [128, 128, 128];
  const round = Math.floor(index / colours.length);
  if (round === 0) return colour;
  return colour.map((value) => Math.round(value * 0.6 ** round)) as unknown as Rgb;
}
