import type { Heat, Overlay } from "../model/types";
import type { Rgb } from "./colors";

/** Perceptually uniform color maps of matplotlib (Smith, van der Walt, Firing 2015; CC0), at nine even
steps. */
const VIRIDIS = ["440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725"];
const INFERNO = ["000004", "210c4a", "57106e", "8a226a", "bc3754", "e45a31", "f98e09", "f9cb35", "fcffa4"];

/** Forest and ore: available, and depleted. */
export const LEFT: Rgb = [38, 190, 150];
export const USED: Rgb = [232, 130, 50];

/** Mapping of numbers to colors; also for the legend. */
export interface Scale {
  readonly low: number;
  readonly high: number;
  /** Counts: colored by the logarithm of 1 + the number, and 0 is transparent. */
  readonly counts: boolean;
  /** 256 colors from low to high, 4 bytes each. */
  readonly colors: Uint8Array;
}

const TABLES = { viridis: table(VIRIDIS), inferno: table(INFERNO) };

/** The scale of a map: from its minimum to its maximum. */
export function scaleOf(heat: Heat, kind: Overlay): Scale {
  const counts = kind === "visits" || kind === "danger";
  let [low, high] = counts ? [0, 1] : [Infinity, -Infinity];
  for (const value of heat.values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) [low, high] = [0, 1];
  return { low, high, counts, colors: kind === "danger" ? TABLES.inferno : TABLES.viridis };
}

/** Position of a number on its scale, 0 to 1; below 0 for transparent. */
export function share(value: number, { low, high, counts }: Scale): number {
  if (Number.isNaN(value) || (counts && value <= 0)) return -1;
  if (high <= low) return 0.5;
  return counts ? Math.log1p(value) / Math.log1p(high) : (value - low) / (high - low);
}

/** Writes the map's colors, 4 bytes per cell, with alpha 0 where the map is transparent. */
export function paint(heat: Heat, kind: Overlay, out: Uint8Array): void {
  const scale = scaleOf(heat, kind);
  for (let cell = 0; cell < heat.values.length; cell++) {
    const place = share(heat.values[cell] ?? NaN, scale);
    const index = 4 * Math.round(Math.max(place, 0) * 255);
    for (let k = 0; k < 3; k++) out[4 * cell + k] = scale.colors[index + k] ?? 0;
    out[4 * cell + 3] = place < 0 ? 0 : 255;
  }
}

function table(stops: readonly string[]): Uint8Array {
  const colors = new Uint8Array(4 * 256);
  for (let index = 0; index < 256; index++) {
    const place = (index / 255) * (stops.length - 1);
    const step = Math.min(Math.floor(place), stops.length - 2);
    for (let k = 0; k < 3; k++) {
      const [from, to] = [step, step + 1].map((n) => parseInt((stops[n] ?? "").slice(2 * k, 2 * k + 2), 16));
      colors[4 * index + k] = Math.round((from ?? 0) + ((to ?? 0) - (from ?? 0)) * (place - step));
    }
    colors[4 * index + 3] = 255;
  }
  return colors;
}
