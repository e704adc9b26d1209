/** Looking into maps of numbers. */
import type { Heat } from "./types";

/** Number of the cell of a tile; NaN where there is none, and beside the map. */
export function heatAt(heat: Heat, row: number, col: number): number {
  const [r, c] = [Math.floor(row / heat.stride), Math.floor(col / heat.stride)];
  if (r < 0 || c < 0 || r >= heat.rows || c >= heat.cols) return NaN;
  return heat.values[r * heat.cols + c] ?? NaN;
}

/** Least and largest number, NaN and infinities left out; undefined if there is none. */
export function heatRange(heat: Heat): readonly [number, number] | undefined {
  let [least, most] = [Infinity, -Infinity];
  for (const value of heat.values) {
    if (!Number.isFinite(value)) continue;
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return least <= most ? [least, most] : undefined;
}
