import type { Header } from "../model/types";

/** A material's colour as 0xAABBGGRR, for the pixels of a canvas. */
export function packedColours(header: Header): Uint32Array {
  return Uint32Array.from(
    header.materials,
    ({ colour: [red, green, blue] }) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0,
  );
}

/** A material's colour as CSS has it. */
export function cssColour(header: Header, material: number): string {
  return `rgb(${header.materials[material]?.colour.join(",") ?? "0,0,0"})`;
}
