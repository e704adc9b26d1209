import type { RecordingLike } from "../model/contract";
import type { Frame, Header } from "../model/types";

/** Material that a tile shows now: the base, or what it is once used up. */
export function materialAt(recording: RecordingLike, frame: Frame, tile: number): number {
  const base = recording.base[tile] ?? 0;
  return (frame.usedUp[tile >> 3] ?? 0) & (1 << (tile & 7)) ? (recording.header.used_up[base] ?? base) : base;
}

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
