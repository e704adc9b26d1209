import { PNG } from "pngjs";
import type { Page } from "puppeteer-core";

/** Red, green and blue, 0 to 255. */
export type Color = readonly [number, number, number];

/** A picture: 4 bytes (red, green, blue, alpha) per pixel, row by row from the top left. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly rgba: Uint8Array;
}

/**
 * Captures what the stage draws: only the canvas, one pixel per CSS pixel. The browser draws and
 * captures it in one task, whereas a screenshot of the page may still show the frame before.
 */
export async function pixels(page: Page): Promise<Picture> {
  const address = await page.evaluate(async () => {
    const { stage } = window.embyr ?? window.scene;
    const blob = await stage.screenshot();
    return new Promise<string>((resolve, reject) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result as string);
      reader.onerror = () => reject(reader.error);
      reader.readAsDataURL(blob);
    });
  });
  return decoded(Buffer.from(address.slice(address.indexOf(",") + 1), "base64"));
}

/** Returns what the page shows, possibly with a delay: wait until it shows what you expect. */
export async function pageScreenshot(page: Page): Promise<Picture> {
  return decoded(Buffer.from(await page.screenshot({ type: "png" })));
}

/** Decodes a PNG file. */
export function decoded(file: Buffer): Picture {
  const { width, height, data } = PNG.sync.read(file);
  return { width, height, rgba: data };
}

/** Returns the color of a pixel, `x` from the left and `y` from the top. Throws a RangeError outside it. */
export function colorAt(picture: Picture, x: number, y: number): Color {
  const column = Math.floor(x);
  const row = Math.floor(y);
  if (column < 0 || row < 0 || column >= picture.width || row >= picture.height) {
    throw new RangeError(`(${x}, ${y}) is outside a picture of ${picture.width} x ${picture.height} pixels`);
  }
  const [red, green, blue] = picture.rgba.subarray(4 * (row * picture.width + column));
  return [red ?? 0, green ?? 0, blue ?? 0];
}

/** Whether no channel of two colors differs by more than `tolerance`, 0 to 255. */
export function near(one: Color, other: Color, tolerance = 8): boolean {
  return one.every((value, channel) => Math.abs(value - (other[channel] ?? 0)) <= tolerance);
}
