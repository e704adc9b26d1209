import { colorAt, type Color, type Picture } from "./pixels";

// Finds colors in a picture independently of the lighting.

/** Returns the mean color of 5 x 5 pixels. */
export function mean(picture: Picture, x: number, y: number): Color {
  const sum = [0, 0, 0];
  for (let dx = -2; dx <= 2; dx++) {
    for (let dy = -2; dy <= 2; dy++)
      colorAt(picture, x + dx, y + dy).forEach((value, k) => (sum[k]! += value / 25));
  }
  return sum as unknown as Color;
}

/** Returns the hue in degrees, and saturation and value from 0 to 1. */
function hsv([red, green, blue]: Color): [number, number, number] {
  const high = Math.max(red, green, blue);
  const range = high - Math.min(red, green, blue);
  if (range === 0) return [0, 0, high / 255];
  const hue =
    high === red
      ? (green - blue) / range
      : high === green
        ? 2 + (blue - red) / range
        : 4 + (red - green) / range;
  return [(60 * hue + 360) % 360, range / high, high / 255];
}

/** Whether two colors are the same in brighter or darker light. */
export function likePaint(seen: Color, paint: Color, hueBy = 14): boolean {
  const [a, b] = [hsv(seen), hsv(paint)];
  const hue = Math.abs(((a[0] - b[0] + 540) % 360) - 180);
  const light = a[2] / b[2];
  return Math.abs(a[1] - b[1]) < 0.22 && light > 0.6 && light < 1.35 && (b[1] < 0.1 || hue < hueBy);
}

/** Returns the pixels of a rectangle that satisfy a condition. */
export function count(
  picture: Picture,
  x: number,
  y: number,
  w: number,
  h: number,
  holds: (color: Color) => boolean,
): number {
  let number = 0;
  for (let px = Math.floor(x - w); px <= x + w; px++) {
    for (let py = Math.floor(y - h); py <= y + h; py++) if (holds(colorAt(picture, px, py))) number++;
  }
  return number;
}
