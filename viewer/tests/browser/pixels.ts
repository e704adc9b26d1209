import { PNG } from "pngjs";
import type { Page } from "puppeteer-core";

/** Red, green and blue, 0 to 255. */
export type Colour = readonly [number, number, number];

/** A picture: 4 bytes (red, green, blue, alpha) a pixel, row after row from the top left. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly rgba: Uint8Array;
}

/** What the page shows: its screenshot, a pixel of the picture for each CSS pixel of the page. */
export async function pixels(page: Page): Promise<Picture> {
  const png = PNG.sync.read(Buffer.from(await page.screenshot({ type: "png" })));
  return { width: png.width, height: png.height, rgba: png.data };
}

/** The colour of a pixel, `x` from the left and `y` from the top. Throws a RangeError outside the picture. */
export function colourAt(picture: Picture, x: number, y: number): Colour {
  const column = Math.floor(x);
  const row = Math.floor(y);
  if (column < 0 || row < 0 || column >= picture.width || row >= picture.height) {
    throw new RangeError(`(${x}, ${y}) is outside a picture of ${picture.width} x ${picture.height} pixels`);
  }
  const [red, green, blue] = picture.rgba.subarray(4 * (row * picture.width + column));
  return [red ?? 0, green ?? 0, blue ?? 0];
}

/** Whether no channel of two colours differs by more than `tolerance`, 0 to 255. */
export function near(one: Colour, other: Colour, tolerance = 8): boolean {
  return one.every((value, channel) => Math.abs(value - (other[channel] ?? 0)) <= tolerance);
}

/** The share, 0 to 1, of the picture's pixels that are near a colour. */
export function shareNear(picture: Picture, colour: Colour, tolerance = 8): number {
  let count = 0;
  for (let y = 0; y < picture.height; y++) {
    for (let x = 0; x < picture.width; x++) if (near(colourAt(picture, x, y), colour, tolerance)) count++;
  }
  return count / (picture.width * picture.height);
}
