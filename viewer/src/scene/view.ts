/** The camera's view as numbers, and as the short text in a link. */
export interface View {
  /** Target, tiles. */
  readonly row: number;
  readonly col: number;
  /** Distance from the target, tiles. */
  readonly distance: number;
  /** Radians: 0 looks north, increasing clockwise as seen from above. */
  readonly heading: number;
  /** Radians from straight down. */
  readonly tilt: number;
}

/** "40.5_12.25_60_0.5_0.9": row, column, distance, heading, tilt; safe in an address as it is. */
export function viewText({ row, col, distance, heading, tilt }: View): string {
  return [row, col, distance, heading, tilt]
    .map((value) => String(Math.round(value * 1000) / 1000))
    .join("_");
}

/** Parses a view; null if the text is invalid. */
export function parseView(text: string): View | null {
  const parts = text.split("_");
  if (parts.length !== 5 || !parts.every((part) => /^-?\d{1,6}(\.\d{1,6})?$/.test(part))) return null;
  const [row = 0, col = 0, distance = 0, heading = 0, tilt = 0] = parts.map(Number);
  return { row, col, distance, heading, tilt };
}

/** Clips a polygon ([row, col] corners) at the edges of a map; empty if nothing is left. */
export function clipToMap(
  polygon: readonly (readonly [number, number])[],
  height: number,
  width: number,
): readonly (readonly [number, number])[] {
  let corners = polygon;
  for (const [axis, limit, sign] of [
    [0, 0, 1],
    [0, height, -1],
    [1, 0, 1],
    [1, width, -1],
  ] as const) {
    const inside = (corner: readonly [number, number]): number => sign * (corner[axis] - limit);
    const next: (readonly [number, number])[] = [];
    corners.forEach((corner, index) => {
      const before = corners[(index + corners.length - 1) % corners.length] ?? corner;
      const [there, here] = [inside(before), inside(corner)];
      if (there * here < 0) {
        const share = there / (there - here);
        next.push([before[0] + (corner[0] - before[0]) * share, before[1] + (corner[1] - before[1]) * share]);
      }
      if (here >= 0) next.push(corner);
    });
    corners = next;
  }
  return corners;
}
